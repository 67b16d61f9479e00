//! Filters of `$all`: prefixes or a regular expression over the name of the stream or the type of the event.

use fancy_regex::Regex;

use crate::record::Event;

/// A filter.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// The text that is looked at.
    pub(crate) of: FilterOf,
    /// The condition on it.
    pub(crate) condition: Condition,
}

/// The text that a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterOf {
    /// The name of the stream.
    StreamName,
    /// The type of the event.
    EventType,
}

/// The condition of a filter.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// Begins with one of these.
    Prefixes(Vec<String>),
    /// Matches this.
    Matches(Regex),
}

impl Filter {
    pub(crate) fn takes(&self, event: &Event) -> bool {
        let text = match self.of {
            FilterOf::StreamName => &*event.stream,
            FilterOf::EventType => &*event.event_type,
        };
        match &self.condition {
            Condition::Prefixes(prefixes) => prefixes.iter().any(|prefix| text.starts_with(prefix)),
            // One that gives up takes nothing.
            Condition::Matches(regex) => regex.is_match(text).unwrap_or(false),
        }
    }
}

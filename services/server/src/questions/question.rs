//! The parts of a question that all numbers share: the window, the instant, and the events that count.

use std::time::Duration;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::Selection;

/// A question about members at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// Length of the window that ends at the instant.
    pub(crate) window: Duration,
    /// The instant asked about. `None`: now, with everything recorded.
    pub(crate) as_of: Option<UtcInstant>,
    /// The events that count; `occurred_until` is `as_of`.
    pub(crate) selection: Selection,
}

impl Question {
    /// True if the live views answer it.
    pub(crate) fn is_live(&self) -> bool {
        self.selection == Selection::default()
    }

    /// True if it is about an instant and counts all events that had occurred by then.
    pub(crate) fn is_as_of(&self) -> bool {
        self.as_of.is_some()
            && self.selection == Selection { occurred_until: self.as_of, ..Selection::default() }
    }

    /// The instant that it is asked for: `as_of`, else `now`.
    pub(crate) fn at(&self, now: UtcInstant) -> UtcInstant {
        self.as_of.unwrap_or(now)
    }

    /// The lower edge of the window that ends at `at`, inclusive.
    pub(crate) fn since(&self, at: UtcInstant) -> UtcInstant {
        at.saturating_sub(self.window)
    }

    /// The same question about events up to a position, and no later one.
    pub(crate) fn known_until(&self, position: Position) -> Self {
        let until = self.selection.position_until.map_or(position, |until| until.min(position));
        Self { selection: Selection { position_until: Some(until), ..self.selection }, ..*self }
    }

    /// The same question one window before `at`.
    pub(crate) fn previous(&self, at: UtcInstant) -> Self {
        let earlier = self.since(at);
        let selection = Selection { occurred_until: Some(earlier), ..self.selection };
        Self { as_of: Some(earlier), selection, ..*self }
    }
}

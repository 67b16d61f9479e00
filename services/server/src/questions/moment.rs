//! Instants as they are asked for: they are resolved against "now", and dates against a calendar.

use std::time::Duration;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Calendar, Day};

/// An instant as it was asked for: absolute, a date, or a time before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Instant(UtcInstant),
    /// The first instant that shows the date or a later one.
    Date(Day),
    Before(Duration),
}

impl Moment {
    /// Resolves the instant against `now`, and a date by a calendar.
    pub(crate) fn at(self, now: UtcInstant, calendar: &Calendar) -> UtcInstant {
        match self {
            Self::Instant(at) => at,
            Self::Date(day) => calendar.start(day),
            Self::Before(span) => now.saturating_sub(span),
        }
    }

    /// The same with dates of UTC.
    pub(crate) fn at_utc(self, now: UtcInstant) -> UtcInstant {
        self.at(now, &Calendar::utc())
    }

    /// True if it is the same instant whenever it is asked for.
    pub(crate) fn is_absolute(self) -> bool {
        !matches!(self, Self::Before(_))
    }
}

/// The bound of what was on record, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownAt {
    Position(Position),
    Moment(Moment),
}

impl KnownAt {
    /// True if it is the same whenever it is asked for.
    pub(crate) fn is_absolute(self) -> bool {
        match self {
            Self::Position(_) => true,
            Self::Moment(moment) => moment.is_absolute(),
        }
    }
}

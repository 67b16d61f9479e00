//! The parts of a question that all numbers share: the window, the instant, and the events that count.

use std::time::Duration;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Scope, Selection, TypeSet};

use super::as_of::Asked;

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

/// The way to the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The live views tell them.
    Live,
    /// They are counted from the live views and the ends of the window.
    AsOf,
    /// History is folded.
    Scan,
}

/// The end of a day behind everything: as of then all that is recorded counts.
const FAR: UtcInstant = UtcInstant::from_micros(253_402_300_799_999_999);

impl Question {
    /// True if the live views answer it.
    pub(crate) fn is_live(&self) -> bool {
        self.selection == Selection::default()
    }

    /// True if it is about all that is recorded by now.
    pub(crate) fn is_known_whole(&self) -> bool {
        self.selection.position_until.is_none() && self.selection.recorded_until.is_none()
    }

    /// The way to numbers.
    pub(super) fn way(&self) -> Way {
        match self.selection.counted() == TypeSet::all() && self.is_known_whole() {
            _ if self.is_live() => Way::Live,
            true => Way::AsOf,
            false => Way::Scan,
        }
    }

    /// The numbers to count as of an instant, where it is asked at `at`.
    pub(super) fn asked(&self, scope: Scope, at: UtcInstant) -> Asked {
        let window = self.since(at)..=self.as_of.unwrap_or(FAR);
        Asked { scope, everyone: self.selection.everyone, window }
    }

    /// The instant that it is asked for: `as_of`, else `now`.
    pub(crate) fn at(&self, now: UtcInstant) -> UtcInstant {
        self.as_of.unwrap_or(now)
    }

    /// The lower edge of the window that ends at `at`, inclusive.
    pub(crate) fn since(&self, at: UtcInstant) -> UtcInstant {
        at.saturating_sub(self.window)
    }

    /// The same question about another part of history.
    pub(super) fn of(&self, selection: Selection) -> Self {
        Self { selection, ..*self }
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

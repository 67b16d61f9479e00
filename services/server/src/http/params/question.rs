//! The parameters that all numbers of members share.

use lastseen_event::UtcInstant;
use lastseen_projections::{Selection, TypeSet, Window};

use super::params;
use super::value::{Everyone, ObservedOnly};
use crate::questions::moment::{KnownAt, Moment};
use crate::questions::question::Question;

params! {
    /// The window, the instant, and the events that count.
    QuestionParams {
        /// a duration
        window: Window = "`30d`",
        /// an instant, inclusive
        as_of: Moment = "now, with all events",
        /// a position or an instant, inclusive
        known_at: KnownAt = "all events",
        /// a comma list of `login`, `token_refresh`, `tenant_switch`, `signup_complete`
        types: TypeSet = "all, and estimates",
        /// `observed`: estimates do not count
        provenance: ObservedOnly = "all",
        /// `all`: users that are left out count as well
        counts: Everyone = "those that are not left out",
        /// a position
        min_position: lastseen_event::Position = "none",
    }
}

impl QuestionParams {
    /// The window as it was written, or the default.
    pub(in crate::http) fn window(&self) -> Window {
        self.window.clone().unwrap_or_default()
    }

    /// Resolves the question against `now`.
    pub(in crate::http) fn question(&self, now: UtcInstant) -> Question {
        let as_of = self.as_of.map(|as_of| as_of.at_utc(now));
        let mut selection = Selection { occurred_until: as_of, ..Selection::default() };
        match self.known_at {
            Some(KnownAt::Position(position)) => selection.position_until = Some(position),
            Some(KnownAt::Moment(moment)) => selection.recorded_until = Some(moment.at_utc(now)),
            None => {}
        }
        selection.types = self.types.unwrap_or_default();
        selection.observed_only = self.provenance.is_some();
        selection.everyone = self.counts.is_some();
        Question { window: self.window().span, as_of, selection }
    }

    /// True if an instant is given as a time before now: then "now" is fixed when the question is read.
    pub(in crate::http) fn is_relative(&self) -> bool {
        !self.moments().all(Moment::is_absolute)
    }

    /// True if position and parameters alone decide the answer: "now" has no part in it.
    pub(in crate::http) fn is_fixed(&self) -> bool {
        self.as_of.is_some() && self.moments().all(Moment::is_absolute)
    }

    /// The instants that are given.
    fn moments(&self) -> impl Iterator<Item = Moment> {
        let known_at = match self.known_at {
            Some(KnownAt::Moment(moment)) => Some(moment),
            Some(KnownAt::Position(_)) | None => None,
        };
        [self.as_of, known_at].into_iter().flatten()
    }
}

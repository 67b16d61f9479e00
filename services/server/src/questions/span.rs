//! The days of a series or of cohorts: of whose wall clock, as of when, and which events count.

use std::collections::HashMap;
use std::sync::Arc;

use chrono_tz::Tz;
use lastseen_event::UtcInstant;
use lastseen_projections::{
    Calendar, Day, DaysAsked, Definition, Period, Periods, Scope, Selection, TypeSet,
};
use parking_lot::Mutex;

use super::error::QuestionError;
use super::moment::{KnownAt, Moment};

/// Most days of an answer.
const DAYS_MAX: i32 = 3_660;
/// Days before the last one, where the first is not given.
const DAYS_BEFORE: i32 = 29;

/// The days as they were asked for; today is not known yet.
#[derive(Clone, Debug)]
pub(crate) struct Dates {
    pub(crate) from: Option<Day>,
    pub(crate) to: Option<Day>,
    pub(crate) zone: Tz,
    pub(crate) period: Period,
    /// True if rows count persons.
    pub(crate) of_persons: bool,
    /// `None`: now, with everything recorded.
    pub(crate) as_of: Option<Moment>,
    /// `None`: everything that is recorded.
    pub(crate) known_at: Option<KnownAt>,
    pub(crate) types: TypeSet,
    /// True if estimates do not count.
    pub(crate) observed_only: bool,
    /// True if nobody is left out.
    pub(crate) everyone: bool,
}

/// Days of a calendar and the events that count.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) periods: Periods,
    pub(crate) zone: Tz,
    pub(crate) calendar: Arc<Calendar>,
    pub(crate) of_persons: bool,
    pub(crate) selection: Selection,
}

/// All that the days of a scan depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScanKey {
    scope: Scope,
    zone: Tz,
    of_persons: bool,
    selection: Selection,
}

/// Calendars by zone: one takes some milliseconds to make, and there are some hundreds.
#[derive(Debug, Default)]
pub(crate) struct Calendars(Mutex<HashMap<Tz, Arc<Calendar>>>);

impl Calendars {
    /// The calendar of a zone, if it was made before.
    pub(super) fn known(&self, zone: Tz) -> Option<Arc<Calendar>> {
        self.0.lock().get(&zone).cloned()
    }

    /// Makes the calendar of a zone. Blocks for some milliseconds.
    pub(super) fn make(&self, zone: Tz) -> Arc<Calendar> {
        let calendar = Calendar::of_zone(zone);
        // Many zones have the clock of UTC, whose calendar has no table to look into.
        let calendar = Arc::new(if calendar.is_utc() { Calendar::utc() } else { calendar });
        Arc::clone(self.0.lock().entry(zone).or_insert(calendar))
    }
}

impl Dates {
    /// Resolves the dates against `now`.
    ///
    /// # Errors
    /// [`QuestionError::EmptySpan`], [`QuestionError::LongSpan`].
    pub(super) fn at(self, now: UtcInstant, calendar: Arc<Calendar>) -> Result<Span, QuestionError> {
        let Self { from, to, zone, period, of_persons, as_of, known_at, types, observed_only, everyone } =
            self;
        let (position_until, recorded_until) = match known_at {
            Some(KnownAt::Position(position)) => (Some(position), None),
            Some(KnownAt::Moment(moment)) => (None, Some(moment.at(now, &calendar))),
            None => (None, None),
        };
        let occurred_until = as_of.map(|as_of| as_of.at(now, &calendar));
        let selection =
            Selection { occurred_until, position_until, recorded_until, types, observed_only, everyone };
        let last = to.unwrap_or_else(|| calendar.date(selection.occurred_until.unwrap_or(now)));
        let first = from.unwrap_or_else(|| last.plus(-DAYS_BEFORE));
        if first > last {
            return Err(QuestionError::EmptySpan { last });
        }
        if last.number() - first.number() >= DAYS_MAX {
            return Err(QuestionError::LongSpan { days_max: DAYS_MAX, first, last });
        }
        let periods = Periods { days: first..=last, period };
        Ok(Span { periods, zone, calendar, of_persons, selection })
    }
}

impl Span {
    /// The definition whose days answer it.
    pub(super) fn definition(&self) -> Definition {
        // A zone whose clock is that of UTC has its days.
        let zone = if self.calendar.is_utc() { Tz::UTC } else { self.zone };
        Definition { zone, counted: self.selection.counted() }
    }

    /// True if it is about all that is recorded: then days that are followed answer it.
    pub(super) fn is_known_whole(&self) -> bool {
        self.selection.position_until.is_none() && self.selection.recorded_until.is_none()
    }

    /// The instant that it is asked for.
    pub(crate) fn at(&self, now: UtcInstant) -> UtcInstant {
        self.selection.occurred_until.unwrap_or(now)
    }

    /// The first day that is not over at an instant.
    pub(super) fn open(&self, at: UtcInstant) -> Day {
        let date = self.calendar.closed_by(at);
        // As of the last instant of a day, the day is over.
        let is_end = self.selection.occurred_until.is_some() && self.calendar.end(date) == at;
        if is_end { date.plus(1) } else { date }
    }

    /// True if the period that ends with `last` is not over at `at`.
    pub(crate) fn is_partial(&self, last: Day, at: UtcInstant) -> bool {
        last >= self.open(at)
    }

    /// True if the period that begins with `first` has not begun at `at`.
    pub(crate) fn is_to_come(&self, first: Day, at: UtcInstant) -> bool {
        self.calendar.start(first) > at
    }

    /// The same of other periods.
    pub(super) fn of(&self, periods: Periods) -> Self {
        Self { periods, ..self.clone() }
    }

    /// The question for its rows.
    pub(super) fn asked(&self, scope: Scope) -> DaysAsked {
        DaysAsked {
            scope,
            everyone: self.selection.everyone,
            of_persons: self.of_persons,
            definition: self.definition(),
            periods: self.periods.clone(),
        }
    }

    /// All that the days of a scan depend on.
    pub(super) fn scan_key(&self, scope: Scope) -> ScanKey {
        let Self { zone, of_persons, selection, .. } = *self;
        ScanKey { scope, zone, of_persons, selection }
    }

    /// Text that is equal for spans that ask for the same rows.
    pub(super) fn key(&self) -> String {
        let Self { periods, zone, of_persons, selection, .. } = self;
        format!("{periods:?} {zone} {of_persons} {selection:?}")
    }
}

//! The days of a series or of cohorts: of whose wall clock, and which events count.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono_tz::Tz;
use lastseen_event::UtcInstant;
use lastseen_projections::{Calendar, Day, Period, Selection};
use parking_lot::Mutex;

use super::error::QuestionError;

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
    pub(crate) selection: Selection,
}

/// Days of a calendar and the events that count.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) days: RangeInclusive<Day>,
    pub(crate) period: Period,
    pub(crate) zone: Tz,
    pub(crate) calendar: Arc<Calendar>,
    pub(crate) selection: Selection,
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
        let Self { from, to, zone, period, selection } = self;
        let last = to.unwrap_or_else(|| calendar.date(now));
        let first = from.unwrap_or_else(|| last.plus(-DAYS_BEFORE));
        if first > last {
            return Err(QuestionError::EmptySpan { last });
        }
        if last.number() - first.number() >= DAYS_MAX {
            return Err(QuestionError::LongSpan { days_max: DAYS_MAX, first, last });
        }
        Ok(Span { days: first..=last, period, zone, calendar, selection })
    }
}

impl Span {
    /// True if the live views answer it.
    pub(crate) fn is_live(&self) -> bool {
        self.selection == Selection::default() && self.calendar.is_utc()
    }

    /// True if the period that ends with `last` is not over at `now`.
    pub(crate) fn is_partial(&self, last: Day, now: UtcInstant) -> bool {
        self.calendar.end(last) >= now
    }

    /// Text that is equal for spans that ask for the same rows.
    pub(super) fn key(&self) -> String {
        let Self { days, period, zone, selection, .. } = self;
        format!("{days:?} {period:?} {zone} {selection:?}")
    }
}

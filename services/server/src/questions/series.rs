//! Series: how many members were active day by day, week by week or month by month.
//!
//! Rows that were counted before and still hold come from the cache; a request for those alone waits for nothing. The
//! others are counted from the days of the live views, or from days that a scan folds.

mod cache;

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Day, DaySets, Period, Scope, SeriesRow};

pub(crate) use self::cache::SeriesCache;
use self::cache::{CacheScope, CachedRow};
use super::Questions;
use super::admission::{Cost, Deadline, Kind, Permit};
use super::error::QuestionError;
use super::scan;
use super::span::Span;
use crate::read_model::Reading;

/// The rows of a span, and when they hold.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) span: Arc<Span>,
    /// One for each period, in order.
    pub(crate) rows: Vec<SeriesRow>,
    /// The last position they reflect.
    pub(crate) position: Position,
    /// The instant that they hold for.
    pub(crate) at: UtcInstant,
}

/// Bytes of the days of a scan a member: the first activity, the last day, and bits in bitmaps.
pub(super) const SCAN_BYTES_A_MEMBER: usize = 40;

/// A span of a scope whose rows are partly known.
struct Partly {
    rows: Vec<Option<SeriesRow>>,
    /// The rows that have to be counted, and their days; rows between two of them are counted as well.
    missing: Option<(Range<usize>, RangeInclusive<Day>)>,
    position: Position,
    /// The days to count from, where the live views have them.
    sets: Option<DaySets>,
}

impl Questions {
    /// The rows of a span.
    ///
    /// # Errors
    /// [`QuestionError`] where rows have to be counted.
    pub(crate) async fn series(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        span: Arc<Span>,
    ) -> Result<Arc<Series>, QuestionError> {
        let Partly { rows, missing, position, .. } = self.partly(reading, scope, &span);
        if missing.is_none() {
            let rows = rows.into_iter().flatten().collect();
            return Ok(Arc::new(Series { span, rows, position, at: reading.at }));
        }
        let members = self.model.log().members().len();
        let cost = if span.is_live() {
            Cost { kind: Kind::Count, bytes: members }
        } else {
            Cost { kind: Kind::Scan, bytes: members * SCAN_BYTES_A_MEMBER }
        };
        let key = (format!("{scope:?} {}", span.key()), reading);
        self.shared(&self.flights.series, key, cost, move |asking, reading, permit| {
            asking.count_series(&reading, scope, span, &permit).map(Arc::new)
        })
        .await
    }

    /// Counts the rows that are missing by now, and keeps those of periods that are over.
    fn count_series(
        &self,
        reading: &Reading,
        scope: Scope,
        span: Arc<Span>,
        permit: &Permit,
    ) -> Result<Series, QuestionError> {
        let Partly { mut rows, missing, position, sets } = self.partly(reading, scope, &span);
        let at = reading.at;
        if let Some((missing, days)) = missing {
            let sets = match sets {
                Some(sets) => sets,
                None => {
                    self.scan_days((reading, position), (scope, &span, days.clone()), permit.deadline())?
                }
            };
            permit.deadline().check()?;
            let of = CacheScope { scope, retracted: reading.retracted.len() };
            let counted = self.count_rows(sets, (of, position), &span, &days);
            let closed = counted.iter().filter(|row| span.calendar.end(*row.days.end()) < at);
            self.series_rows.keep(of, &span, closed.map(|row| CachedRow { row: row.clone(), position }));
            rows.splice(missing, counted.into_iter().map(Some));
        }
        Ok(Series { rows: rows.into_iter().flatten().collect(), span, position, at })
    }

    /// Looks up the rows that are kept and still hold.
    fn partly(&self, reading: &Reading, scope: Scope, span: &Span) -> Partly {
        let wanted = span.period.covering(&span.days);
        let of = CacheScope { scope, retracted: reading.retracted.len() };
        let kept = self.series_rows.rows(of, span);
        let before = self.series_rows.before(of);
        let views = reading.views();
        let holds = |days: &RangeInclusive<Day>, kept: &CachedRow| {
            let changed = match (span.is_live(), span.period) {
                (true, Period::Day) => views.day_changed_at(*days.end()),
                (true, period) => views.period_changed_at(period, days),
                (false, _) => views.activity_changed_by(span.calendar.end(*days.end())),
            };
            changed <= kept.position
        };
        let row = |days: &RangeInclusive<Day>| {
            kept.get(days.start()).filter(|kept| holds(days, kept)).map(|kept| kept.row.clone())
        };
        let rows: Vec<_> = wanted.iter().map(row).collect();
        let missing = missing(&rows).map(|missing| {
            let days = *wanted[missing.start].start()..=*wanted[missing.end - 1].end();
            (missing, days)
        });
        let sets = missing.as_ref().filter(|_| span.is_live()).map(|(_, days)| {
            let mut sets = views.days(scope, days.clone());
            if let Some((before, position)) = before
                && views.before_changed_at(&before) <= position
            {
                sets.set_before(before);
            }
            sets
        });
        Partly { rows, missing, position: views.position(), sets }
    }

    /// Folds the days of a span from history.
    pub(super) fn scan_days(
        &self,
        (reading, until): (&Reading, Position),
        asked: (Scope, &Span, RangeInclusive<Day>),
        deadline: Deadline,
    ) -> Result<DaySets, QuestionError> {
        scan::days(self.model.log(), asked, (until, reading.retracted.clone()), deadline)
    }

    fn count_rows(
        &self,
        mut sets: DaySets,
        (of, position): (CacheScope, Position),
        span: &Span,
        days: &RangeInclusive<Day>,
    ) -> Vec<SeriesRow> {
        // The running day alone is asked for again and again, and looks back to the same days each time.
        let is_one_day = span.is_live() && span.period == Period::Day && days.start() == days.end();
        if is_one_day && !sets.has_before() {
            let before = sets.before();
            self.series_rows.keep_before(of, (before.clone(), position));
            sets.set_before(before);
        }
        sets.rows(span.period)
    }
}

/// Returns the range from the first to the last row that is missing.
fn missing(rows: &[Option<SeriesRow>]) -> Option<Range<usize>> {
    let first = rows.iter().position(Option::is_none)?;
    let last = rows.iter().rposition(Option::is_none)?;
    Some(first..last + 1)
}

//! Series: how many were active day by day, or period by period.
//!
//! Rows that were counted before and still hold come from the cache; a request for those alone waits for nothing. The
//! others are counted from the days that the live views follow, or from those of a scan.

mod cache;

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Day, DaySets, Period, Periods, Scope, SeriesRow};

pub(crate) use self::cache::SeriesCache;
use self::cache::{CacheScope, CachedRow};
use super::Questions;
use super::admission::{Cost, Deadline, Kind, Permit};
use super::days::DaysOf;
use super::error::QuestionError;
use super::span::Span;
use crate::read_model::Reading;

/// The rows of a span, and when they hold.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) span: Arc<Span>,
    /// One for each period, in order.
    pub(crate) rows: Vec<SeriesRow>,
    /// The mean of the active of the last 30 days that are over and not after the span, divided by the `mau` of the last
    /// of them. `None`: that is 0.
    pub(crate) stickiness: Option<f64>,
    /// The last position they reflect.
    pub(crate) position: Position,
    /// The instant that they hold for.
    pub(crate) at: UtcInstant,
}

/// Days over which stickiness is a mean.
const STICKINESS_DAYS: i32 = 30;

/// Tries to count from days that may be followed no longer a moment later.
const TRIES: usize = 3;

/// A span of a scope whose rows are partly known.
struct Partly {
    rows: Vec<Option<SeriesRow>>,
    /// The rows that have to be counted, and their days; rows between two of them are counted as well.
    missing: Option<(Range<usize>, RangeInclusive<Day>)>,
    position: Position,
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
        for _ in 0..TRIES {
            let days = self.days_of(reading, scope, &span).await?;
            if let Some(series) = self.known_series((reading, &days), scope, &span) {
                return Ok(Arc::new(series));
            }
            let bytes = self.model.log().members().len();
            let bytes = if span.of_persons { bytes * PERSONS_BYTES_A_MEMBER } else { bytes };
            let (key, span) = ((format!("{scope:?} {}", span.key()), reading), span.clone());
            let counted = self.shared(
                &self.flights.series,
                key,
                Cost { kind: Kind::Count, bytes },
                move |asking, reading, permit| {
                    let counted = asking.count_series((&reading, &days), scope, span, &permit)?;
                    Ok(counted.map(Arc::new))
                },
            );
            if let Some(series) = counted.await? {
                return Ok(series);
            }
        }
        Err(QuestionError::Overloaded(super::error::Overload::Definitions))
    }

    /// The rows of a span, where all of them are known.
    fn known_series(
        &self,
        (reading, days): (&Reading, &DaysOf),
        scope: Scope,
        span: &Arc<Span>,
    ) -> Option<Series> {
        if !matches!(days, DaysOf::Live) {
            return None;
        }
        let known = |span: &Span| {
            let Partly { rows, missing, position } = self.partly(reading, scope, span)?;
            missing.is_none().then(|| (rows.into_iter().flatten().collect::<Vec<_>>(), position))
        };
        let at = span.at(reading.at);
        let (rows, position) = known(span)?;
        let (last, _) = known(&span.of(stickiness_periods(span, at)))?;
        Some(Series { span: span.clone(), rows, stickiness: stickiness(&last), position, at })
    }

    /// Counts the rows that are missing by now, and keeps those of periods that are over. `None`: the views follow the
    /// definition no longer.
    fn count_series(
        &self,
        (reading, days): (&Reading, &DaysOf),
        scope: Scope,
        span: Arc<Span>,
        permit: &Permit,
    ) -> Result<Option<Series>, QuestionError> {
        let (at, deadline) = (span.at(reading.at), permit.deadline());
        let Some((rows, position)) = self.count_rows((reading, days), (scope, &span), deadline)? else {
            return Ok(None);
        };
        let last = span.of(stickiness_periods(&span, at));
        let Some((last, _)) = self.count_rows((reading, days), (scope, &last), deadline)? else {
            return Ok(None);
        };
        Ok(Some(Series { rows, stickiness: stickiness(&last), position, at, span }))
    }

    fn count_rows(
        &self,
        (reading, days): (&Reading, &DaysOf),
        (scope, span): (Scope, &Span),
        deadline: Deadline,
    ) -> Result<Option<(Vec<SeriesRow>, Position)>, QuestionError> {
        if let DaysOf::Scanned(_) = days {
            let sets = self.sets((reading, days), (scope, span), &span.periods, deadline)?;
            return Ok(sets.map(|(sets, position, open)| (sets.rows(open), position)));
        }
        let Some(Partly { mut rows, missing, position }) = self.partly(reading, scope, span) else {
            return Ok(None);
        };
        let Some((missing, days_missing)) = missing else {
            return Ok(Some((rows.into_iter().flatten().collect(), position)));
        };
        let periods = Periods { days: days_missing, period: span.periods.period };
        let Some((mut sets, position, open)) =
            self.sets((reading, days), (scope, span), &periods, deadline)?
        else {
            return Ok(None);
        };
        deadline.check()?;
        let of = CacheScope { scope, retracted: reading.retracted.len() };
        self.set_before(&mut sets, (reading, of, position), (scope, span), &periods);
        let counted = sets.rows(open);
        let closed = counted.iter().filter(|row| *row.days.end() < open);
        self.series_rows.keep(of, span, closed.map(|row| CachedRow { row: row.clone(), position }));
        rows.splice(missing, counted.into_iter().map(Some));
        Ok(Some((rows.into_iter().flatten().collect(), position)))
    }

    /// Looks up the rows that are kept and still hold. `None`: the views do not follow the definition.
    fn partly(&self, reading: &Reading, scope: Scope, span: &Span) -> Option<Partly> {
        let wanted = span.periods.all();
        let of = CacheScope { scope, retracted: reading.retracted.len() };
        let (kept, open, asked) =
            (self.series_rows.rows(of, span), span.open(span.at(reading.at)), span.asked(scope));
        let views = reading.views();
        let row = |days: &RangeInclusive<Day>| {
            let kept = kept.get(days.start()).filter(|_| *days.end() < open)?;
            let changed = views.row_changed_at(&asked, days)?;
            (changed <= kept.position).then(|| kept.row.clone())
        };
        if !views.follows(asked.definition) {
            return None;
        }
        let rows: Vec<_> = wanted.iter().map(row).collect();
        let missing = missing(&rows).map(|missing| {
            let days = *wanted[missing.start].start()..=*wanted[missing.end - 1].end();
            (missing, days)
        });
        Some(Partly { rows, missing, position: views.position() })
    }

    /// Lets the running day take over what was put together of the days before it: it is asked for again and again, and
    /// looks back to the same days each time.
    fn set_before(
        &self,
        sets: &mut DaySets,
        (reading, of, position): (&Reading, CacheScope, Position),
        (scope, span): (Scope, &Span),
        periods: &Periods,
    ) {
        let is_one_day = periods.period == Period::Day && periods.days.start() == periods.days.end();
        if !is_one_day || span.selection.occurred_until.is_some() {
            return;
        }
        if let Some((before, counted)) = self.series_rows.before(of, span) {
            let changed = reading.views().before_changed_at(&span.asked(scope), &before);
            if changed.is_some_and(|changed| changed <= counted) {
                sets.set_before(before);
            }
        }
        if !sets.has_before() {
            let before = sets.before();
            self.series_rows.keep_before(of, span, (before.clone(), position));
            sets.set_before(before);
        }
    }
}

/// Bytes that rows of persons take a member: the persons of each day beside its members.
const PERSONS_BYTES_A_MEMBER: usize = 12;

/// The days over which stickiness is a mean: the last that are over and not after the span.
fn stickiness_periods(span: &Span, at: UtcInstant) -> Periods {
    let last = span.open(at).plus(-1).min(*span.periods.days.end());
    Periods { days: last.plus(1 - STICKINESS_DAYS)..=last, period: Period::Day }
}

#[expect(clippy::cast_precision_loss, reason = "counts of users are far below 2^52")]
fn stickiness(days: &[SeriesRow]) -> Option<f64> {
    let mau = days.last()?.windows?.mau;
    let active: u64 = days.iter().map(|row| row.active).sum();
    (mau > 0).then(|| active as f64 / f64::from(STICKINESS_DAYS) / mau as f64)
}

/// Returns the range from the first to the last row that is missing.
fn missing(rows: &[Option<SeriesRow>]) -> Option<Range<usize>> {
    let first = rows.iter().position(Option::is_none)?;
    let last = rows.iter().rposition(Option::is_none)?;
    Some(first..last + 1)
}

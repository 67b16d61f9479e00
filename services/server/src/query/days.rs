//! `GET /v1/active-users` and `GET /v1/tenants/{tenant_id}/active-users`: how many users were active day by day, week by
//! week or month by month.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Day, Period, Scope, SeriesRow};
use serde::Serialize;

use super::answer::{DEFINITION, json};
use super::params::Params;
use super::scope;
use super::span::{self, Dates, Span};
use super::tenant::ScopePath;
use crate::app::AppState;
use crate::engine::Engine;
use crate::live::SharedViews;
use crate::problem::Problem;
use crate::rows::{Kept, Whose};
use crate::{history, tasks};

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    head: span::Head<'a>,
    #[serde(flatten)]
    rows: Rows,
    position: u64,
    definition: u32,
}

/// The name says what a row is.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Rows {
    Days(Vec<DayAnswer>),
    Weeks(Vec<PeriodAnswer>),
    Months(Vec<PeriodAnswer>),
}

#[derive(Serialize)]
struct DayAnswer {
    date: String,
    dau: u64,
    wau: u64,
    mau: u64,
    new: u64,
    returning: u64,
    resurrected: u64,
    dormant: u64,
    partial: bool,
}

#[derive(Serialize)]
struct PeriodAnswer {
    from: String,
    to: String,
    active: u64,
    new: u64,
    returning: u64,
    resurrected: u64,
    dormant: u64,
    partial: bool,
}

impl DayAnswer {
    fn new(row: &SeriesRow, partial: bool) -> Self {
        Self {
            date: row.days.start().to_string(),
            dau: row.active,
            wau: row.wau.unwrap_or_default(),
            mau: row.mau.unwrap_or_default(),
            new: row.new,
            returning: row.returning,
            resurrected: row.resurrected,
            dormant: row.dormant,
            partial,
        }
    }
}

impl PeriodAnswer {
    fn new(row: &SeriesRow, partial: bool) -> Self {
        Self {
            from: row.days.start().to_string(),
            to: row.days.end().to_string(),
            active: row.active,
            new: row.new,
            returning: row.returning,
            resurrected: row.resurrected,
            dormant: row.dormant,
            partial,
        }
    }
}

/// `GET /v1/active-users`, also of one tenant
pub(crate) async fn answer(
    State(app): AppState,
    ScopePath(tenant_id): ScopePath,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::parse(query.as_deref(), &span::PARAMS)?;
    let dates = Dates::parse(&params, Period::Day)?;
    let engine = app.engine()?;
    let (scope, live) = scope::of(engine, &params, tenant_id.as_deref()).await?;
    let now = engine.now();
    let span = Arc::new(dates.at(now, &engine.calendars)?);
    let (rows, position) = rows((engine, &live), scope, &span, now).await?;
    let partial = |last: Day| span.calendar.end(last) >= now;
    let periods = |rows: &[SeriesRow]| {
        rows.iter().map(|row| PeriodAnswer::new(row, partial(*row.days.end()))).collect()
    };
    let rows = match span.period {
        Period::Day => {
            Rows::Days(rows.iter().map(|row| DayAnswer::new(row, partial(*row.days.end()))).collect())
        }
        Period::Week => Rows::Weeks(periods(&rows)),
        Period::Month => Rows::Months(periods(&rows)),
    };
    let head = span.head(tenant_id.as_deref());
    Ok(json(&Answer { head, rows, position: position.get(), definition: DEFINITION }))
}

/// The rows of a span: those that were counted before and still hold, and the others.
async fn rows(
    (engine, live): (&Arc<Engine>, &SharedViews),
    scope: Scope,
    span: &Arc<Span>,
    now: UtcInstant,
) -> Result<(Vec<SeriesRow>, Position), Problem> {
    let wanted = span.period.covering(&span.days);
    let retracted = live.read().retracted().clone();
    let of = Whose { scope, left_out: retracted.len() };
    let kept = engine.rows.kept(of, span);
    let before = engine.rows.before(of);
    let (mut rows, missing, position, sets) = {
        let views = live.read();
        let holds = |days: &RangeInclusive<Day>, kept: &Kept| {
            let changed = match (span.is_live(), span.period) {
                (true, Period::Day) => views.day_changed_at(*days.end()),
                (true, period) => views.period_changed_at(period, days),
                (false, _) => views.activity_changed_by(span.calendar.end(*days.end())),
            };
            changed <= kept.position
        };
        let rows: Vec<Option<SeriesRow>> = wanted
            .iter()
            .map(|days| kept.get(days.start()).filter(|kept| holds(days, kept)).map(|kept| kept.row.clone()))
            .collect();
        // Those between two that are missing are counted with them.
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
        (rows, missing, views.position(), sets)
    };
    let Some((missing, days)) = missing else { return Ok((rows.into_iter().flatten().collect(), position)) };
    let sets = match sets {
        Some(sets) => sets,
        None => history::days(engine, scope, (span.clone(), days.clone()), (position, retracted)).await?,
    };
    let permit = engine.counts.clone().acquire_owned().await.map_err(|_| Problem::closing())?;
    let period = span.period;
    // The day that is going on will be asked for again and again, and looks back to the same days.
    let is_one_day = span.is_live() && period == Period::Day && days.start() == days.end();
    let asking = engine.clone();
    let counted = tasks::blocking(move || {
        let _permit = permit;
        let mut sets = sets;
        if is_one_day && !sets.has_before() {
            let before = sets.before();
            asking.rows.keep_before(of, (before.clone(), position));
            sets.set_before(before);
        }
        sets.rows(period)
    });
    let counted = counted.await;
    let closed = counted.iter().filter(|row| span.calendar.end(*row.days.end()) < now);
    engine.rows.keep(of, span, closed.map(|row| Kept { row: row.clone(), position }));
    rows.splice(missing, counted.into_iter().map(Some));
    Ok((rows.into_iter().flatten().collect(), position))
}

/// From the first to behind the last period that has no row.
fn missing(rows: &[Option<SeriesRow>]) -> Option<Range<usize>> {
    let first = rows.iter().position(Option::is_none)?;
    let last = rows.iter().rposition(Option::is_none)?;
    Some(first..last + 1)
}

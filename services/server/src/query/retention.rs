//! `GET /v1/retention` and `GET /v1/tenants/{tenant_id}/retention`: who was new in a week or a month, and how many of them
//! were active after.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use lastseen_projections::{Cohort, Period};
use serde::Serialize;

use super::answer::{DEFINITION, json};
use super::params::Params;
use super::scope;
use super::span::{self, Dates};
use super::tenant::ScopePath;
use crate::app::AppState;
use crate::problem::Problem;
use crate::{history, tasks};

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    head: span::Head<'a>,
    cohorts: Vec<CohortAnswer>,
    position: u64,
    definition: u32,
}

#[derive(Serialize)]
struct CohortAnswer {
    from: String,
    to: String,
    size: u64,
    active: Vec<u64>,
    partial: bool,
}

impl CohortAnswer {
    fn new(cohort: Cohort, partial: bool) -> Self {
        Self {
            from: cohort.days.start().to_string(),
            to: cohort.days.end().to_string(),
            size: cohort.size,
            active: cohort.active,
            partial,
        }
    }
}

/// `GET /v1/retention`, also of one tenant
pub(crate) async fn answer(
    State(app): AppState,
    ScopePath(tenant_id): ScopePath,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::parse(query.as_deref(), &span::PARAMS)?;
    let dates = Dates::parse(&params, Period::Week)?;
    let engine = app.engine()?;
    let (scope, live) = scope::of(engine, &params, tenant_id.as_deref()).await?;
    let now = engine.now();
    let span = Arc::new(dates.at(now, &engine.calendars)?);
    let (sets, told) = {
        let views = live.read();
        let sets = span.is_live().then(|| views.days(scope, span.days.clone()));
        (sets, (views.position(), views.retracted().clone()))
    };
    let position = told.0;
    let sets = match sets {
        Some(sets) => sets,
        None => history::days(engine, scope, (span.clone(), span.days.clone()), told).await?,
    };
    let permit = engine.counts.clone().acquire_owned().await.map_err(|_| Problem::closing())?;
    let period = span.period;
    let cohorts = tasks::blocking(move || {
        let _permit = permit;
        sets.cohorts(period)
    });
    // The last number of every cohort is of the same period.
    let partial = span.calendar.end(*span.period.around(*span.days.end()).end()) >= now;
    let cohorts = cohorts.await.into_iter().map(|cohort| CohortAnswer::new(cohort, partial)).collect();
    let head = span.head(tenant_id.as_deref());
    Ok(json(&Answer { head, cohorts, position: position.get(), definition: DEFINITION }))
}

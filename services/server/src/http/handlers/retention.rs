//! `GET /v1/retention` and `GET /v1/tenants/{tenant_id}/retention`: who was new in a week or a month, and how many of
//! them were active after.

use std::sync::Arc;

use lastseen_projections::{Cohort, Period};
use schemars::JsonSchema;
use serde::Serialize;

use super::active_users::SpanHead;
use crate::http::answer::{Answer, DEFINITION, Json, Version};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::span::CohortsParams;
use crate::http::problem::Problem;
use crate::http::schema;
use crate::keys::seal::ShownPosition;
use crate::questions::cohorts::Cohorts;

/// Cohorts of new users, and their activity after.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct Retention {
    #[serde(flatten)]
    head: SpanHead,
    rows: Vec<Row>,
    /// The answer reflects all events up to this position.
    position: ShownPosition,
    /// The version of the definitions of the numbers.
    definition: u32,
}

impl Answer for Retention {
    const NAME: &'static str = "Retention";
    const EXAMPLE: &'static str = include_str!("../description/examples/Retention.json");
    const HAS_ETAG: bool = true;
}

/// The users who were new in one period.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "CohortRow")]
struct Row {
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    from: String,
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    to: String,
    /// The users who were new in the period.
    size: u64,
    /// The number of them that were active in the k-th period after it, from 0.
    active: Vec<u64>,
    /// True if the last period is not over yet.
    partial: bool,
}

impl Row {
    fn new(cohort: &Cohort, partial: bool) -> Self {
        Self {
            from: cohort.days.start().to_string(),
            to: cohort.days.end().to_string(),
            size: cohort.size,
            active: cohort.active.clone(),
            partial,
        }
    }
}

/// `GET /v1/retention`, also of one tenant
pub(in crate::http) async fn retention(ask: Ask<Query, CohortsParams>) -> Result<Json<Retention>, Problem> {
    let (questions, params) = (ask.questions()?, &ask.params);
    let reading = ask.reading(params.span.min_position).await?;
    let scope = questions.scope(&reading, ask.tenant_id())?;
    let dates = params.span.dates(params.period.map_or(Period::Week, |period| period.0));
    let span = questions.span(dates, reading.at).await?;
    let cohorts = questions.cohorts(&reading, scope, span).await?;
    let Cohorts { span, rows: cohorts, position, at } = Arc::as_ref(&cohorts);
    // The last number of every cohort is of the same period.
    let partial = span.is_partial(*span.period.around(*span.days.end()).end(), *at);
    let rows: Vec<_> = cohorts.iter().map(|cohort| Row::new(cohort, partial)).collect();
    let is_fixed = params.span.from.is_some() && params.span.to.is_some() && !partial;
    let version = Version::of(&reading, *position);
    // A row has a number for each period after it.
    let (count, head) = (rows.len() * rows.len(), SpanHead::new(ask.tenant_id(), span, *at));
    let body = Retention { head, rows, position: ask.show(*position), definition: DEFINITION };
    Ok(Json::new(body).rows(count).version(is_fixed.then_some(version)))
}

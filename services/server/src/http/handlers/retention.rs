//! `GET /v1/retention` and `GET /v1/tenants/{tenant_id}/retention`: who was new in a period, and how many of
//! them were active after.

use std::sync::Arc;

use lastseen_event::UtcInstant;
use lastseen_projections::Cohort;
use schemars::JsonSchema;
use serde::Serialize;

use super::active_users::SpanHead;
use crate::http::answer::{Answer, DEFINITION, Json, Table, Version, Writer};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::span::CohortsParams;
use crate::http::params::value::Length;
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::questions::cohorts::Cohorts;
use crate::questions::span::Span;

/// Cohorts of new users, and their activity after.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct Retention {
    #[serde(flatten)]
    pub(in crate::http) head: SpanHead,
    pub(in crate::http) rows: Vec<Row>,
    #[serde(flatten)]
    pub(in crate::http) reflected: Reflected,
    /// The version of the definitions of the numbers.
    pub(in crate::http) definition: u32,
}

impl Answer for Retention {
    const NAME: &'static str = "Retention";
    const EXAMPLE: &'static str = include_str!("../description/examples/Retention.json");
    const HAS_ETAG: bool = true;
    const TABLE: Option<Table<Self>> = Some(Table {
        file: "retention.csv",
        position: |answer| &answer.reflected.position,
        write: Self::write,
    });
}

impl Retention {
    /// A column for each period after that of a cohort; empty where it has not begun.
    fn write(&self, writer: &mut Writer) -> csv::Result<()> {
        let periods = self.rows.iter().map(|row| row.active.len()).max().unwrap_or_default();
        let own = ["from", "to", "size", "partial"].map(str::to_owned);
        writer.write_record(own.into_iter().chain((0..periods).map(|period| format!("active_{period}"))))?;
        for row in &self.rows {
            let own = [row.from.clone(), row.to.clone(), row.size.to_string(), row.partial.to_string()];
            let active = |period| row.active.get(period).copied().flatten();
            let active =
                (0..periods).map(|period| active(period).map_or_else(String::new, |it| it.to_string()));
            writer.write_record(own.into_iter().chain(active))?;
        }
        Ok(())
    }
}

/// The users who were new in one period.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "CohortRow")]
pub(in crate::http) struct Row {
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    pub(in crate::http) from: String,
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    pub(in crate::http) to: String,
    /// The users who were new in the period.
    pub(in crate::http) size: u64,
    /// The number of them that were active in the k-th period after it, from 0. Null: the period has not begun.
    pub(in crate::http) active: Vec<Option<u64>>,
    /// True if one of the numbers may change: a period is not over yet.
    pub(in crate::http) partial: bool,
}

impl Row {
    fn new(cohort: &Cohort, periods: &[Standing]) -> Self {
        // The periods from that of the cohort on.
        let mine = &periods[periods.len().saturating_sub(cohort.active.len())..];
        let active =
            |(active, standing): (&u64, &Standing)| (*standing != Standing::ToCome).then_some(*active);
        Self {
            from: cohort.days.start().to_string(),
            to: cohort.days.end().to_string(),
            size: cohort.size,
            active: cohort.active.iter().zip(mine).map(active).collect(),
            partial: mine.iter().any(|standing| *standing != Standing::Over),
        }
    }
}

/// A period beside the instant of the question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Over,
    Running,
    ToCome,
}

impl Standing {
    fn of(cohort: &Cohort, span: &Span, at: UtcInstant) -> Self {
        match (span.is_partial(*cohort.days.end(), at), span.is_to_come(*cohort.days.start(), at)) {
            (false, _) => Self::Over,
            (true, false) => Self::Running,
            (true, true) => Self::ToCome,
        }
    }
}

/// `GET /v1/retention`, also of one tenant
pub(in crate::http) async fn retention(ask: Ask<Query, CohortsParams>) -> Result<Json<Retention>, Problem> {
    let (questions, params) = (ask.questions()?, &ask.params);
    let reading = ask.reading(params.span.days.min_position).await?;
    let scope = questions.scope(&reading, ask.tenant_id(), params.span.known_at.is_none())?;
    let dates = params.span.dates(params.period.map_or(Length::Week, |period| period.0));
    let span = questions.span(dates, &reading).await?;
    let cohorts = questions.cohorts(&reading, scope, span).await?;
    let Cohorts { span, rows: cohorts, position, at } = Arc::as_ref(&cohorts);
    let periods: Vec<_> = cohorts.iter().map(|cohort| Standing::of(cohort, span, *at)).collect();
    let rows: Vec<_> = cohorts.iter().map(|cohort| Row::new(cohort, &periods)).collect();
    let is_fixed = params.span.is_fixed() && periods.iter().all(|standing| *standing == Standing::Over);
    let version = Version::of(&reading, *position);
    // A row has a number for each period after it.
    let (count, head) = (rows.len() * rows.len(), SpanHead::new(ask.tenant_id(), span, *at));
    let body = Retention { head, rows, reflected: ask.reflected(*position)?, definition: DEFINITION };
    Ok(Json::new(body).format(params.format).rows(count).version(is_fixed.then_some(version)))
}

//! `GET /v1/corrections` and `GET /v1/tenants/{tenant_id}/corrections`: the rows of a series that came out otherwise later.

use schemars::JsonSchema;
use serde::Serialize;

use super::active_users::{Row as SeriesRow, SpanHead};
use crate::http::answer::{Answer, DEFINITION, Json, Version};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::span::CorrectionsParams;
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::keys::seal::ShownPosition;
use crate::questions::corrections::Corrected;

/// The rows of a series that differ between two positions.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Corrections")]
pub(in crate::http) struct CorrectionsAnswer {
    #[serde(flatten)]
    head: SpanHead,
    /// Those that differ, in order.
    rows: Vec<Row>,
    /// Positions of the events that made them differ, ascending, retractions among them: the first 100.
    events: Vec<ShownPosition>,
    /// The number of all of them.
    events_total: u64,
    /// `before` reflects all events up to this position.
    since: ShownPosition,
    #[serde(flatten)]
    reflected: Reflected,
    /// The version of the definitions of the numbers.
    definition: u32,
}

impl Answer for CorrectionsAnswer {
    const NAME: &'static str = "Corrections";
    const EXAMPLE: &'static str = include_str!("../description/examples/Corrections.json");
    const HAS_ETAG: bool = true;
}

/// A row as it was, and as it is.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "CorrectedRow")]
struct Row {
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    from: String,
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    to: String,
    before: SeriesRow,
    after: SeriesRow,
}

/// `GET /v1/corrections`, also of one tenant
pub(in crate::http) async fn corrections(
    ask: Ask<Query, CorrectionsParams>,
) -> Result<Json<CorrectionsAnswer>, Problem> {
    let (questions, params) = (ask.questions()?, &ask.params);
    let Some(since) = params.since else {
        let detail =
            "expected a position (an integer), an RFC 3339 instant, a date or a time before now (90d)";
        return Err(Problem::invalid_parameter("since", detail));
    };
    let reading = ask.reading(params.days.min_position).await?;
    let scope = questions.scope(&reading, ask.tenant_id(), false)?;
    let dates = |known_at| params.days.dates(params.period.unwrap_or_default(), known_at);
    let found = questions.corrections(&reading, scope, (dates(Some(since)), dates(params.until))).await?;
    let (span, at) = (&found.span, found.at);
    let row = |Corrected { before, after }: &Corrected| {
        let is_partial = span.is_partial(*after.days.end(), at);
        Row {
            from: after.days.start().to_string(),
            to: after.days.end().to_string(),
            before: SeriesRow::new(before, is_partial),
            after: SeriesRow::new(after, is_partial),
        }
    };
    let rows: Vec<_> = found.rows.iter().map(row).collect();
    let is_over = !span.is_partial(*span.periods.days.end(), at);
    let version = Version::of(&reading, found.position);
    let (count, is_fixed) = (rows.len(), params.is_fixed() && is_over);
    let body = CorrectionsAnswer {
        head: SpanHead::new(ask.tenant_id(), span, at),
        rows,
        events: found.events.iter().map(|position| ask.show(*position)).collect(),
        events_total: found.events_total,
        since: ask.show(found.since),
        reflected: ask.reflected(found.position)?,
        definition: DEFINITION,
    };
    Ok(Json::new(body).rows(count).version(is_fixed.then_some(version)))
}

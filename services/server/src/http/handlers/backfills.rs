//! `GET /v1/backfills`, `GET` and `DELETE /v1/backfills/{batch}`: what came with each batch, and its retraction.

use lastseen_event::{BatchOrdinal, Position};
use lastseen_store::TypeCounts;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::http::answer::{Accepted, Answer, Json, Version};
use crate::http::ask::Ask;
use crate::http::auth;
use crate::http::params::params;
use crate::http::params::value::PageLimit;
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::questions::backfills::{Backfill, BatchState};

params! {
    /// A page of batches. The cursor is the number of the last batch that was shown.
    BackfillsParams {
        /// an integer from 1 to 1000
        limit: PageLimit = "`100`",
        /// a `next_cursor` of this list
        cursor: u64 = "the first page",
        /// a position
        min_position: Position = "none",
    }
}

params! {
    /// One batch.
    BackfillParams {
        /// a position
        min_position: Position = "none",
    }
}

params! {
    /// A retraction: the number of events that are to go, as they were told.
    RetractParams {
        /// the number of events in the batch, as `GET` returns it
        events: u64 = "required",
    }
}

/// A batch of a backfill.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "BackfillRow")]
struct Row {
    batch: String,
    /// `active`, `retracting` (the numbers still count the batch) or `retracted`.
    state: &'static str,
    events: u64,
    #[serde(serialize_with = "by_name")]
    #[schemars(with = "schema::EventsByType")]
    types: TypeCounts,
}

fn by_name<S: Serializer>(types: &TypeCounts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(types.iter().map(|(event_type, events)| (event_type.as_str(), events)))
}

impl From<Backfill> for Row {
    fn from(Backfill { batch, state, types }: Backfill) -> Self {
        let state = match state {
            BatchState::Active => "active",
            BatchState::Retracting => "retracting",
            BatchState::Retracted => "retracted",
        };
        Self { batch, state, events: types.total(), types }
    }
}

/// A page of batches.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Backfills")]
pub(in crate::http) struct BackfillsAnswer {
    /// The batch that came last first.
    backfills: Vec<Row>,
    /// Batches of the whole list.
    total: usize,
    /// The cursor of the next page; null on the last one.
    next_cursor: Option<String>,
    #[serde(flatten)]
    reflected: Reflected,
}

impl Answer for BackfillsAnswer {
    const NAME: &'static str = "Backfills";
    const EXAMPLE: &'static str = include_str!("../description/examples/Backfills.json");
    const HAS_ETAG: bool = true;
}

/// One batch.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Backfill")]
pub(in crate::http) struct OneBackfill {
    #[serde(flatten)]
    backfill: Row,
    #[serde(flatten)]
    reflected: Reflected,
}

impl Answer for OneBackfill {
    const NAME: &'static str = "Backfill";
    const EXAMPLE: &'static str = include_str!("../description/examples/Backfill.json");
    const HAS_ETAG: bool = true;
}

/// `GET /v1/backfills`
pub(in crate::http) async fn backfills(
    ask: Ask<auth::Backfill, BackfillsParams>,
) -> Result<Json<BackfillsAnswer>, Problem> {
    let before = match ask.params.cursor.map(u32::try_from) {
        Some(Ok(number)) => Some(BatchOrdinal::new(number)),
        Some(Err(_)) => {
            return Err(Problem::invalid_parameter("cursor", "expected a next_cursor of this list"));
        }
        None => None,
    };
    let reading = ask.reading(ask.params.min_position).await?;
    let limit = ask.params.limit.unwrap_or_default().0;
    let (backfills, next, total) = ask.questions()?.backfills(&reading, before, limit);
    let rows = backfills.len();
    let version = Version::of(&reading, reading.position);
    let body = BackfillsAnswer {
        backfills: backfills.into_iter().map(Row::from).collect(),
        total,
        next_cursor: next.map(|number| number.get().to_string()),
        reflected: ask.reflected(reading.position)?,
    };
    Ok(Json::new(body).rows(rows).version(Some(version)))
}

/// `GET /v1/backfills/{batch}`
pub(in crate::http) async fn backfill(
    ask: Ask<auth::Backfill, BackfillParams>,
) -> Result<Json<OneBackfill>, Problem> {
    one(&ask, ask.params.min_position).await
}

/// `DELETE /v1/backfills/{batch}`: 202 once it is recorded; its events go on counting until the views are rebuilt.
pub(in crate::http) async fn retract(
    ask: Ask<auth::Backfill, RetractParams>,
) -> Result<Accepted<OneBackfill>, Problem> {
    let Some(events) = ask.params.events else {
        let detail = "expected the number of events that are to go, as GET of the batch tells it";
        return Err(Problem::invalid_parameter("events", detail));
    };
    ask.retract(events).await?;
    Ok(Accepted(one(&ask, None).await?.version(None)))
}

async fn one<P>(
    ask: &Ask<auth::Backfill, P>,
    min_position: Option<Position>,
) -> Result<Json<OneBackfill>, Problem> {
    let reading = ask.reading(min_position).await?;
    let backfill = ask.questions()?.backfill(&reading, ask.batch())?;
    let version = Version::of(&reading, reading.position);
    let body = OneBackfill { backfill: backfill.into(), reflected: ask.reflected(reading.position)? };
    Ok(Json::new(body).version(Some(version)))
}

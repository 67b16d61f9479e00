//! `GET /v1/backfills`, `GET` and `DELETE /v1/backfills/{batch}`: what came with each batch, and its retraction.

use axum::http::StatusCode;
use lastseen_event::{BatchOrdinal, Position};
use lastseen_store::TypeCounts;
use serde::{Serialize, Serializer};

use crate::http::answer::{Answer, Json, Version};
use crate::http::ask::Ask;
use crate::http::auth;
use crate::http::params::params;
use crate::http::params::value::PageLimit;
use crate::http::problem::Problem;
use crate::keys::seal::ShownPosition;
use crate::questions::backfills::{Backfill, BatchState};

params! {
    /// A page of batches. The cursor is the number of the last batch that was shown.
    BackfillsParams {
        limit: PageLimit,
        cursor: u64,
        min_position: Position,
    }
}

params! {
    /// One batch.
    BackfillParams {
        min_position: Position,
    }
}

params! {
    /// A retraction: the number of events that are to go, as they were told.
    RetractParams {
        events: u64,
    }
}

#[derive(Serialize)]
struct Row {
    batch: String,
    state: &'static str,
    events: u64,
    #[serde(serialize_with = "by_name")]
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

#[derive(Serialize)]
pub(in crate::http) struct BackfillsAnswer {
    /// The batch that came last first.
    backfills: Vec<Row>,
    next_cursor: Option<String>,
    position: ShownPosition,
}

impl Answer for BackfillsAnswer {
    const NAME: &'static str = "Backfills";
}

#[derive(Serialize)]
pub(in crate::http) struct OneBackfill {
    #[serde(flatten)]
    backfill: Row,
    position: ShownPosition,
}

impl Answer for OneBackfill {
    const NAME: &'static str = "Backfill";
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
    let (backfills, next) = ask.questions()?.backfills(&reading, before, limit);
    let rows = backfills.len();
    let version = Version::of(&reading, reading.position);
    let body = BackfillsAnswer {
        backfills: backfills.into_iter().map(Row::from).collect(),
        next_cursor: next.map(|number| number.get().to_string()),
        position: ask.show(reading.position),
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
) -> Result<Json<OneBackfill>, Problem> {
    let Some(events) = ask.params.events else {
        let detail = "expected the number of events that are to go, as GET of the batch tells it";
        return Err(Problem::invalid_parameter("events", detail));
    };
    ask.retract(events).await?;
    Ok(one(&ask, None).await?.version(None).status(StatusCode::ACCEPTED))
}

async fn one<P>(
    ask: &Ask<auth::Backfill, P>,
    min_position: Option<Position>,
) -> Result<Json<OneBackfill>, Problem> {
    let reading = ask.reading(min_position).await?;
    let backfill = ask.questions()?.backfill(&reading, ask.batch())?;
    let version = Version::of(&reading, reading.position);
    let body = OneBackfill { backfill: backfill.into(), position: ask.show(reading.position) };
    Ok(Json::new(body).version(Some(version)))
}

//! `GET /v1/backfills`, `GET` and `DELETE /v1/backfills/{batch}`: what came with each batch, and taking one back.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use lastseen_event::{BatchName, BatchOrdinal};
use lastseen_projections::Retracted;
use lastseen_store::{Batch, Batches, EventStore, TypeCounts};
use serde::{Serialize, Serializer};

use crate::app::AppState;
use crate::engine::Engine;
use crate::problem::Problem;
use crate::query::answer::json;
use crate::query::params::Params;
use crate::query::{limit, scope};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

#[derive(Serialize)]
struct Backfill {
    batch: String,
    state: BatchState,
    events: u64,
    #[serde(serialize_with = "by_name")]
    types: TypeCounts,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum BatchState {
    Active,
    /// The views are being rebuilt without it.
    Retracting,
    Retracted,
}

#[derive(Serialize)]
struct List {
    /// Those that came last first.
    backfills: Vec<Backfill>,
    next_cursor: Option<String>,
    position: u64,
}

#[derive(Serialize)]
struct One {
    #[serde(flatten)]
    backfill: Backfill,
    position: u64,
}

fn by_name<S: Serializer>(types: &TypeCounts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(types.iter().map(|(event_type, events)| (event_type.as_str(), events)))
}

impl Backfill {
    fn new((number, batch): (BatchOrdinal, &Batch), left_out: &Retracted) -> Self {
        let state = match batch.retracted {
            None => BatchState::Active,
            Some(_) if left_out.contains(number) => BatchState::Retracted,
            Some(_) => BatchState::Retracting,
        };
        Self { batch: batch.name().to_owned(), state, events: batch.events.total(), types: batch.events }
    }

    fn named(batches: &Batches, name: &str, left_out: &Retracted) -> Option<Self> {
        let number = batches.find(name)?;
        Some(Self::new((number, batches.get(number)?), left_out))
    }
}

/// `GET /v1/backfills`
pub(crate) async fn list(State(app): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let params = Params::parse(query.as_deref(), &["limit", "cursor", "min_position"])?;
    let limit = params.get("limit", limit::<LIMIT_MAX>)?.unwrap_or(LIMIT_DEFAULT);
    let before = params.get("cursor", cursor)?;
    let engine = app.engine()?;
    let left_out = scope::live(engine, &params).await?.read().retracted().clone();
    let position = engine.position().get();
    let (backfills, more) = engine.log.with_batches(|batches| {
        let rest = batches.iter().rev().filter(|(number, _)| before.is_none_or(|before| *number < before));
        let mut shown: Vec<_> = rest.take(limit + 1).collect();
        let more = shown.len() > limit;
        shown.truncate(limit);
        let next = shown.last().filter(|_| more).map(|(number, _)| number.get().to_string());
        (shown.into_iter().map(|batch| Backfill::new(batch, &left_out)).collect(), next)
    });
    Ok(json(&List { backfills, next_cursor: more, position }))
}

/// The number of the last batch that was shown.
fn cursor(text: &str) -> Result<BatchOrdinal, &'static str> {
    text.parse().map(BatchOrdinal::new).map_err(|_| "expected the next_cursor of a page before")
}

type BatchPath = Result<Path<String>, PathRejection>;

/// `GET /v1/backfills/{batch}`
pub(crate) async fn one(
    State(app): AppState,
    path: BatchPath,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Path(name) = path.map_err(Problem::invalid_path)?;
    let params = Params::parse(query.as_deref(), &["min_position"])?;
    let engine = app.engine()?;
    scope::live(engine, &params).await?;
    answer(engine, &name)
}

/// `DELETE /v1/backfills/{batch}`: 202 once it is recorded; its events go on counting until the views are rebuilt.
pub(crate) async fn retract(
    State(app): AppState,
    path: BatchPath,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Path(name) = path.map_err(Problem::invalid_path)?;
    Params::parse(query.as_deref(), &[])?;
    let engine = app.engine()?;
    let batch = BatchName::new(&name).map_err(|_| Problem::unknown_batch())?;
    let recorded = engine.log.retract(batch).await;
    if recorded.map_err(|error| Problem::append(&error, |_| Vec::new()))?.is_none() {
        return Err(Problem::unknown_batch());
    }
    Ok((StatusCode::ACCEPTED, answer(engine, &name)?).into_response())
}

fn answer(engine: &Arc<Engine>, name: &str) -> Result<Response, Problem> {
    let left_out = engine.live().read().retracted().clone();
    let position = engine.position().get();
    let backfill = engine.log.with_batches(|batches| Backfill::named(batches, name, &left_out));
    Ok(json(&One { backfill: backfill.ok_or_else(Problem::unknown_batch)?, position }))
}

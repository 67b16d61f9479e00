//! `GET /v1/events`: history in order, streamed as NDJSON. One batch is read and turned into text while the one before is
//! on its way; whoever reads slowly slows only that.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use lastseen_event::wire::{encode_ndjson, encode_retraction};
use lastseen_event::{BatchName, EventType, Position, Retraction};
use lastseen_log::LogReader;
use lastseen_store::{Detail, EventReader, EventStore, EventTypes, Filter, ReadError, RecordedBatch, Scan};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::app::AppState;
use crate::engine::Engine;
use crate::live::SharedViews;
use crate::problem::Problem;
use crate::query::params::{self, Params};
use crate::query::scope;
use crate::query::tenant::tenant;
use crate::tasks;

const PARAMS: [&str; 11] = [
    "after",
    "until",
    "recorded_since",
    "recorded_until",
    "occurred_since",
    "occurred_until",
    "tenant_id",
    "user_id",
    "type",
    "limit",
    "min_position",
];

/// A reader that takes nothing for this long is cut off: it holds a batch in memory and one of the few replays.
const STALLED: Duration = Duration::from_mins(1);

/// Text sent at once, at least, where there is more.
const PIECE_BYTES: usize = 256 * 1024;

/// `GET /v1/events`
pub(crate) async fn events(State(app): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let params = Params::parse(query.as_deref(), &PARAMS)?;
    let engine = app.engine()?;
    let live = scope::live(engine, &params).await?;
    let tail = engine.position();
    let after = params.get("after", params::position)?.unwrap_or(Position::START);
    let until = params.get("until", params::position)?.map_or(tail, |until| until.min(tail));
    let limit = params.get("limit", limit)?.unwrap_or(u64::MAX);
    let filter = filter((engine, &live), &params)?;
    let permit = engine.replays.clone().try_acquire_owned().map_err(|_| Problem::too_many_replays())?;
    let reader = engine.log.scan(Scan { after, until: Some(until), detail: Detail::Events, filter });
    let (pieces, received) = mpsc::channel(1);
    tasks::task(send(Replay { engine: engine.clone(), reader, until, left: limit }, pieces, permit));
    let body = stream::unfold(Some(received), |received| async {
        let mut received = received?;
        match received.recv().await {
            Some(Piece::Text(text)) => Some((Ok(text), Some(received))),
            Some(Piece::End) => None,
            // Without the end, the connection is broken off: nobody takes a part for the whole.
            None => Some((Err(std::io::Error::other("the replay was broken off")), None)),
        }
    });
    let headers = [
        (CONTENT_TYPE.as_str(), "application/x-ndjson".to_owned()),
        ("lastseen-until", until.get().to_string()),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn filter((engine, live): (&Engine, &SharedViews), params: &Params) -> Result<Filter, Problem> {
    let mut filter = Filter {
        types: params.get("type", types)?,
        occurred_since: params.get("occurred_since", params::instant)?,
        occurred_until: params.get("occurred_until", params::instant)?,
        recorded_since: params.get("recorded_since", params::instant)?,
        recorded_until: params.get("recorded_until", params::instant)?,
        ..Filter::default()
    };
    let name = |value: &str| Ok::<_, String>(value.to_owned());
    let (tenant_id, user_id) = (params.get("tenant_id", name)?, params.get("user_id", name)?);
    match (tenant_id, user_id) {
        (Some(tenant_id), Some(user_id)) => {
            tenant((engine, live), &tenant_id)?;
            let member = engine.log.members().find(&tenant_id, &user_id).ok_or_else(Problem::unknown_user)?;
            filter.member = Some(member.member);
        }
        (Some(tenant_id), None) => filter.tenant = Some(tenant((engine, live), &tenant_id)?),
        (None, Some(user_id)) => {
            filter.person =
                Some(engine.log.members().find_person(&user_id).ok_or_else(Problem::unknown_user)?);
        }
        (None, None) => {}
    }
    Ok(filter)
}

/// A comma list of event types.
fn types(text: &str) -> Result<EventTypes, String> {
    text.split(',').map(EventType::parse).collect::<Option<EventTypes>>().ok_or_else(|| {
        format!("expected a comma list of {}", EventType::ALL.map(EventType::as_str).join(", "))
    })
}

fn limit(text: &str) -> Result<u64, &'static str> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or("expected an integer of at least 1")
}

/// A replay on its way.
struct Replay {
    engine: Arc<Engine>,
    reader: LogReader,
    until: Position,
    /// Events that may still be sent.
    left: u64,
}

enum Piece {
    Text(Bytes),
    End,
}

/// Sends pieces until the end, or until nobody takes them.
async fn send(mut replay: Replay, pieces: mpsc::Sender<Piece>, permit: OwnedSemaphorePermit) {
    loop {
        let (read, next) = tasks::blocking(move || (replay.next(), replay)).await;
        replay = next;
        let piece = match read {
            Ok(Some(text)) => Piece::Text(text),
            Ok(None) => Piece::End,
            Err(error) => {
                tracing::error!(cause = Problem::chain(&error), "a replay was broken off");
                break;
            }
        };
        let is_last = matches!(piece, Piece::End);
        if let Err(error) = pieces.send_timeout(piece, STALLED).await {
            if matches!(error, mpsc::error::SendTimeoutError::Timeout(_)) {
                tracing::warn!("a replay was broken off: its reader took nothing for {STALLED:?}");
            }
            break;
        }
        if is_last {
            break;
        }
    }
    drop(permit);
}

impl Replay {
    /// The next lines; `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let mut text = Vec::new();
        while self.left > 0 && text.len() < PIECE_BYTES {
            let Some(batch) = self.reader.next_batch()? else { break };
            let RecordedBatch { facts, events, retractions, reached } = &batch;
            let mut retractions = retractions.iter().peekable();
            for (fact, event) in facts.iter().zip(events.iter()) {
                while let Some(retraction) = retractions.next_if(|it| it.position < fact.position) {
                    self.retraction(retraction, &mut text);
                }
                if self.left == 0 {
                    break;
                }
                encode_ndjson(&event, fact.position, fact.recorded_at, &mut text);
                self.left -= 1;
            }
            retractions.for_each(|retraction| self.retraction(retraction, &mut text));
            if *reached >= self.until {
                break;
            }
        }
        Ok((!text.is_empty()).then(|| text.into()))
    }

    fn retraction(&mut self, retraction: &Retraction, text: &mut Vec<u8>) {
        if self.left > 0 {
            self.engine.log.with_batches(|batches| {
                if let Some(Ok(name)) =
                    batches.get(retraction.batch).map(|batch| BatchName::new(batch.name()))
                {
                    encode_retraction(retraction, name, text);
                }
            });
            self.left -= 1;
        }
    }
}

/// Replays at once: each takes a core while it is read, and about 50 MB.
pub(crate) const REPLAYS_MAX: usize = 8;

/// The engine's share of what a replay needs.
pub(crate) type Replays = Arc<tokio::sync::Semaphore>;

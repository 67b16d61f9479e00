//! `POST /v1/events`: body in, batch out, appended, acknowledged when durable and visible.

mod decompress;

use std::sync::Arc;

use axum::extract::{RawQuery, Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use axum::response::Response;
use lastseen_event::limits::REQUEST_BYTES_MAX;
use lastseen_event::wire::{self, Decoded};
use lastseen_event::{EventBatch, EventFault, FaultCode, UtcInstant};
use lastseen_store::{Appended, EventStore, OnRefused, RefusedRows};
use serde::Serialize;

use self::decompress::Encoding;
use crate::app::AppState;
use crate::body;
use crate::engine::Engine;
use crate::problem::Problem;
use crate::query::answer::json;
use crate::query::params::Params;
use crate::tasks;

#[derive(Serialize)]
struct Published {
    stored: usize,
    duplicates: usize,
    refused: Vec<EventFault>,
    position: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnInvalid {
    Refuse,
    Skip,
}

/// How the events stand in the body.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Ndjson,
}

const FORMATS: &str = "application/json or application/x-ndjson";

/// `POST /v1/events`
pub(crate) async fn publish(
    State(app): AppState,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::parse(query.as_deref(), &["on_invalid"])?;
    let on_invalid = params.get("on_invalid", on_invalid)?.unwrap_or(OnInvalid::Refuse);
    let format = format(request.headers())?;
    let encoding =
        Encoding::of(request.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?")))?;
    let engine = app.engine()?;
    let body = body::read(request.into_body(), REQUEST_BYTES_MAX).await?;
    let latest = engine.now().saturating_add(app.future_tolerance);
    let decoded = decode(engine, body, encoding, (format, latest)).await?;
    let published = append(engine, decoded, on_invalid).await?;
    Ok(json(&published))
}

fn on_invalid(value: &str) -> Result<OnInvalid, &'static str> {
    match value {
        "refuse" => Ok(OnInvalid::Refuse),
        "skip" => Ok(OnInvalid::Skip),
        _ => Err("expected refuse or skip"),
    }
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let (found, media_type) = body::content_type(headers);
    match media_type.as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" | "application/ndjson" => Ok(Format::Ndjson),
        _ => Err(Problem::unsupported_media_type(FORMATS, found)),
    }
}

/// Decompresses and decodes. Small bodies on the spot; large ones beside, so that queries are not kept waiting.
async fn decode(
    engine: &Arc<Engine>,
    body: Vec<u8>,
    encoding: Encoding,
    (format, latest): (Format, UtcInstant),
) -> Result<Decoded, Problem> {
    /// About 100 events: decoded faster than another thread wakes up.
    const LARGE_BODY_BYTES: usize = 16 * 1024;
    let large = body.len() > LARGE_BODY_BYTES || encoding.is_compressed();
    let work = move || {
        let body = encoding.decode(body)?;
        match format {
            Format::Json => wire::decode_json(&body, latest),
            Format::Ndjson => wire::decode_ndjson(&body, latest),
        }
        .map_err(Problem::from)
    };
    if !large {
        return work();
    }
    let _permit = engine.decodes.acquire().await.map_err(|_| Problem::closing())?;
    tasks::blocking(work).await
}

async fn append(engine: &Engine, decoded: Decoded, on_invalid: OnInvalid) -> Result<Published, Problem> {
    let Decoded { batch, faults } = decoded;
    let on_refused = match (on_invalid, faults.is_empty()) {
        (OnInvalid::Skip, _) => OnRefused::Skip,
        (OnInvalid::Refuse, true) => OnRefused::RefuseBatch,
        // Refused for its faults already; what the log refuses belongs into the same answer.
        (OnInvalid::Refuse, false) => OnRefused::ReportOnly,
    };
    let Some(rows) = Rows::of(&batch) else {
        return nothing_valid(engine, faults, on_invalid);
    };
    match engine.log.append(batch, on_refused).await {
        Ok(Appended { stored, duplicates, refused, position }) => {
            let refused = merged(faults, rows.faults(&refused));
            Ok(Published { stored, duplicates, refused, position: position.get() })
        }
        Err(error) => Err(Problem::append(&error, |refused| merged(faults, rows.faults(refused)))),
    }
}

/// The answer where no event of the request is valid.
fn nothing_valid(
    engine: &Engine,
    faults: Vec<EventFault>,
    on_invalid: OnInvalid,
) -> Result<Published, Problem> {
    match on_invalid {
        OnInvalid::Refuse => Err(Problem::invalid_events(faults)),
        OnInvalid::Skip => {
            Ok(Published { stored: 0, duplicates: 0, refused: faults, position: engine.position().get() })
        }
    }
}

/// What is needed of a batch's rows after the batch has gone to the log.
struct Rows(Vec<(usize, lastseen_event::EventId)>);

impl Rows {
    /// `None` for an empty batch.
    fn of(batch: &EventBatch) -> Option<Self> {
        let rows = |row| (batch.request_index(row), batch.identity(row).0);
        (!batch.is_empty()).then(|| Self((0..batch.len()).map(rows).collect()))
    }

    fn faults(&self, refused: &RefusedRows) -> Vec<EventFault> {
        let id = "expected a new id: this one is stored with other content";
        let batch = "expected another name: this batch was taken back";
        let fault = |row: &usize, (field, code, detail): (&str, FaultCode, &str)| {
            let (index, id) = self.0.get(*row)?;
            let (field, id, detail) = (Some(field.to_owned()), Some(id.to_string()), detail.to_owned());
            Some(EventFault { index: *index, id, field, code, detail })
        };
        let conflicts = refused.conflicts.iter().map(|row| fault(row, ("id", FaultCode::IdConflict, id)));
        let retracted =
            refused.retracted.iter().map(|row| fault(row, ("batch", FaultCode::BatchRetracted, batch)));
        conflicts.chain(retracted).flatten().collect()
    }
}

fn merged(mut faults: Vec<EventFault>, refused: Vec<EventFault>) -> Vec<EventFault> {
    faults.extend(refused);
    faults.sort_by_key(|fault| fault.index);
    faults
}

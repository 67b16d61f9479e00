//! `POST /v1/events`: body in, batch out, appended, acknowledged when durable and visible.

use axum::http::HeaderMap;
use lastseen_event::limits::{REQUEST_BYTES_MAX, REQUEST_EVENTS_MAX};
use lastseen_event::wire::{self, Accept, Decoded, FaultsKept};
use lastseen_event::{EventBatch, EventFault, EventId, FaultCode, Position};
use lastseen_store::{AppendError, Appended, OnRefused, RefusedRows};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::Serialize;
use tracing::Instrument;

use crate::http::answer::{Answer, Json};
use crate::http::ask::Ask;
use crate::http::auth::Publish;
use crate::http::body::cloud_event::{self, Attribute};
use crate::http::body::{self, ReadBody, decompress};
use crate::http::description::{Content, ENCODING, RequestBody};
use crate::http::params::params;
use crate::http::params::value::OnInvalid;
use crate::http::problem::{FAULTS_LISTED_MAX, Problem};
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::http::schema::events::{CloudEvent, PublishedEvent};
use crate::publishing::Publishing;
use crate::tasks;

params! {
    /// An append.
    PublishParams {
        /// `refuse` or `skip`
        on_invalid: OnInvalid = "`refuse`",
    }
}

/// The outcome of an append: the events are durable.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct Published {
    /// Events that are new.
    stored: usize,
    /// Events that were stored before, with the same content.
    duplicates: usize,
    /// With `on_invalid=skip`: the faults of the events that were not stored.
    #[schemars(with = "Vec<schema::Fault>")]
    refused: Vec<EventFault>,
    #[serde(flatten)]
    reflected: Reflected,
}

/// The outcome of an append, for the answer.
struct Outcome {
    stored: usize,
    duplicates: usize,
    refused: Vec<EventFault>,
    position: Position,
}

impl Answer for Published {
    const NAME: &'static str = "Published";
    const EXAMPLE: &'static str = include_str!("../description/examples/Published.json");
}

/// The notation of the events.
enum Format {
    Json,
    Ndjson,
    /// One event of `CloudEvents` in structured mode.
    CloudEvent,
    CloudEventBatch,
    /// One event of `CloudEvents` in binary mode. Its body is data, which is not read.
    Attributes(Vec<Attribute>),
}

const FORMATS: &str = "application/json, application/x-ndjson, application/cloudevents+json, \
                       application/cloudevents-batch+json, or the headers of a CloudEvents event";

/// The body of a request: events.
pub(in crate::http) fn body(generator: &mut SchemaGenerator) -> RequestBody {
    let event = generator.subschema_for::<PublishedEvent>();
    let many = json_schema!({
        "type": "array", "items": event, "minItems": 1, "maxItems": REQUEST_EVENTS_MAX,
    });
    let lines = json_schema!({
        "type": "string",
        "description": "One event a line; blank lines do not count.",
        "contentMediaType": "application/x-ndjson",
        "contentSchema": event,
    });
    let json = Content {
        media_type: "application/json",
        schema: json_schema!({ "oneOf": [event, many] }),
        example: Some(include_str!("../description/examples/Event.json")),
    };
    let ndjson = Content::new("application/x-ndjson", lines);
    let event = generator.subschema_for::<CloudEvent>();
    let many = json_schema!({ "type": "array", "items": event, "maxItems": REQUEST_EVENTS_MAX });
    let example = Some(include_str!("../description/examples/CloudEvent.json"));
    let structured = Content { media_type: CLOUD_EVENT, schema: event, example };
    let batch = Content::new(CLOUD_EVENT_BATCH, many);
    let about = "Events. A request with the attributes of a CloudEvents event as `ce-` headers is one event, \
                 and its body is not read.";
    RequestBody { about, content: vec![json, ndjson, structured, batch], headers: vec![ENCODING] }
}

const CLOUD_EVENT: &str = "application/cloudevents+json";
const CLOUD_EVENT_BATCH: &str = "application/cloudevents-batch+json";

/// `POST /v1/events`
pub(in crate::http) async fn publish(ask: Ask<Publish, PublishParams>) -> Result<Json<Published>, Problem> {
    let on_invalid = ask.params.on_invalid.unwrap_or_default();
    let format = format(&ask.headers)?;
    let encoding = decompress::Encoding::of_headers(&ask.headers)?;
    ask.publishing()?;
    let body = ask.take_body();
    let body = body::read(body, REQUEST_BYTES_MAX, ask.app()).await?;
    // Until the events are stored, they take about as much memory as their text.
    let (decoded, _memory) = decode(&ask, body, encoding, (format, on_invalid)).await?;
    ask.note_foreign_events(decoded.foreign);
    ask.count_events(decoded.count)?;
    let Outcome { stored, duplicates, refused, position } =
        append(ask.publishing()?, decoded, on_invalid).await?;
    let rows = refused.len();
    ask.app().metrics.not_stored(duplicates, rows);
    Ok(Json::new(Published { stored, duplicates, refused, reflected: ask.reflected(position)? }).rows(rows))
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let (found, media_type) = body::content_type(headers);
    match media_type.as_str() {
        CLOUD_EVENT => return Ok(Format::CloudEvent),
        CLOUD_EVENT_BATCH => return Ok(Format::CloudEventBatch),
        // Another notation of the same modes.
        other if other.starts_with("application/cloudevents") => {
            return Err(Problem::unsupported_media_type(FORMATS, found));
        }
        _ => {}
    }
    if let Some(attributes) = cloud_event::attributes(headers) {
        return Ok(Format::Attributes(attributes));
    }
    match media_type.as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" | "application/ndjson" => Ok(Format::Ndjson),
        _ => Err(Problem::unsupported_media_type(FORMATS, found)),
    }
}

/// Decompresses and decodes: small bodies on the spot, large ones beside, so that queries are not kept waiting.
async fn decode(
    ask: &Ask<Publish, PublishParams>,
    body: ReadBody,
    encoding: decompress::Encoding,
    (format, on_invalid): (Format, OnInvalid),
) -> Result<(Decoded, crate::memory::Reserved), Problem> {
    /// About 100 events: decoded faster than another thread wakes up.
    const LARGE_BODY_BYTES: usize = 16 * 1024;
    let body_bytes = body.len();
    let large = body_bytes > LARGE_BODY_BYTES || encoding.is_compressed();
    let faults = match on_invalid {
        OnInvalid::Refuse => FaultsKept::First(FAULTS_LISTED_MAX),
        OnInvalid::Skip => FaultsKept::All,
    };
    let Accept { latest, faults, tenants, batches } = ask.accepted(faults)?;
    let tenants = tenants.map(<[String]>::to_vec);
    let work = move || {
        let (bytes, memory) = encoding.text(body, REQUEST_BYTES_MAX)?;
        let accept = Accept { latest, faults, tenants: tenants.as_deref(), batches };
        let decoded = match format {
            Format::Json => wire::decode_json(&bytes, accept, tasks::give_way),
            Format::Ndjson => wire::decode_ndjson(&bytes, accept, tasks::give_way),
            Format::CloudEvent => wire::decode_cloud_event(&bytes, accept),
            Format::CloudEventBatch => wire::decode_cloud_event_batch(&bytes, accept, tasks::give_way),
            Format::Attributes(attributes) => {
                let attributes = attributes.iter().map(|(name, text)| (name.as_str(), text.as_deref()));
                Ok(wire::decode_cloud_event_attributes(attributes, accept))
            }
        };
        decoded.map(|decoded| (decoded, memory)).map_err(Problem::from)
    };
    let span = tracing::debug_span!("decode", bytes = body_bytes);
    let work = move || span.in_scope(work);
    if !large {
        return work();
    }
    let waiting = tokio::time::timeout(ask.app().limits.wait, ask.app().decodes.acquire());
    let Ok(_permit) = waiting.await else { return Err(Problem::busy()) };
    tasks::blocking(work).await.map_err(Problem::of_this_request)
}

async fn append(
    publishing: &Publishing,
    decoded: Decoded,
    on_invalid: OnInvalid,
) -> Result<Outcome, Problem> {
    let Decoded { batch, faults, faults_total, batch_field, .. } = decoded;
    let on_refused = match (on_invalid, faults.is_empty()) {
        (OnInvalid::Skip, _) => OnRefused::Skip,
        (OnInvalid::Refuse, true) => OnRefused::RefuseBatch,
        // Refused for its faults already; the answer names the rows that the log refuses as well.
        (OnInvalid::Refuse, false) => OnRefused::ReportOnly,
    };
    let Some(ids) = RowIds::of(&batch, batch_field) else {
        return match on_invalid {
            OnInvalid::Refuse if faults_total > 0 => Err(Problem::invalid_events(faults, faults_total)),
            OnInvalid::Refuse | OnInvalid::Skip => {
                let position = publishing.position();
                Ok(Outcome { stored: 0, duplicates: 0, refused: faults, position })
            }
        };
    };
    let span = tracing::debug_span!("append", events = batch.len());
    match publishing.append(batch, on_refused).instrument(span).await {
        Ok(Appended { stored, duplicates, refused, position }) => {
            let refused = merged(faults, ids.faults(&refused));
            Ok(Outcome { stored, duplicates, refused, position })
        }
        Err(error) => {
            let unknown = match &error {
                AppendError::PartlyUnknown { unknown, .. } => ids.unknown(unknown),
                _ => Vec::new(),
            };
            let problem = Problem::append(&error, |refused| {
                let refused = ids.faults(refused);
                let total = faults_total + refused.len();
                (merged(faults, refused), total)
            });
            Err(if unknown.is_empty() { problem } else { problem.listing(unknown) })
        }
    }
}

/// Index and id of each row of a batch, for after the batch has gone to the log.
struct RowIds {
    rows: Vec<(usize, EventId)>,
    /// The name of the field of a batch, as the request has it.
    batch_field: &'static str,
}

impl RowIds {
    /// `None` for an empty batch.
    fn of(batch: &EventBatch, batch_field: &'static str) -> Option<Self> {
        let row = |row| (batch.request_index(row), batch.identity(row).0);
        (!batch.is_empty()).then(|| Self { rows: (0..batch.len()).map(row).collect(), batch_field })
    }

    fn fault(&self, row: usize, (field, code, detail): (&str, FaultCode, &str)) -> Option<EventFault> {
        let (index, id) = self.rows.get(row)?;
        let (field, id, detail) = (Some(field.to_owned()), Some(id.to_string()), detail.to_owned());
        Some(EventFault { index: *index, id, field, code, detail })
    }

    /// Those that have no answer.
    fn unknown(&self, rows: &[usize]) -> Vec<EventFault> {
        let said = ("id", FaultCode::OutcomeUnknown, "it may or may not be stored: send the same id again");
        rows.iter().filter_map(|row| self.fault(*row, said)).collect()
    }

    fn faults(&self, refused: &RefusedRows) -> Vec<EventFault> {
        let id = "expected a new id: this one is stored with other content";
        let batch = "expected another name: this batch was retracted";
        let fault = |row: &usize, said: (&str, FaultCode, &str)| self.fault(*row, said);
        let conflicts = refused.conflicts.iter().map(|row| fault(row, ("id", FaultCode::IdConflict, id)));
        let retracted = refused
            .retracted
            .iter()
            .map(|row| fault(row, (self.batch_field, FaultCode::BatchRetracted, batch)));
        conflicts.chain(retracted).flatten().collect()
    }
}

fn merged(mut faults: Vec<EventFault>, refused: Vec<EventFault>) -> Vec<EventFault> {
    faults.extend(refused);
    faults.sort_by_key(|fault| fault.index);
    faults
}

//! `GET /v1/live`: the numbers of now as they change, as server-sent events.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream;
use lastseen_event::UtcInstant;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::Serialize;
use tokio::sync::watch;

use crate::http::answer::counts::Counts;
use crate::http::answer::{DEFINITION, Feed, Messages};
use crate::http::ask::Ask;
use crate::http::auth::{Query, Standing};
use crate::http::description::{Content, Success};
use crate::http::params::params;
use crate::http::params::value::EventLimit;
use crate::http::problem::Problem;
use crate::http::schema;
use crate::keys::Scope;
use crate::keys::seal::Positions;
use crate::questions::live::{LatestEvent, Now, WINDOWS};

params! {
    /// The scope.
    LiveParams {
        /// a tenant
        tenant_id: String = "all",
        /// an integer of at least 1: the answer ends after so many messages
        limit: EventLimit = "none: it does not end",
    }
}

/// A reader that got nothing new for so long gets a comment: proxies close what is silent.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// The data of a message.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "LiveMessage")]
struct Message {
    /// The instant for which the numbers hold.
    #[schemars(with = "schema::Instant")]
    at: UtcInstant,
    /// One for each of `24h`, `7d` and `30d`.
    windows: Vec<WindowCounts>,
    /// Events a second over the last minutes, at most five. Null: the server has just started, or it is about one tenant.
    events_per_second: Option<f64>,
    /// The latest events that came since the server started, the newest first, at most 20. Absent for keys without the scope
    /// `replay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<LiveEvent>>,
    /// The version of the definitions of the numbers.
    definition: u32,
}

#[derive(JsonSchema, Serialize)]
struct WindowCounts {
    window: &'static str,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(JsonSchema, Serialize)]
struct LiveEvent {
    id: String,
    #[serde(rename = "type")]
    event_type: &'static str,
    tenant_id: String,
    user_id: String,
    #[schemars(with = "schema::Instant")]
    occurred_at: UtcInstant,
}

impl From<&LatestEvent> for LiveEvent {
    fn from(event: &LatestEvent) -> Self {
        Self {
            id: event.id.to_string(),
            event_type: event.event_type.as_str(),
            tenant_id: event.tenant_id.clone(),
            user_id: event.user_id.clone(),
            occurred_at: event.occurred_at,
        }
    }
}

/// The data of a message, made once for all of its readers.
fn text(now: &Now, with_events: bool) -> &Arc<str> {
    now.text[usize::from(with_events)].get_or_init(|| {
        let windows = WINDOWS.iter().zip(&now.summaries);
        let message = Message {
            at: now.at,
            windows: windows
                .map(|((window, _), summary)| WindowCounts { window, counts: summary.into() })
                .collect(),
            events_per_second: now.rate,
            events: with_events.then(|| now.latest.iter().map(LiveEvent::from).collect()),
            definition: DEFINITION,
        };
        serde_json::to_string(&message).expect("answers are serializable").into()
    })
}

/// The messages of one reader.
pub(in crate::http) struct Numbers {
    received: watch::Receiver<Option<Arc<Now>>>,
    with_events: bool,
    /// Messages until the end. `None`: it does not end.
    left: Option<u64>,
    positions: Positions,
    standing: Standing,
}

impl Messages for Numbers {
    const NAME: &'static str = "Live";

    fn describe(generator: &mut SchemaGenerator) -> Success {
        let schema = json_schema!({
            "type": "object",
            "description": "One of the server-sent events.",
            "properties": {
                "event": { "const": "now" },
                "id": { "type": "string", "description": "The position that the numbers reflect." },
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": generator.subschema_for::<Message>(),
                },
            },
            "required": ["event", "id", "data"],
        });
        Success::of(vec![Content::new("text/event-stream", schema)])
    }

    fn stream(self) -> impl futures_util::Stream<Item = Bytes> + Send {
        stream::unfold(self, |mut numbers| async {
            if numbers.left == Some(0) {
                return None;
            }
            let changed = tokio::time::timeout(ALIVE_EVERY, numbers.received.changed()).await;
            if !numbers.standing.holds() {
                return None;
            }
            let piece = match changed {
                Ok(Ok(())) => {
                    let now = numbers.received.borrow_and_update().clone();
                    now.map(|now| numbers.message(&now))
                }
                // The server is stopping.
                Ok(Err(_)) => return None,
                Err(_) => None,
            };
            Some((piece.unwrap_or(Bytes::from_static(b": alive\n\n")), numbers))
        })
    }
}

impl Numbers {
    fn message(&mut self, now: &Now) -> Bytes {
        self.left = self.left.map(|left| left.saturating_sub(1));
        let (id, data) = (self.positions.show(now.position), text(now, self.with_events));
        format!("event: now\nid: {id}\ndata: {data}\n\n").into()
    }
}

/// `GET /v1/live`
pub(in crate::http) async fn live(ask: Ask<Query, LiveParams>) -> Result<Feed<Numbers>, Problem> {
    let reading = ask.reading(None).await?;
    let scope = ask.questions()?.scope(&reading, ask.params.tenant_id.as_deref(), true)?;
    let messages = Numbers {
        received: ask.live()?.follow(scope)?,
        with_events: ask.may(Scope::Replay),
        left: ask.params.limit.map(|limit| limit.0),
        positions: ask.positions().clone(),
        standing: ask.standing(),
    };
    Ok(Feed { messages, stall_timeout: ask.app().stall_timeout })
}

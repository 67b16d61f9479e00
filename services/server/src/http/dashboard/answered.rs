//! Answers of the API as parts of a page: the request, and the answer to it or the problem in its place.

use lastseen_event::UtcInstant;
use serde::Deserialize;

use super::templates::parts::Part;
use crate::http::answer::{Answer, Json, Pieces as _};
use crate::http::ask::Ask;
use crate::http::auth::{Asks, Look, Query, Replay};
use crate::http::handlers::replay;
use crate::http::handlers::users::List;
use crate::http::params::Params;
use crate::http::problem::Problem;

/// A request to the API, and its answer.
pub(super) struct Answered<T> {
    /// Path and query.
    pub(super) api: String,
    pub(super) answer: Part<T>,
}

impl<T> Answered<T> {
    /// The answer, where there is one.
    pub(super) fn ok(&self) -> Option<&T> {
        self.answer.as_ref().ok()
    }
}

/// Asks a handler of the API for an answer in JSON.
pub(super) async fn ask_api<P, Q, A, F>(
    ask: &Ask<Look, P>,
    (pattern, api): (&'static str, String),
    handler: impl FnOnce(Ask<Query, Q>) -> F,
) -> Answered<A>
where
    Q: Params,
    A: Answer,
    F: Future<Output = Result<Json<A>, Problem>>,
{
    let answer = async { Ok(handler(aside(ask, pattern, &api)?).await?.into_body()) }.await;
    Answered { api, answer }
}

/// Asks a handler of the API for a page of a list.
pub(super) async fn ask_list<P, Q, A, F>(
    ask: &Ask<Look, P>,
    (pattern, api): (&'static str, String),
    handler: impl FnOnce(Ask<Query, Q>) -> F,
) -> Answered<A>
where
    Q: Params,
    A: Answer,
    F: Future<Output = Result<List<A>, Problem>>,
{
    let answer = async { handler(aside(ask, pattern, &api)?).await?.into_page() }.await;
    Answered { api, answer }
}

/// An event as pages show it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ShownEvent {
    #[serde(deserialize_with = "position")]
    pub(super) position: String,
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) tenant_id: String,
    pub(super) user_id: String,
    pub(super) occurred_at: String,
    #[serde(default)]
    pub(super) session_id: Option<String>,
    #[serde(default)]
    pub(super) backfill_batch: Option<String>,
}

impl ShownEvent {
    pub(super) fn at(&self) -> Option<UtcInstant> {
        UtcInstant::parse(&self.occurred_at).ok()
    }
}

/// A position is a number, or sealed text.
fn position<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    })
}

/// Asks the API for the newest events.
pub(super) async fn newest<P>(ask: &Ask<Look, P>, api: String) -> Answered<Vec<ShownEvent>> {
    let answer = async {
        let mut stream = replay::replay(aside::<_, Replay, _>(ask, "/v1/events", &api)?).await?;
        let text = stream.pieces.next().map_err(|error| Problem::internal(&*error))?.unwrap_or_default();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).map_err(|error| Problem::internal(&error))).collect()
    };
    let answer = answer.await;
    Answered { api, answer }
}

fn aside<P, A: Asks, Q: Params>(
    ask: &Ask<Look, P>,
    pattern: &'static str,
    api: &str,
) -> Result<Ask<A, Q>, Problem> {
    ask.aside(pattern, api)
}

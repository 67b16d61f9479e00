//! Answers of the API as parts of a page: the request, and the answer to it or the problem in its place.

use std::time::Duration;

use lastseen_event::UtcInstant;
use serde::Deserialize;
use tokio::time::Instant;

use super::templates::parts::Part;
use crate::http::answer::{Answer, Json, Pieces as _};
use crate::http::ask::Ask;
use crate::http::auth::{Look, Query, Replay};
use crate::http::handlers::replay;
use crate::http::handlers::users::List;
use crate::http::params::Params;
use crate::http::problem::Problem;

/// The reason why an answer is not there.
#[derive(Debug)]
pub(super) enum Missing {
    Refused(Problem),
    /// It takes longer than a reader waits for a page. The work goes on, and the next request finds its outcome.
    Pending,
}

impl From<Problem> for Missing {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

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

    /// The problem as that of the whole page, which is nothing without this answer.
    pub(super) fn or_no_page(self) -> Result<Self, Problem> {
        match self.answer {
            Err(Missing::Refused(problem)) => Err(problem),
            answer => Ok(Self { answer, ..self }),
        }
    }
}

/// The API, asked for one page.
pub(super) struct Api<'a, P> {
    ask: &'a Ask<Look, P>,
    /// The page is sent then, with the answers that are there.
    until: Instant,
}

impl<'a, P> Api<'a, P> {
    /// Asks for whoever asks for a page.
    pub(super) fn of(ask: &'a Ask<Look, P>) -> Self {
        /// A reader sees something after this time in any case.
        const PATIENCE: Duration = Duration::from_millis(800);
        Self { ask, until: Instant::now() + PATIENCE }
    }

    /// Waits for an answer until the page has to be sent; a little in any case, as most are there at once.
    async fn wait<T>(&self, answer: impl Future<Output = Result<T, Problem>>) -> Part<T> {
        const A_LITTLE: Duration = Duration::from_millis(100);
        let until = self.until.max(Instant::now() + A_LITTLE);
        match tokio::time::timeout_at(until, answer).await {
            Ok(answer) => answer.map_err(Missing::Refused),
            Err(_) => Err(Missing::Pending),
        }
    }

    /// Asks a handler for an answer in JSON.
    pub(super) async fn json<Q, A, F>(
        &self,
        (pattern, api): (&'static str, String),
        handler: impl FnOnce(Ask<Query, Q>) -> F,
    ) -> Answered<A>
    where
        Q: Params,
        A: Answer,
        F: Future<Output = Result<Json<A>, Problem>>,
    {
        let answer = async { Ok(handler(self.ask.aside(pattern, &api)?).await?.into_body()) };
        Answered { answer: self.wait(answer).await, api }
    }

    /// Asks a handler for a page of a list.
    pub(super) async fn list<Q, A, F>(
        &self,
        (pattern, api): (&'static str, String),
        handler: impl FnOnce(Ask<Query, Q>) -> F,
    ) -> Answered<A>
    where
        Q: Params,
        A: Answer,
        F: Future<Output = Result<List<A>, Problem>>,
    {
        let answer = async { handler(self.ask.aside(pattern, &api)?).await?.into_page() };
        Answered { answer: self.wait(answer).await, api }
    }

    /// Asks for the newest events.
    pub(super) async fn newest(&self, api: String) -> Answered<Vec<ShownEvent>> {
        let answer = async {
            let asked: Ask<Replay, _> = self.ask.aside("/v1/events", &api)?;
            let mut stream = replay::replay(asked).await?;
            let text = stream.pieces.next().map_err(|error| Problem::internal(&*error))?.unwrap_or_default();
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines
                .map(|line| serde_json::from_slice(line).map_err(|error| Problem::internal(&error)))
                .collect()
        };
        Answered { answer: self.wait(answer).await, api }
    }
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

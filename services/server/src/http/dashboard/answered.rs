//! Answers of the API as parts of a page: the request, and the answer to it or the problem in its place.

use std::sync::Arc;
use std::time::Duration;

use lastseen_event::UtcInstant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

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
    /// It, or the reason why it is not there: one part of a page fails alone.
    pub(super) answer: Result<Arc<T>, Missing>,
    /// The instant at which it was made, where that is a while ago.
    pub(super) made: Option<UtcInstant>,
    /// The reason why there is no newer one.
    pub(super) refused: Option<Problem>,
}

impl<T> Answered<T> {
    fn new(api: String, answer: Result<Arc<T>, Missing>) -> Self {
        Self { api, answer, made: None, refused: None }
    }

    /// The answer, where there is one.
    pub(super) fn ok(&self) -> Option<&T> {
        self.answer.as_deref().ok()
    }

    /// The problem as that of the whole page, which is nothing without this answer.
    pub(super) fn or_no_page(self) -> Result<Self, Problem> {
        match self.answer {
            Err(Missing::Refused(problem)) => Err(problem),
            answer => Ok(Self { answer, ..self }),
        }
    }
}

/// An answer of longer ago is shown with its instant.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// The API, asked for one page.
pub(super) struct Api<'a, P> {
    ask: &'a Ask<Look, P>,
    /// The server's clock.
    now: UtcInstant,
    /// Whatever is not there by then is shown as it was before.
    prompt: Instant,
    /// The page is sent then, with the answers that are there.
    until: Instant,
}

impl<'a, P> Api<'a, P> {
    /// Asks for whoever asks for a page at this instant.
    pub(super) fn of(ask: &'a Ask<Look, P>, now: UtcInstant) -> Self {
        /// Most answers are there in less.
        const PROMPT: Duration = Duration::from_millis(25);
        /// A reader sees a page after this time in any case. Parts that take longer come into their places by themselves.
        const PATIENCE: Duration = Duration::from_millis(60);
        let begun = Instant::now();
        Self { ask, now, prompt: begun + PROMPT, until: begun + PATIENCE }
    }

    /// Waits for an answer until the page has to be sent. Of an earlier one it is told when it was made, unless that is
    /// moments ago.
    async fn wait<A: Answer + Sync>(
        &self,
        api: String,
        answering: Result<impl Future<Output = Result<A, Problem>> + Send + 'static, Problem>,
    ) -> Answered<A> {
        let answering = match answering {
            Ok(answering) => answering,
            Err(problem) => return Answered::new(api, Err(problem.into())),
        };
        let reach = self.ask.reach();
        let mut asked = self.ask.app().kept.ask(format!("{reach}\n{api}"), answering);
        let before = asked.before.take();
        let until = if before.is_some() { self.prompt } else { self.until };
        let answer = tokio::time::timeout_at(until, asked.answer()).await.ok().flatten();
        let refused = match answer {
            Some(Ok(answer)) => return Answered::new(api, Ok(answer)),
            // The log has a fault of the server under the id of the problem itself.
            Some(Err(problem)) if problem.is_fault() => Some(problem),
            Some(Err(problem)) => Some(problem.of_this_request()),
            None => None,
        };
        // Whoever may see no answer may see no earlier one either; a busy server changes nothing about that.
        let is_told = |age: &Duration| *age >= TOLD_AFTER;
        match before.filter(|_| refused.as_ref().is_none_or(|problem| problem.retry_after_s().is_some())) {
            Some((answer, age)) => {
                let made = Some(age).filter(is_told).map(|age| self.now.saturating_sub(age));
                Answered { made, refused, ..Answered::new(api, Ok(answer)) }
            }
            None => Answered::new(api, Err(refused.map_or(Missing::Pending, Missing::Refused))),
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
        A: Answer + Sync,
        F: Future<Output = Result<Json<A>, Problem>> + Send + 'static,
    {
        let answering = self.ask.aside(pattern, &api).map(|asked| Box::pin(handler(asked)));
        self.wait(api, answering.map(|answering| async { Ok(answering.await?.into_body()) })).await
    }

    /// Asks a handler for a page of a list.
    pub(super) async fn list<Q, A, F>(
        &self,
        (pattern, api): (&'static str, String),
        handler: impl FnOnce(Ask<Query, Q>) -> F,
    ) -> Answered<A>
    where
        Q: Params,
        A: Answer + Sync,
        F: Future<Output = Result<List<A>, Problem>> + Send + 'static,
    {
        let answering = self.ask.aside(pattern, &api).map(|asked| Box::pin(handler(asked)));
        self.wait(api, answering.map(|answering| async { answering.await?.into_page() })).await
    }

    /// Asks for the newest events.
    pub(super) async fn newest(&self, api: String) -> Answered<Events> {
        let asked: Result<Ask<Replay, _>, _> = self.ask.aside("/v1/events", &api);
        let answering = asked.map(|asked| async {
            let mut stream = replay::replay(asked).await?;
            let text = stream.pieces.next().map_err(|error| Problem::internal(&*error))?.unwrap_or_default();
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let events =
                lines.map(|line| serde_json::from_slice(line).map_err(|error| Problem::internal(&error)));
            events.collect::<Result<_, _>>().map(Events)
        });
        self.wait(api, answering).await
    }
}

/// The newest events, the last one first.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct Events(pub(super) Vec<ShownEvent>);

impl Answer for Events {
    const NAME: &'static str = "Events";
    const EXAMPLE: &'static str = "[]";
}

/// An event as pages show it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
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
    pub(super) batch: Option<String>,
    /// It does not count.
    #[serde(default)]
    pub(super) retracted: bool,
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

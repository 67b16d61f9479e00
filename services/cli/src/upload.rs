//! One batch to the server, as often as it takes: a repeated batch adds nothing, so every outcome that is not
//! an answer may be tried again.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use lastseen_client::transport::{authorities, retry_after};
use lastseen_server::keys::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::{Response, StatusCode, header};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body, Error, RequestBuilder};

use crate::args::ServerArgs;
use crate::signals::Interrupt;

/// Longer than any answer to a batch of the largest size takes on a server that works.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause; doubled up to [`PAUSE_MAX`] while the server says nothing about it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Largest body of one request: half of what the server takes, so that a proxy in between may have its own
/// idea of a limit.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// 10,000 refused events with several faults each stay below.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The answer to a stored batch.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) stored: u64,
    pub(crate) duplicates: u64,
    /// Ascending by index; an event with several faults is there several times.
    pub(crate) refused: Vec<Refused>,
}

/// One fault of one refused event.
#[derive(Debug, Deserialize)]
pub(crate) struct Refused {
    pub(crate) index: usize,
    #[serde(flatten)]
    pub(crate) fault: Fault,
}

/// A fault of an event; shown as `code field: detail`.
#[derive(Debug, Deserialize)]
pub(crate) struct Fault {
    pub(crate) field: Option<String>,
    pub(crate) code: String,
    pub(crate) detail: String,
}

impl Answer {
    /// Events that were refused, each with its first fault.
    pub(crate) fn refused_events(&self) -> impl Iterator<Item = &Refused> {
        self.refused.chunk_by(|a, b| a.index == b.index).filter_map(<[Refused]>::first)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        if let Some(field) = &self.field {
            write!(f, " {field}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// The outcome of sending, failures apart.
pub(crate) enum Sent {
    Answered(Answer),
    /// A signal came while the batch was not stored.
    Interrupted,
}

/// The outcome of asking, failures apart.
pub(crate) enum Found<T> {
    Answer(T),
    /// The server does not know what was asked about.
    Unknown,
    /// A signal came first.
    Interrupted,
}

/// The outcome of a deletion, failures apart.
pub(crate) enum Deleted {
    /// It is recorded.
    Recorded,
    /// There is more or less of it than was told; nothing happened.
    CountChanged,
    /// The server does not know what was to go.
    Unknown,
    /// A signal came first: it may or may not be recorded.
    Interrupted,
}

/// An answer as it came.
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// A connection to one server.
pub(crate) struct Uploader {
    agent: Agent,
    server: String,
    url: String,
    authorization: Option<String>,
    retry_for: Duration,
    interrupt: Interrupt,
}

/// The outcome of one attempt, failures apart.
enum Attempt<T> {
    Answered(T),
    /// Not now: why, and how long the server asks to wait.
    Later(String, Option<Duration>),
}

impl Uploader {
    /// # Errors
    /// If the file of the key cannot be read, or has no key.
    pub(crate) fn new(args: &ServerArgs, interrupt: Interrupt) -> anyhow::Result<Self> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent(concat!("lastseen/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(authorities(&args.server)).build());
        let key = key(args.key_file.as_deref(), args.key.as_deref())?;
        Ok(Self {
            agent: config.build().into(),
            server: args.server.clone(),
            url: format!("{}/v1/events?on_invalid=skip", args.server),
            authorization: key.map(|key| format!("Bearer {key}")),
            retry_for: args.retry_for,
            interrupt,
        })
    }

    /// Asks once, whatever the answer.
    ///
    /// # Errors
    /// If no answer comes.
    pub(crate) fn look(&self, path: &str) -> anyhow::Result<Seen> {
        let url = format!("{}{path}", self.server);
        let mut response =
            self.authorized(self.agent.get(&url)).call().with_context(|| format!("no answer from {url}"))?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Seen {
            status: response.status().as_u16(),
            body: body.with_context(|| format!("no answer from {url}"))?,
        })
    }

    /// Sends `body` until it is answered. `notice` is told once that the server makes us wait.
    pub(crate) fn send(&self, body: &[u8], notice: impl FnMut(&str)) -> anyhow::Result<Sent> {
        let answered = self.until_answered(notice, || {
            let request = self.agent.post(&self.url).header(header::CONTENT_TYPE, "application/x-ndjson");
            Self::whole(self.authorized(request).send(body), &self.url)
        })?;
        match answered {
            Some((StatusCode::OK, text)) => Ok(Sent::Answered(decoded(&self.url, &text)?)),
            Some((status, text)) => bail!("{} answered {}", self.url, describe(status, &text)),
            None => Ok(Sent::Interrupted),
        }
    }

    /// Asks until there is an answer; its body, as long as it may be. `None`: a signal came first.
    ///
    /// # Errors
    /// If there is no answer for too long, or it is not 200.
    pub(crate) fn get(
        &self,
        path: &str,
        notice: &dyn Fn(&str),
    ) -> anyhow::Result<Option<impl Read + Send + use<>>> {
        let url = format!("{}{path}", self.server);
        self.until_answered(notice, || {
            let request = self.agent.get(&url).config().timeout_global(None).build();
            let mut response = match self.authorized(request).call() {
                Ok(response) => response,
                Err(error) => return later(error, &url),
            };
            if response.status() == StatusCode::OK {
                return Ok(Attempt::Answered(response.into_body().into_reader()));
            }
            let (status, wait) = (response.status(), retry_after(&response));
            let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
            if is_passing(status) {
                return Ok(Attempt::Later(format!("the server answered {}", describe(status, &text)), wait));
            }
            bail!("{url} answered {}", describe(status, &text))
        })
    }

    /// Asks with a body of JSON until there is an answer; `Unknown` for what the server does not know.
    ///
    /// # Errors
    /// If there is no answer for too long, or it is neither 200 nor 404.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        notice: impl FnMut(&str),
    ) -> anyhow::Result<Found<T>> {
        let url = format!("{}{path}", self.server);
        let body = serde_json::to_vec(body)?;
        let answered = self.until_answered(notice, || {
            let request = self.agent.post(&url).header(header::CONTENT_TYPE, "application/json");
            Self::whole(self.authorized(request).send(&body), &url)
        })?;
        found(&url, answered)
    }

    /// Asks for JSON until there is an answer.
    ///
    /// # Errors
    /// If there is no answer for too long, or it is neither 200 nor 404.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        notice: impl FnMut(&str),
    ) -> anyhow::Result<Found<T>> {
        let url = format!("{}{path}", self.server);
        let answered =
            self.until_answered(notice, || Self::whole(self.authorized(self.agent.get(&url)).call(), &url))?;
        found(&url, answered)
    }

    /// Deletes something that may be deleted again, until there is an answer.
    ///
    /// # Errors
    /// If there is no answer for too long, or it is none of these: 202, 404, and that the count has changed.
    pub(crate) fn delete(&self, path: &str, notice: impl FnMut(&str)) -> anyhow::Result<Deleted> {
        let url = format!("{}{path}", self.server);
        let answered = self
            .until_answered(notice, || Self::whole(self.authorized(self.agent.delete(&url)).call(), &url))?;
        Ok(match answered {
            Some((StatusCode::ACCEPTED, _)) => Deleted::Recorded,
            Some((StatusCode::CONFLICT, text))
                if problem(&text).is_some_and(|problem| problem.code == "count_changed") =>
            {
                Deleted::CountChanged
            }
            Some((StatusCode::NOT_FOUND, text)) if is_unknown(&text) => Deleted::Unknown,
            Some((status, text)) => bail!("{url} answered {}", describe(status, &text)),
            None => Deleted::Interrupted,
        })
    }

    /// Tries until there is an answer that is not to come later; `None` if a signal comes first. `notice` is told once that
    /// the server makes us wait.
    fn until_answered<T>(
        &self,
        mut notice: impl FnMut(&str),
        mut attempt: impl FnMut() -> anyhow::Result<Attempt<T>>,
    ) -> anyhow::Result<Option<T>> {
        let mut waiting: Option<Instant> = None;
        let mut pause = PAUSE_MIN;
        loop {
            let (reason, asked) = match attempt()? {
                Attempt::Answered(answer) => return Ok(Some(answer)),
                Attempt::Later(reason, asked) => (reason, asked),
            };
            let first = waiting.is_none();
            let left = self.retry_for.saturating_sub(waiting.get_or_insert_with(Instant::now).elapsed());
            if left.is_zero() {
                bail!("{reason}; gave up after {:?}", self.retry_for);
            }
            if first {
                notice(&format!("{reason}; trying again for {:?}", self.retry_for));
            }
            // At least one more attempt at the very end, whatever the server asked for.
            if self.interrupt.sleep(asked.unwrap_or(pause).min(left)) {
                return Ok(None);
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header(header::AUTHORIZATION, authorization),
            None => request,
        }
    }

    /// Status and body of an answer, unless it is one that passes.
    fn whole(
        response: Result<Response<Body>, Error>,
        url: &str,
    ) -> anyhow::Result<Attempt<(StatusCode, Vec<u8>)>> {
        let mut response = match response {
            Ok(response) => response,
            Err(error) => return later(error, url),
        };
        let text = match response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec() {
            Ok(text) => text,
            Err(error) => return later(error, url),
        };
        let status = response.status();
        if is_passing(status) {
            let reason = format!("the server answered {}", describe(status, &text));
            return Ok(Attempt::Later(reason, retry_after(&response)));
        }
        Ok(Attempt::Answered((status, text)))
    }
}

/// The key of a file, else the one that is given.
///
/// # Errors
/// If the file cannot be read, or has no key.
pub(crate) fn key(file: Option<&Path>, given: Option<&str>) -> anyhow::Result<Option<String>> {
    Ok(file.map(read_key).transpose()?.or_else(|| given.map(str::to_owned)))
}

/// Reads a key: the one line of a file.
fn read_key(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Some(key) = Secret::parse(text.trim()) else {
        bail!("{} has no API key: expected one line that begins with ls_", path.display());
    };
    Ok(key.as_str().to_owned())
}

/// Reads the outcome of asking out of an answer in JSON.
fn found<T: DeserializeOwned>(
    url: &str,
    answered: Option<(StatusCode, Vec<u8>)>,
) -> anyhow::Result<Found<T>> {
    match answered {
        Some((StatusCode::OK, text)) => Ok(Found::Answer(decoded(url, &text)?)),
        Some((StatusCode::NOT_FOUND, text)) if is_unknown(&text) => Ok(Found::Unknown),
        Some((status, text)) => bail!("{url} answered {}", describe(status, &text)),
        None => Ok(Found::Interrupted),
    }
}

/// The fields of an error that a server of ours answers.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

fn problem(body: &[u8]) -> Option<Problem> {
    serde_json::from_slice(body).ok()
}

/// True if a 404 says that the server does not know what was asked about. False if it says that there is no
/// such route: then it is no server of ours, or another version of it.
fn is_unknown(body: &[u8]) -> bool {
    problem(body).is_some_and(|it| it.code.starts_with("unknown_") && it.code != "unknown_route")
}

fn decoded<T: DeserializeOwned>(url: &str, text: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(text).with_context(|| format!("{url} did not answer as Lastseen does"))
}

/// True if another answer may come later.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
            // A full disk: space may return.
            | StatusCode::INSUFFICIENT_STORAGE
    )
}

/// Sorts the failures of the transport into those that time may heal and the others.
fn later<T>(error: Error, url: &str) -> anyhow::Result<Attempt<T>> {
    match error {
        Error::Io(_) | Error::Timeout(_) | Error::ConnectionFailed | Error::Protocol(_) => {
            Ok(Attempt::Later(format!("no answer from {url} ({error})"), None))
        }
        error => Err(error).with_context(|| format!("cannot send to {url}")),
    }
}

/// Status, code and detail of a problem; the beginning of the body if it is none.
fn describe(status: StatusCode, body: &[u8]) -> String {
    const QUOTED_CHARS_MAX: usize = 200;
    if let Some(Problem { code, detail }) = problem(body) {
        return format!("{status}, {code}: {detail}");
    }
    let quoted: String = String::from_utf8_lossy(body).trim().chars().take(QUOTED_CHARS_MAX).collect();
    format!("{status}: {quoted}")
}

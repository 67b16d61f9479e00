//! Requests to one server, and what their outcome means for whoever sent them.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Error, RequestBuilder};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// 10,000 refused events with several faults each stay below.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A server, and the key for it.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    agent: Agent,
    server: String,
    authorization: Option<String>,
}

/// The outcome of a request.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Answered(T),
    /// The server refuses the request as a whole: the same request is refused again.
    Refused(Problem),
    /// No answer, or one that passes. The same request may be sent again, after the time that the server asks for.
    Later(Problem, Option<Duration>),
}

/// The server's answer in place of the one that was asked for, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default())]
pub struct Problem {
    /// The status of HTTP; 0 where no answer came.
    pub status: u16,
    /// The stable code, where the answer was one of Lastseen.
    pub code: Option<String>,
    /// The fault, in words for people.
    pub detail: String,
}

/// The fields of a problem as it is sent.
#[derive(Deserialize)]
struct Sent {
    code: String,
    detail: String,
}

impl Transport {
    pub(crate) fn new(server: &str, key: Option<&str>, timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT.min(timeout)))
            .timeout_global(Some(timeout))
            .user_agent(concat!("lastseen-client/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(authorities(server)).build());
        Self {
            agent: config.build().into(),
            server: server.trim_end_matches('/').to_owned(),
            authorization: key.map(|key| format!("Bearer {key}")),
        }
    }

    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        (media_type, body): (&str, &[u8]),
    ) -> Outcome<T> {
        let request =
            self.agent.post(format!("{}{path}", self.server)).header(header::CONTENT_TYPE, media_type);
        read(self.authorized(request).send(body))
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path_and_query: &str) -> Outcome<T> {
        read(self.authorized(self.agent.get(format!("{}{path_and_query}", self.server))).call())
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header(header::AUTHORIZATION, authorization),
            None => request,
        }
    }
}

fn read<T: DeserializeOwned>(response: Result<Response<Body>, Error>) -> Outcome<T> {
    let no_answer = |error: Error| Problem { status: 0, code: None, detail: format!("no answer ({error})") };
    let mut response = match response {
        Ok(response) => response,
        Err(error) => return Outcome::Later(no_answer(error), None),
    };
    let (status, wait) = (response.status(), retry_after(&response));
    let text = match response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec() {
        Ok(text) => text,
        Err(error) => return Outcome::Later(no_answer(error), None),
    };
    if status == StatusCode::OK {
        return match serde_json::from_slice(&text) {
            Ok(answer) => Outcome::Answered(answer),
            Err(error) => {
                let detail = format!("the answer is not one of Lastseen ({error})");
                Outcome::Later(Problem { status: status.as_u16(), code: None, detail }, None)
            }
        };
    }
    let problem = problem(status, &text);
    if is_passing(status) { Outcome::Later(problem, wait) } else { Outcome::Refused(problem) }
}

fn problem(status: StatusCode, text: &[u8]) -> Problem {
    const QUOTED_CHARS_MAX: usize = 200;
    let quoted = || String::from_utf8_lossy(text).trim().chars().take(QUOTED_CHARS_MAX).collect::<String>();
    let (code, detail) = match serde_json::from_slice(text) {
        Ok(Sent { code, detail }) => (Some(code), detail),
        Err(_) => (None, format!("{status}: {}", quoted())),
    };
    Problem { status: status.as_u16(), code, detail }
}

/// True if another answer may come later.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// `Retry-After` in seconds; the form with a date is left to the doubling pause.
pub fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// The authorities that this machine trusts, which `SSL_CERT_FILE` can name; those of Mozilla where there are none.
pub fn authorities(server: &str) -> RootCerts {
    if !server.starts_with("https:") {
        return RootCerts::WebPki;
    }
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return RootCerts::WebPki;
    }
    found.iter().map(|found| Certificate::from_der(found).to_owned()).into()
}

//! Every error as the caller sees it: RFC 9457 `application/problem+json` with a stable code. The only place that maps
//! errors to a code. Details of 5xx are fixed text; their causes go to the log.

mod code;

use std::fmt;
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lastseen_event::wire::{BodyError, describe_json_error};
use lastseen_event::{EventFault, FaultCode, UtcInstant};
use lastseen_store::{AppendError, ReadError, RefusedRows, error_chain};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

pub(in crate::http) use self::code::{Code, Possible};
use super::reflected::ThisLog;
use super::{schema, trace};
use crate::keys::Scope;
use crate::keys::limits::LimitReached;
use crate::publishing::RetractError;
use crate::questions::QuestionError;
use crate::read_model::health::Standstill;

/// The code of the problem that an answer is, for whoever counts them.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct ProblemCode(pub(in crate::http) &'static str);

/// Most faults that an answer lists.
pub(in crate::http) const FAULTS_LISTED_MAX: usize = 100;

/// An error on its way to the caller.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<ProblemBody>);

/// An error, as RFC 9457 defines it.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[schemars(rename = "Problem")]
pub(in crate::http) struct ProblemBody {
    /// `urn:lastseen:problem:` and the code.
    r#type: String,
    /// The code in words.
    title: &'static str,
    #[serde(serialize_with = "status_number")]
    #[schemars(with = "u16")]
    status: StatusCode,
    /// Stable: programs decide by it.
    #[schemars(with = "Code")]
    code: &'static str,
    /// For people; it may change.
    detail: String,
    /// The id under which the server's log knows this error.
    request_id: Uuid,
    /// The parameter, the field or the name at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The first faults of events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Fault>")]
    errors: Vec<EventFault>,
    /// All faults, listed or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_total: Option<usize>,
    /// The parts of the server that stand still.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartFault>,
    #[serde(flatten)]
    log: Option<ThisLog>,
    #[serde(skip)]
    retry_after_s: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn status_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// A part of the server that stands still.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(in crate::http) struct PartFault {
    part: &'static str,
    #[schemars(with = "schema::Instant")]
    since: UtcInstant,
    cause: String,
}

impl PartFault {
    /// The same without its cause, which may name files.
    pub(in crate::http) fn without_cause(self) -> Self {
        Self { cause: "the log of the server says more".to_owned(), ..self }
    }

    /// The stable name of the part.
    pub(in crate::http) fn part(&self) -> &'static str {
        self.part
    }
}

impl From<Standstill> for PartFault {
    fn from(Standstill { part, since, cause, .. }: Standstill) -> Self {
        Self { part, since, cause }
    }
}

impl Problem {
    fn new(code: Code, detail: impl fmt::Display) -> Self {
        Self(Box::new(ProblemBody {
            r#type: format!("urn:lastseen:problem:{}", code.as_str()),
            title: code.title(),
            status: code.status(),
            code: code.as_str(),
            detail: detail.to_string(),
            request_id: trace::request_id(),
            field: None,
            errors: Vec::new(),
            errors_total: None,
            parts: Vec::new(),
            log: None,
            retry_after_s: None,
        }))
    }

    fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// The same under the id of the request that this task answers: it was made on another thread.
    pub(in crate::http) fn of_this_request(mut self) -> Self {
        self.0.request_id = trace::request_id();
        self
    }

    /// True if the log says more, under the id of the problem.
    pub(in crate::http) fn is_fault(&self) -> bool {
        self.0.code == Code::Internal.as_str()
    }

    /// Writes the cause of a 5xx to the log, under the id that the caller is told.
    fn log(self, cause: &(dyn std::error::Error + 'static)) -> Self {
        let cause = error_chain(cause);
        let trace_id = trace::trace_id().map(tracing::field::display);
        tracing::error!(request_id = %self.0.request_id, trace_id, code = self.0.code, cause, "request failed");
        self
    }

    pub(in crate::http) fn unknown_route(path: &str) -> Self {
        let detail = format_args!("there is no {path}; the routes are listed in docs/API.md");
        Self::new(Code::UnknownRoute, detail)
    }

    pub(in crate::http) fn method_not_allowed(method: &str) -> Self {
        let detail = format_args!("{method} is not possible here; the Allow header says what is");
        Self::new(Code::MethodNotAllowed, detail)
    }

    pub(in crate::http) fn foreign_host(host: &str) -> Self {
        let detail = format_args!(
            "this server answers as localhost, as a loopback address and under its --public-url, not as {host:?}; \
             with API keys and without --public-url it answers under any name"
        );
        Self::new(Code::ForeignHost, detail)
    }

    /// The code, which tells nothing that its caller may not know.
    pub(in crate::http) fn code(&self) -> &'static str {
        self.0.code
    }

    /// The code in words.
    pub(in crate::http) fn title(&self) -> &'static str {
        self.0.title
    }

    pub(in crate::http) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The parameter, the field or the name at fault.
    pub(in crate::http) fn field_name(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    pub(in crate::http) fn request_id(&self) -> Uuid {
        self.0.request_id
    }

    /// Seconds after which it is worth another request. `None`: the same request has the same problem.
    pub(in crate::http) fn retry_after_s(&self) -> Option<u32> {
        self.0.retry_after_s
    }

    /// True if it takes a key in force.
    pub(in crate::http) fn is_unauthenticated(&self) -> bool {
        self.0.status == StatusCode::UNAUTHORIZED
    }

    /// True if the caller is known, and may not do this.
    pub(in crate::http) fn is_forbidden(&self) -> bool {
        self.0.status == StatusCode::FORBIDDEN
    }

    /// True if the caller may do this, and asks too often.
    pub(in crate::http) fn is_limit(&self) -> bool {
        self.0.status == StatusCode::TOO_MANY_REQUESTS
    }

    pub(in crate::http) fn key_missing() -> Self {
        let detail = "expected the header Authorization: Bearer ls_...; `lastseen keys create` makes a key";
        Self::new(Code::KeyMissing, detail)
    }

    pub(in crate::http) fn session_over() -> Self {
        Self::new(Code::KeyMissing, "the session is over, or its key: sign in again")
    }

    pub(in crate::http) fn key_malformed() -> Self {
        let detail = "expected one header Authorization: Bearer and a key, ls_ and what follows it";
        Self::new(Code::KeyInvalid, detail)
    }

    pub(in crate::http) fn key_invalid(detail: impl fmt::Display) -> Self {
        Self::new(Code::KeyInvalid, detail)
    }

    pub(in crate::http) fn key_expired(detail: impl fmt::Display) -> Self {
        Self::new(Code::KeyExpired, detail)
    }

    pub(in crate::http) fn scope_missing(scope: Scope) -> Self {
        let detail = format_args!("expected a key with the scope {scope}");
        Self::new(Code::ScopeMissing, detail)
    }

    pub(in crate::http) fn tenant_required() -> Self {
        let detail = "the key is bound to tenants: expected a request about one of them";
        Self::new(Code::TenantRequired, detail)
    }

    pub(in crate::http) fn rate_limited(of: &str, LimitReached(wait): LimitReached) -> Self {
        let detail = format_args!("the key has used up its {of} a second; nothing of the request was stored");
        let seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
        Self::new(Code::RateLimited, detail).retry_after(seconds)
    }

    pub(in crate::http) fn too_many_attempts() -> Self {
        let detail = "too many requests with a wrong key are being answered; mend the key, then send the request again";
        Self::new(Code::TooManyAttempts, detail).retry_after(10)
    }

    pub(in crate::http) fn unknown_tenant() -> Self {
        let detail = "no event names this tenant";
        Self::new(Code::UnknownTenant, detail).field("tenant_id")
    }

    pub(in crate::http) fn unknown_user() -> Self {
        let detail = "no event of this tenant names this user";
        Self::new(Code::UnknownUser, detail).field("user_id")
    }

    pub(in crate::http) fn unknown_person() -> Self {
        let detail = "no event names this user";
        Self::new(Code::UnknownUser, detail).field("user_id")
    }

    pub(in crate::http) fn persons_off() -> Self {
        Self::new(Code::PersonsOff, QuestionError::NoPersons)
    }

    pub(in crate::http) fn unknown_batch() -> Self {
        let detail = "no event names this batch";
        Self::new(Code::UnknownBatch, detail).field("batch")
    }

    pub(in crate::http) fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let detail = if known.is_empty() {
            "this route takes no parameters".to_owned()
        } else {
            format!("expected one of {}", known.join(", "))
        };
        Self::new(Code::UnknownParameter, detail).field(name)
    }

    pub(in crate::http) fn invalid_parameter(name: &str, detail: impl fmt::Display) -> Self {
        Self::new(Code::InvalidParameter, detail).field(name)
    }

    pub(in crate::http) fn invalid_path(name: &str) -> Self {
        let detail = format_args!("expected {name} as UTF-8, percent-encoded where it has other characters");
        Self::new(Code::InvalidPath, detail).field(name)
    }

    pub(in crate::http) fn invalid_json(detail: impl fmt::Display) -> Self {
        Self::new(Code::InvalidJson, detail)
    }

    pub(in crate::http) fn invalid_field(field: &str, detail: impl fmt::Display) -> Self {
        Self::new(Code::InvalidField, detail).field(field)
    }

    pub(in crate::http) fn empty_body(detail: impl fmt::Display) -> Self {
        Self::new(Code::EmptyBody, detail)
    }

    pub(in crate::http) fn invalid_encoding(encoding: &str, error: &std::io::Error) -> Self {
        let detail = format_args!("the body is not valid {encoding}: {error}");
        Self::new(Code::InvalidEncoding, detail)
    }

    pub(in crate::http) fn interrupted_body() -> Self {
        let detail = "the connection ended before the body did";
        Self::new(Code::InterruptedBody, detail)
    }

    pub(in crate::http) fn request_timeout(patience: Duration) -> Self {
        let detail = format_args!("the body did not arrive within {patience:?}");
        Self::new(Code::RequestTimeout, detail)
    }

    pub(in crate::http) fn body_too_large(bytes_max: usize) -> Self {
        let detail = format_args!("expected at most {bytes_max} bytes, after decompression too");
        Self::new(Code::BodyTooLarge, detail)
    }

    pub(in crate::http) fn unsupported_media_type(expected: &str, found: Option<&str>) -> Self {
        let found = found.map_or_else(|| "none".to_owned(), |found| format!("{found:?}"));
        let detail = format_args!("expected Content-Type {expected}, found {found}");
        Self::new(Code::UnsupportedMediaType, detail)
    }

    pub(in crate::http) fn unsupported_content_encoding(found: &str) -> Self {
        let detail = format_args!("expected Content-Encoding gzip, zstd or none, found {found:?}");
        Self::new(Code::UnsupportedContentEncoding, detail)
    }

    /// Refuses the events of a request. `errors` are the first faults by index, or all of them; `total` counts all.
    pub(in crate::http) fn invalid_events(mut errors: Vec<EventFault>, total: usize) -> Self {
        let faults = if total == 1 { "fault" } else { "faults" };
        let detail = format_args!("{total} {faults}; nothing of the request was stored");
        // A dead batch alone is no fault of any event: its publisher learns it by a status of its own.
        let is_dead =
            errors.len() == total && errors.iter().all(|fault| fault.code == FaultCode::BatchRetracted);
        let code = if is_dead { Code::BatchRetracted } else { Code::InvalidEvents };
        let mut problem = Self::new(code, detail);
        errors.truncate(FAULTS_LISTED_MAX);
        problem.0.errors = errors;
        problem.0.errors_total = Some(total);
        problem
    }

    /// Lists the first of some events.
    pub(in crate::http) fn listing(mut self, mut errors: Vec<EventFault>) -> Self {
        self.0.errors_total = Some(errors.len());
        errors.truncate(FAULTS_LISTED_MAX);
        self.0.errors = errors;
        self
    }

    /// Names the parts of the server that stand still.
    pub(in crate::http) fn standstill(parts: Vec<PartFault>) -> Self {
        let names: Vec<_> = parts.iter().map(PartFault::part).collect();
        let detail = format_args!("these parts stand still: {}", names.join(", "));
        let mut problem = Self::new(Code::Standstill, detail);
        problem.0.parts = parts;
        problem
    }

    /// `folded` is `None` where the number is nobody's business.
    pub(in crate::http) fn not_ready(folded: Option<u64>) -> Self {
        let detail = match folded {
            Some(folded) => format!("the server is starting; {folded} events were folded so far"),
            None => "the server is starting".to_owned(),
        };
        Self::new(Code::NotReady, detail).retry_after(1)
    }

    pub(in crate::http) fn position_not_reached() -> Self {
        let detail = "the numbers do not reflect this position yet";
        Self::new(Code::PositionNotReached, detail).retry_after(1)
    }

    /// The request is about another log than this one.
    pub(in crate::http) fn other_log(this: ThisLog) -> Self {
        let detail = if this.is_first() {
            "the server has another log, which continues none; nothing was read or stored"
        } else {
            "the server has another log; lineage tells up to where both have the same events; nothing was read or stored"
        };
        Self::new(Code::OtherLog, detail).this_log(this).field("log_id")
    }

    /// The log ends before a position that the request says was there.
    pub(in crate::http) fn position_ahead(this: ThisLog) -> Self {
        let detail = "the log ends before this position: the position is of another log, or of a longer one that this log \
                      is an older copy of";
        Self::new(Code::PositionAhead, detail).this_log(this).field("after")
    }

    fn this_log(mut self, this: ThisLog) -> Self {
        self.0.log = Some(this);
        self
    }

    pub(in crate::http) fn unreadable(error: &ReadError) -> Self {
        let detail = "the history cannot be read; the server's log says more";
        Self::new(Code::HistoryUnreadable, detail).log(error)
    }

    /// The memory budget is taken.
    pub(in crate::http) fn no_memory() -> Self {
        let detail = "the memory for requests and answers under way is taken; send the request again later";
        Self::unavailable(Code::Overloaded, detail)
    }

    fn unavailable(code: Code, detail: impl fmt::Display) -> Self {
        Self::new(code, detail).retry_after(1)
    }

    /// No place to decode a body became free in time.
    pub(in crate::http) fn busy() -> Self {
        let detail = "as many bodies are being decoded as the server allows; send the request again later";
        Self::unavailable(Code::Overloaded, detail)
    }

    /// A defect of the server.
    pub(in crate::http) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        let detail = "the server failed; its log says more";
        Self::new(Code::Internal, detail).log(cause)
    }

    /// Maps the error of an append. `faults` makes the faults of refused rows, and counts all.
    pub(in crate::http) fn append(
        error: &AppendError,
        faults: impl FnOnce(&RefusedRows) -> (Vec<EventFault>, usize),
    ) -> Self {
        match error {
            AppendError::Refused(rows) => {
                let (faults, total) = faults(rows);
                Self::invalid_events(faults, total)
            }
            AppendError::Overloaded => Self::unavailable(Code::Overloaded, "nothing of the request was stored; send it again later"),
            AppendError::NoSpace(_) => Self::new(Code::NoSpace, "nothing of the request was stored; there is no space left for the log")
            .retry_after(10)
            .log(error),
            AppendError::Full(limit) => Self::new(Code::Full, format_args!("nothing of the request was stored; the log takes no more {limit}"))
            .log(error),
            AppendError::TooManyBatches { max } => Self::new(Code::TooManyBatches, format_args!("nothing of the request was stored; the log takes no more than {max} names of batches")),
            AppendError::Unavailable(_) => Self::unavailable(Code::StoreUnavailable, "nothing of the request was stored; the log cannot be written at present: send it again later")
            .log(error),
            AppendError::Closed => Self::unavailable(Code::StoreClosed, "nothing of the request was stored; the store takes no events until the server is restarted"),
            AppendError::Unreadable(cause) => Self::unreadable(cause),
            AppendError::Indeterminate(_) => Self::unavailable(Code::OutcomeUnknown, "the events may or may not be stored; send the same ids again")
            .log(error),
            AppendError::PartlyUnknown { unknown, .. } => {
                let detail = format_args!("{} of the events may or may not be stored, and the others are; send the same ids again", unknown.len());
                Self::unavailable(Code::OutcomeUnknown, detail).log(error)
            }
        }
    }
}

/// Refusals of what comes before a route: connections, heads, names, sites.
impl Problem {
    pub(in crate::http) fn invalid_request() -> Self {
        let detail = "this is no HTTP/1.1 request: its line or one of its headers is malformed";
        Self::new(Code::InvalidRequest, detail)
    }

    pub(in crate::http) fn uri_too_long() -> Self {
        let detail = "expected a request line of at most 64 KiB";
        Self::new(Code::UriTooLong, detail)
    }

    pub(in crate::http) fn head_too_large() -> Self {
        let detail = "expected a head of at most 64 KiB and at most 100 headers";
        Self::new(Code::HeadTooLarge, detail)
    }

    pub(in crate::http) fn unsupported_version() -> Self {
        Self::new(Code::UnsupportedVersion, "expected HTTP/1.1: HTTP/2 needs TLS")
    }

    pub(in crate::http) fn tls_required() -> Self {
        let detail = "this port speaks TLS: expected https:// in place of http://";
        Self::new(Code::TlsRequired, detail)
    }

    pub(in crate::http) fn late_head(limit: Duration) -> Self {
        let detail = format_args!("the head of the request did not arrive within {limit:?}");
        Self::new(Code::RequestTimeout, detail)
    }

    pub(in crate::http) fn too_many_connections() -> Self {
        let detail = "as many connections are at work as the server allows; try again later";
        Self::unavailable(Code::TooManyConnections, detail)
    }

    pub(in crate::http) fn invalid_host(detail: impl fmt::Display) -> Self {
        Self::new(Code::InvalidHost, detail)
    }

    pub(in crate::http) fn cross_site(detail: impl fmt::Display) -> Self {
        Self::new(Code::CrossSite, detail)
    }

    pub(in crate::http) fn malformed_chunk() -> Self {
        let detail = "malformed chunk: the body says Transfer-Encoding: chunked and is not";
        Self::new(Code::InvalidBody, detail)
    }
}

impl From<QuestionError> for Problem {
    fn from(error: QuestionError) -> Self {
        match &error {
            QuestionError::UnknownTenant => Self::unknown_tenant(),
            QuestionError::UnknownUser => Self::unknown_user(),
            QuestionError::UnknownPerson => Self::unknown_person(),
            QuestionError::UnknownBatch => Self::unknown_batch(),
            QuestionError::NoPersons => Self::invalid_parameter("of", error),
            QuestionError::Backwards => Self::invalid_parameter("until", error),
            QuestionError::EmptySpan { .. } | QuestionError::LongSpan { .. } => {
                Self::invalid_parameter("from", error)
            }
            QuestionError::PositionNotReached => Self::position_not_reached(),
            QuestionError::Overloaded(overload) => {
                let detail = format_args!("{overload}; ask again later");
                Self::new(Code::Overloaded, detail).retry_after(1)
            }
            QuestionError::AskerIsBusy => {
                Self::new(Code::RateLimited, format_args!("{error}; nothing was begun")).retry_after(1)
            }
            QuestionError::DeadlinePassed { seconds } => {
                let detail = format_args!(
                    "the question was broken off after {seconds} s; ask for less, or for a shorter span"
                );
                Self::new(Code::DeadlinePassed, detail).retry_after(60)
            }
            QuestionError::Unreadable(cause) => Self::unreadable(cause),
            QuestionError::Panicked => Self::internal(&error),
        }
    }
}

impl From<RetractError> for Problem {
    fn from(error: RetractError) -> Self {
        match error {
            RetractError::UnknownBatch => Self::unknown_batch(),
            RetractError::CountChanged { found } => {
                let detail = format_args!("the batch has {found} events; nothing was retracted");
                Self::new(Code::CountChanged, detail).field("events")
            }
            RetractError::Append(error) => Self::append(&error, |_| (Vec::new(), 0)),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Empty => Self::empty_body(error),
            BodyError::TooManyEvents => Self::new(Code::TooManyEvents, error),
            BodyError::InvalidJson(cause) => Self::invalid_json(format_args!(
                "expected one event object or an array of them: {}",
                describe_json_error(&cause)
            )),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let ProblemBody { status, code, request_id, .. } = *self.0;
        let trace_id = trace::trace_id().map(tracing::field::display);
        tracing::debug!(%request_id, trace_id, status = status.as_u16(), code, "answered with a problem");
        let body = serde_json::to_vec(&self.0).expect("a problem is serializable");
        let mut response = (self.0.status, body).into_response();
        response.extensions_mut().insert(ProblemCode(code));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.0.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

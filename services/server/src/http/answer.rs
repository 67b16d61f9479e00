//! Answers: bodies, and the headers that all of them share.

mod compress;
pub(super) mod counts;
mod feed;
pub(super) mod list;
pub(super) mod person;
mod stream;
mod table;
pub(super) mod user;

use std::future::Future;

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use lastseen_event::Position;
use lastseen_store::LogId;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;

pub(super) use self::compress::Encoding;
pub(super) use self::feed::{Feed, Messages};
pub(super) use self::stream::{Pieces, Stream};
pub(super) use self::table::{Table, Writer};
use super::description::{Content, Success};
use super::params::value::TableFormat;
use super::problem::Problem;
use crate::keys::seal::ShownPosition;
use crate::memory::{Memory, Reserved};
use crate::read_model::Reading;
use crate::tasks;

/// Version of the definitions of the numbers (docs/SEMANTICS.md). Changes when one of them does.
pub(super) const DEFINITION: u32 = 3;

/// Rows of an answer that are turned into text where the answer is made, in less than a millisecond.
const SMALL_ROWS: usize = 200;

/// Answers of at least so many bytes are counted in the memory budget until they are sent.
const COUNTED_BYTES: usize = 64 * 1024;

/// A shorter answer is not compressed: its headers are longer.
const COMPRESSED_BYTES_MIN: usize = 1024;

/// The parts of a request that shape its answer.
#[derive(Debug)]
pub(super) struct Wants {
    encoding: Option<Encoding>,
    if_none_match: Option<HeaderValue>,
    /// Hash of path and query: questions with other answers have another one.
    question: u32,
    /// True if positions are sealed: the same answer is another text each time.
    pub(super) is_sealed: bool,
    memory: Memory,
}

impl Wants {
    pub(super) fn of(headers: &HeaderMap, path_and_query: &str, memory: Memory) -> Self {
        Self {
            encoding: Encoding::accepted(headers.get_all(ACCEPT_ENCODING)),
            if_none_match: headers.get(IF_NONE_MATCH).cloned(),
            question: crc32c::crc32c(path_and_query.as_bytes()),
            is_sealed: false,
            memory,
        }
    }

    /// The memory that all answers share.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The encoding that the answer is to have.
    pub(super) fn encoding(&self) -> Option<Encoding> {
        self.encoding
    }
}

/// An answer of a handler.
pub(super) trait Reply: Send {
    /// The name of the answer, for the list of routes.
    const NAME: &'static str;

    /// Describes the answer for readers of the API.
    fn describe(generator: &mut SchemaGenerator) -> Success;

    /// Renders the answer as the request wants it.
    fn respond(self, wants: Wants) -> impl Future<Output = Response> + Send;

    /// The address that a request is sent on to before anything of it is read. `None`: it is answered here.
    fn moved(_uri: &Uri) -> Option<String> {
        None
    }

    /// Renders the problem in place of the answer.
    fn refuse(problem: Problem, _uri: &Uri) -> Response {
        problem.into_response()
    }
}

/// The type of a JSON body.
pub(super) trait Answer: JsonSchema + Serialize + Send + Sized + 'static {
    /// Its name, for the list of routes.
    const NAME: &'static str;
    /// An answer as docs/API.md shows it, in JSON.
    const EXAMPLE: &'static str;
    /// True if some of the answers have a tag.
    const HAS_ETAG: bool = false;
    /// Its rows as CSV, where they are a table.
    const TABLE: Option<Table<Self>> = None;
}

/// Everything but the query that fixes an answer: the same version of the same log gives the same answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    log: LogId,
    position: Position,
    /// Number of batches that the views leave out.
    retracted: u64,
}

impl Version {
    /// The version of an answer that reflects `position`, and comes from this reading or a later one.
    pub(super) fn of(reading: &Reading, position: Position) -> Self {
        Self { log: reading.log_id, position, retracted: reading.retracted.len() }
    }
}

/// A JSON answer, or CSV of its rows where that is asked for.
#[derive(Debug)]
pub(super) struct Json<A> {
    body: A,
    format: TableFormat,
    rows: usize,
    version: Option<Version>,
}

impl<A: Answer> Json<A> {
    /// An answer that holds for now.
    pub(super) fn new(body: A) -> Self {
        Self { body, format: TableFormat::Json, rows: 0, version: None }
    }

    /// The body, for a page that shows it.
    pub(super) fn into_body(self) -> A {
        self.body
    }

    /// Tells the format, of an answer with a table.
    pub(super) fn format(self, format: Option<TableFormat>) -> Self {
        Self { format: format.unwrap_or_default(), ..self }
    }

    /// Tells how many rows the body has: many are turned into text away from the workers.
    pub(super) fn rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// Tells that the query and `version` fix the answer. `None`: it holds for now.
    pub(super) fn version(self, version: Option<Version>) -> Self {
        Self { version, ..self }
    }
}

impl<A: Answer> Reply for Json<A> {
    const NAME: &'static str = A::NAME;

    fn describe(generator: &mut SchemaGenerator) -> Success {
        let mut content = vec![Content::json::<A>(generator, A::EXAMPLE)];
        let mut headers = Vec::new();
        if A::TABLE.is_some() {
            content.push(Content::text("text/csv"));
            headers.push(("Lastseen-Position", "Of CSV: the position that the rows reflect."));
        }
        Success { has_etag: A::HAS_ETAG, headers, ..Success::of(content) }
    }

    async fn respond(self, wants: Wants) -> Response {
        let Self { body, format, rows, version } = self;
        let etag = version.filter(|_| !wants.is_sealed).map(|version| etag(version, wants.question));
        if let Some(etag) = etag.as_ref().filter(|etag| matches(wants.if_none_match.as_ref(), etag)) {
            let mut unchanged = StatusCode::NOT_MODIFIED.into_response();
            encoded(unchanged.headers_mut(), None);
            return with_validator(unchanged, Some(etag.clone()));
        }
        let accepted = wants.encoding;
        let render = move || {
            let (own, text) = if let Some(table) = A::TABLE.filter(|_| format == TableFormat::Csv) {
                let (headers, text) = table.render(&body);
                (Vec::from(headers), text)
            } else {
                let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
                (vec![json], serde_json::to_vec(&body).expect("answers are serializable"))
            };
            let encoding = accepted.filter(|_| text.len() >= COMPRESSED_BYTES_MIN);
            match encoding {
                Some(encoding) => (own, encoding.compress(&text), Some(encoding)),
                None => (own, text, None),
            }
        };
        let (own, text, encoding) = if rows > SMALL_ROWS { tasks::blocking(render).await } else { render() };
        let Some(bytes) = counted(text, &wants.memory) else {
            return Problem::no_memory().into_response();
        };
        let mut response = Body::from(bytes).into_response();
        let headers = response.headers_mut();
        headers.extend(own);
        encoded(headers, encoding);
        with_validator(response, etag)
    }
}

/// An answer about what was accepted and goes on: 202.
pub(super) struct Accepted<A>(pub(super) Json<A>);

impl<A: Answer> Reply for Accepted<A> {
    const NAME: &'static str = A::NAME;

    fn describe(generator: &mut SchemaGenerator) -> Success {
        let status = StatusCode::ACCEPTED.as_u16();
        Success { status, has_etag: false, ..Json::<A>::describe(generator) }
    }

    async fn respond(self, wants: Wants) -> Response {
        let mut response = self.0.respond(wants).await;
        if response.status() == StatusCode::OK {
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        response
    }
}

/// Bytes of an answer together with their share of the budget: hyper drops them once they are sent.
struct Counted {
    bytes: Vec<u8>,
    _memory: Reserved,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Counts the bytes of a large answer in the budget. `None`: there is no room.
pub(super) fn counted(bytes: Vec<u8>, memory: &Memory) -> Option<Bytes> {
    if bytes.len() < COUNTED_BYTES {
        return Some(bytes.into());
    }
    let memory = memory.try_for_answer(bytes.len())?;
    Some(Bytes::from_owner(Counted { bytes, _memory: memory }))
}

/// Names the encoding of a body, and that it depends on the request.
pub(super) fn encoded(headers: &mut HeaderMap, encoding: Option<Encoding>) {
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
    }
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
}

/// Says how long the answer may be kept: asked about again each time with its tag, or not at all.
pub(super) fn with_validator(mut response: Response, etag: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    let cached = if etag.is_some() { "no-cache" } else { "no-store" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cached));
    if let Some(etag) = etag {
        headers.insert(ETAG, etag);
    }
    response
}

/// A weak tag: a compressed answer and a plain one have the same.
fn etag(Version { log, position, retracted }: Version, question: u32) -> HeaderValue {
    let tag = format!("W/\"{log}-{}-{retracted}-{DEFINITION}-{question:08x}\"", position.get());
    HeaderValue::from_str(&tag).expect("digits and letters")
}

/// True if `If-None-Match` names the tag (RFC 9110, section 13.1.2).
fn matches(if_none_match: Option<&HeaderValue>, etag: &HeaderValue) -> bool {
    let (Some(Ok(tags)), Ok(etag)) = (if_none_match.map(HeaderValue::to_str), etag.to_str()) else {
        return false;
    };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    tags.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == opaque(etag))
}

/// A header of an answer.
pub(super) type Header = (HeaderName, HeaderValue);

/// The id of the server's log.
pub(super) const LOG: HeaderName = HeaderName::from_static("lastseen-log");
/// The position that an answer without a JSON body reflects.
pub(super) const POSITION: HeaderName = HeaderName::from_static("lastseen-position");
/// The last position that a replay reaches, inclusive.
pub(super) const UNTIL: HeaderName = HeaderName::from_static("lastseen-until");

/// A header with a position.
pub(super) fn of_position(name: HeaderName, position: &ShownPosition) -> Header {
    (name, HeaderValue::try_from(position.to_string()).expect("digits or a sealed position"))
}

/// The headers of an answer that is saved under a name.
fn headers_of_file(content_type: &'static str, name: &str, position: &ShownPosition) -> [Header; 3] {
    let disposition = format!("attachment; filename=\"{name}\"");
    [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_DISPOSITION, HeaderValue::try_from(disposition).expect("plain text")),
        of_position(POSITION, position),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_in_a_list_or_a_star() {
        let tag = HeaderValue::from_static("W/\"0f0e-7-0-2-00000001\"");
        let text = tag.to_str().unwrap();
        let strong = text.trim_start_matches("W/");
        for given in [text, strong, "*", &format!("\"x\", {text}"), &format!("{strong},\"y\"")] {
            assert!(matches(HeaderValue::from_str(given).ok().as_ref(), &tag), "{given}");
        }
        for given in ["\"x\"", "", "W/\"7\""] {
            assert!(!matches(HeaderValue::from_str(given).ok().as_ref(), &tag), "{given}");
        }
        assert!(!matches(None, &tag));
    }
}

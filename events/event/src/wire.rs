//! From a request to an [`EventBatch`]: native JSON (an object or an array), NDJSON, and `CloudEvents` 1.0 (structured, batch
//! and binary); `encode` is the way back. `stored` reads what a store has kept as JSON.
//!
//! Two steps per event: `raw` reads the JSON with borrowed strings, `validate` applies every rule and reports
//! all that are broken. Only the whole body can fail; a bad event is a fault beside the good ones.

mod encode;
mod json_error;
mod notation;
mod raw;
mod stored;
mod validate;

use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub use self::encode::{LinePosition, encode_ndjson, encode_published, encode_retraction};
pub use self::json_error::describe_json_error;
use self::notation::{CloudEvents, Native, Notation};
pub use self::stored::{Stored, decode_stored, encode_stored_retraction};
use self::validate::Validator;
use crate::limits::REQUEST_EVENTS_MAX;
use crate::{EventBatch, EventFault, UtcInstant};

/// A decoded body: the valid events, and what is wrong with the others.
#[derive(Debug)]
pub struct Decoded {
    /// The valid events, in order.
    pub batch: EventBatch,
    /// Faults of the other events, by ascending index: all of them, or the first ones.
    pub faults: Vec<EventFault>,
    /// The number of all faults.
    pub faults_total: usize,
    /// Events of the body, good and bad.
    pub count: usize,
    /// Events of tenants that are not accepted.
    pub foreign: usize,
    /// The name of the field of a batch in the notation of the body.
    pub batch_field: &'static str,
}

/// The faults that a decoded body lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultsKept {
    /// The first so many; the others are counted.
    First(usize),
    /// Every one.
    All,
}

/// The rules for one publisher, beyond those of the format.
#[derive(Clone, Copy, Debug)]
pub struct Accept<'a> {
    /// The last tolerated `occurred_at`, inclusive.
    pub latest: UtcInstant,
    /// The faults to list.
    pub faults: FaultsKept,
    /// The tenants whose events it may publish, ascending. `None`: all.
    pub tenants: Option<&'a [String]>,
    /// True if its events may name a batch.
    pub batches: bool,
}

impl Accept<'static> {
    /// Everything that the format allows up to `latest`, inclusive.
    pub fn all(latest: UtcInstant, faults: FaultsKept) -> Self {
        Self { latest, faults, tenants: None, batches: true }
    }
}

/// The body as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// No event at all: no bytes, only blank lines, or `[]`.
    #[error("expected at least one event")]
    Empty,
    /// More than [`REQUEST_EVENTS_MAX`] events.
    #[error("expected at most {REQUEST_EVENTS_MAX} events in one request")]
    TooManyEvents,
    /// Not JSON, or neither an object nor an array.
    #[error("expected one event object or an array of them: {}", describe_json_error(.0))]
    InvalidJson(serde_json::Error),
}

/// Reads one event object or an array of them. `between` is called after each few dozen events, a fraction of a millisecond apart: there the caller can let
/// other threads run.
///
/// # Errors
/// [`BodyError`] where the body as a whole cannot be read.
pub fn decode_json(body: &[u8], accept: Accept<'_>, between: impl FnMut()) -> Result<Decoded, BodyError> {
    match first(body) {
        None => Err(BodyError::Empty),
        Some(b'[') => decode_array::<Native>(body, accept, between),
        Some(_) => decode_one::<Native>(body, accept, "an object or an array"),
    }
}

/// Reads one event as `CloudEvents` has it in structured mode: a JSON object.
///
/// # Errors
/// [`BodyError`] where the body as a whole cannot be read.
pub fn decode_cloud_event(body: &[u8], accept: Accept<'_>) -> Result<Decoded, BodyError> {
    match first(body) {
        None => Err(BodyError::Empty),
        Some(_) => decode_one::<CloudEvents>(body, accept, "an object"),
    }
}

/// Reads an array of events as `CloudEvents` has them in batched mode. `between` as in [`decode_json`].
///
/// # Errors
/// [`BodyError`] where the body as a whole cannot be read.
pub fn decode_cloud_event_batch(
    body: &[u8],
    accept: Accept<'_>,
    between: impl FnMut(),
) -> Result<Decoded, BodyError> {
    match first(body) {
        None => Err(BodyError::Empty),
        Some(_) => decode_array::<CloudEvents>(body, accept, between),
    }
}

/// Reads one event as `CloudEvents` has it in binary mode: attributes with their names in lower case. `None` as a value: it is
/// not UTF-8.
pub fn decode_cloud_event_attributes<'a>(
    attributes: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    accept: Accept<'_>,
) -> Decoded {
    let mut validator = Validator::new(1, accept);
    validator.add_fields::<CloudEvents>(attributes);
    validator.finish()
}

/// The first byte that is no white space.
fn first(body: &[u8]) -> Option<u8> {
    body.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

fn decode_one<N: Notation>(body: &[u8], accept: Accept<'_>, expected: &str) -> Result<Decoded, BodyError> {
    let event: &RawValue = serde_json::from_slice(body).map_err(BodyError::InvalidJson)?;
    if !event.get().starts_with('{') {
        let found = serde::de::Error::invalid_type(raw::kind_of(event), &expected);
        return Err(BodyError::InvalidJson(found));
    }
    let mut validator = Validator::new(1, accept);
    validator.add::<N>(event.get().as_bytes());
    Ok(validator.finish())
}

/// Events after which a decoder calls `between`.
const STEP_EVENTS: usize = 128;

/// About as many events are in a body of this size.
fn typical_events(body: &[u8]) -> usize {
    const TYPICAL_EVENT_BYTES: usize = 160;
    (body.len() / TYPICAL_EVENT_BYTES).min(REQUEST_EVENTS_MAX)
}

fn decode_array<N: Notation>(
    body: &[u8],
    accept: Accept<'_>,
    between: impl FnMut(),
) -> Result<Decoded, BodyError> {
    let mut validator = Validator::new(typical_events(body), accept);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let elements = Elements::<N, _> { validator: &mut validator, between, notation: PhantomData };
    let found = elements.deserialize(&mut deserializer).map_err(BodyError::InvalidJson)?;
    deserializer.end().map_err(BodyError::InvalidJson)?;
    match found {
        // `CloudEvents` has batches without events.
        0 if !N::IS_CLOUD_EVENT => Err(BodyError::Empty),
        0..=REQUEST_EVENTS_MAX => Ok(validator.finish()),
        _ => Err(BodyError::TooManyEvents),
    }
}

/// Reads one event a line. Lines end with LF or CRLF; blank ones do not count. `between` as in [`decode_json`].
///
/// # Errors
/// [`BodyError::Empty`] and [`BodyError::TooManyEvents`]; a line that is not JSON is one bad event.
pub fn decode_ndjson(
    body: &[u8],
    accept: Accept<'_>,
    mut between: impl FnMut(),
) -> Result<Decoded, BodyError> {
    let mut validator = Validator::new(typical_events(body), accept);
    for line in lines(body) {
        if validator.count() == REQUEST_EVENTS_MAX {
            return Err(BodyError::TooManyEvents);
        }
        validator.add::<Native>(line);
        if validator.count().is_multiple_of(STEP_EVENTS) {
            between();
        }
    }
    if validator.count() == 0 { Err(BodyError::Empty) } else { Ok(validator.finish()) }
}

/// The lines of `body` that hold more than white space, without it.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut ends = memchr::memchr_iter(b'\n', body).chain(std::iter::once(body.len()));
    let mut start = 0;
    std::iter::from_fn(move || {
        let end = ends.next()?;
        let line = body[start.min(end)..end].trim_ascii();
        start = end + 1;
        Some(line)
    })
    .filter(|line| !line.is_empty())
}

/// Adds the elements of an array, as many as a request may have, and counts them all.
struct Elements<'a, 'b, N, F> {
    validator: &'a mut Validator<'b>,
    between: F,
    notation: PhantomData<N>,
}

impl<'de, N: Notation, F: FnMut()> DeserializeSeed<'de> for Elements<'_, '_, N, F> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, N: Notation, F: FnMut()> Visitor<'de> for Elements<'_, '_, N, F> {
    type Value = usize;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<usize, A::Error> {
        let mut found = 0_usize;
        while let Some(element) = seq.next_element::<&RawValue>()? {
            found += 1;
            if found <= REQUEST_EVENTS_MAX {
                self.validator.add::<N>(element.get().as_bytes());
            }
            if found.is_multiple_of(STEP_EVENTS) {
                (self.between)();
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;

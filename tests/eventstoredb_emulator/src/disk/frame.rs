//! A record in bytes. All numbers are little-endian; texts and data have a length of four bytes before them.

use std::sync::Arc;

use hashbrown::HashSet;
use uuid::Uuid;

use super::Stored;
use crate::record::{Body, ContentType, Event, Payload, Position, Record, Ticks};

/// `crc32c u32 | len u32`
pub(super) const FRAME_HEADER_LEN: u64 = 8;

/// Longest payload: an append is 1 MiB at most, its names as well.
pub(super) const PAYLOAD_LEN_MAX: u64 = 32 * 1024 * 1024;

const CHECKSUM_LEN: usize = 4;

const EVENT: u8 = 0;
const EMPTY: u8 = 1;
const EPOCH: u8 = 2;
const REMOVED: u8 = 3;

/// Types of events and names of streams that were read, so that each text is kept once.
#[derive(Debug, Default)]
pub(super) struct Types(HashSet<Arc<str>>);

impl Types {
    fn shared(&mut self, text: &str) -> Arc<str> {
        Arc::clone(self.0.get_or_insert_with(text, |text| Arc::from(text)))
    }
}

/// Adds the frame of `record`, which ends at `end`, to `frames`.
pub(crate) fn encode(record: &Record, end: Position, frames: &mut Vec<u8>) {
    let start = frames.len();
    frames.extend([0; 8]);
    frames.extend(record.position.0.to_le_bytes());
    frames.extend(end.0.to_le_bytes());
    match &record.body {
        Body::Event(event) => {
            frames.push(EVENT);
            frames.extend(event.revision.to_le_bytes());
            frames.extend(event.created.0.to_le_bytes());
            frames.extend(event.id.as_bytes());
            frames.push(u8::from(event.content == ContentType::Json));
            put(event.stream.as_bytes(), frames);
            put(event.event_type.as_bytes(), frames);
            put(event.payload.data(), frames);
            put(event.payload.metadata(), frames);
        }
        Body::Empty { len } => {
            frames.push(EMPTY);
            frames.extend(len.to_le_bytes());
        }
        Body::Epoch { number } => {
            frames.push(EPOCH);
            frames.extend(number.to_le_bytes());
        }
        Body::Removed => frames.push(REMOVED),
    }
    let (header, payload) = frames[start..].split_at_mut(8);
    header[..CHECKSUM_LEN].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    header[CHECKSUM_LEN..].copy_from_slice(&len_of(payload).to_le_bytes());
}

fn len_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("an append is 1 MiB at most")
}

fn put(bytes: &[u8], frames: &mut Vec<u8>) {
    frames.extend(len_of(bytes).to_le_bytes());
    frames.extend_from_slice(bytes);
}

/// True if the checksum before the payload is that of the payload.
pub(super) fn is_whole(checked: &[u8]) -> bool {
    checked
        .split_first_chunk::<CHECKSUM_LEN>()
        .is_some_and(|(checksum, payload)| u32::from_le_bytes(*checksum) == crc32c::crc32c(payload))
}

/// Bytes that are yet to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.array()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// The record in a payload that has its checksum before it. `None`: these are not the bytes of a record.
pub(super) fn decode(checked: &[u8], types: &mut Types) -> Option<Stored> {
    let mut rest = Rest(checked.get(CHECKSUM_LEN..)?);
    let (position, end) = (Position(rest.u64()?), Position(rest.u64()?));
    let [kind] = rest.array()?;
    let body = match kind {
        EVENT => {
            let (revision, created) = (rest.i64()?, Ticks(rest.i64()?));
            let id = Uuid::from_bytes(rest.array()?);
            let content = if rest.array::<1>()? == [1] { ContentType::Json } else { ContentType::Octets };
            let stream = types.shared(rest.text()?);
            let event_type = types.shared(rest.text()?);
            let payload = Payload::copied(rest.bytes()?, rest.bytes()?);
            Body::Event(Event { stream, revision, id, created, event_type, content, payload })
        }
        EMPTY => Body::Empty { len: rest.u64()? },
        EPOCH => Body::Epoch { number: rest.u64()? },
        REMOVED => Body::Removed,
        _ => return None,
    };
    Some((Arc::new(Record { position, body }), end))
}

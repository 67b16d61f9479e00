//! Records of a transaction log: what stands at a position, and how many bytes it takes there. Nothing here reads
//! a clock or touches a disk.

use std::sync::Arc;

use uuid::Uuid;

/// Place of a record in a transaction log: the byte offset of its start. Commit and prepare position are equal.
///
/// Strictly increasing, **not dense**: the next record starts where this one ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Instant of the leader's clock: ticks of 100 ns since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub i64);

impl Ticks {
    /// Ticks in a second.
    pub const PER_SECOND: i64 = 10_000_000;
}

/// Revision of the event that ends a stream for ever.
pub const TOMBSTONE_REVISION: i64 = i64::MAX;

/// Event type of a stream's metadata.
pub const METADATA_TYPE: &str = "$metadata";

/// Event type of a tombstone.
pub const TOMBSTONE_TYPE: &str = "$streamDeleted";

/// Prefix of the name of the stream that has another stream's metadata.
pub const METADATA_PREFIX: &str = "$$";

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The place of its first byte.
    pub position: Position,
    /// The rest of it.
    pub body: Body,
}

/// The kinds of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An event of a stream.
    Event(Event),
    /// An append without events: takes a place, and nobody reads it.
    Empty {
        /// Bytes that it takes.
        len: u64,
    },
    /// A leader began. Never delivered, but looked at by readers of `$all`.
    Epoch {
        /// From 0, one more for each leader.
        number: u64,
    },
    /// An event that a scavenge removed. Its position is still a place to read from.
    Removed,
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its stream.
    pub stream: Arc<str>,
    /// Place in its stream, from 0.
    pub revision: i64,
    /// The id that its producer gave.
    pub id: Uuid,
    /// The leader's clock when it was appended.
    pub created: Ticks,
    /// Its type.
    pub event_type: Arc<str>,
    /// Its content type.
    pub content: ContentType,
    /// Data and custom metadata.
    pub payload: Payload,
}

/// The two content types that a server keeps apart: any other becomes octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`
    Json,
    /// `application/octet-stream`
    Octets,
}

impl ContentType {
    /// The text of the metadata property `content-type`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Octets => "application/octet-stream",
        }
    }
}

/// Data and custom metadata in one piece of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    bytes: Arc<[u8]>,
    data_len: u32,
}

impl Payload {
    /// Copies both, so that nothing keeps the message alive that they came in.
    ///
    /// # Panics
    /// If the data has 4 GiB or more.
    pub fn copied(data: &[u8], metadata: &[u8]) -> Self {
        let data_len = u32::try_from(data.len()).expect("an append is 1 MiB at most");
        let bytes = if metadata.is_empty() { data.into() } else { [data, metadata].concat().into() };
        Self { bytes, data_len }
    }

    /// The data.
    pub fn data(&self) -> &[u8] {
        &self.bytes[..self.data_len as usize]
    }

    /// The custom metadata.
    pub fn metadata(&self) -> &[u8] {
        &self.bytes[self.data_len as usize..]
    }

    /// Bytes of both.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Bytes of a record beside its names and its payload.
const FRAME_LEN: u64 = 90;

/// Bytes of the record that begins the log, and of a later leader's.
const FIRST_EPOCH_LEN: u64 = 548;
const LATER_EPOCH_LEN: u64 = 662;

/// Bytes of the prefix that tells a text's length: one for each seven bits. The first is in [`FRAME_LEN`].
fn prefix_len(text: &str) -> u64 {
    let mut rest = text.len() >> 7;
    let mut bytes = 0;
    while rest > 0 {
        bytes += 1;
        rest >>= 7;
    }
    bytes
}

/// Bytes that an append without events takes.
pub(crate) fn empty_len(stream: &str) -> u64 {
    FRAME_LEN + prefix_len(stream) + stream.len() as u64
}

impl Record {
    /// Bytes from its start to the next record's; `None` for a removed one, which no longer tells.
    pub fn size(&self) -> Option<u64> {
        match &self.body {
            Body::Event(event) => {
                let names = empty_len(&event.stream) + prefix_len(&event.event_type);
                Some(names + (event.event_type.len() + event.payload.len()) as u64)
            }
            Body::Empty { len } => Some(*len),
            Body::Epoch { number: 0 } => Some(FIRST_EPOCH_LEN),
            Body::Epoch { .. } => Some(LATER_EPOCH_LEN),
            Body::Removed => None,
        }
    }

    /// The event, if it is one.
    pub fn event(&self) -> Option<&Event> {
        match &self.body {
            Body::Event(event) => Some(event),
            Body::Empty { .. } | Body::Epoch { .. } | Body::Removed => None,
        }
    }

    /// True if both logs have the same record here. A scavenge on one of them does not make a difference.
    pub fn is_same(&self, other: &Self) -> bool {
        self.position == other.position
            && match (&self.body, &other.body) {
                (Body::Removed, _) | (_, Body::Removed) => true,
                (one, another) => one == another,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes as the positions of real servers show them: raw-answers.txt, 23.10.
    #[test]
    fn a_record_takes_as_many_bytes_as_on_a_real_server() {
        let len = |stream: usize, event_type: &str, payload: &str| {
            let event = Event {
                stream: "n".repeat(stream).into(),
                revision: 0,
                id: Uuid::nil(),
                created: Ticks(0),
                event_type: event_type.into(),
                content: ContentType::Json,
                payload: Payload::copied(payload.as_bytes(), b""),
            };
            Record { position: Position(0), body: Body::Event(event) }.size().unwrap()
        };
        assert_eq!(len(40, "t", "{}"), 6713 - 6580);
        assert_eq!(len(40, "t", "not json"), 6985 - 6846);
        assert_eq!(len(3000, "t", "{}"), 10209 - 7115);
        assert_eq!(len(42, METADATA_TYPE, r#"{"$tb":9223372036854775807}"#), 11314 - 11146);
        assert_eq!(len(41, TOMBSTONE_TYPE, ""), 11627 - 11482);
        assert_eq!(empty_len(&"n".repeat(40)), 7115 - 6985);
    }
}

//! Decisions on appends and deletes: the expected state of the stream, and both classes of idempotency. A leader
//! asks here, then replicates what is to be written.

use std::sync::Arc;

use uuid::Uuid;

use super::{Store, StreamMetadata};
use crate::record::{
    Body, ContentType, Event, METADATA_PREFIX, METADATA_TYPE, Payload, Position, Record, TOMBSTONE_REVISION,
    TOMBSTONE_TYPE, Ticks, empty_len,
};

/// The state that a stream must have for an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Any.
    Any,
    /// It has events.
    StreamExists,
    /// It has none.
    NoStream,
    /// Its last event has this revision.
    Revision(u64),
}

impl Expected {
    /// The number that answers name it by: -2 any, -4 exists, -1 no stream.
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Any => -2,
            Self::StreamExists => -4,
            Self::NoStream => -1,
            Self::Revision(revision) => i64::try_from(revision).unwrap_or(i64::MAX),
        }
    }
}

/// An event as a producer proposes it.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    /// Its id.
    pub(crate) id: Uuid,
    /// Its type.
    pub(crate) event_type: String,
    /// Its content type.
    pub(crate) content: ContentType,
    /// Data and metadata.
    pub(crate) payload: Payload,
}

/// An append: some events for one stream, all or none.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    /// The stream.
    pub(crate) stream: String,
    /// The state that it must have.
    pub(crate) expected: Expected,
    /// The events; none is a record that nobody reads.
    pub(crate) events: Vec<NewEvent>,
}

/// The two ways to remove a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Its events are no longer read; later ones continue its revisions.
    Soft,
    /// For ever.
    Tombstone,
}

/// The answer to an append that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Revision of its last event; `None` for an append without events to a stream that has none.
    pub(crate) revision: Option<i64>,
    /// Position of its last event.
    pub(crate) position: Position,
}

/// The outcome of an append, before a quorum has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The records that are to be written now, and the answer once they are committed.
    Write(Vec<Arc<Record>>, Written),
    /// The events are there already, and committed.
    Repeat(Written),
    /// The events are there already, without a quorum as yet: a server drops the request.
    RepeatOfPending,
    /// The stream has another state.
    WrongExpectedVersion {
        /// Revision of its last event.
        current: Option<i64>,
    },
    /// The stream has a tombstone.
    StreamDeleted,
}

/// The ids of an append that are remembered.
enum Known {
    /// Not that of the first event.
    None,
    /// The id of the first event, and not that of a later one.
    Some,
    /// All of them; the last one is that of the record at `last`.
    All { last: usize },
}

impl Store {
    /// Decides on an append; writes nothing.
    pub(crate) fn decide(&mut self, proposal: &Proposal, now: Ticks) -> Decision {
        let written = self.log.len();
        if self.is_tombstoned(&proposal.stream, written) {
            return Decision::StreamDeleted;
        }
        let current = self.last_revision(&proposal.stream, written);
        let wrong = Decision::WrongExpectedVersion { current };
        match proposal.expected {
            Expected::Any | Expected::StreamExists => match self.weak_repeat(proposal) {
                Known::All { last } => return self.repeat(last),
                Known::Some => return wrong,
                Known::None if proposal.expected == Expected::StreamExists && current.is_none() => {
                    return wrong;
                }
                Known::None => {}
            },
            Expected::NoStream | Expected::Revision(_) => {
                let (last, expected) = (current.unwrap_or(-1), proposal.expected.number());
                let is_recreated = expected == -1 && self.is_soft_deleted(&proposal.stream);
                if last > expected && !is_recreated {
                    return self.strong_repeat(proposal, expected).unwrap_or(wrong);
                }
                if last < expected {
                    return wrong;
                }
            }
        }
        self.write(proposal, current, now)
    }

    fn is_soft_deleted(&self, stream: &str) -> bool {
        self.metadata_at(stream, self.log.len()).is_deleted()
    }

    /// The id of the first event decides that an append is a repeat.
    fn weak_repeat(&self, proposal: &Proposal) -> Known {
        let find = |event: &NewEvent| self.recent.find(&proposal.stream, event.id);
        let Some((first, others)) = proposal.events.split_first() else { return Known::None };
        let Some(first) = find(first) else { return Known::None };
        let last = others.iter().try_fold(first, |_, event| find(event));
        last.map_or(Known::Some, |last| Known::All { last })
    }

    /// The events are those that stand behind the expected revision: the strong class, without a limit in time.
    fn strong_repeat(&self, proposal: &Proposal, expected: i64) -> Option<Decision> {
        let places = self.places(&proposal.stream, self.log.len());
        let first = places.partition_point(|place| self.revision_at(*place) <= expected);
        let stored = places.get(first..first + proposal.events.len())?;
        let truncated = self.metadata_at(&proposal.stream, self.log.len()).truncate_before.unwrap_or(0);
        let same =
            proposal.events.iter().zip(stored).zip(expected + 1..).all(|((event, place), revision)| {
                revision >= truncated
                    && self
                        .event_at(*place)
                        .event()
                        .is_some_and(|it| it.id == event.id && it.revision == revision)
            });
        same.then_some(*stored.last()?).map(|place| self.repeat(place as usize))
    }

    fn repeat(&self, last: usize) -> Decision {
        if last >= self.committed {
            return Decision::RepeatOfPending;
        }
        let record = &self.log[last];
        let revision = record.event().map(|event| event.revision);
        Decision::Repeat(Written { revision, position: record.position })
    }

    fn write(&mut self, proposal: &Proposal, current: Option<i64>, now: Ticks) -> Decision {
        if proposal.events.is_empty() {
            let body = Body::Empty { len: empty_len(&proposal.stream) };
            let record = Record { position: self.end, body };
            return Decision::Write(
                vec![Arc::new(record)],
                Written { revision: current, position: self.end },
            );
        }
        let stream = self.stream_name(&proposal.stream);
        let first = current.map_or(0, |last| last + 1);
        let mut next = self.end;
        let mut records = Vec::with_capacity(proposal.events.len());
        let mut written = Written { revision: current, position: next };
        for (event, revision) in proposal.events.iter().zip(first..) {
            written = Written { revision: Some(revision), position: next };
            let event = Event {
                stream: Arc::clone(&stream),
                revision,
                id: event.id,
                created: now,
                event_type: self.type_name(&event.event_type),
                content: event.content,
                payload: event.payload.clone(),
            };
            records.push(laid(Body::Event(event), &mut next));
        }
        if self.is_soft_deleted(&proposal.stream) {
            let metadata = self.truncated_before(&proposal.stream, first, now);
            records.push(laid(Body::Event(metadata), &mut next));
        }
        Decision::Write(records, written)
    }

    /// Decides on a delete; writes nothing.
    pub(crate) fn decide_removal(
        &mut self,
        stream: &str,
        expected: Expected,
        removal: Removal,
        now: Ticks,
    ) -> Decision {
        let written = self.log.len();
        if self.is_tombstoned(stream, written) {
            return Decision::StreamDeleted;
        }
        let current = self.last_revision(stream, written);
        if expected == Expected::StreamExists && self.is_soft_deleted(stream) {
            return Decision::StreamDeleted;
        }
        let fits = match expected {
            Expected::Any => removal == Removal::Tombstone || current.is_some(),
            Expected::StreamExists => current.is_some(),
            Expected::NoStream => current.is_none() && removal == Removal::Tombstone,
            Expected::Revision(_) => current == Some(expected.number()),
        };
        if !fits {
            return Decision::WrongExpectedVersion { current };
        }
        let event = match removal {
            Removal::Soft => self.truncated_before(stream, StreamMetadata::DELETED, now),
            Removal::Tombstone => Event {
                stream: self.stream_name(stream),
                revision: TOMBSTONE_REVISION,
                id: Uuid::new_v4(),
                created: now,
                event_type: self.type_name(TOMBSTONE_TYPE),
                content: ContentType::Octets,
                payload: Payload::copied(b"", b""),
            },
        };
        let written = Written { revision: Some(event.revision), position: self.end };
        Decision::Write(vec![laid(Body::Event(event), &mut self.end.clone())], written)
    }

    /// Metadata that replaces all that the stream had.
    fn truncated_before(&mut self, stream: &str, revision: i64, now: Ticks) -> Event {
        let name = format!("{METADATA_PREFIX}{stream}");
        let last = self.last_revision(&name, self.log.len());
        Event {
            stream: self.stream_name(&name),
            revision: last.map_or(0, |last| last + 1),
            id: Uuid::new_v4(),
            created: now,
            event_type: self.type_name(METADATA_TYPE),
            content: ContentType::Json,
            payload: Payload::copied(format!(r#"{{"$tb":{revision}}}"#).as_bytes(), b""),
        }
    }

    /// Writes what was decided on as the leader of the log, and remembers the ids.
    pub(crate) fn write_as_leader(&mut self, records: &[Arc<Record>]) {
        for record in records {
            let end = Position(record.position.0 + record.size().unwrap_or(0));
            if let Some(event) = record.event() {
                self.recent.insert(event.id, Arc::clone(&event.stream), self.log.len());
            }
            self.push(Arc::clone(record), end);
        }
    }

    /// The record that a new leader begins with.
    pub(crate) fn epoch(&self) -> Arc<Record> {
        let number = self.last_epoch().map_or(0, |last| last + 1);
        Arc::new(Record { position: self.end, body: Body::Epoch { number } })
    }

    fn stream_name(&self, name: &str) -> Arc<str> {
        self.streams.get_key_value(name).map_or_else(|| name.into(), |(name, _)| Arc::clone(name))
    }

    fn type_name(&mut self, name: &str) -> Arc<str> {
        Arc::clone(self.types.get_or_insert_with(name, |name| Arc::from(name)))
    }
}

/// The record that starts at `next`, which is moved behind it.
fn laid(body: Body, next: &mut Position) -> Arc<Record> {
    let record = Record { position: *next, body };
    next.0 += record.size().unwrap_or(0);
    Arc::new(record)
}

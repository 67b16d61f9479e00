//! The state of one node: its transaction log, the streams in it, and the ids that it remembers. Pure: no clock, no
//! disk, no tasks. The cluster owns a store for each node that runs, and decides which part of it is committed.

mod append;
mod filter;
mod metadata;
mod places;
mod read;
mod recent;
mod scavenge;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::record::{Body, METADATA_PREFIX, Position, Record, TOMBSTONE_REVISION};

pub(crate) use append::{Decision, Expected, NewEvent, Proposal, Removal, Written};
pub(crate) use filter::{Condition, Filter, FilterOf};
pub(crate) use metadata::StreamMetadata;
pub(crate) use read::{AllPage, AllStart, BadPosition, Direction, StreamRange, StreamRead, StreamStart};
pub use recent::RECENT_BYTES_MAX;

use places::Places;
use recent::RecentIds;

/// One node's state. Records from `committed` on are written, and not yet safe on a quorum: nobody reads them.
#[derive(Debug)]
pub(crate) struct Store {
    log: Vec<Arc<Record>>,
    /// The start of the next record.
    end: Position,
    committed: usize,
    last_epoch: Option<u64>,
    /// Places in the log of the events of each stream, in order of revision.
    streams: HashMap<Arc<str>, Places>,
    recent: RecentIds,
    /// Types of events. They are few, so each text is kept once.
    types: HashSet<Arc<str>>,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(RECENT_BYTES_MAX)
    }
}

impl Store {
    /// An empty log, whose leader remembers ids in `recent_bytes_max` bytes.
    pub(crate) fn new(recent_bytes_max: usize) -> Self {
        Self {
            log: Vec::new(),
            end: Position(0),
            committed: 0,
            last_epoch: None,
            streams: HashMap::new(),
            recent: RecentIds::new(recent_bytes_max),
            types: HashSet::new(),
        }
    }

    /// All records, the uncommitted as well.
    pub(crate) fn log(&self) -> &[Arc<Record>] {
        &self.log
    }

    /// Records that are committed, in order.
    pub(crate) fn committed(&self) -> &[Arc<Record>] {
        &self.log[..self.committed]
    }

    /// The start of the next record.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Commits the first `count` records; fewer than before is a no-op, more than there are means all.
    pub(crate) fn commit(&mut self, count: usize) {
        self.committed = self.committed.max(count.min(self.log.len()));
    }

    /// Puts a record at the end, as it was read from disk or got from a leader.
    pub(crate) fn push(&mut self, record: Arc<Record>, end: Position) {
        if let Some(event) = record.event() {
            let place = u32::try_from(self.log.len()).expect("a log of tests has fewer than 2^32 records");
            if let Some(places) = self.streams.get_mut(&event.stream) {
                places.push(place);
            } else {
                self.streams.insert(Arc::clone(&event.stream), Places::One(place));
            }
        }
        if let Body::Epoch { number } = record.body {
            self.last_epoch = Some(number);
        }
        self.log.push(record);
        self.end = end;
    }

    /// Forgets the ids of late: a new leader has none.
    pub(crate) fn forget_recent(&mut self) {
        self.recent.clear();
    }

    /// Number of the last epoch in the log.
    pub(crate) fn last_epoch(&self) -> Option<u64> {
        self.last_epoch
    }

    /// The event at a place of the log that a stream names.
    fn event_at(&self, place: u32) -> &Arc<Record> {
        &self.log[place as usize]
    }

    /// Places of the events of `stream` among the first `visible` records.
    fn places(&self, stream: &str, visible: usize) -> &[u32] {
        let Some(places) = self.streams.get(stream).map(Places::as_slice) else { return &[] };
        let end = if places.last().is_some_and(|last| *last as usize >= visible) {
            places.partition_point(|place| (*place as usize) < visible)
        } else {
            places.len()
        };
        &places[..end]
    }

    fn revision_at(&self, place: u32) -> i64 {
        self.event_at(place).event().map_or(-1, |event| event.revision)
    }

    /// Revision of the last event of `stream` among the first `visible` records.
    fn last_revision(&self, stream: &str, visible: usize) -> Option<i64> {
        self.places(stream, visible).last().map(|place| self.revision_at(*place))
    }

    /// True if `stream` ended with a tombstone among the first `visible` records.
    fn is_tombstoned(&self, stream: &str, visible: usize) -> bool {
        self.last_revision(stream, visible) == Some(TOMBSTONE_REVISION)
    }

    /// Metadata of `stream`, of the first `visible` records.
    fn metadata_at(&self, stream: &str, visible: usize) -> StreamMetadata {
        if stream.starts_with(METADATA_PREFIX) {
            return StreamMetadata { max_count: Some(1), ..StreamMetadata::default() };
        }
        let name = format!("{METADATA_PREFIX}{stream}");
        self.places(&name, visible)
            .last()
            .and_then(|place| self.event_at(*place).event())
            .map_or_else(StreamMetadata::default, |event| StreamMetadata::parsed(event.payload.data()))
    }

    /// Committed metadata of `stream`. That of `$all` is found by the name `$all`.
    pub(crate) fn metadata(&self, stream: &str) -> StreamMetadata {
        self.metadata_at(stream, self.committed)
    }
}

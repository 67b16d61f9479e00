//! Pages of committed events, of a stream or of `$all`. Readers hold positions, never places in the log, so that a
//! page can be asked for after a truncation or a restart.

use std::sync::Arc;

use super::{Filter, Store, StreamMetadata};
use crate::record::{Body, METADATA_PREFIX, Position, Record, TOMBSTONE_REVISION, Ticks};

/// The order of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Oldest first.
    Forwards,
    /// Newest first.
    Backwards,
}

/// The place in a stream that a read starts from, which is included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamStart {
    /// The oldest event.
    Start,
    /// The newest event.
    End,
    /// This revision.
    Revision(i64),
}

/// The events of a stream that are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamRange {
    /// The first one.
    pub(crate) start: StreamStart,
    /// The order.
    pub(crate) direction: Direction,
    /// So many at most.
    pub(crate) max: usize,
}

/// The place in `$all` that a read starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllStart {
    /// The first record.
    Start,
    /// Behind the last record.
    End,
    /// A position: included forwards, not included backwards.
    At(Position),
}

/// A position that begins no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPosition;

/// The answer to a read of a stream.
#[derive(Clone, Debug)]
pub(crate) enum StreamRead {
    /// Never was, or is soft-deleted.
    NotFound,
    /// Has a tombstone.
    Deleted,
    /// Some of its events.
    Page(StreamPage),
}

/// Some events of a stream.
#[derive(Clone, Debug)]
pub(crate) struct StreamPage {
    /// In the order that was asked for.
    pub(crate) events: Vec<Arc<Record>>,
    /// The revision to go on from; `None`: nothing is left.
    pub(crate) next: Option<i64>,
    /// Revision of the stream's last event, whatever is read of it.
    pub(crate) last: i64,
}

/// Some events of `$all`.
#[derive(Clone, Debug)]
pub(crate) struct AllPage {
    /// In the order that was asked for; only those that the filter takes.
    pub(crate) events: Vec<Arc<Record>>,
    /// Events, and beginnings of leaders, that were looked at.
    pub(crate) considered: usize,
    /// The position to go on from.
    pub(crate) next: Position,
    /// True if nothing is left.
    pub(crate) is_end: bool,
    /// Position of the last event that was looked at, whether the filter takes it or not.
    pub(crate) last: Option<Position>,
}

impl Store {
    /// Some events of `stream`.
    pub(crate) fn read_stream(
        &self,
        stream: &str,
        StreamRange { start, direction, max }: StreamRange,
        now: Ticks,
    ) -> StreamRead {
        // Metadata of a stream that has ended can be written, and is not read.
        let of = stream.strip_prefix(METADATA_PREFIX).unwrap_or(stream);
        if self.is_tombstoned(of, self.committed) {
            return StreamRead::Deleted;
        }
        let places = self.places(stream, self.committed);
        let Some(newest) = places.last() else { return StreamRead::NotFound };
        let last = self.revision_at(*newest);
        let metadata = self.metadata(stream);
        if metadata.is_deleted() {
            return StreamRead::NotFound;
        }
        let lowest = lowest_revision(&metadata, last);
        let is_young = |record: &Record| is_young(&metadata, record, now);
        let first = places.partition_point(|place| self.revision_at(*place) < lowest);
        let seen = &places[first..];
        let from = match (start, direction) {
            (StreamStart::Start, Direction::Forwards) => 0,
            (StreamStart::End, Direction::Forwards) => seen.len().saturating_sub(1),
            (StreamStart::Start, Direction::Backwards) => seen.len().min(1),
            (StreamStart::End, Direction::Backwards) => seen.len(),
            (StreamStart::Revision(revision), Direction::Forwards) => {
                seen.partition_point(|place| self.revision_at(*place) < revision)
            }
            (StreamStart::Revision(revision), Direction::Backwards) => {
                seen.partition_point(|place| self.revision_at(*place) <= revision)
            }
        };
        let mut rest: Box<dyn Iterator<Item = &u32>> = match direction {
            Direction::Forwards => Box::new(seen[from..].iter()),
            Direction::Backwards => Box::new(seen[..from].iter().rev()),
        };
        let events = rest
            .by_ref()
            .map(|place| self.event_at(*place))
            .filter(|record| is_young(record))
            .take(max)
            .cloned()
            .collect();
        let next = rest.next().map(|place| self.revision_at(*place));
        StreamRead::Page(StreamPage { events, next, last })
    }

    /// Place of the first record at or behind `position`.
    ///
    /// # Errors
    /// No record begins there, and the log goes further.
    fn place_of(&self, position: Position) -> Result<usize, BadPosition> {
        match self.log.binary_search_by_key(&position, |record| record.position) {
            Ok(place) => Ok(place.min(self.committed)),
            Err(place) if place == self.log.len() && position >= self.end => Ok(self.committed),
            Err(_) => Err(BadPosition),
        }
    }

    /// Looks at up to `window` records of `$all` for up to `max` events.
    ///
    /// # Errors
    /// `start` begins no record.
    pub(crate) fn read_all(
        &self,
        start: AllStart,
        direction: Direction,
        (max, window): (usize, usize),
        filter: Option<&Filter>,
    ) -> Result<AllPage, BadPosition> {
        let place = match start {
            AllStart::Start => 0,
            AllStart::End => self.committed,
            AllStart::At(position) => self.place_of(position)?,
        };
        let records: Box<dyn Iterator<Item = (usize, &Arc<Record>)>> = match direction {
            Direction::Forwards => Box::new((place..).zip(&self.log[place..self.committed])),
            Direction::Backwards => Box::new((0..place).zip(&self.log[..place]).rev()),
        };
        let mut page = AllPage {
            events: Vec::new(),
            considered: 0,
            next: self.position_of(place, start),
            is_end: true,
            last: None,
        };
        for (place, record) in records {
            if page.events.len() == max || page.considered == window {
                page.is_end = false;
                break;
            }
            page.next = match direction {
                Direction::Forwards => self.position_of(place + 1, AllStart::End),
                Direction::Backwards => record.position,
            };
            match &record.body {
                Body::Event(event) => {
                    page.considered += 1;
                    page.last = Some(record.position);
                    if filter.is_none_or(|filter| filter.takes(event)) {
                        page.events.push(Arc::clone(record));
                    }
                }
                Body::Epoch { .. } => page.considered += 1,
                Body::Empty { .. } | Body::Removed => {}
            }
        }
        Ok(page)
    }

    /// Position of the record at `place`, or the end of the log; a start beyond the end stays as it is.
    fn position_of(&self, place: usize, start: AllStart) -> Position {
        let position = self.log.get(place).map_or(self.end, |record| record.position);
        match start {
            AllStart::At(asked) if asked > position => asked,
            AllStart::At(_) | AllStart::Start | AllStart::End => position,
        }
    }

    /// Position of the last committed event.
    pub(crate) fn last_position(&self) -> Option<Position> {
        self.committed().iter().rev().find(|record| record.event().is_some()).map(|record| record.position)
    }
}

/// The lowest revision that readers of a stream see.
pub(super) fn lowest_revision(metadata: &StreamMetadata, last: i64) -> i64 {
    let counted = metadata.max_count.map_or(0, |count| last - count + 1);
    counted.max(metadata.truncate_before.unwrap_or(0))
}

/// True if `$maxAge` lets readers of a stream see a record.
pub(super) fn is_young(metadata: &StreamMetadata, record: &Record, now: Ticks) -> bool {
    metadata.max_age.is_none_or(|age| {
        record
            .event()
            .is_some_and(|event| event.revision == TOMBSTONE_REVISION || now.0 - event.created.0 <= age.0)
    })
}

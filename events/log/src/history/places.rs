//! The file of every position: the sealed segments, then the WAL files that are not sealed yet. Replaced as
//! one, so that a reader finds every position in exactly one place at any moment.

use std::sync::Arc;

use lastseen_event::Position;

use crate::manifest::Manifest;
use crate::position::{following, preceding};
use crate::segment::entry::Entry;
use crate::wal::index::FrameIndex;

/// The files of the whole history.
pub(crate) struct Places {
    pub(crate) manifest: Arc<Manifest>,
    /// WAL files that are not sealed, in order; their numbers go on without a gap.
    pub(crate) files: Vec<FilePlace>,
}

/// The file in which a record stands.
pub(crate) enum Place {
    Segment(Arc<Entry>),
    File(FilePlace),
}

impl Place {
    pub(crate) fn is_file(&self, number: u64) -> bool {
        matches!(self, Self::File(place) if place.number == number)
    }
}

/// The place of one WAL file in the history.
#[derive(Clone, Debug)]
pub(crate) struct FilePlace {
    pub(crate) number: u64,
    /// The position of its first event, or of the next event if it has none.
    pub(crate) first_position: Position,
    /// The position after its last record, once nothing more is written to it.
    pub(crate) ended_at: Option<Position>,
    /// The offsets of some of its frames.
    pub(crate) frames: Arc<FrameIndex>,
}

impl Places {
    /// The position of the last event in a segment.
    pub(crate) fn sealed_until(&self) -> Position {
        self.manifest.last()
    }

    /// The number of the next WAL file.
    pub(crate) fn next_number(&self) -> u64 {
        self.files.last().map_or(self.manifest.wal_from.max(1), |last| last.number + 1)
    }

    /// Notes that nothing more is written to the last WAL file.
    pub(crate) fn end_last(&mut self, next_position: Position) {
        if let Some(last) = self.files.last_mut() {
            last.ended_at.get_or_insert(next_position);
        }
    }

    /// Takes the segments of `manifest` in the place of the files it covers.
    pub(crate) fn seal(&mut self, manifest: Manifest) {
        self.files.retain(|file| file.number >= manifest.wal_from);
        self.manifest = Arc::new(manifest);
    }

    /// Returns the file that holds a durable position.
    pub(crate) fn of(&self, position: Position) -> Place {
        if position <= self.sealed_until() {
            let segments = &self.manifest.segments;
            return Place::Segment(
                segments[segments.partition_point(|entry| entry.last() < position)].clone(),
            );
        }
        let after = self.files.partition_point(|place| place.first_position <= position);
        Place::File(self.files[after - 1].clone())
    }

    /// A place in front of the first record that shows a position above this one: the end of the segment in front of it, or
    /// of a frame.
    pub(crate) fn before_shown(&self, position: Position) -> Position {
        let segments = &self.manifest.segments;
        let behind = segments.partition_point(|entry| entry.last_shown() <= position);
        if let Some(entry) = segments.get(behind) {
            return preceding(entry.first());
        }
        let frame = self.files.iter().rev().find_map(|file| file.frames.before_shown(position));
        frame.map_or(self.sealed_until(), |frame| preceding(frame.first_position))
    }

    /// The files from the first on that nothing more is written to.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (FilePlace, Position)> {
        self.files.iter().map_while(|file| Some((file.clone(), file.ended_at?)))
    }

    /// The oldest event that is not sealed, if its file has one that is durable up to `tail`.
    pub(crate) fn unsealed(&self, tail: Position) -> Option<FilePlace> {
        self.files.first().cloned().filter(|_| following(self.sealed_until()) <= tail)
    }
}

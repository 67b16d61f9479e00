//! The file of every place: the sealed segments, then the WAL files that are not sealed yet. Replaced as one, so that a
//! reader finds every place in exactly one file at any moment.

use std::sync::Arc;

use lastseen_event::Position;

use crate::manifest::Manifest;
use crate::place::{Place, following, preceding};
use crate::segment::entry::Entry;
use crate::wal::index::FrameIndex;

/// The files of the whole history, by the places of their records.
pub(crate) struct Places {
    pub(crate) manifest: Arc<Manifest>,
    /// WAL files that are not sealed, in order; their numbers go on without a gap.
    pub(crate) files: Vec<FilePlace>,
}

/// The file that holds a record.
pub(crate) enum Held {
    Segment(Arc<Entry>),
    File(FilePlace),
}

impl Held {
    pub(crate) fn is_file(&self, number: u64) -> bool {
        matches!(self, Self::File(file) if file.number == number)
    }
}

/// One WAL file in the history.
#[derive(Clone, Debug)]
pub(crate) struct FilePlace {
    pub(crate) number: u64,
    /// The place of its first record, or of the next record if it has none.
    pub(crate) first_place: Place,
    /// The place after its last record, once nothing more is written to it.
    pub(crate) ended_at: Option<Place>,
    /// The offsets of some of its frames.
    pub(crate) frames: Arc<FrameIndex>,
}

impl Places {
    /// The place of the last record in a segment.
    pub(crate) fn sealed_until(&self) -> Place {
        self.manifest.last()
    }

    /// The number of the next WAL file.
    pub(crate) fn next_number(&self) -> u64 {
        self.files.last().map_or(self.manifest.wal_from.max(1), |last| last.number + 1)
    }

    /// Notes that nothing more is written to the last WAL file.
    pub(crate) fn end_last(&mut self, next_place: Place) {
        if let Some(last) = self.files.last_mut() {
            last.ended_at.get_or_insert(next_place);
        }
    }

    /// Takes the segments of `manifest` in the place of the files it covers.
    pub(crate) fn seal(&mut self, manifest: Manifest) {
        self.files.retain(|file| file.number >= manifest.wal_from);
        self.manifest = Arc::new(manifest);
    }

    /// Returns the file that holds the durable record at a place.
    pub(crate) fn of(&self, place: Place) -> Held {
        if place <= self.sealed_until() {
            let segments = &self.manifest.segments;
            return Held::Segment(segments[segments.partition_point(|entry| entry.last() < place)].clone());
        }
        let after = self.files.partition_point(|file| file.first_place <= place);
        Held::File(self.files[after - 1].clone())
    }

    /// A place in front of the first record that shows a position above this one: the end of the segment in front of it, or
    /// of a frame.
    pub(crate) fn before_shown(&self, position: Position) -> Place {
        let segments = &self.manifest.segments;
        let behind = segments.partition_point(|entry| entry.last_shown() <= position);
        if let Some(entry) = segments.get(behind) {
            return preceding(entry.first());
        }
        let frame = self.files.iter().rev().find_map(|file| file.frames.before_shown(position));
        frame.map_or(self.sealed_until(), |frame| preceding(frame.first_place))
    }

    /// The files from the first on that nothing more is written to.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (FilePlace, Place)> {
        self.files.iter().map_while(|file| Some((file.clone(), file.ended_at?)))
    }

    /// The oldest event that is not sealed, if its file has one that is durable up to `tail`.
    pub(crate) fn unsealed(&self, tail: Place) -> Option<FilePlace> {
        self.files.first().cloned().filter(|_| following(self.sealed_until()) <= tail)
    }
}

//! The offsets of some frames of a WAL file, in memory: so that a reader takes up a place without going over all frames
//! in front of it.

use lastseen_event::Position;
use parking_lot::RwLock;

use crate::place::Place;

/// A sparse index of one file: at most one frame for each [`EVERY_BYTES`] of it, 24 bytes each.
///
/// The writer and the opening of a log add to it, readers look. It may know fewer frames than there are.
#[derive(Debug, Default)]
pub(crate) struct FrameIndex(RwLock<Vec<Mark>>);

/// A frame that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The place of its first record.
    pub(crate) first_place: Place,
    /// The position that its first record shows: the same, or that of its stamp.
    pub(crate) shown: Position,
    /// Its offset in the file, in bytes.
    pub(crate) offset: u64,
}

/// Distance of two marks, in bytes: what a reader goes over at most, header by header, besides the frame it ends in.
const EVERY_BYTES: u64 = 64 * 1024;

impl FrameIndex {
    /// Adds a durable frame, if it is far enough from the one that was added last. Frames come in order.
    pub(crate) fn add(&self, frame: Mark) {
        let is_far = |last: &Mark| frame.offset >= last.offset + EVERY_BYTES;
        if self.0.read().last().is_none_or(is_far) {
            self.0.write().push(frame);
        }
    }

    /// The last frame known that begins at or before a place. `None`: none is known.
    pub(crate) fn before(&self, place: Place) -> Option<Mark> {
        let marks = self.0.read();
        let after = marks.partition_point(|mark| mark.first_place <= place);
        marks.get(after.checked_sub(1)?).copied()
    }

    /// The last frame known whose first record shows this position or one below. `None`: none is known.
    pub(crate) fn before_shown(&self, position: Position) -> Option<Mark> {
        let marks = self.0.read();
        let after = marks.partition_point(|mark| mark.shown <= position);
        marks.get(after.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_within_one_step() {
        let index = FrameIndex::default();
        let frames: Vec<Mark> = (0..10_000)
            .map(|number| (Place::new(1 + 3 * number), 64 + 104 * number))
            .map(|(first_place, offset)| Mark { first_place, shown: first_place.own_position(), offset })
            .collect();
        assert_eq!(index.before(Place::new(5)), None);
        for frame in &frames {
            index.add(*frame);
        }
        assert!(index.0.read().len() as u64 <= 104 * 10_000 / EVERY_BYTES + 1);
        for frame in &frames {
            for place in (0..3).map(|more| Place::new(frame.first_place.get() + more)) {
                let found = index.before(place).expect("the first frame is known");
                assert!(found.first_place <= place);
                assert!(frame.offset - found.offset < EVERY_BYTES, "{frame:?} {found:?}");
            }
        }
    }
}

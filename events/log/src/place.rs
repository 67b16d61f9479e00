//! Places: the dense numbers of records, from 1, by which everything inside of a log goes. They are the positions that a log
//! of its own shows. A log that follows another one shows the positions of that one, which have gaps.
//!
//! A place has arithmetic, a [`Position`] has none. One becomes the other only by a stamp, and here for a log of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use lastseen_event::Position;

/// The dense number of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(u64);

impl Place {
    /// In front of every record: the last of an empty log.
    pub(crate) const START: Self = Self(0);

    /// From the number as it stands on disk.
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// The place of the record that shows this position, in a log of its own.
    pub(crate) const fn of_own(position: Position) -> Self {
        Self(position.get())
    }

    /// The position that the record here shows, in a log of its own.
    pub(crate) const fn own_position(self) -> Position {
        Position::new(self.0)
    }
}

/// The place of the last durable record, for all threads.
#[derive(Debug)]
pub(crate) struct Tail(AtomicU64);

impl Tail {
    pub(crate) fn new(place: Place) -> Self {
        Self(AtomicU64::new(place.get()))
    }

    /// The place of the last durable record, [`Place::START`] if there is none. Its members, batches and files are known.
    pub(crate) fn get(&self) -> Place {
        Place(self.0.load(Ordering::Acquire))
    }

    /// Moves the tail. The writer alone does.
    pub(crate) fn set(&self, place: Place) {
        self.0.store(place.get(), Ordering::Release);
    }
}

/// The last record of a log, or of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastRecord {
    /// Its place, [`Place::START`] if there is none.
    pub(crate) place: Place,
    /// The position that it shows: its place, or that of its stamp.
    pub(crate) shown: Position,
}

/// The place after this one.
pub(crate) fn following(place: Place) -> Place {
    Place(place.0 + 1)
}

/// The place in front of this one; [`Place::START`] has none in front and is its own.
pub(crate) fn preceding(place: Place) -> Place {
    Place(place.0.saturating_sub(1))
}

//! Arithmetic of places: in the embedded log they are dense, from 1. They are its positions, unless it follows another log.

use lastseen_event::Position;

/// The last record of a log, or of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastRecord {
    /// Its place, [`Position::START`] if there is none.
    pub(crate) place: Position,
    /// The position that it shows: its place, or that of its stamp.
    pub(crate) shown: Position,
}

/// The position after this one.
pub(crate) fn following(position: Position) -> Position {
    Position::new(position.get() + 1)
}

/// The position in front of this one; [`Position::START`] has none in front and is its own.
pub(crate) fn preceding(position: Position) -> Position {
    Position::new(position.get().saturating_sub(1))
}

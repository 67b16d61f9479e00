//! Arithmetic of places: in the embedded log they are dense, from 1. They are its positions, unless it follows another log.

use lastseen_event::Position;

/// The position after this one.
pub(crate) fn following(position: Position) -> Position {
    Position::new(position.get() + 1)
}

/// The position in front of this one; [`Position::START`] has none in front and is its own.
pub(crate) fn preceding(position: Position) -> Position {
    Position::new(position.get().saturating_sub(1))
}

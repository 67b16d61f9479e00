//! Charts: pure functions from rows to SVG. Each is drawn for three widths; the page shows the one that fits.

pub(super) mod active;
pub(super) mod columns;
pub(super) mod dates;
pub(super) mod decay;
mod draw;
pub(super) mod everyone;
pub(super) mod known;
pub(super) mod lifecycle;
mod scale;
pub(super) mod spark;
#[cfg(test)]
mod tests;
pub(super) mod timeline;

pub(super) use self::draw::{Widths, Words};

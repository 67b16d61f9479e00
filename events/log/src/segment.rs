//! Sealed history: immutable Parquet files, a run of positions each, that any tool reads. FORMAT.md "Segments".
//!
//! `schema` says what the columns are, `write` turns events into the bytes of a segment, `members` those
//! it defines, `file` reads them back piece
//! by checksummed piece, `rows` turns what was read into facts and events.

pub(crate) mod file;
pub(crate) mod members;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod write;

use lastseen_event::Position;

/// The folder of the segments and their manifest.
pub(crate) const DIR: &str = "segments";

/// The path of the segment that begins with this position.
pub(crate) fn path(first: Position) -> String {
    format!("{DIR}/{:020}.parquet", first.get())
}

/// The path of the file that defines the members of this segment and of none before it.
pub(crate) fn members_path(first: Position) -> String {
    format!("{DIR}/{:020}.members", first.get())
}

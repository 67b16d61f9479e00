//! Sealed history: immutable Parquet files, a run of positions each, that any tool reads. FORMAT.md "Segments".
//!
//! `entry` says where a segment is in the history, `schema` its columns, `write` turns records into its bytes, `members`
//! and `index` make the files beside it, `file` reads it back piece by checksummed piece, `rows` turns what was read into
//! facts and events, `identities` into ids.

pub(crate) mod entry;
pub(crate) mod file;
pub(crate) mod identities;
pub(crate) mod index;
pub(crate) mod members;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod write;

use crate::place::Place;

/// The folder of the segments and their manifest.
pub(crate) const DIR: &str = "segments";

/// Ends the name of a segment.
pub(crate) const SUFFIX: &str = ".parquet";

/// Ends the name of its index file.
const INDEX_SUFFIX: &str = ".index";

/// The path of the segment that begins with this place.
pub(crate) fn path(first: Place) -> String {
    format!("{DIR}/{:020}{SUFFIX}", first.get())
}

/// The path of the file that defines the members of this segment and of none before it.
pub(crate) fn members_path(first: Place) -> String {
    format!("{DIR}/{:020}.members", first.get())
}

/// The path of the index file of this segment.
pub(crate) fn index_path(first: Place) -> String {
    format!("{DIR}/{:020}{INDEX_SUFFIX}", first.get())
}

/// The first place of the segment with this name; `None` for other files.
pub(crate) fn first_of(name: &str) -> Option<Place> {
    let first = Place::new(name.strip_suffix(SUFFIX)?.parse().ok()?);
    (path(first) == format!("{DIR}/{name}")).then_some(first)
}

/// The first place of the segment whose index file has this name; `None` for other files.
pub(crate) fn indexed_by(name: &str) -> Option<Place> {
    let first = Place::new(name.strip_suffix(INDEX_SUFFIX)?.parse().ok()?);
    (index_path(first) == format!("{DIR}/{name}")).then_some(first)
}

//! Reading a segment back before the WAL files that it is made of go: its rows have to be the records that were in those.

use std::sync::Arc;

use lastseen_event::Position;
use lastseen_store::ReadError;

use super::encode::Expected;
use super::error::{SealError, failed};
use crate::damage::corruption;
use crate::disk::Disk;
use crate::identity::IdKey;
use crate::position::following;
use crate::segment;
use crate::segment::entry::{Entry, Piece};
use crate::segment::file::SegmentFile;
use crate::segment::identities;

/// Reads every row of the segment of this entry and compares its id within its tenant, its content and its member.
///
/// # Errors
/// [`SealError::Corrupt`] where a row is another one; [`SealError::Io`] where the segment cannot be read.
pub(super) fn compare(
    disk: &dyn Disk,
    (entry, pieces): (&Arc<Entry>, &[Piece]),
    key: &IdKey,
    expected: &[Expected],
) -> Result<(), SealError> {
    let path = segment::path(entry.first());
    // What is in memory is what was written, whatever became of it on disk.
    disk.forget(&path).map_err(failed("read", &path))?;
    let file = SegmentFile::with_pieces(disk, entry, pieces.to_vec())?;
    let (mut position, mut left) = (entry.first(), expected.iter());
    let mut other: Option<Position> = None;
    let read: Result<(), ReadError> = identities::each(&file, key, |row| {
        let found = Expected::new(row.own.digest(row.fingerprint), row.member);
        if left.next() != Some(&found) {
            other.get_or_insert(position);
        }
        position = following(position);
    });
    read?;
    if left.next().is_some() {
        other.get_or_insert(position);
    }
    match other {
        None => Ok(()),
        Some(position) => {
            let expected = format!("at position {} the record that is in the WAL", position.get());
            Err(corruption(path, 0, expected, "another one").into())
        }
    }
}

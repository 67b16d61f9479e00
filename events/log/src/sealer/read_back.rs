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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lastseen_store::contract::Source;
    use lastseen_store::{EventStore, ManualClock, OnRefused};

    use super::*;
    use crate::disk::FaultDisk;
    use crate::manifest::Manifest;
    use crate::segment::index::Index;
    use crate::{Log, LogOptions, Sealing};

    #[tokio::test]
    async fn every_record_is_compared_with_what_it_has_to_be() {
        const EVENTS: u64 = 50;
        let disk = Arc::new(FaultDisk::default());
        let options = LogOptions { sealing: Sealing::OnDemand, ..LogOptions::default() };
        let clock = Arc::new(ManualClock::new(lastseen_event::UtcInstant::from_micros(1)));
        let log = Log::open(disk.clone(), options, clock).unwrap();
        log.append(Source { series: 0 }.batch(0..EVENTS), OnRefused::RefuseBatch).await.unwrap();
        std::thread::scope(|scope| scope.spawn(|| log.seal().unwrap()).join().unwrap());
        let manifest = Manifest::read(disk.as_ref()).unwrap().unwrap();
        let entry = &manifest.segments[0];
        let pieces = Index::read(disk.as_ref(), entry, |_| true).unwrap().pieces;
        let file = SegmentFile::with_pieces(disk.as_ref(), entry, pieces.clone()).unwrap();
        let mut right = Vec::new();
        identities::each(&file, &manifest.id_key, |row| {
            right.push(Expected::new(row.own.digest(row.fingerprint), row.member));
        })
        .unwrap();
        let compare = |expected: &[Expected]| {
            compare(disk.as_ref(), (entry, &pieces), &manifest.id_key, expected).map_err(
                |error| match error {
                    SealError::Corrupt(corruption) => corruption.expected,
                    error => panic!("{error}"),
                },
            )
        };
        compare(&right).unwrap();
        let at = |position: usize| Err(format!("at position {position} the record that is in the WAL"));
        for row in 0..right.len() {
            let mut other = right.clone();
            other[row] = right[(row + 1) % right.len()];
            assert_eq!(compare(&other), at(row + 1));
        }
        assert_eq!(compare(&right[..right.len() - 1]), at(right.len()));
        let more = [&right[..], &right[..1]].concat();
        assert_eq!(compare(&more), at(right.len() + 1));
        assert_eq!(compare(&[]), at(1));
    }
}

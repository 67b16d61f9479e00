//! Reading a segment back before the WAL files that it is made of go: its rows have to be the records that were in those.

use std::sync::Arc;

use lastseen_store::ReadError;

use super::encode::Expected;
use super::error::{SealError, failed};
use crate::damage::corruption;
use crate::disk::Disk;
use crate::identity::IdKey;
use crate::origin::StampSum;
use crate::place::{Place, following};
use crate::segment;
use crate::segment::entry::{Entry, Piece};
use crate::segment::file::SegmentFile;
use crate::segment::identities;

/// Reads every row of the segment of this entry and compares its id within its tenant, its content and its member. The
/// positions and the instants of recording that rows show are compared as a sum over all of them.
///
/// # Errors
/// [`SealError::Corrupt`] where a row is another one, or shows something else; [`SealError::Io`] where the segment
/// cannot be read.
pub(super) fn compare(
    disk: &dyn Disk,
    (entry, pieces): (&Arc<Entry>, &[Piece]),
    key: &IdKey,
    (expected, stamps): (&[Expected], StampSum),
) -> Result<(), SealError> {
    let path = segment::path(entry.first());
    // What is in memory is what was written, whatever became of it on disk.
    disk.forget(&path).map_err(failed("read", &path))?;
    let file = SegmentFile::with_pieces(disk, entry, pieces.to_vec())?;
    let (mut place, mut left, mut shown) = (entry.first(), expected.iter(), StampSum::default());
    let mut other: Option<Place> = None;
    let read: Result<(), ReadError> = identities::each_stamped(&file, key, |row, stamp| {
        shown.add(stamp);
        let found = Expected::new(row.own.digest(row.fingerprint), row.member);
        if left.next() != Some(&found) {
            other.get_or_insert(place);
        }
        place = following(place);
    });
    read?;
    if left.next().is_some() {
        other.get_or_insert(place);
    }
    match other {
        None if shown == stamps => Ok(()),
        None => {
            let expected = "the positions and the instants of the records that are in the WAL";
            Err(corruption(path, 0, expected, "others").into())
        }
        Some(place) => {
            let expected = format!("at position {} the record that is in the WAL", place.get());
            Err(corruption(path, 0, expected, "another one").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lastseen_event::{Fact, Position, UtcInstant};
    use lastseen_store::contract::Source;
    use lastseen_store::{Detail, EventReader, EventStore, LogId, ManualClock, OnRefused};

    use super::*;
    use crate::disk::FaultDisk;
    use crate::manifest::Manifest;
    use crate::origin::{Followed, Stamp};
    use crate::segment::index::Index;
    use crate::{LockedDisk, Log, LogOptions, Sealing};

    const EVENTS: u64 = 50;

    fn options() -> LogOptions {
        LogOptions { sealing: Sealing::OnDemand, ..LogOptions::default() }
    }

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(UtcInstant::from_micros(1)))
    }

    /// A segment of a log, with what it has to be.
    struct Sealed {
        disk: Arc<FaultDisk>,
        manifest: Manifest,
        pieces: Vec<Piece>,
        rows: Vec<Expected>,
        stamps: Vec<Stamp>,
    }

    impl Sealed {
        fn of(disk: Arc<FaultDisk>, log: &Log) -> Self {
            // As the WAL has them.
            let mut reader = log.read(Position::START, Detail::Facts);
            let mut stamps = Vec::new();
            while let Some(batch) = reader.next_batch().unwrap() {
                let stamp = |fact: &Fact| Stamp { position: fact.position, recorded_at: fact.recorded_at };
                stamps.extend(batch.facts.iter().map(stamp));
            }
            assert_eq!(stamps.len() as u64, EVENTS);
            std::thread::scope(|scope| scope.spawn(|| log.seal().unwrap()).join().unwrap());
            let manifest = Manifest::read(disk.as_ref()).unwrap().unwrap();
            let entry = &manifest.segments[0];
            let pieces = Index::read(disk.as_ref(), entry, |_| true).unwrap().pieces;
            let file = SegmentFile::with_pieces(disk.as_ref(), entry, pieces.clone()).unwrap();
            let mut rows = Vec::new();
            identities::each(&file, &manifest.id_key, |row| {
                rows.push(Expected::new(row.own.digest(row.fingerprint), row.member));
            })
            .unwrap();
            Self { disk, manifest, pieces, rows, stamps }
        }

        async fn of_own_log() -> Self {
            let disk = Arc::new(FaultDisk::default());
            let log = Log::open(disk.clone(), options(), clock()).unwrap();
            log.append(Source { series: 0 }.batch(0..EVENTS), OnRefused::RefuseBatch).await.unwrap();
            Self::of(disk, &log)
        }

        async fn of_replica() -> Self {
            let disk = Arc::new(FaultDisk::default());
            let locked = LockedDisk::lock(disk.clone()).unwrap();
            let origin = LogId::from_bytes([9; 16]);
            let log = Log::open_following(locked, options(), origin, (clock(), &[]), |_| ()).unwrap();
            let stamp = |at: u64| Stamp {
                position: Position::new(at * at + 1_000_000),
                recorded_at: UtcInstant::from_micros(i64::try_from(at / 7).unwrap()),
            };
            let events = Source { series: 0 }.batch(0..EVENTS);
            log.follow(Followed::Events(events, (1..=EVENTS).map(stamp).collect())).await.unwrap();
            Self::of(disk, &log)
        }

        fn compare(&self, rows: &[Expected], stamps: &[Stamp]) -> Result<(), String> {
            let mut sum = StampSum::default();
            for stamp in stamps {
                sum.add(*stamp);
            }
            let of = (&self.manifest.segments[0], &self.pieces[..]);
            let compared = compare(self.disk.as_ref(), of, &self.manifest.id_key, (rows, sum));
            compared.map_err(|error| match error {
                SealError::Corrupt(corruption) => corruption.expected,
                error => panic!("{error}"),
            })
        }
    }

    #[tokio::test]
    async fn every_record_is_compared_with_what_it_has_to_be() {
        let sealed = Sealed::of_own_log().await;
        let right = &sealed.rows;
        let compare = |rows: &[Expected]| sealed.compare(rows, &sealed.stamps);
        compare(right).unwrap();
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

    /// A segment that showed other positions or instants than the records had was accepted, and the WAL files removed.
    #[tokio::test]
    async fn every_stamp_is_compared_with_what_it_has_to_be() {
        for sealed in [Sealed::of_own_log().await, Sealed::of_replica().await] {
            let right = &sealed.stamps;
            let compare = |stamps: &[Stamp]| sealed.compare(&sealed.rows, stamps);
            compare(right).unwrap();
            let refused = Err("the positions and the instants of the records that are in the WAL".to_owned());
            for row in 0..right.len() {
                let changed = |stamp: Stamp| {
                    let mut other = right.clone();
                    other[row] = stamp;
                    compare(&other)
                };
                let Stamp { position, recorded_at } = right[row];
                for to in [Position::new(position.get() + 1), Position::START] {
                    assert_eq!(changed(Stamp { position: to, recorded_at }), refused, "{row}");
                }
                let later = UtcInstant::from_micros(recorded_at.as_micros() + 1);
                assert_eq!(changed(Stamp { position, recorded_at: later }), refused, "{row}");
                let mut swapped = right.clone();
                swapped.swap(row, (row + 1) % right.len());
                assert_eq!(compare(&swapped), refused, "the order counts: {row}");
            }
            assert_eq!(compare(&right[1..]), refused);
        }
    }
}

//! Segments are read back before their WAL files go, and ids that a disk has lost are made anew from the segments.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lastseen_event::Position;
use lastseen_log::{FaultDisk, Log, LogOptions, SealError};
use lastseen_store::{AppendError, EventStore, OnRefused, Part, ReadError};

use crate::history::{Item, batch, check_verified, read_above};
use crate::support::{WatchedDisk, clock, open, options, wait};

fn items(numbers: std::ops::Range<u64>) -> Vec<Item> {
    numbers.map(Item::new).collect()
}

fn append(log: &Log, items: &[Item]) -> Result<usize, AppendError> {
    wait(log.append(batch(items), OnRefused::RefuseBatch)).map(|appended| appended.stored)
}

/// Changes a bit of every so many bytes of a file, in place.
fn damage(disk: &FaultDisk, path: &str, every: usize) {
    let mut content = disk.files().remove(path).expect("it is there");
    content.iter_mut().skip(every / 2).step_by(every).for_each(|byte| *byte ^= 4);
    disk.overwrite(path, &content);
}

/// A disk that wrote other bytes than it was given: nobody notices before somebody reads.
#[test]
fn a_segment_that_is_not_what_was_written_leaves_its_wal_files() {
    let disk = FaultDisk::default();
    let (inner, damaged) = (disk.clone(), Arc::new(AtomicBool::new(false)));
    let once = damaged.clone();
    let watched = WatchedDisk::new(disk.clone(), move |path| {
        if path.ends_with(".parquet") && !once.swap(true, Ordering::AcqRel) {
            damage(&inner, path, 200);
        }
    });
    let log = Log::open(Arc::new(watched), options(900), clock(1)).expect("opens");
    let all = items(0..40);
    assert_eq!(append(&log, &all).expect("appends"), 40);
    let before: Vec<_> = disk.files().into_keys().filter(|path| path.starts_with("wal/")).collect();
    let sealed = log.seal();
    assert!(damaged.load(Ordering::Acquire), "nobody read the segment");
    assert!(
        matches!(&sealed, Err(SealError::Corrupt(damage)) if damage.file.ends_with(".parquet")),
        "{sealed:?}"
    );
    let health = log.health();
    assert!(health.needs_restart() && health.standstills.iter().any(|found| found.part == Part::Sealer));
    let files = disk.files();
    assert!(before.iter().all(|path| files.contains_key(path)), "the WAL files are gone");
    let found = read_above(&log, Position::START).expect("readable");
    assert!(found.events.iter().eq(batch(&all).iter()));
    log.close();
    // The next start seals them again.
    let log = open(&disk, &options(900), clock(1)).expect("opens again");
    log.seal().expect("seals");
    let found = read_above(&log, Position::START).expect("readable");
    assert!(found.events.iter().eq(batch(&all).iter()));
    check_verified(&disk, None).expect("sound");
}

/// Damage to ids is told once, then they are made anew; no event is stored twice meanwhile.
#[test]
fn damaged_ids_are_made_anew_from_the_segments() {
    for (every, filter_bytes) in [(64, 0), (64, 1 << 20), (2_000, 0), (2_000, 1 << 20)] {
        let disk = FaultDisk::default();
        // The window holds nothing of the first events.
        let options = LogOptions { recent_ids: 1, filter_bytes, ..options(900) };
        let log = open(&disk, &options, clock(1)).expect("opens");
        let old = items(0..300);
        assert_eq!(append(&log, &old).expect("appends"), 300);
        log.seal().expect("seals");
        append(&log, &items(300..320)).expect("appends");
        log.seal().expect("seals");
        log.close();
        // Opened again, so that nothing of the ids is in memory.
        let log = open(&disk, &options, clock(1)).expect("opens again");
        let run = disk.files().into_keys().find(|path| path.starts_with("ids/")).expect("a run");
        damage(&disk, &run, every);
        let refused = append(&log, &old);
        let is_told = |error: &AppendError| matches!(error, AppendError::Unreadable(ReadError::Corrupt(found)) if found.file == run);
        assert!(refused.as_ref().is_err_and(is_told), "{refused:?}");
        assert_eq!(log.tail().position().get(), 320, "nothing was stored");
        assert!(check_verified(&disk, None).is_err(), "the check sees it too");
        log.seal().expect("makes them anew");
        assert_eq!(append(&log, &old).expect("known"), 0);
        assert_eq!(append(&log, &items(290..330)).expect("some are new"), 10);
        assert!(!log.health().needs_restart());
        log.close();
        check_verified(&disk, None).expect("sound again");
        let log = open(&disk, &options, clock(1)).expect("opens again");
        assert_eq!(append(&log, &old).expect("known"), 0);
    }
}

/// Merging reads every id: damage that no look-up has met is found there, and mended there.
#[test]
fn ids_that_cannot_be_merged_are_made_anew() {
    for at in 0..8 {
        let disk = FaultDisk::default();
        let options = LogOptions { recent_ids: 1, ..options(900) };
        let log = open(&disk, &options, clock(1)).expect("opens");
        for segment in 0..8 {
            if segment == 7 && at < 7 {
                let runs: Vec<_> = disk.files().into_keys().filter(|path| path.starts_with("ids/")).collect();
                damage_digests(&disk, &runs[at]);
            }
            append(&log, &items(segment * 20..(segment + 1) * 20)).expect("appends");
            log.seal().expect("seals and merges");
        }
        let runs: Vec<_> = disk.files().into_keys().filter(|path| path.starts_with("ids/")).collect();
        assert_eq!(runs, ["ids/00000000000000000001-00000000000000000160.ids"], "damaged: {at}");
        check_verified(&disk, None).expect("sound");
        assert_eq!(append(&log, &items(0..160)).expect("known"), 0);
    }
}

/// Changes the first digest of a run with one page of a filter.
fn damage_digests(disk: &FaultDisk, path: &str) {
    let mut content = disk.files().remove(path).expect("it is there");
    content[2 * 1_024] ^= 4;
    disk.overwrite(path, &content);
}

//! Errors before anything is written: the append is refused, nothing of it appears, and the same log takes it
//! once the cause is gone. And the errors after which it takes nothing more, with what the log says of
//! itself.

use std::path::Path;
use std::sync::Arc;

use lastseen_event::Position;
use lastseen_log::{Fault, Log, OpenError, Operation, OsDisk, SealError};
use lastseen_store::{AppendError, EventStore, Health, OnRefused, Part, SystemClock, error_chain};
use tempfile::TempDir;

use crate::history::{Item, batch, read_above};
use crate::io_faults::{Life, NOW_US};
use crate::support::{clock, open, options, wait};

const FAULTS: [Fault; 5] = [Fault::NoDescriptors, Fault::Denied, Fault::Missing, Fault::Io, Fault::NoSpace];

fn items(numbers: std::ops::Range<u64>) -> Vec<Item> {
    numbers.map(Item::new).collect()
}

/// A life whose next append of `items(2..8)` ends a file and makes another.
fn before_a_rotation() -> Life {
    let mut life = Life::new(400);
    life.append(&items(0..2)).expect("appends");
    life
}

/// The one standstill of a log.
fn standstill(health: &Health) -> (Part, bool) {
    let [found] = &health.standstills[..] else { panic!("expected one: {health:?}") };
    assert!(!found.cause.is_empty());
    assert_eq!(found.since.as_micros(), NOW_US);
    assert_eq!(health.needs_restart(), found.is_final);
    (found.part, found.is_final)
}

#[test]
fn an_error_before_anything_is_written_refuses_and_passes() {
    // In the order in which they come: end frame, folder, file, room, header, name, zeros ahead of the frame.
    let steps = [
        (Operation::Write, 0),
        (Operation::OpenDir, 0),
        (Operation::Create, 0),
        (Operation::Allocate, 0),
        (Operation::Write, 1),
        (Operation::Rename, 0),
        (Operation::Write, 2),
    ];
    for ((operation, nth), fault) in steps.into_iter().flat_map(|step| FAULTS.map(|fault| (step, fault))) {
        let mut life = before_a_rotation();
        let log = life.log.take().expect("it is open");
        for round in 0..3 {
            // What was done before the step is not done again.
            let nth = if round == 0 { nth } else { 0 };
            life.disk.fail(operation, nth, 1, (fault, 7));
            let refused = wait(log.append(batch(&items(2..8)), OnRefused::RefuseBatch));
            let as_expected = match &refused {
                Err(AppendError::NoSpace(_)) => fault == Fault::NoSpace,
                Err(AppendError::Unavailable(_)) => fault != Fault::NoSpace,
                _ => false,
            };
            assert!(as_expected, "{operation:?} {nth} {fault:?}: {refused:?}");
            assert_eq!(life.disk.failures(), round + 1);
            assert_eq!(standstill(&log.health()), (Part::Writer, false));
            for seed in 0..4 {
                life.survives(seed, &items(2..8)).expect("nothing of it appears");
            }
        }
        let appended = wait(log.append(batch(&items(2..8)), OnRefused::RefuseBatch)).expect("it passed");
        assert_eq!(appended.stored, 6);
        assert_eq!(log.health().standstills, []);
        life.history.items.extend(items(2..8));
        log.close();
        life.survives(0, &[]).unwrap_or_else(|error| panic!("{operation:?} {nth} {fault:?}: {error}"));
    }
}

#[test]
fn an_error_that_leaves_open_what_is_on_disk_closes_the_writer() {
    // In the order in which they come; behind the name of the new file, the frame itself.
    let steps = [
        (Operation::SyncData, 0, false),
        (Operation::SetLen, 0, false),
        (Operation::SyncAll, 0, false),
        (Operation::SyncAll, 1, false),
        (Operation::SyncDir, 0, false),
        (Operation::Write, 3, true),
        (Operation::SyncData, 1, true),
    ];
    for ((operation, nth, begun), fault) in
        steps.into_iter().flat_map(|step| FAULTS.map(|fault| (step, fault)))
    {
        if fault == Fault::NoSpace
            && matches!((operation, nth), (Operation::SyncAll, 1) | (Operation::Write, 3))
        {
            // Nothing of it counts: that of a nameless file, and a frame that surely did not reach its end.
            continue;
        }
        let mut life = before_a_rotation();
        let log = life.log.take().expect("it is open");
        life.disk.fail(operation, nth, 1, (fault, 7));
        let answer = wait(log.append(batch(&items(2..8)), OnRefused::RefuseBatch));
        let as_expected = match &answer {
            Err(AppendError::Closed) => !begun,
            Err(AppendError::Indeterminate(_)) => begun,
            _ => false,
        };
        assert!(as_expected, "{operation:?} {nth} {fault:?}: {answer:?}");
        let again = wait(log.append(batch(&items(2..8)), OnRefused::RefuseBatch));
        assert!(matches!(again, Err(AppendError::Closed)), "{again:?}");
        assert!(matches!(log.seal(), Err(SealError::Stopped)));
        assert_eq!(standstill(&log.health()), (Part::Writer, true));
        life.history.compare(&log, None).expect("reading goes on");
        if !begun {
            for seed in 0..4 {
                life.survives(seed, &items(2..8)).expect("nothing of it appears");
            }
        }
        drop(log);
        let log = open(&life.disk.after_kill(), &life.options, clock(NOW_US)).expect("opens again");
        assert_eq!(log.health().standstills, []);
    }
}

#[test]
fn what_keeps_from_sealing_is_tried_again() {
    for (operation, nth) in [
        (Operation::OpenDir, 0),
        (Operation::Open, 0),
        (Operation::Create, 0),
        (Operation::Create, 2),
        (Operation::Rename, 0),
        (Operation::Rename, 2),
    ] {
        for fault in [Fault::NoDescriptors, Fault::Denied, Fault::Missing, Fault::NoSpace] {
            if operation == Operation::Rename && fault == Fault::NoDescriptors {
                continue;
            }
            let mut life = before_a_rotation();
            let log = life.log.take().expect("it is open");
            log.seal().expect("seals");
            life.append_to(&log, &items(2..8));
            assert_eq!(log.health().unsealed_events, 6);
            for round in 0..2 {
                life.disk.fail(operation, nth, 1, (fault, 0));
                let error = log.seal().expect_err("is not possible");
                assert!(
                    matches!(error, SealError::Io { .. }),
                    "{operation:?} {fault:?}: {}",
                    error_chain(&error)
                );
                assert_eq!(life.disk.failures(), round + 1);
                assert_eq!(standstill(&log.health()), (Part::Sealer, false));
                life.survives(round, &[]).expect("all is there");
                // Another file is due the next time.
                life.append_to(&log, &items(8 + round * 6..14 + round * 6));
            }
            log.seal().expect("seals now");
            assert_eq!((log.health().standstills, log.health().unsealed_events), (Vec::new(), 0));
            life.survives(0, &[]).expect("all is there");
            life.survives(1, &[]).expect("all is there");
        }
    }
}

impl Life {
    /// Appends to a log that takes it.
    fn append_to(&mut self, log: &Log, items: &[Item]) {
        let appended = wait(log.append(batch(items), OnRefused::RefuseBatch)).expect("appends");
        assert_eq!(appended.stored, items.len());
        self.history.items.extend(items);
    }
}

fn open_directory(dir: &Path) -> Log {
    let disk = OsDisk::new(dir).expect("a directory");
    Log::open(Arc::new(disk), options(700), Arc::new(SystemClock)).expect("opens")
}

/// All files are found from the directory that was opened, whatever its name is by now.
#[test]
fn a_directory_that_was_moved_away_stays_one_log() {
    let above = TempDir::new().expect("a directory");
    let (data, away) = (above.path().join("data"), above.path().join("away"));
    let log = open_directory(&data);
    let append = |log: &Log, items: Vec<Item>| wait(log.append(batch(&items), OnRefused::RefuseBatch));
    append(&log, items(0..1)).expect("appends");
    std::fs::rename(&data, &away).expect("renames");
    append(&log, items(1..14)).expect("goes on in other files");
    log.seal().expect("seals");
    append(&log, items(14..15)).expect("goes on");
    // Another log in its place is another one, and the first is still locked where it is.
    let other = open_directory(&data);
    assert_ne!(other.lineage().log_id(), log.lineage().log_id());
    append(&other, items(0..3)).expect("appends");
    let locked = OsDisk::new(&away).expect("a directory");
    let locked = Log::open(Arc::new(locked), options(700), Arc::new(SystemClock));
    assert!(matches!(locked, Err(OpenError::Locked)));
    append(&log, items(15..30)).expect("goes on");
    log.close();
    other.close();
    for (directory, count) in [(&away, 30), (&data, 3)] {
        let log = open_directory(directory);
        let found = read_above(&log, Position::START).expect("readable");
        assert!(found.events.iter().eq(batch(&items(0..count)).iter()), "all of it, once");
    }
}

/// Whatever is removed in a directory that is in use, nobody else gets in.
#[test]
fn a_lock_cannot_be_taken_away() {
    let directory = TempDir::new().expect("a directory");
    let log = open_directory(directory.path());
    for name in ["lock", "wal/0000000001.wal"] {
        let _ = std::fs::remove_file(directory.path().join(name));
        let disk = OsDisk::new(directory.path()).expect("a directory");
        let second = Log::open(Arc::new(disk), options(700), Arc::new(SystemClock));
        assert!(matches!(second, Err(OpenError::Locked)), "without {name}");
    }
    log.close();
    open_directory(directory.path()).close();
}

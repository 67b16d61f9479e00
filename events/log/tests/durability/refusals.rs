//! Errors before anything is written: the append is refused, nothing of it appears, and the same log takes it
//! once the cause is gone. And the errors after which it takes nothing more, with what the log says of
//! itself.

use std::path::Path;
use std::sync::Arc;

use lastseen_event::Position;
use lastseen_log::{Commit, Fault, Health, Log, Operation, OsDisk, Part, SealError};
use lastseen_store::{AppendError, EventStore, OnRefused, SystemClock, error_chain};
use tempfile::TempDir;

use crate::history::{History, Item, batch, read_above};
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
    Log::open(Arc::new(disk), options(700), Arc::new(SystemClock), Commit::acknowledge).expect("opens")
}

#[test]
fn a_directory_that_was_moved_away_refuses_until_it_is_back() {
    let above = TempDir::new().expect("a directory");
    let (data, away) = (above.path().join("data"), above.path().join("away"));
    let log = open_directory(&data);
    let append = |items: Vec<Item>| wait(log.append(batch(&items), OnRefused::RefuseBatch));
    append(items(0..1)).expect("appends");
    std::fs::rename(&data, &away).expect("renames");
    // The file that is being written is open, wherever it is: until it is full, nothing is missing.
    append(items(1..2)).expect("there is room in the file");
    for _ in 0..3 {
        let refused = append(items(2..14));
        assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
        assert!(!log.health().needs_restart() && !log.health().standstills.is_empty());
        assert!(matches!(log.seal(), Err(SealError::Io { .. })), "it is tried again");
    }
    std::fs::rename(&away, &data).expect("renames");
    append(items(2..14)).expect("it is back");
    log.seal().expect("seals");
    assert_eq!((log.health().standstills, log.health().unsealed_events), (Vec::new(), 0));
    log.close();
    let log = open_directory(&data);
    let found = read_above(&log, Position::START).expect("readable");
    assert!(found.events.iter().eq(batch(&items(0..14)).iter()), "all of it, once");
    History { items: items(0..14), facts: Vec::new() }.compare(&log, None).expect("is the history");
}

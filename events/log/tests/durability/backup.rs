//! A backup whose power is taken away at every operation, and one of a log whose last frame was not durable yet:
//! whatever is left opens as a prefix of the original, and the original keeps what the copy has.

use std::sync::Arc;

use lastseen_event::Position;
use lastseen_log::{BackedUp, BackupError, Disk, FaultDisk, Log, LogOptions, backup};
use lastseen_store::{AppendError, EventStore, OnRefused, RecordedBatch, error_chain};

use crate::history::{Item, batch, check_verified, read_above};
use crate::support::{Chance, clock, multiplier, on_all_cores, open, options, wait};

const NOW_US: i64 = 1_790_000_000_000_000;
const BATCHES: u64 = 12;

/// Appends batches of one to six events to a log with tiny files, some of which are sealed, until it is done or the disk is gone.
fn publish(log: &Log, chance: &mut Chance) {
    let mut sent = 0;
    for number in 0..BATCHES {
        if number == BATCHES / 3 || number == BATCHES / 2 {
            // It may fail like anything else; then there is less that is sealed.
            let _ = log.seal();
        }
        let items: Vec<Item> = (sent..sent + 1 + chance.below(6)).map(Item::new).collect();
        sent += items.len() as u64;
        match wait(log.append(batch(&items), OnRefused::RefuseBatch)) {
            Ok(_) => {}
            Err(
                AppendError::Indeterminate(_)
                | AppendError::NoSpace(_)
                | AppendError::Unavailable(_)
                | AppendError::Closed,
            ) => return,
            Err(error) => panic!("an append ended otherwise: {}", error_chain(&error)),
        }
    }
}

fn history(disk: &FaultDisk, options: &LogOptions) -> RecordedBatch {
    let log = open(disk, options, clock(NOW_US)).expect("the log opens");
    read_above(&log, Position::START).expect("history is readable")
}

fn is_prefix(part: &RecordedBatch, whole: &RecordedBatch) -> bool {
    whole.facts.starts_with(&part.facts) && part.events.iter().eq(whole.events.iter().take(part.facts.len()))
}

fn copy(from: &FaultDisk, to: &FaultDisk) -> Result<BackedUp, BackupError> {
    let (from, to): (Arc<dyn Disk>, Arc<dyn Disk>) = (Arc::new(from.clone()), Arc::new(to.clone()));
    backup(&from, &to, |_, _| {})
}

/// Cuts the copy's power at every operation; how many copies were opened.
fn cut_the_copy(seed: u64) -> u64 {
    let (mut chance, options, from) = (Chance::new(seed), options(2_048), FaultDisk::default());
    let log = open(&from, &options, clock(NOW_US)).expect("an empty log opens");
    publish(&log, &mut chance);
    let original = read_above(&log, Position::START).expect("history is readable");
    let mut opened = 0;
    for operation in 1.. {
        let to = FaultDisk::default();
        to.cut_power_at(operation);
        let copied = copy(&from, &to);
        for state in 0..3 {
            let left = to.after_power_cut(seed * 31 + operation * 7 + state);
            check_verified(&left, None)
                .unwrap_or_else(|error| panic!("seed {seed}, operation {operation}: {error}"));
            let found = history(&left, &options);
            assert!(is_prefix(&found, &original), "seed {seed}, operation {operation}: not a prefix");
            let whole = copied.is_err() || found.facts.len() == original.facts.len();
            assert!(whole, "seed {seed}, operation {operation}: a backup that succeeded is not durable");
            opened += 1;
        }
        if copied.is_ok() && to.operations() < operation {
            return opened;
        }
    }
    opened
}

/// Kills the log's process at every operation and copies what it leaves, some of it not durable; then the power goes.
fn cut_the_original(seed: u64) -> u64 {
    let options = options(2_048);
    let mut opened = 0;
    for operation in 1.. {
        let disk = FaultDisk::default();
        disk.cut_power_at(operation);
        if let Ok(log) = open(&disk, &options, clock(NOW_US)) {
            publish(&log, &mut Chance::new(seed));
        }
        let done = disk.operations() < operation;
        let (from, to) = (disk.after_kill(), FaultDisk::default());
        match copy(&from, &to) {
            Ok(_) => {
                let copied = history(&to, &options);
                let kept = history(&from.after_power_cut(seed + operation), &options);
                assert!(
                    is_prefix(&copied, &kept),
                    "seed {seed}, operation {operation}: only the copy has an event"
                );
                opened += 1;
            }
            Err(BackupError::NoLog) => {}
            // No folder yet.
            Err(BackupError::Io { .. }) if from.files().is_empty() => {}
            Err(error) => panic!("seed {seed}, operation {operation}: {}", error_chain(&error)),
        }
        if done {
            return opened;
        }
    }
    opened
}

#[test]
fn a_backup_that_is_cut_short_opens_as_a_prefix() {
    let opened = on_all_cores(0..4 * multiplier(), cut_the_copy);
    eprintln!("{opened} copies opened");
    assert!(opened > 100);
}

#[test]
fn what_a_backup_has_is_durable_in_the_original() {
    let opened = on_all_cores(0..4 * multiplier(), cut_the_original);
    eprintln!("{opened} originals compared");
    assert!(opened > 100);
}

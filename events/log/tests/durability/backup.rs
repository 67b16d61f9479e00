//! A backup whose power is taken away at every operation, and one of a log whose last frame was not durable yet: what is
//! left is no log, or all of the original, and the original keeps what the copy has. And what becomes of a copy.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use lastseen_event::Position;
use lastseen_log::{BackedUp, BackupError, Disk, FaultDisk, Log, LogOptions, OpenError, backup};
use lastseen_store::{Ancestor, AppendError, EventStore, OnRefused, RecordedBatch, error_chain};

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
            let place = format!("seed {seed}, operation {operation}");
            match open(&left, &options, clock(NOW_US)) {
                Ok(log) => {
                    check_verified(&left, None).unwrap_or_else(|error| panic!("{place}: {error}"));
                    let found = read_above(&log, Position::START).expect("history is readable");
                    let is_whole = found.events.iter().eq(original.events.iter());
                    // Before anything of the original was there, it is an empty directory.
                    let is_empty = found.facts.is_empty() && copied.is_err();
                    assert!(is_whole || is_empty, "{place}: a part of the original is taken for all of it");
                }
                Err(OpenError::Corrupt(corruption)) => {
                    assert_eq!(corruption.file, "segments/manifest.json", "{place}");
                    assert!(copied.is_err(), "{place}: a backup that succeeded is not durable");
                }
                Err(error) => panic!("{place}: {}", error_chain(&error)),
            }
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
                let log = open(&to, &options, clock(NOW_US)).expect("opens");
                let appended = wait(log.append(batch(&[Item::new(9_999)]), OnRefused::RefuseBatch));
                assert_eq!(appended.expect("appends").stored, 1);
                log.close();
                let place = format!("seed {seed}, operation {operation}: the copy went on");
                check_verified(&to, None).unwrap_or_else(|error| panic!("{place}: {error}"));
                assert_eq!(history(&to, &options).facts.len(), copied.facts.len() + 1, "{place}");
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
fn a_backup_that_is_cut_short_is_no_log() {
    let opened = on_all_cores(0..4 * multiplier(), cut_the_copy);
    eprintln!("{opened} copies looked at");
    assert!(opened > 100);
}

#[test]
fn what_a_backup_has_is_durable_in_the_original() {
    let opened = on_all_cores(0..4 * multiplier(), cut_the_original);
    eprintln!("{opened} originals compared");
    assert!(opened > 100);
}

/// A copy is the same log until it is written to; then it is one that continues it, and both go on apart.
#[test]
fn a_copy_that_is_written_to_is_a_log_of_its_own() {
    let items = |numbers: std::ops::Range<u64>| numbers.map(Item::new).collect::<Vec<_>>();
    let append = |log: &Log, numbers| {
        let appended = wait(log.append(batch(&items(numbers)), OnRefused::RefuseBatch)).expect("appends");
        (appended.stored, appended.position.get())
    };
    for sealed in [false, true] {
        let (from, to, options) = (FaultDisk::default(), FaultDisk::default(), options(2_048));
        let log = open(&from, &options, clock(NOW_US)).expect("opens");
        append(&log, 0..20);
        if sealed {
            log.seal().expect("seals");
        }
        append(&log, 20..30);
        copy(&from, &to).expect("copies");
        let original = log.lineage().log_id();
        let reopen = |log: Log| {
            log.close();
            open(&to, &options, clock(NOW_US)).expect("opens")
        };
        let mut second = open(&to, &options, clock(NOW_US)).expect("the copy opens");
        for _ in 0..2 {
            assert_eq!(append(&second, 0..30), (0, 30), "all of it is known");
            second = reopen(second);
            assert_eq!(second.lineage(), log.lineage(), "nothing was written");
        }
        append(&log, 30..40);
        assert_eq!(append(&second, 50..55), (5, 35));
        let own = second.lineage();
        assert_ne!(own.log_id(), original);
        assert_eq!(own.ancestors(), [Ancestor { log_id: original, until: Position::new(30) }]);
        assert!(own.shares(original, Position::new(30)) && !own.shares(original, Position::new(31)));
        second = reopen(second);
        assert_eq!((second.lineage(), append(&second, 60..65)), (own.clone(), (5, 40)));
        second.seal().expect("seals what both wrote");
        second = reopen(second);
        assert_eq!(second.lineage(), own, "once");
        assert_eq!(append(&second, 0..30), (0, 40), "ids stay known under another log's name");
        check_verified(&to, None).expect("is sound");

        // A copy of the copy, before and after a write of its own.
        let third_disk = FaultDisk::default();
        copy(&to, &third_disk).expect("copies");
        let third = open(&third_disk, &options, clock(NOW_US)).expect("opens");
        assert_eq!(append(&third, 70..71), (1, 41));
        let ancestors: Vec<_> =
            third.lineage().ancestors().iter().map(|it| (it.log_id, it.until.get())).collect();
        assert_eq!(ancestors, [(original, 30), (own.log_id(), 40)]);
        check_verified(&third_disk, None).expect("is sound");
        assert_eq!(log.lineage().log_id(), original, "the original stays who it is");
    }
}

/// The directory that a program of version 1 left.
fn of_version_1() -> FaultDisk {
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/v1/data"));
    let disk = FaultDisk::default();
    for folder in ["segments", "wal"] {
        for entry in std::fs::read_dir(data.join(folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("text");
            disk.put(&format!("{folder}/{name}"), &std::fs::read(entry.path()).expect("a file"));
        }
    }
    disk
}

/// Meanwhile the server makes index files of segments that are copied already.
#[test]
fn a_backup_of_a_log_that_is_being_upgraded_opens() {
    let (disk, to) = (of_version_1(), FaultDisk::default());
    let options = LogOptions { segment_events: 50, ..options(24 << 10) };
    let log = open(&disk, &options, clock(NOW_US)).expect("opens");
    wait(log.append(batch(&[Item::new(1)]), OnRefused::RefuseBatch)).expect("appends");
    let from: Arc<dyn Disk> = Arc::new(disk.clone());
    let target: Arc<dyn Disk> = Arc::new(to.clone());
    backup(&from, &target, |done, _| {
        if done == 1 {
            log.seal().expect("describes the old ones and seals");
        }
    })
    .expect("copies");
    log.close();
    let indexes = |disk: &FaultDisk| disk.files().keys().filter(|path| path.contains(".index")).count();
    assert!(indexes(&disk) >= 3 && indexes(&to) == indexes(&disk), "{} of {}", indexes(&to), indexes(&disk));
    let (whole, copied) = (history(&disk, &options), history(&to, &options));
    assert!(is_prefix(&copied, &whole) && copied.facts.len() == whole.facts.len());
    check_verified(&to, None).expect("sound");
}

/// A log that continues another knows up to where: it cannot have been shorter.
#[test]
fn a_copy_that_lost_what_it_was_copied_with_is_refused() {
    let options = options(900);
    let append = |log: &Log, items: std::ops::Range<u64>| {
        let items: Vec<Item> = items.map(Item::new).collect();
        wait(log.append(batch(&items), OnRefused::RefuseBatch)).expect("appends");
    };
    for sealed in [false, true] {
        let (disk, to) = (FaultDisk::default(), FaultDisk::default());
        let log = open(&disk, &options, clock(NOW_US)).expect("opens");
        append(&log, 0..30);
        if sealed {
            log.seal().expect("seals");
            append(&log, 30..40);
        }
        log.close();
        copy(&disk, &to).expect("copies");
        let log = open(&to, &options, clock(NOW_US)).expect("opens");
        append(&log, 40..50);
        log.close();
        let mut files = to.files();
        files.retain(|path, _| !path.starts_with("wal/"));
        let shorter = FaultDisk::holding(&files);
        match open(&shorter, &options, clock(NOW_US)) {
            Err(OpenError::Corrupt(found)) => assert_eq!(found.file, "segments/manifest.json"),
            other => panic!("{:?}", other.map(|log| log.tail().position())),
        }
        check_verified(&shorter, Some(&BTreeSet::from(["segments/manifest.json"])))
            .expect("the check sees it");
    }
}

/// The original goes on as well. Its next file is none of the copy, though the copy continues the original.
#[test]
fn a_file_of_the_original_is_none_of_the_copy() {
    let options = options(900);
    let (disk, to) = (FaultDisk::default(), FaultDisk::default());
    let go_on = |disk: &FaultDisk, items: std::ops::Range<u64>| {
        let log = open(disk, &options, clock(NOW_US)).expect("opens");
        let items: Vec<Item> = items.map(Item::new).collect();
        wait(log.append(batch(&items), OnRefused::RefuseBatch)).expect("appends");
        log.close();
    };
    let newest = |disk: &FaultDisk| disk.files().into_keys().rfind(|path| path.starts_with("wal/"));
    go_on(&disk, 0..5);
    copy(&disk, &to).expect("copies");
    go_on(&disk, 5..8);
    go_on(&to, 10..13);
    let path = newest(&to).expect("a file");
    assert_eq!(newest(&disk), Some(path.clone()));
    to.put(&path, &disk.files()[&path]);
    match open(&to, &options, clock(NOW_US)) {
        Err(OpenError::Corrupt(found)) => assert_eq!((found.file, found.offset), (path.clone(), 0)),
        other => panic!("{:?}", other.map(|log| log.tail().position())),
    }
    check_verified(&to, Some(&BTreeSet::from([path.as_str()]))).expect("the check sees it");
}

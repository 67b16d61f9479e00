//! Threads that die or stop are told in the log's health, those that can are seen to go on; and who the log
//! is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lastseen_event::UtcInstant;
use lastseen_log::{Fault, FaultDisk, LockedDisk, Log, LogOptions, Operation, SealError, Sealing};
use lastseen_store::{AppendError, Clock, EventStore, Health, OnRefused, Part, Standstill};

use crate::history::{Item, batch};
use crate::support::{clock, open, options, wait};

const NOW_US: i64 = 1_800_000_000_000_000;

/// Waits until the health of a log is as it is to be.
fn eventually(log: &Log, is_so: impl Fn(&Health) -> bool) -> Health {
    const PATIENCE: Duration = Duration::from_mins(1);
    let start = Instant::now();
    loop {
        let health = log.health();
        if is_so(&health) {
            return health;
        }
        assert!(start.elapsed() < PATIENCE, "it stays {health:?}");
        std::thread::yield_now();
    }
}

fn final_of(health: &Health, part: Part) -> Option<&Standstill> {
    health.standstills.iter().find(|standstill| standstill.part == part && standstill.is_final)
}

fn append(log: &Log, number: u64) {
    wait(log.append(batch(&[Item::new(number)]), OnRefused::RefuseBatch)).expect("appends");
}

/// Joins threads of which one panicked.
fn end(log: Log) {
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| log.close())).is_err());
    // What is left to do was done.
    drop(log);
}

#[test]
fn all_is_well_until_the_log_is_closed() {
    let log = open(&FaultDisk::default(), &options(900), clock(NOW_US)).expect("opens");
    assert_eq!(log.health(), Health::default());
    append(&log, 1);
    append(&log, 2);
    assert_eq!(log.health(), Health { unsealed_events: 2, ..Health::default() });
    log.seal().expect("seals");
    assert_eq!(log.health(), Health::default());
    log.close();
    assert!(log.health().needs_restart() && final_of(&log.health(), Part::Writer).is_some());
}

#[test]
fn a_writer_whose_thread_panicked_is_told() {
    let disk = Arc::new(FaultDisk::default());
    let locked = LockedDisk::lock(disk).expect("is free");
    let log = Log::open_locked(locked, options(900), (clock(NOW_US), &[]), |_| panic!("as it was told to"));
    let log = log.expect("opens");
    let lost = wait(log.append(batch(&[Item::new(1)]), OnRefused::RefuseBatch));
    assert!(matches!(lost, Err(AppendError::Indeterminate(_))), "{lost:?}");
    let health = eventually(&log, Health::needs_restart);
    let standstill = final_of(&health, Part::Writer).expect("it is the writer");
    assert!(standstill.cause.contains("panicked") && standstill.since.as_micros() == NOW_US, "{health:?}");
    let again = wait(log.append(batch(&[Item::new(1)]), OnRefused::RefuseBatch));
    assert!(matches!(again, Err(AppendError::Closed)), "{again:?}");
    end(log);
}

/// Shows the time, but for once, on the thread that seals.
struct PanickingClock(AtomicBool);

impl Clock for PanickingClock {
    fn now(&self) -> UtcInstant {
        let seals = std::thread::current().name() == Some("log-sealer");
        assert!(!(seals && self.0.swap(false, Ordering::AcqRel)), "as it was told to");
        UtcInstant::from_micros(NOW_US)
    }

    fn uptime(&self) -> Duration {
        Duration::ZERO
    }
}

fn sealing_in_the_background() -> LogOptions {
    // Looks around every ten milliseconds, and takes nothing for old.
    let segment_age = Duration::from_millis(40);
    LogOptions { segment_age, segment_events: 4, sealing: Sealing::Background, ..options(3_000) }
}

#[test]
fn a_sealer_whose_thread_panicked_is_told_and_appends_go_on() {
    let clock = Arc::new(PanickingClock(AtomicBool::new(true)));
    let disk = Arc::new(FaultDisk::default());
    let log = Log::open(disk, sealing_in_the_background(), clock).expect("opens");
    append(&log, 1);
    let health = eventually(&log, Health::needs_restart);
    assert!(final_of(&health, Part::Sealer).is_some_and(|sealer| sealer.cause.contains("panicked")));
    for number in 2..20 {
        append(&log, number);
    }
    assert_eq!(log.health().unsealed_events, 19);
    assert_eq!(final_of(&log.health(), Part::Writer), None);
    end(log);
}

#[test]
fn a_sealer_without_descriptors_goes_on_by_itself_when_there_are_some() {
    for operation in [Operation::Open, Operation::OpenDir] {
        let disk = FaultDisk::default();
        let log = open(&disk, &sealing_in_the_background(), clock(NOW_US)).expect("opens");
        append(&log, 1);
        // The file is open, so nothing of this is the writer's.
        disk.fail(operation, 0, u64::MAX, (Fault::NoDescriptors, 0));
        wait(log.append(batch(&(2..6).map(Item::new).collect::<Vec<_>>()), OnRefused::RefuseBatch))
            .expect("there is room in the file");
        let refused = wait(log.append(batch(&[Item::new(6)]), OnRefused::RefuseBatch));
        assert_eq!(operation == Operation::OpenDir, refused.is_err(), "{refused:?}");
        let stands = |health: &Health| health.standstills.iter().any(|found| found.part == Part::Sealer);
        let health = eventually(&log, stands);
        assert!(!health.needs_restart() && health.unsealed_events >= 5, "{health:?}");
        disk.heal();
        append(&log, 6);
        eventually(&log, |health| health.standstills.is_empty() && health.unsealed_events <= 1);
    }
}

#[test]
fn a_sealer_that_stopped_is_told() {
    let fail_sync = |disk: &FaultDisk| disk.fail(Operation::SyncDir, 0, 1, (Fault::Io, 0));
    let damage = |disk: &FaultDisk| {
        let (path, mut content) =
            disk.files().into_iter().find(|(path, _)| path.starts_with("wal/")).expect("a file");
        content[120] ^= 1;
        disk.put(&path, &content);
    };
    for word in ["sync", "damaged"] {
        let disk = FaultDisk::default();
        let log = open(&disk, &options(900), clock(NOW_US)).expect("opens");
        append(&log, 1);
        if word == "sync" {
            fail_sync(&disk);
        } else {
            damage(&disk);
        }
        assert!(log.seal().is_err());
        let health = log.health();
        let sealer = final_of(&health, Part::Sealer).expect("it stopped");
        assert!(sealer.cause.contains(word), "{}", sealer.cause);
        assert!(health.needs_restart() && health.unsealed_events == 1);
        assert!(matches!(log.seal(), Err(SealError::Stopped)));
        assert_eq!(final_of(&log.health(), Part::Sealer), Some(sealer), "the first cause stays");
        append(&log, 2);
    }
}

#[test]
fn a_dictionary_that_is_not_written_is_told_and_harms_nothing() {
    let disk = FaultDisk::default();
    let log = open(&disk, &options(900), clock(NOW_US)).expect("opens");
    append(&log, 1);
    // The segment, its members, its index, its ids, the manifest, and then the dictionary.
    disk.fail(Operation::Create, 5, 1, (Fault::NoDescriptors, 0));
    log.seal().expect("seals");
    assert_eq!(disk.failures(), 1);
    let health = log.health();
    let [found] = &health.standstills[..] else { panic!("expected one: {health:?}") };
    assert!(found.part == Part::Dictionary && found.cause.contains("Too many open files"), "{health:?}");
    assert!(!health.needs_restart() && health.unsealed_events == 0);
    for number in 2..40 {
        append(&log, number);
    }
    log.seal().expect("seals");
    assert_eq!(log.health(), Health::default());
}

#[test]
fn a_log_has_one_id_from_its_first_opening_on() {
    let disk = FaultDisk::default();
    let id = |disk: &FaultDisk| open(disk, &options(900), clock(NOW_US)).expect("opens").lineage().log_id();
    let first = id(&disk);
    assert_eq!(id(&disk), first, "nothing was ever stored");
    for seed in 0..4 {
        assert_eq!(id(&disk.after_power_cut(seed)), first);
    }
    let log = open(&disk, &options(900), clock(NOW_US)).expect("opens");
    append(&log, 1);
    assert_eq!((log.lineage().log_id(), id(&disk.after_power_cut(0))), (first, first));
    log.seal().expect("seals");
    drop(log);
    assert_eq!(id(&disk), first);
    let manifest = String::from_utf8(disk.files()["segments/manifest.json"].clone()).expect("text");
    assert!(manifest.contains(&format!("\"log_id\":\"{first}\"")));
    assert_ne!(id(&FaultDisk::default()), first);
}

//! Followers of the tail: they share the decoding of what has just been appended, read no file for it, and read files for what
//! is older, without a block of the runtime and without a loss where one gives up waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use lastseen_event::Position;
use lastseen_log::{FaultDisk, Log, LogOptions};
use lastseen_store::{Detail, EventReader, EventStore, OnRefused, Scan, Subscription};
use parking_lot::Mutex;

use crate::history::{Item, batch};
use crate::support::{Chance, WatchedDisk, clock, options, wait};

/// Room for frames of any size that these tests write.
fn roomy() -> LogOptions {
    LogOptions { wal_file_bytes: 4 << 20, group_events: 16_384, ..options(1 << 20) }
}

fn append(log: &Log, numbers: std::ops::Range<u64>) {
    let items: Vec<Item> = numbers.map(Item::new).collect();
    wait(log.append(batch(&items), OnRefused::RefuseBatch)).expect("appends");
}

/// Ids of everything up to the tail, as a reader of files finds them.
fn all_ids(log: &Log) -> Vec<u128> {
    let mut reader = log.read(Position::START, Detail::Facts);
    let mut ids = Vec::new();
    while let Some(batch) = reader.next_batch().expect("readable") {
        ids.extend(batch.facts.iter().map(|fact| fact.id.as_uuid().as_u128()));
    }
    ids
}

#[test]
fn a_thousand_followers_share_each_decoding_and_read_no_file() {
    const FOLLOWERS: usize = 1_000;
    let reads = Arc::new(AtomicU64::new(0));
    let counted = reads.clone();
    let on_read = move |path: &str| {
        counted.fetch_add(
            u64::from(path.starts_with("wal/") || path.starts_with("segments/")),
            Ordering::Relaxed,
        );
    };
    let disk = Arc::new(WatchedDisk::new(FaultDisk::default(), on_read));
    let log = Log::open(disk, roomy(), clock(1)).expect("opens");
    for detail in [Detail::Facts, Detail::Events] {
        let from = log.tail().position();
        let mut followers: Vec<_> = (0..FOLLOWERS).map(|_| Subscription::new(&log, from, detail)).collect();
        let before = reads.load(Ordering::Relaxed);
        let (mut published, mut batches) = (from.get(), 0);
        // One event, a few, exactly one batch, and groups of several batches.
        for events in [1, 2, 500, 1_024, 1_025, 5_000] {
            append(&log, published..published + events);
            published += events;
            let mut reached = Position::START;
            while reached.get() < published {
                let [first, others @ ..] = followers.as_mut_slice() else { unreachable!("some follow") };
                let batch = wait(first.next()).expect("readable").expect("there is more");
                for follower in others {
                    let same = wait(follower.next()).expect("readable").expect("there is more");
                    assert!(Arc::ptr_eq(&batch, &same), "decoded once for all");
                }
                assert_eq!(batch.events.len(), if detail == Detail::Events { batch.facts.len() } else { 0 });
                reached = batch.reached;
                batches += 1;
            }
        }
        assert_eq!(reads.load(Ordering::Relaxed), before, "reads of files in {batches} batches");
        assert_eq!(batches, 1 + 1 + 1 + 1 + 2 + 5);
    }
    assert_eq!(all_ids(&log).len(), 2 * 7_552);
}

#[test]
fn followers_of_any_pace_see_everything_once_whatever_the_ring_holds() {
    let seed = 73;
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    for ring_bytes in [0, 100, 3_000, 40_000, 4 << 20] {
        let log = Log::open(Arc::new(FaultDisk::default()), LogOptions { ring_bytes, ..roomy() }, clock(1))
            .expect("opens");
        let mut followers: Vec<_> = (0..8)
            .map(|follower| {
                let detail = if follower % 2 == 0 { Detail::Facts } else { Detail::Events };
                (Subscription::new(&log, Position::START, detail), Vec::new(), Position::START)
            })
            .collect();
        let mut published = 0;
        for _ in 0..60 {
            let most = if chance.one_in(5) { 3_000 } else { 20 };
            let events = 1 + chance.below(most);
            append(&log, published..published + events);
            published += events;
            if chance.one_in(10) {
                log.seal().expect("seals");
            }
            for (place, (subscription, ids, reached)) in followers.iter_mut().enumerate() {
                // The first follows closely, the others the less so, and each begins anew now and then.
                for _ in 0..chance.below(4) / (1 + place as u64 / 3) {
                    if reached.get() == published {
                        break;
                    }
                    let batch = wait(subscription.next()).expect("readable").expect("there is more");
                    ids.extend(batch.facts.iter().map(|fact| fact.id.as_uuid().as_u128()));
                    *reached = batch.reached;
                    if chance.one_in(6) {
                        *subscription = Subscription::new(&log, *reached, Detail::Facts);
                    }
                }
            }
        }
        let expected = all_ids(&log);
        assert_eq!(expected.len() as u64, published);
        for (subscription, ids, reached) in &mut followers {
            while reached.get() < published {
                let batch = wait(subscription.next()).expect("readable").expect("there is more");
                ids.extend(batch.facts.iter().map(|fact| fact.id.as_uuid().as_u128()));
                *reached = batch.reached;
            }
            assert_eq!(*ids, expected, "a ring of {ring_bytes} bytes");
        }
    }
}

#[test]
fn a_reader_that_begins_or_ends_within_a_group_gets_its_part_of_it() {
    let log = Log::open(Arc::new(FaultDisk::default()), roomy(), clock(1)).expect("opens");
    append(&log, 0..2_500);
    append(&log, 2_500..2_503);
    let ids = all_ids(&log);
    for after in [0, 1, 700, 1_023, 1_024, 1_025, 2_047, 2_499, 2_500, 2_501] {
        let mut subscription = Subscription::new(&log, Position::new(after), Detail::Events);
        let (mut found, mut reached) = (Vec::new(), after);
        while reached < 2_503 {
            let batch = wait(subscription.next()).expect("readable").expect("there is more");
            found.extend(batch.facts.iter().map(|fact| fact.id.as_uuid().as_u128()));
            reached = batch.reached.get();
        }
        let from = usize::try_from(after).expect("a count");
        assert_eq!(found, ids[from..], "after {after}");
        for until in [after + 1, after + 1_000, after + 1_500, 2_502] {
            let scan = Scan {
                until: Some(Position::new(until)),
                ..Scan::after(Position::new(after), Detail::Facts)
            };
            let (mut reader, mut found) = (log.scan(scan), Vec::new());
            while let Some(batch) = reader.next_batch().expect("readable") {
                found.extend(batch.facts.iter().map(|fact| fact.id.as_uuid().as_u128()));
            }
            let until = usize::try_from(until).expect("a count").clamp(from, 2_503);
            assert_eq!(found, ids[from..until], "after {after} until {until}");
        }
    }
}

#[test]
fn reading_files_keeps_nobody_waiting_and_a_call_that_is_dropped_loses_nothing() {
    const PATIENCE: Duration = Duration::from_secs(30);
    /// Done by the next read of a WAL file.
    type Gate = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;
    let gate = Gate::default();
    let gated = gate.clone();
    let on_read = move |path: &str| {
        let waiting = if path.starts_with("wal/") { gated.lock().take() } else { None };
        if let Some(wait) = waiting {
            wait();
        }
    };
    let disk = Arc::new(WatchedDisk::new(FaultDisk::default(), on_read));
    let log = Log::open(disk, LogOptions { ring_bytes: 0, ..roomy() }, clock(1)).expect("opens");
    append(&log, 0..10);
    let mut subscription = Subscription::new(&log, Position::START, Detail::Facts);
    let ((sender, began), (go_on, released)) = (channel(), channel());
    *gate.lock() = Some(Box::new(move || {
        sender.send(()).expect("somebody waits for it");
        released.recv_timeout(PATIENCE).expect("the runtime goes on while a file is read");
    }));
    wait(async {
        let given_up = tokio::time::timeout(Duration::from_millis(1), subscription.next()).await;
        assert!(given_up.is_err(), "the read waits");
    });
    began.recv_timeout(PATIENCE).expect("the read began");
    go_on.send(()).expect("the read waits for it");
    let batch = wait(subscription.next()).expect("readable").expect("there is more");
    assert_eq!((batch.facts.len(), batch.reached), (10, Position::new(10)));
    append(&log, 10..11);
    let batch = wait(subscription.next()).expect("readable").expect("there is more");
    assert_eq!((batch.facts.len(), batch.reached), (1, Position::new(11)));
    log.close();
    assert!(wait(subscription.next()).expect("readable").is_none());
    assert!(wait(subscription.next()).expect("readable").is_none(), "and so on");
}

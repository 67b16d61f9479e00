//! The hand-over between publishers, writer and readers: the log's own code over
//! the fault disk, under a scheduler that chooses at every lock, send and wait who goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lastseen_event::{EventId, Fact, Position, UtcInstant};
use lastseen_log::{FaultDisk, Log, LogOptions, Sealing};
use lastseen_store::contract::Source;
use lastseen_store::{Detail, EventReader, EventStore, ManualClock, OnRefused, RecordedBatch, Scan};
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

const PUBLISHERS: u32 = 3;
const BATCHES: u64 = 2;
const BATCH_EVENTS: u64 = 2;
const SCHEDULES: usize = 2_000;
/// Preemptions of a thread that could go on, in schedules that look for the orders that need few of them.
const PREEMPTIONS: usize = 3;

/// Opens a log on `disk`.
fn open(disk: &FaultDisk) -> Arc<Log> {
    let clock = Arc::new(ManualClock::new(UtcInstant::from_micros(1_790_000_000_000_000)));
    let options = LogOptions {
        wal_file_bytes: 1_024,
        recent_ids: 1_000,
        queue_requests: 1,
        // Holds about one group: readers find some there, and some in files.
        ring_bytes: 600,
        // The one who seals waits for a channel that this scheduler does not know.
        sealing: Sealing::OnDemand,
        ..LogOptions::default()
    };
    Arc::new(Log::open(Arc::new(disk.clone()), options, clock).expect("the log opens"))
}

/// Publishes, and checks at each success that what was promised holds at that moment.
fn publish(log: &Log, series: u32, twice: bool) {
    for batch in 0..BATCHES {
        let start = batch * BATCH_EVENTS;
        let events = || Source { series }.batch(start..start + BATCH_EVENTS);
        let appended = block_on(log.append(events(), OnRefused::RefuseBatch)).expect("the append succeeds");
        assert_eq!(appended.stored + appended.duplicates, events().len());
        assert!(twice || appended.duplicates == 0);
        assert!(log.tail().position() >= appended.position, "acknowledged before it was durable");
        let seen = read(log, appended.position);
        let has = |id: EventId| seen.iter().filter(|fact| fact.id == id).count();
        assert!(
            events().iter().all(|event| has(event.id) == 1),
            "acknowledged and not there, or there twice"
        );
    }
}

/// All facts up to a position.
fn read(log: &Log, until: Position) -> Vec<Fact> {
    let scan = Scan { until: Some(until), ..Scan::after(Position::START, Detail::Facts) };
    let mut reader = log.scan(scan);
    let mut facts = Vec::new();
    while let Some(batch) = reader.next_batch().expect("history is readable") {
        facts.extend(batch.facts);
    }
    facts
}

/// Reads on until everything was read: in order, without a gap, never above the durable tail. From the last groups in memory
/// where they are there, if it is said so, and from files.
fn tail(log: &Log, events: u64, from_memory: bool) {
    let mut reader = log.read(Position::START, Detail::Facts);
    let mut end = log.tail();
    let mut read: Vec<Fact> = Vec::new();
    while (read.len() as u64) < events {
        let before = end.position();
        if let Some(batch) = from_memory.then(|| reader.next_recent()).flatten() {
            let last = batch.facts.last().map(|fact| fact.position);
            assert!(last.is_none_or(|last| last <= log.tail().position()), "shown before it was durable");
            read.extend(&batch.facts);
            continue;
        }
        match reader.next_batch().expect("history is readable") {
            Some(RecordedBatch { facts, .. }) => read.extend(facts),
            None => {
                let reached = read.last().map_or(Position::START, |fact| fact.position);
                assert!(reached >= before, "an event below the tail was not read");
                assert!(block_on(end.wait_past(reached)), "the log is open");
            }
        }
    }
    let positions: Vec<u64> = read.iter().map(|fact| fact.position.get()).collect();
    assert_eq!(positions, (1..=events).collect::<Vec<_>>());
}

fn hand_over() {
    let disk = FaultDisk::default();
    let log = open(&disk);
    let events = u64::from(PUBLISHERS - 1) * BATCHES * BATCH_EVENTS;
    let mut threads = Vec::new();
    for publisher in 0..PUBLISHERS {
        // The last one sends what the first one sends.
        let (series, twice) = (publisher % (PUBLISHERS - 1), publisher % (PUBLISHERS - 1) == 0);
        let log = log.clone();
        threads.push(thread::spawn(move || publish(&log, series, twice)));
    }
    for from_memory in [false, true] {
        let reading = log.clone();
        threads.push(thread::spawn(move || tail(&reading, events, from_memory)));
    }
    for thread in threads {
        thread.join().expect("no rule is broken");
    }
    log.close();
    assert_eq!(log.tail().position().get(), events);
}

/// Publishers that meet a log that is being closed: each append succeeds and is there after reopening, or is refused.
fn close_while_publishing() {
    let disk = FaultDisk::default();
    let log = open(&disk);
    let stored = Arc::new(AtomicU64::new(0));
    let publishers: Vec<_> = (0..2)
        .map(|series| {
            let (log, stored) = (log.clone(), stored.clone());
            thread::spawn(move || {
                let batch = Source { series }.batch(0..BATCH_EVENTS);
                if let Ok(appended) = block_on(log.append(batch, OnRefused::RefuseBatch)) {
                    stored.fetch_add(appended.stored as u64, Ordering::SeqCst);
                }
            })
        })
        .collect();
    log.close();
    for publisher in publishers {
        publisher.join().expect("no rule is broken");
    }
    drop(log);
    let log = open(&disk.after_power_cut(1));
    assert_eq!(
        log.tail().position().get(),
        stored.load(Ordering::SeqCst),
        "acknowledged is kept, refused is not there"
    );
}

/// Opening a log needs more stack than the scheduler gives its threads by itself.
fn config() -> Config {
    const STACK_BYTES: usize = 1024 * 1024;
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config
}

#[test]
fn random_schedules_keep_the_promise_of_an_acknowledgement() {
    Runner::new(RandomScheduler::new(SCHEDULES), config()).run(hand_over);
}

#[test]
fn schedules_with_few_preemptions_keep_the_promise_of_an_acknowledgement() {
    Runner::new(PctScheduler::new(PREEMPTIONS, SCHEDULES), config()).run(hand_over);
}

#[test]
fn closing_under_publishers_loses_nothing() {
    Runner::new(RandomScheduler::new(SCHEDULES), config()).run(close_while_publishing);
}

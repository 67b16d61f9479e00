//! Publishers, followers and tailing readers at once, over many seeds with the threads held up at random.
//!
//! The hand-over goes through tokio's channels and one `parking_lot` lock. A model checker schedules only its own
//! imitations of those, so it would check other code than what runs; these runs are the real code instead.

use std::collections::HashMap;
use std::sync::Arc;

use lastseen_event::{EventId, Fact, Position};
use lastseen_log::{FaultDisk, Log};
use lastseen_store::contract::{Source, event_id};
use lastseen_store::{Detail, EventStore, OnRefused, Subscription};

use crate::history::read_above;
use crate::support::{Chance, clock, multiplier, on_all_cores, options, wait};

const PUBLISHERS: u32 = 4;
const BATCHES: u64 = 25;
const READERS: u64 = 2;

/// Follows the log until it is closed; all facts.
fn follow(mut subscription: Subscription, seed: u64) -> Vec<Fact> {
    let chance = &mut Chance::new(seed);
    let mut facts = Vec::new();
    while let Some(batch) = wait(subscription.next()).expect("readable") {
        hold_up(chance);
        facts.extend_from_slice(&batch.facts);
    }
    facts
}

/// Lets other threads go first, now and then for long.
fn hold_up(chance: &mut Chance) {
    match chance.below(8) {
        0 => std::thread::sleep(std::time::Duration::from_micros(chance.below(200))),
        1..4 => std::thread::yield_now(),
        _ => {}
    }
}

/// The event numbers of a publisher's batch.
fn numbers(batch: u64) -> std::ops::Range<u64> {
    let events = 1 + batch % 4;
    batch * 4..batch * 4 + events
}

/// Sends every batch. Publishers come in pairs with the same events.
fn publish(log: &Log, (publisher, seed): (u32, u64)) {
    let chance = &mut Chance::new(seed);
    for batch in 0..BATCHES {
        let source = Source { series: publisher / 2 };
        hold_up(chance);
        let appended = wait(log.append(source.batch(numbers(batch)), OnRefused::RefuseBatch));
        let appended = appended.expect("the append succeeds");
        assert_eq!((appended.stored + appended.duplicates) as u64, 1 + batch % 4);
        assert!(log.tail().position() >= appended.position, "acknowledged before it was durable");
    }
}

/// Follows the log from a position to its end.
fn tail(log: &Log, (start, seed): (u64, u64), events: u64) -> Vec<Fact> {
    let chance = &mut Chance::new(seed);
    let mut subscription = Subscription::new(log, Position::new(start), Detail::Events);
    let mut facts = Vec::new();
    while facts.len() as u64 + start < events {
        hold_up(chance);
        let batch = wait(subscription.next()).expect("readable").expect("the log is open");
        assert_eq!(batch.events.len(), batch.facts.len());
        assert!(log.tail().position() >= batch.facts.last().expect("not empty").position);
        facts.extend(batch.facts.iter().copied());
    }
    facts
}

/// The number of events of one run.
fn run(seed: u64) -> u64 {
    let disk = FaultDisk::default();
    let log = Log::open(Arc::new(disk.clone()), options(2_000), clock(1)).expect("opens");
    let subscription = Subscription::new(&log, Position::START, Detail::Facts);
    let follower = std::thread::spawn(move || follow(subscription, seed));
    let events = u64::from(PUBLISHERS / 2) * (0..BATCHES).map(|batch| 1 + batch % 4).sum::<u64>();
    let tails = std::thread::scope(|scope| {
        let log = &log;
        let readers: Vec<_> = (0..READERS)
            .map(|reader| (reader * 7, seed * 31 + reader))
            .map(|from| (from.0, scope.spawn(move || tail(log, from, events))))
            .collect();
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || publish(log, (publisher, seed * 17 + u64::from(publisher))));
        }
        let read = |(start, thread): (u64, std::thread::ScopedJoinHandle<'_, _>)| {
            (start, thread.join().expect("reads"))
        };
        readers.into_iter().map(read).collect::<Vec<_>>()
    });
    let history = read_above(&log, Position::START).expect("readable").facts;
    assert_eq!(history.len() as u64, events, "each event once");
    assert!(history.iter().zip(1..).all(|(fact, position)| fact.position.get() == position));
    for (start, seen) in tails {
        assert_eq!(
            seen,
            history[usize::try_from(start).expect("small")..],
            "no gap, no repeat, no other order"
        );
    }
    assert_whole_and_in_order(&history);
    log.close();
    drop(log);
    assert_eq!(follower.join().expect("follows"), history, "the follower saw what readers see");
    let again = Log::open(Arc::new(disk.after_power_cut(0)), options(2_000), clock(1));
    let again = read_above(&again.expect("opens again"), Position::START).expect("readable");
    assert_eq!(again.facts, history);
    events
}

/// Batches stand in one piece, those of a publisher in its order.
fn assert_whole_and_in_order(history: &[Fact]) {
    let places: HashMap<EventId, usize> =
        history.iter().enumerate().map(|(at, fact)| (fact.id, at)).collect();
    for series in 0..PUBLISHERS / 2 {
        let mut before = None;
        for batch in 0..BATCHES {
            let place = |number: u64| places[&event_id(u64::from(series) << 32 | number)];
            let first = place(numbers(batch).start);
            assert!(numbers(batch).map(place).eq(first..first + numbers(batch).count()), "a batch in pieces");
            assert!(before < Some(first), "a later batch came first");
            before = Some(first);
        }
    }
}

#[test]
fn publishers_followers_and_readers_agree() {
    const RUNS: u64 = 60;
    assert!(on_all_cores(0..RUNS * multiplier(), run) > 0);
}

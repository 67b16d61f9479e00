//! Following the log: subscriptions that are dropped anywhere and taken up again by position, while events come, files are
//! sealed and the log is closed and opened; and sealing by age.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lastseen_event::{Fact, Position, UtcInstant};
use lastseen_log::{FaultDisk, Log, LogOptions, Sealing};
use lastseen_store::{Detail, EventStore, ManualClock, OnRefused, Subscription};

use crate::history::{Item, batch};
use crate::support::{Chance, clock, multiplier, open, options, wait};

#[test]
fn a_tail_that_is_cut_anywhere_goes_on_from_its_last_position() {
    let cuts = 1_000 * multiplier();
    let seed = 71;
    println!("seed {seed}");
    let (mut chance, disk, options) = (Chance::new(seed), FaultDisk::default(), options(3_000));
    let mut log = open(&disk, &options, clock(1)).expect("opens");
    let mut published = 0;
    let mut read: Vec<Fact> = Vec::new();
    let mut reached = Position::START;
    for cut in 0..cuts {
        if chance.one_in(40) {
            log.close();
            log = open(&disk, &options, clock(1)).expect("opens again");
        }
        let mut subscription = Subscription::new(&log, reached, Detail::Facts);
        for _ in 0..=chance.below(4) {
            let events = 1 + chance.below(12);
            let items: Vec<Item> = (published..published + events).map(Item::new).collect();
            wait(log.append(batch(&items), OnRefused::RefuseBatch)).expect("appends");
            published += events;
            // Also under an open subscription.
            if chance.one_in(6) {
                log.seal().expect("seals");
            }
            if chance.one_in(2) {
                let batch = wait(subscription.next()).expect("readable").expect("there is more");
                assert_eq!(
                    batch.facts.first().map(|fact| fact.position.get()),
                    Some(reached.get() + 1),
                    "cut {cut}"
                );
                reached = batch.reached;
                read.extend(batch.facts.iter().copied());
            }
        }
    }
    let mut subscription = Subscription::new(&log, reached, Detail::Facts);
    while (read.len() as u64) < published {
        read.extend(
            wait(subscription.next()).expect("readable").expect("there is more").facts.iter().copied(),
        );
    }
    let items: Vec<Item> = (0..published).map(Item::new).collect();
    assert!(read.iter().map(|fact| fact.position.get()).eq(1..=published));
    assert!(read.iter().map(|fact| fact.id).eq(batch(&items).iter().map(|event| event.id)));
    println!("{cuts} cuts of a tail of {published} events: nothing missing, nothing twice");
}

#[test]
fn what_is_old_is_sealed_however_little_it_is() {
    const PATIENCE: Duration = Duration::from_mins(1);
    const NOW_US: i64 = 1_800_000_000_000_000;
    let clock = Arc::new(ManualClock::new(UtcInstant::from_micros(NOW_US)));
    let options =
        LogOptions { segment_age: Duration::from_millis(40), sealing: Sealing::Background, ..options(3_000) };
    let log = Log::open(Arc::new(FaultDisk::default()), options, clock.clone()).expect("opens");
    wait(log.append(batch(&[Item::new(1), Item::new(2)]), OnRefused::RefuseBatch)).expect("appends");
    assert_eq!(log.parts(), [Position::START], "nothing is old yet");
    clock.set(UtcInstant::from_micros(NOW_US + 50_000));
    let start = Instant::now();
    while log.parts().len() < 2 {
        assert!(start.elapsed() < PATIENCE, "it is not sealed");
        std::thread::yield_now();
    }
    assert_eq!(log.parts(), [Position::START, Position::new(2)]);
}

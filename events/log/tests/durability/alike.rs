//! Ids that are alike, and ids that an enemy chose: appending them, indexing them and looking for them costs what it costs
//! with random ids. Operations are counted, not seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lastseen_event::{
    BatchName, Event, EventBatch, EventId, EventType, Position, TenantId, UserId, UtcInstant,
};
use lastseen_log::{FaultDisk, Log, LogOptions};
use lastseen_store::{EventStore, OnRefused, RetractOutcome};
use uuid::Uuid;

use crate::history::check_verified;
use crate::support::{Chance, WatchedDisk, clock, open, options, wait};

const EVENTS: u64 = 6_000;
/// So many that they are looked for on two threads.
const BATCH: u64 = 1_000;
const SEGMENTS: u64 = 12;

/// A way to make ids, by number.
type Family = (&'static str, fn(u64) -> u128);

fn mixed(number: u64) -> u64 {
    Chance::new(number).below(u64::MAX)
}

const FAMILIES: [Family; 8] = [
    ("random", |number| u128::from(mixed(number)) << 64 | u128::from(mixed(!number))),
    ("counters", |number| 0x0000_0000_0000_4000_8000_0000_0000_0001 + u128::from(number)),
    ("counters in front", |number| u128::from(number + 1) << 96 | 0x4000_8000),
    ("times", |number| u128::from(1_790_000_000_000 + number) << 80 | 0x7000_8000_0000_0000_0000),
    ("equal first eight bytes", |number| 0x0199_a1b2_7c3d_7e4f_u128 << 64 | u128::from(mixed(number))),
    ("equal last eight bytes", |number| u128::from(mixed(number)) << 64 | 0x8a5b_6c7d_8e9f_0a1b),
    ("multiples of 2^40", |number| u128::from(number + 1) << 40),
    // The product with a constant that hashes multiply by, undone: such ids met in one place under a hash without a secret.
    ("one place of a hash without a secret", |number| {
        const INVERSE: u128 = inverse(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        u128::from_le_bytes((u128::from(number + 1) << 100 | 5).wrapping_mul(INVERSE).to_le_bytes())
    }),
];

/// The number that gives 1 with an odd one, modulo 2^128.
const fn inverse(odd: u128) -> u128 {
    let (mut inverse, mut round) = (odd, 0);
    while round < 7 {
        inverse = inverse.wrapping_mul(2_u128.wrapping_sub(odd.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
}

/// Events with instants all over, so that each segment may hold each.
fn batch(ids: fn(u64) -> u128, numbers: std::ops::Range<u64>) -> EventBatch {
    const SPAN_US: u64 = 30 * 86_400 * 1_000_000;
    let mut batch = EventBatch::default();
    for number in numbers {
        let user = format!("user {}", number % 97);
        let at = 1_790_000_000_000_000 + i64::try_from(mixed(number) % SPAN_US).expect("days");
        let names = (TenantId::new("acme").expect("valid"), UserId::new(&user).expect("valid"));
        let id = EventId::new(Uuid::from_u128(ids(number))).expect("not nil");
        batch.push(&Event::new(id, EventType::Login, names, UtcInstant::from_micros(at))).expect("valid");
    }
    batch
}

/// The reads of ids that a first import and a second one take.
fn reads(ids: fn(u64) -> u128) -> [u64; 2] {
    let reads = Arc::new(AtomicU64::new(0));
    let counted = reads.clone();
    let disk = Arc::new(WatchedDisk::new(FaultDisk::default(), move |path| {
        if path.starts_with("ids/") {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }));
    // No filter in memory: each look into one is a read.
    let options = LogOptions {
        recent_ids: 100,
        segment_events: EVENTS / SEGMENTS,
        filter_bytes: 0,
        ..options(1 << 20)
    };
    let log = Log::open(disk, options, clock(1)).expect("opens");
    let import = |expected: usize| {
        let before = reads.load(Ordering::Relaxed);
        let mut in_merges = 0;
        for first in (0..EVENTS).step_by(usize::try_from(BATCH).expect("small")) {
            let appended = wait(log.append(batch(ids, first..first + BATCH), OnRefused::RefuseBatch));
            assert_eq!(appended.expect("appends").stored, expected);
            let at = reads.load(Ordering::Relaxed);
            log.seal().expect("seals");
            in_merges += reads.load(Ordering::Relaxed) - at;
        }
        reads.load(Ordering::Relaxed) - before - in_merges
    };
    let first = import(usize::try_from(BATCH).expect("small"));
    [first, import(0)]
}

/// The id of a retraction is known before it is made: it is a hash of the batch's name. Whoever uses it first gains nothing.
#[test]
fn an_event_with_the_id_of_a_retraction_is_an_event() {
    let name = BatchName::new("import 7").expect("valid");
    let id = EventId::of_retraction(name);
    for (is_first, seals) in [(true, false), (false, false), (true, true), (false, true)] {
        let disk = FaultDisk::default();
        let options = LogOptions { recent_ids: 2, ..options(900) };
        let log = open(&disk, &options, clock(1)).expect("opens");
        let append = |id: EventId, batch: Option<BatchName<'_>>| {
            let mut events = EventBatch::default();
            let names = (TenantId::new("acme").expect("valid"), UserId::new("user").expect("valid"));
            let event = Event::new(id, EventType::Login, names, UtcInstant::from_micros(5));
            events.push(&Event { batch, ..event }).expect("valid");
            let appended = wait(log.append(events, OnRefused::RefuseBatch)).expect("appends");
            if seals {
                log.seal().expect("seals");
            }
            (appended.stored, appended.duplicates)
        };
        assert_eq!(append(EventId::new(Uuid::from_u128(1)).expect("not nil"), Some(name)), (1, 0));
        if is_first {
            assert_eq!(append(id, None), (1, 0));
        }
        let outcome = wait(log.retract(name, None)).expect("is recorded");
        let position = Position::new(if is_first { 3 } else { 2 });
        assert_eq!(outcome, RetractOutcome::Retracted(position));
        if !is_first {
            assert_eq!(append(id, None), (1, 0));
        }
        for other in 2..9 {
            assert_eq!(append(EventId::new(Uuid::from_u128(other)).expect("not nil"), None), (1, 0));
        }
        assert_eq!(append(id, None), (0, 1), "it is known as what it is");
        assert_eq!(wait(log.retract(name, None)).expect("is known"), outcome);
        log.close();
        check_verified(&disk, None).expect("sound");
        open(&disk, &options, clock(1)).expect("opens again");
    }
}

#[test]
fn the_cost_of_look_ups_does_not_depend_on_the_ids() {
    let [random_first, random_again] = reads(FAMILIES[0].1);
    // A look into each filter of a dozen runs at most, and one page for what is there.
    assert!(random_first < EVENTS * 12 && random_again < EVENTS * 14, "{random_first}, {random_again}");
    for (name, ids) in FAMILIES {
        let [first, again] = reads(ids);
        println!("{name}: {first} reads for {EVENTS} new ids, {again} for the same once more");
        for (found, random) in [(first, random_first), (again, random_again)] {
            assert!(found.abs_diff(random) * 20 <= random, "{name}: {found} reads, {random} with random ids");
        }
    }
}

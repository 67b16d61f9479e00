//! Many segments beside few: an import whose instants are all over, so that each segment may hold each id, then events of the
//! present, the same events again in another order, and a start.

use std::time::{Duration, Instant};

use lastseen_event::{Event, EventBatch, EventId, EventType, TenantId, UserId, UtcInstant};
use lastseen_log::{Log, LogOptions};
use lastseen_store::{EventStore, OnRefused};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::sealed::mixed;
use super::{START_US, directory, open, per_second, unsealed};

const SEGMENT_EVENTS: u64 = 100_000;
const MEMBERS: u64 = 100_000;
const MINUTE_US: i64 = 60_000_000;

/// An event of the past: its instant is anywhere in two years, its id is random.
fn push_past(batch: &mut EventBatch, number: u64) {
    const SPAN_US: u64 = 2 * 365 * 86_400 * 1_000_000;
    let at = START_US - 1 - i64::try_from(mixed(number) % SPAN_US).expect("two years");
    push(batch, (mixed(number ^ 1 << 60), mixed(number ^ 2 << 60)), mixed(!number) % MEMBERS, at);
}

fn push(batch: &mut EventBatch, (high, low): (u64, u64), member: u64, at_us: i64) {
    let (tenant, user) = (format!("{:018}", member % 1_007), format!("usr_{member:026x}"));
    let names = (TenantId::new(&tenant).expect("valid"), UserId::new(&user).expect("valid"));
    let id = EventId::new(Uuid::from_u64_pair(high, low | 1)).expect("not nil");
    let event = Event::new(id, EventType::TokenRefresh, names, UtcInstant::from_micros(at_us));
    batch.push(&event).expect("valid");
}

/// The time that an append takes; the batch is made outside of it.
fn append(runtime: &Runtime, log: &Log, batch: EventBatch) -> (Duration, usize) {
    let start = Instant::now();
    let appended = runtime.block_on(log.append(batch, OnRefused::RefuseBatch)).expect("appended");
    (start.elapsed(), appended.stored)
}

/// Appends batches of 1,000 events of known members at instants from `from_us` on.
fn live(runtime: &Runtime, log: &Log, from_us: i64, seed: u64) -> u64 {
    const BATCHES: u64 = 1_000;
    const SIZE: u64 = 1_000;
    let mut time = Duration::ZERO;
    for number in 0..BATCHES {
        let mut batch = EventBatch::with_capacity(1_000);
        for row in 0..SIZE {
            let event = seed << 40 | (number * SIZE + row);
            let at = from_us + i64::try_from(number * SIZE + row).expect("small");
            push(&mut batch, (mixed(event), mixed(!event)), mixed(event) % MEMBERS, at);
        }
        time += append(runtime, log, batch).0;
    }
    per_second(BATCHES * SIZE, time)
}

/// Appends a million of the stored events again, in another order.
fn again(runtime: &Runtime, log: &Log, total: u64, size: u64) -> u64 {
    let events = total.min(1_000_000);
    // An odd step that has no factor in common with a power of ten goes over all of them.
    let step = (total / 7 * 3) | 1;
    let mut time = Duration::ZERO;
    for start in (0..events).step_by(usize::try_from(size).expect("small")) {
        let mut batch = EventBatch::with_capacity(10_000);
        for place in start..start + size {
            push_past(&mut batch, place.wrapping_mul(step) % total);
        }
        let (spent, stored) = append(runtime, log, batch);
        assert_eq!(stored, 0, "all of it is stored already");
        time += spent;
    }
    per_second(events, time)
}

/// Events a second of a first import.
struct First {
    by_1_000: u64,
    by_10_000: u64,
    sealing: u64,
}

/// Imports segments, in turns by batches of 10,000 and of 1,000 events.
fn import(runtime: &Runtime, log: &Log, segments: u64) -> First {
    let (mut importing, mut sealing) = ([Duration::ZERO; 2], Duration::ZERO);
    for segment in 0..segments {
        let size = if segment % 2 == 0 { 10_000 } else { 1_000 };
        let positions = segment * SEGMENT_EVENTS..(segment + 1) * SEGMENT_EVENTS;
        for start in positions.step_by(usize::try_from(size).expect("small")) {
            let mut batch = EventBatch::with_capacity(10_000);
            (start..start + size).for_each(|number| push_past(&mut batch, number));
            importing[usize::from(segment % 2 == 1)] += append(runtime, log, batch).0;
        }
        let begun = Instant::now();
        log.seal().expect("sealed");
        sealing += begun.elapsed();
    }
    let half = segments / 2 * SEGMENT_EVENTS;
    let [large, small] = importing.map(|time| per_second(half, time));
    First { by_1_000: small, by_10_000: large, sealing: per_second(segments * SEGMENT_EVENTS, sealing) }
}

pub(super) fn segments(runtime: &Runtime, numbers: &[u64]) {
    println!("segments of {SEGMENT_EVENTS} events with instants all over two years; {MEMBERS} members");
    for &segments in numbers {
        let dir = directory();
        let options = || LogOptions {
            segment_events: SEGMENT_EVENTS,
            filter_bytes: 1 << 30,
            recent_ids: 100_000,
            ..unsealed()
        };
        let log = open(dir.path(), options());
        let total = segments * SEGMENT_EVENTS;
        let first = import(runtime, &log, segments);
        log.close();
        let begun = Instant::now();
        let log = open(dir.path(), options());
        let opening = begun.elapsed().as_secs_f64();
        let parts = log.parts().len() as u64 - 1;
        println!("  {parts} segments, {total} events");
        println!("    sealing {} events/s", first.sealing);
        println!("    opening {opening:.2} s");
        let mut some = EventBatch::with_capacity(1_000);
        (0..1_000).for_each(|number| push_past(&mut some, number));
        let reading = append(runtime, &log, some).0.as_secs_f64();
        println!("    the first look-up, which reads all filters: {reading:.2} s");
        for (size, first) in [(1_000, first.by_1_000), (10_000, first.by_10_000)] {
            let rate = again(runtime, &log, total, size);
            println!(
                "    {size} at once: {first} events/s the first time, {rate} again in another order, {:.2} of it",
                rate as f64 / first as f64
            );
        }
        let bytes = log.gauges().id_memory_bytes;
        println!(
            "    memory for ids: {:.0} KiB a segment, {:.2} bytes an event",
            bytes as f64 / 1024.0 / parts as f64,
            bytes as f64 / total as f64
        );
        println!("    events of the present, 1,000 at once: {} events/s", live(runtime, &log, START_US, 1));
        // One clock is three minutes ahead, and its event is sealed: from now on the present is not after all that is sealed.
        let mut ahead = EventBatch::with_capacity(1);
        push(&mut ahead, (mixed(9 << 50), 1), 1, START_US + 3 * MINUTE_US);
        append(runtime, &log, ahead);
        log.seal().expect("sealed");
        println!(
            "    the same after one clock was three minutes ahead: {} events/s",
            live(runtime, &log, START_US, 2)
        );
    }
}

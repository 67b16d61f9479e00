//! Followers of the tail beside publishers: what 1,000 of them cost, with the last groups in memory and without.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lastseen_event::Position;
use lastseen_log::{Log, LogOptions};
use lastseen_store::{Detail, EventStore, OnRefused, Subscription};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use super::{Generator, START_US, directory, open, unsealed};

/// Events of an append; one publisher, one append at a time.
const BATCH: usize = 100;

/// Publishes for a while beside so many followers. Returns events appended, events delivered, batches decoded, and the time
/// until the last follower had everything.
fn follow(runtime: &Runtime, followers: usize, options: LogOptions, time: Duration) -> [f64; 4] {
    let dir = directory();
    let log: Arc<Log> = Arc::new(open(dir.path(), options));
    let delivered = Arc::new(AtomicU64::new(0));
    let decoded: Arc<Mutex<HashSet<(u64, usize)>>> = Arc::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..followers)
        .map(|_| {
            let mut subscription = Subscription::new(log.as_ref(), Position::START, Detail::Events);
            let (log, delivered) = (log.clone(), delivered.clone());
            let (decoded, is_over) = (decoded.clone(), is_over.clone());
            runtime.spawn(async move {
                let mut reached = Position::START;
                while !(is_over.load(Ordering::Acquire) && reached == log.tail().position()) {
                    let Some(batch) = subscription.next().await.expect("readable") else { break };
                    reached = batch.reached;
                    delivered.fetch_add(batch.facts.len() as u64, Ordering::Relaxed);
                    // The same batch at the same place is one decoding.
                    decoded.lock().insert((batch.reached.get(), Arc::as_ptr(&batch).addr()));
                }
            })
        })
        .collect();
    let mut generator = Generator(1 << 40, START_US);
    let start = Instant::now();
    let mut appended = 0;
    while start.elapsed() < time {
        let batch = generator.batch(BATCH);
        runtime.block_on(log.append(batch, OnRefused::RefuseBatch)).expect("appended");
        appended += BATCH as u64;
    }
    is_over.store(true, Ordering::Release);
    // The last append wakes those who wait.
    runtime.block_on(log.append(generator.batch(BATCH), OnRefused::RefuseBatch)).expect("appended");
    appended += BATCH as u64;
    for task in tasks {
        runtime.block_on(task).expect("followers do not panic");
    }
    let decoded = decoded.lock().len() as f64;
    [appended as f64, delivered.load(Ordering::Relaxed) as f64, decoded, start.elapsed().as_secs_f64()]
}

pub(super) fn followers(runtime: &Runtime, time: Duration) {
    println!("followers of the tail, one publisher of {BATCH} events at a time");
    let rings = [("the last groups in memory", 4 << 20), ("files alone", 0)];
    for (followers, (name, ring_bytes)) in
        [(0, rings[0]), (1, rings[0]), (1, rings[1]), (1_000, rings[0]), (1_000, rings[1])]
    {
        let options = LogOptions { ring_bytes, ..unsealed() };
        let [appended, delivered, decoded, seconds] = follow(runtime, followers, options, time);
        // Without a ring each follower decodes for itself, and the room of one batch becomes that of another.
        let decodings = if ring_bytes == 0 { followers as f64 } else { decoded / (appended / BATCH as f64) };
        println!(
            "  {followers:5} followers, {name}: {:.0} events/s appended, {:.0} events/s delivered, {decodings:.2} decodings a group",
            appended / seconds,
            delivered / seconds,
        );
    }
}

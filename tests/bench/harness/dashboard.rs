//! A dashboard that asks for the summary, while nothing comes and while batches come as fast as they can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::latency::Latencies;
use super::load::{Load, drive, lasting};
use super::probe::open_loop;
use super::workload::{BATCH_EVENTS, Population, Requests, batches, get};

/// Between two questions: often enough for a p99, too seldom to be a load of its own.
const PAUSE: Duration = Duration::from_millis(2);

/// The figures of the dashboard.
pub(crate) struct Watched {
    pub(crate) idle: Load,
    pub(crate) busy: Load,
    /// Events a second while it was busy.
    pub(crate) ingest: f64,
    /// At half of that rate, in an open loop.
    pub(crate) half: Load,
    /// The bare route meanwhile, in an open loop of its own: the scheduler's part of these latencies.
    pub(crate) bare: Load,
}

/// Watches the server at `address` for `span`, with half of that before it while nothing comes. `phase` and the next one must differ from all
/// others of that server.
pub(crate) fn watch(address: &str, population: &Population, phase: u32, span: Duration) -> Watched {
    let idle = ask_until(address, &lasting(span / 2));
    let requests = batches(population, phase).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, to) = (Arc::clone(&stop), address.to_owned());
    let ingest = thread::spawn(move || drive(&to, requests, move |_| !stopped.load(Ordering::Relaxed)));
    let busy = ask_until(address, &lasting(span));
    stop.store(true, Ordering::Relaxed);
    let ingest = ingest.join().expect("the load does not panic");
    let (half, bare) = at_half(address, population, (phase + 1, ingest.rate()), span);
    Watched { idle, busy, ingest: ingest.rate() * BATCH_EVENTS as f64, half, bare }
}

/// Asks for the summary and for health while batches come at half of `rate`, all at fixed times.
fn at_half(
    address: &str,
    population: &Population,
    (phase, rate): (u32, f64),
    span: Duration,
) -> (Load, Load) {
    let publishers: Vec<_> = batches(population, phase).collect();
    let every = Duration::from_secs_f64(2.0 * publishers.len() as f64 / rate);
    thread::scope(|scope| {
        let count = u32::try_from(publishers.len()).expect("a few publishers");
        for (number, mut posts) in (0..).zip(publishers) {
            scope.spawn(move || {
                // Independent publishers do not send at the same moments.
                thread::sleep(every * number / count);
                open_loop(address, (span, every), |_| posts.next().map(<[u8]>::to_vec).unwrap_or_default())
            });
        }
        let bare = scope.spawn(|| {
            // The two probes do not ask at the same moments either.
            thread::sleep(PAUSE / 2);
            open_loop(address, (span, PAUSE), |_| get("/healthz"))
        });
        let half = open_loop(address, (span, PAUSE), |_| get("/v1/summary"));
        (half, bare.join().expect("the load does not panic"))
    })
}

/// Asks the server at `address` for the summary, now and then, until `go_on` says no.
pub(crate) fn ask_until(address: &str, go_on: &impl Fn(Instant) -> bool) -> Load {
    let request = get("/v1/summary");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut all, started) = (Vec::new(), Instant::now());
    runtime.block_on(async {
        let mut connection = Connection::open(address).await.expect("the server listens");
        while go_on(Instant::now()) {
            let sent = Instant::now();
            connection.round_trip(&request).await.expect("the server answers 200");
            all.push(sent.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
    });
    Load { latencies: Latencies::new(all), elapsed: started.elapsed() }
}

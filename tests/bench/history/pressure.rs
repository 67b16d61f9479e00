//! (5) and (9): the summary while events come, over this history and a small one; and what snapshots cost those who publish.

use std::time::Duration;

use crate::harness::dashboard::watch;
use crate::harness::figures::{print_row, whole};
use crate::harness::latency::print_histogram;
use crate::harness::load::{drive, lasting};
use crate::harness::workload::{BATCH_EVENTS, batches};
use crate::past::History;
use crate::serve;

/// A phase of [`batches`] for [`latency`]; those behind it are for [`snapshots`].
const LATENCY_PHASE: u32 = 1;

/// (5). Writes to both.
pub(crate) fn latency(large: &History, small: &History, span: Duration) {
    let [large, small] = [large, small].map(|history| {
        let server = serve(&history.data, &[]);
        let address = server.url().trim_start_matches("http://");
        let watched = watch(address, &history.population, LATENCY_PHASE, span);
        server.kill9();
        watched
    });
    let columns = ["large, idle", "small, idle", "large, half", "small, half", "large, busy", "small, busy"];
    print_row("\n(5) GET /v1/summary", columns);
    let loads = [&large.idle, &small.idle, &large.half, &small.half, &large.busy, &small.busy];
    let ingest = [0.0, 0.0, large.ingest / 2.0, small.ingest / 2.0, large.ingest, small.ingest];
    print_row("    events a second", ingest.map(whole));
    print_row("    questions a second", loads.map(|load| whole(load.rate())));
    for (name, permille) in [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999), ("max", 1_000)] {
        print_row(&format!("    {name}"), loads.map(|load| load.latencies.at(permille)));
    }
    let bare = [&large.bare, &small.bare].map(|load| load.latencies.at(990));
    print_row("    GET /healthz meanwhile at half of the rate, p99", bare);
    print_histogram(&loads.map(|load| &load.latencies));
}

/// (9): publishing with snapshots as often as they are taken at all, and without, in turns. Writes to it.
pub(crate) fn snapshots(history: &History, span: Duration) {
    const NEVER: &str = "1000000000000";
    const ALWAYS: &str = "1";
    print_row("\n(9) publishing, 4 connections, batches of 1,000", ["events/s", "snapshots"]);
    let turns = [("without snapshots", NEVER), ("with snapshots", ALWAYS)];
    let turns = [turns, turns].concat();
    let mut rates = Vec::new();
    for (phase, (name, every)) in (LATENCY_PHASE + 2..).zip(turns) {
        let server = serve(&history.data, &["--snapshot-events", every]);
        let requests = batches(&history.population, phase).collect();
        let address = server.url().trim_start_matches("http://");
        let rate = drive(address, requests, lasting(span)).rate() * BATCH_EVENTS as f64;
        let taken = server.stderr().matches("snapshot of the views").count();
        server.terminate();
        print_row(&format!("    {name}"), [whole(rate), taken.to_string()]);
        rates.push(rate);
    }
    let [without, with] = [0, 1].map(|turn| rates[turn] + rates[turn + 2]);
    println!("    {:.1} % less with snapshots", 100.0 * (1.0 - with / without));
}

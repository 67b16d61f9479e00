//! The server under load, next to the limits of the machine, in one run:
//! `cargo bench -p lastseen --bench http [-- --seconds N --members N --segment-events N --only batches|singles|summary|live --binary P --keys yes]`.
//!
//! The real binary serves on loopback; the load generator shares its cores. Only ratios between figures of one
//! run mean anything, so nothing here asserts anything about time.

#![expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people: no count here comes near 2^53"
)]

mod disk;
mod first;
#[path = "../harness/lib.rs"]
mod harness;
mod live;
mod postgres;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::HumanCount;
use lastseen::population::{Plan, Population as Simulated};
use lastseen_event::UtcInstant;
use lastseen_tests::Server;
use lastseen_tests::instant::now;

use self::first::first_events;
use self::harness::dashboard::{Watched, watch};
use self::harness::figures::{memory_bytes, mib, print_row, whole};
use self::harness::latency::{Latencies, print_histogram};
use self::harness::load::{Load, drive, lasting};
use self::harness::workload::{
    self, BATCH_EVENTS, Population, Posts, Requests, Shape, batches, get, streams,
};
use self::harness::{BINARY, arguments};

const CONNECTIONS: usize = 64;

fn main() {
    let Options { span, members, segment_events, binary, keys } = options();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
    let data = directory.path().join("data");
    let key = keys.then(|| create_key(&binary, &data));
    let mut server = Server::start_with(
        &binary,
        &data,
        &["--log", "warn", "--connections-max", "4096", "--segment-events", &segment_events],
    );
    if let Some(key) = &key {
        workload::KEY.get_or_init(|| key.clone());
        server = server.with_key(key);
    }
    let bench = Bench { address: server.url().trim_start_matches("http://").to_owned(), span };
    let population = population(members);
    fill(&server, &population);
    match arguments::value("--only").as_deref() {
        None => {}
        Some("batches") => return bench.batches_and_disk(&population, directory.path()),
        Some("summary") => return bench.summaries(&population),
        Some("singles") => return bench.bare_and_singles(&population),
        Some("live") => return bench.live(&server, &population),
        Some(other) => panic!("--only takes batches, singles, summary or live, not {other}"),
    }

    bench.bare_and_singles(&population);
    bench.batches_and_disk(&population, directory.path());
    bench.summaries(&population);
    bench.live(&server, &population);
    println!("memory of the server after that: {} MiB", mib(memory_bytes(server.id(), "VmRSS")));
    replays(&server);
    println!("memory of the server at the end: {} MiB", mib(memory_bytes(server.id(), "VmRSS")));
    restart(server, (&binary, &data));
}

struct Options {
    /// Length of one measurement.
    span: Duration,
    members: u32,
    /// The flag of the server: with more than the run appends, nothing is sealed.
    segment_events: String,
    /// The server that is measured: this build's, or another to compare it with.
    binary: String,
    /// The server asks for API keys, and each request brings one.
    keys: bool,
}

fn options() -> Options {
    use arguments::number;
    Options {
        span: Duration::from_secs(number("--seconds").unwrap_or(8).into()),
        members: number("--members").unwrap_or(1_000_000),
        segment_events: number("--segment-events").unwrap_or(1_000_000).to_string(),
        binary: arguments::value("--binary").unwrap_or_else(|| BINARY.to_owned()),
        keys: arguments::value("--keys").is_some(),
    }
}

/// Makes an API key for everything that this benchmark does, with limits that it does not reach.
fn create_key(binary: &str, data: &Path) -> String {
    let mut command = Command::new(binary);
    command
        .args(["keys", "create", "--name", "bench", "--scope", "publish,query,replay"])
        .args([
            "--requests-per-second",
            "1000000",
            "--events-per-second",
            "100000000",
            "--costly-at-once",
            "100",
        ])
        .arg("--data")
        .arg(data);
    let made = command.output().expect("the binary runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8_lossy(&made.stdout).trim().to_owned()
}

/// `users` in a thousandth as many tenants.
fn population(users: u32) -> Population {
    let plan = Plan {
        seed: 1,
        users,
        tenants: (users / 1_000).max(1),
        days: 30,
        until: UtcInstant::from_micros(now()),
        visits_permille: 1_000,
        visits_at_any_hour: 0,
    };
    Population::new(Arc::new(Simulated::new(plan).expect("a plan of a size that is simulated")))
}

/// Shows every member once.
fn fill(server: &Server, population: &Population) {
    const BODY_EVENTS: usize = 10_000;
    let before = mib(memory_bytes(server.id(), "VmRSS"));
    let mut stored = 0;
    for body in first_events(population, BODY_EVENTS) {
        let answer = server.client().post("/v1/events", "application/x-ndjson", &body).ok("the first events");
        stored += answer["stored"].as_u64().expect("a count");
    }
    let summary = server.client().ask("/v1/summary");
    assert_eq!(stored, population.len() as u64, "every id is new");
    assert_eq!(summary["total_users"], population.len(), "every member is new");
    let after = mib(memory_bytes(server.id(), "VmRSS"));
    println!(
        "{} members in {} tenants, {} active",
        HumanCount(stored),
        summary["tenants"],
        summary["active_users"]
    );
    println!("memory of the server: {before} MiB empty, {after} MiB with them\n");
}

/// (6): history as NDJSON, next to PostgreSQL's text of the same rows.
fn replays(server: &Server) {
    const ROWS: u64 = 2_000_000;
    let path = format!("/v1/events?limit={ROWS}");
    let mut buffer = vec![0; 1024 * 1024];
    let mut read = |keep: &mut dyn FnMut(&[u8])| {
        let (start, mut lines) = (Instant::now(), 0);
        let (_, mut body) = server.client().stream(&path);
        loop {
            let read = body.read(&mut buffer).expect("the replay comes to its end");
            if read == 0 {
                return (lines, start.elapsed());
            }
            lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
            keep(&buffer[..read]);
        }
    };
    let mut ndjson = Vec::new();
    read(&mut |piece| ndjson.extend_from_slice(piece));
    let (rows, spent) = read(&mut |_| {});
    let ours = rows as f64 / spent.as_secs_f64();
    println!("{:<52} {:>13}", format!("(6) GET /v1/events, {} rows", HumanCount(rows)), whole(ours));
    println!("    {} bytes a row", ndjson.len() as u64 / rows.max(1));
    let Some(postgres) = lastseen_tests::Postgres::start() else {
        println!("    no PostgreSQL here to compare with");
        return;
    };
    postgres::load(&postgres, &ndjson);
    postgres::copy_out(&postgres);
    let (copied, spent) = postgres::copy_out(&postgres);
    assert_eq!(copied, rows);
    let theirs = copied as f64 / spent.as_secs_f64();
    println!("{:<52} {:>13}", "(7) PostgreSQL, COPY TO STDOUT of the same rows", whole(theirs));
    println!("    (6) / (7) = {:.2}", ours / theirs);
}

/// (8): what was sealed meanwhile, and how long a start takes: from the snapshot that the end left, and without one.
fn restart(server: Server, (binary, data): (&str, &Path)) {
    let events = server.client().ask("/v1/summary")["position"].as_u64().expect("a position");
    let segments = fs::read_dir(data.join("segments")).into_iter().flatten().flatten();
    let segments = segments.filter(|entry| entry.path().extension().is_some_and(|end| end == "parquet"));
    println!("{} events, {} segments", HumanCount(events), segments.count());
    drop(server.terminate());
    let started = || {
        let start = Instant::now();
        let server = Server::start(binary, data);
        let spent = start.elapsed().as_secs_f64();
        server.kill9();
        spent
    };
    println!("(8) start from the snapshot: {:.2} s", started());
    fs::remove_dir_all(data.join("snapshots")).expect("the server left a snapshot");
    let spent = started();
    println!("    start, views rebuilt: {spent:.2} s, {} events/s", whole(events as f64 / spent));
}

/// The same request again and again.
struct Fixed(Vec<u8>);

impl Requests for Fixed {
    fn next(&mut self) -> Option<&[u8]> {
        Some(&self.0)
    }
}

/// The server that is measured, and the time of a measurement.
struct Bench {
    address: String,
    span: Duration,
}

impl Bench {
    /// (2) against (1): requests that do something against requests that do nothing.
    fn bare_and_singles(&self, population: &Population) {
        println!("{:<52} {:>13} {:>12} {:>12}", "", "per second", "p50", "p99");
        let bare = self.healthz();
        row("(1) GET /healthz, 64 connections", bare.rate(), &bare.latencies);
        let singles = self.singles(population);
        row("(2) durable events one by one, 64 connections", singles.rate(), &singles.latencies);
        println!("    (2) / (1) = {:.2}", singles.rate() / bare.rate());
    }

    fn healthz(&self) -> Load {
        let requests = (0..CONNECTIONS).map(|_| Fixed(get("/healthz"))).collect();
        drive(&self.address, requests, lasting(self.span))
    }

    fn singles(&self, population: &Population) -> Load {
        let shape = Shape { pool: 1_000, content_type: "application/json", events: 1 };
        let requests = streams(1, CONNECTIONS).map(|stream| Posts::new(population, stream, &shape));
        drive(&self.address, requests.collect(), lasting(self.span))
    }

    /// (3) against (4): by the bytes of the requests.
    fn batches_and_disk(&self, population: &Population, directory: &Path) {
        let mut requests: Vec<_> = batches(population, 2).collect();
        // They differ by the names of types only.
        let bytes = requests[0].next().map_or(0, <[u8]>::len);
        let load = drive(&self.address, requests, lasting(self.span));
        let events = load.rate() * BATCH_EVENTS as f64;
        row("(3) durable events in batches of 1,000, 4 connections", events, &load.latencies);
        let chunks = disk::synced_chunks_per_second(directory, bytes, self.span / 2);
        let name = format!("(4) write + fdatasync, {bytes} bytes of requests a batch");
        let baseline = chunks * BATCH_EVENTS as f64;
        println!("{name:<52} {:>13}", whole(baseline));
        println!("    (3) / (4) = {:.2}", events / baseline);
    }

    /// (5): a dashboard asks while nothing comes, and while the batches come as fast as they can.
    fn summaries(&self, population: &Population) {
        let Watched { idle, busy, ingest, half, bare } = watch(&self.address, population, 3, self.span);
        row("(5) GET /v1/summary while ingesting", busy.rate(), &busy.latencies);
        let at = |permille| busy.latencies.at(permille);
        println!("    p90 {}, p99.9 {}, max {}", at(900), at(999), at(1_000));
        println!("    at {} events/s", whole(ingest));
        row("    GET /v1/summary at half of that rate, open loop", half.rate(), &half.latencies);
        println!("    p99.9 {}, max {}", half.latencies.at(999), half.latencies.at(1_000));
        row("    GET /healthz meanwhile, open loop", bare.rate(), &bare.latencies);
        row("    GET /v1/summary, idle", idle.rate(), &idle.latencies);
        println!("    max {}", idle.latencies.at(1_000));
        print_row("    how many took how long", ["ingesting", "idle"]);
        print_histogram(&[&busy.latencies, &idle.latencies]);
    }
}

fn row(name: &str, rate: f64, latencies: &Latencies) {
    println!("{name:<52} {:>13} {:>12} {:>12}", whole(rate), latencies.at(500), latencies.at(990));
}

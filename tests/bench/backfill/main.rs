//! The rate at which a users table comes in from each kind of source, beside the same events published by `lastseen import`, how fast
//! it is compared, and what taking it back costs those who ask meanwhile:
//! `cargo bench -p lastseen --bench backfill [-- --users N --people N]`.
//!
//! The real binary on both sides, on the same cores. `--people` are simulated with ninety days of activity in the server whose
//! batch is taken back.

#![expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people: no count here comes near 2^53"
)]
#![expect(dead_code, reason = "the harness is that of other benchmarks as well")]

#[path = "../harness/lib.rs"]
mod harness;
mod tables;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lastseen_tests::{Postgres, Process, Server};
use tempfile::TempDir;

use self::harness::dashboard::ask_until;
use self::harness::figures::{memory_bytes, mib, print_row, whole};
use self::harness::load::{Load, lasting};
use self::harness::{BINARY, arguments};
use self::tables::Source;

/// Longer than any command takes.
const WITHIN: Duration = Duration::from_hours(1);

/// Time for which the summary is asked for while nothing else happens.
const IDLE: Duration = Duration::from_secs(5);

fn main() {
    let users = arguments::number("--users").unwrap_or(1_000_000);
    let people = arguments::number("--people").unwrap_or(100_000);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
    let postgres = Postgres::start();
    let sources = tables::write(directory.path(), u64::from(users), postgres.as_ref());

    print_row(&format!("{users} users from"), ["rows/s", "events/s", "of import", "MiB"]);
    let csv = sources.first().expect("there is a CSV");
    let imported = imported(csv, directory.path());
    for source in &sources {
        let (server, _data) = serve();
        let (took, events, peak) = bring_in(&server, source);
        let of_import = (events as f64 / took.as_secs_f64()) / imported;
        let rates = [f64::from(users), events as f64].map(|count| whole(count / took.as_secs_f64()));
        print_row(
            &format!("    {}", source.name),
            rates.into_iter().chain([format!("{of_import:.2}"), mib(peak).to_string()]),
        );
    }
    print_row("    the same events, lastseen import", ["", &whole(imported), "", ""]);
    take_back(csv, people, f64::from(users));
}

fn serve() -> (Server, TempDir) {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
    (Server::start_with(BINARY, data.path(), &["--log", "warn"]), data)
}

/// Runs a command to its end; how long it took, and the most memory that it was seen to have, in bytes.
fn run_in(server: &Server, arguments: &[&str]) -> (Duration, u64) {
    const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
    let mut command = Command::new(BINARY);
    command.args(arguments).args(["--server", server.url()]);
    let started = Instant::now();
    let mut process = Process::start(command);
    let mut peak = 0;
    while !process.has_ended() && started.elapsed() < WITHIN {
        peak = memory_bytes(process.id(), "VmHWM").max(peak);
        thread::sleep(BETWEEN_LOOKS);
    }
    let took = started.elapsed();
    let ended = process.wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    (took, peak)
}

fn run(server: &Server, arguments: &[&str]) -> Duration {
    run_in(server, arguments).0
}

/// The time it took, the number of its events, and the most memory of the command.
fn bring_in(server: &Server, source: &Source) -> (Duration, u64, u64) {
    let arguments = [&["backfill", "--batch", "users"], source.arguments().as_slice()].concat();
    let (took, peak) = run_in(server, &arguments);
    let events = server.client().ask("/v1/backfills/users")["events"].as_u64();
    (took, events.expect("a number"), peak)
}

/// Events a second, of those that the table gives, as a file.
fn imported(csv: &Source, directory: &Path) -> f64 {
    let (server, _data) = serve();
    let (_, events, _) = bring_in(&server, csv);
    let file = directory.join("events.ndjson");
    let lines = server.client().get("/v1/events").text();
    let published = lines.lines().map(|line| {
        let mut event: serde_json::Value = serde_json::from_str(line).expect("a line of a replay");
        let fields = event.as_object_mut().expect("an object");
        fields.retain(|name, _| name != "position" && name != "recorded_at");
        format!("{event}\n")
    });
    fs::write(&file, published.collect::<String>()).expect("there is space");
    let (server, _data) = serve();
    events as f64 / run(&server, &["import", file.to_str().expect("UTF-8")]).as_secs_f64()
}

/// Comparing the table, and taking the batch back while the summary is asked for.
fn take_back(csv: &Source, people: u32, users: f64) {
    let (server, _data) = serve();
    bring_in(&server, csv);
    let compared = run(&server, &[&["backfill", "verify"], csv.arguments().as_slice()].concat());
    run(&server, &["simulate", "--no-live", "--users", &people.to_string()]);
    println!("\nbackfill verify: {} rows/s", whole(users / compared.as_secs_f64()));
    let (address, position) = (
        server.url().trim_start_matches("http://").to_owned(),
        server.client().ask("/v1/summary")["position"].as_u64().expect("a number"),
    );
    let idle = ask_until(&address, &lasting(IDLE));
    let before = memory_bytes(server.id(), "VmRSS");
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, to) = (stop.clone(), address.clone());
    let asking = thread::spawn(move || ask_until(&to, &|_| !stopped.load(Ordering::Relaxed)));
    let took = run(&server, &["backfill", "retract", "users"]);
    let peak = memory_bytes(server.id(), "VmHWM");
    stop.store(true, Ordering::Relaxed);
    let meanwhile = asking.join().expect("the load does not panic");
    println!(
        "backfill retract, {} events in the log: {:.2} s, {} events/s; memory {} MiB before, {} MiB at most",
        whole(position as f64),
        took.as_secs_f64(),
        whole(position as f64 / took.as_secs_f64()),
        mib(before),
        mib(peak)
    );
    let loads: [&Load; 2] = [&idle, &meanwhile];
    print_row("GET /v1/summary", ["idle", "meanwhile"]);
    for (name, permille) in [("p50", 500), ("p90", 900), ("p99", 990), ("max", 1_000)] {
        print_row(&format!("    {name}"), loads.map(|load| load.latencies.at(permille)));
    }
}

//! A publisher, a dashboard and a probe of health, alone and beside those who ask for too much:
//! `cargo bench -p lastseen --bench overload
//! [-- --seconds N --tenants N --users N --only siege|persons|memory --binary PATH --before PATH,PATH]`.
//!
//! Each scenario runs against the binary just built and, with `--before`, against another one, in turns. Only figures of
//! one run beside each other mean anything, so nothing here asserts anything about time.

#![expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people: no count here comes near 2^53"
)]
#![expect(dead_code, reason = "other benchmarks use the rest of the harness")]

#[path = "../harness/lib.rs"]
mod harness;
mod hostile;
mod memory;
mod persons;
mod probes;

use std::path::Path;
use std::time::Duration;

use lastseen_tests::Server;

use self::harness::figures::{memory_bytes, mib};
use self::harness::{BINARY, arguments};
use self::hostile::Scenario;
use self::probes::{Probes, probe};

fn main() {
    let span = Duration::from_secs(arguments::number("--seconds").unwrap_or(10).into());
    let tenants = arguments::number("--tenants").unwrap_or(500_000);
    let users = arguments::number("--users").unwrap_or(500_000);
    let mut binaries =
        vec![("now".to_owned(), arguments::value("--binary").unwrap_or_else(|| BINARY.to_owned()))];
    let others = arguments::value("--before").unwrap_or_default();
    binaries.extend(
        others.split(',').filter(|path| !path.is_empty()).map(|path| (name_of(path), path.to_owned())),
    );
    let only = arguments::value("--only");
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);

    if wanted("siege") {
        siege(&binaries, (tenants, users, span));
    }
    if wanted("persons") {
        persons::compare(&binaries, span);
    }
    if wanted("memory") {
        memory::compare(&binaries, span);
    }
}

/// The last part of a path: what a row calls a binary.
fn name_of(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Measures every scenario against every binary.
fn siege(binaries: &[(String, String)], (tenants, users, span): (u32, u32, Duration)) {
    println!("{tenants} tenants of one user, one of {users}; {span:?} a row; ms at the client\n");
    println!(
        "{:<34} {:<7} {:>10} {:>17} {:>17} {:>17} {:>17} {:>9}",
        "beside",
        "binary",
        "publish/s",
        "publish p50 p99",
        "healthz p50 p99",
        "summary p50 p99",
        "hostile 200/503/-",
        "MiB"
    );
    for scenario in Scenario::ALL {
        for (name, binary) in binaries {
            row(scenario, name, binary, (tenants, users, span));
        }
    }
}

/// Measures one scenario against a fresh server.
fn row(scenario: Scenario, name: &str, binary: &str, (tenants, users, span): (u32, u32, Duration)) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
    let server = Server::start_with(binary, directory.path(), &["--log", "error"]);
    probes::fill(&server, tenants, users);
    let rest = mib(memory_bytes(server.id(), "VmRSS"));
    let (Probes { publish, health, summary }, outcome, peak) =
        hostile::beside(&server, scenario, span, |address| probe(address, span));
    let pair = |probe: &harness::load::Load| {
        let at = |permille| probe.latencies.at(permille).0.as_secs_f64() * 1_000.0;
        format!("{:.2} {:.2}", at(500), at(990))
    };
    println!(
        "{:<34} {:<7} {:>10.0} {:>17} {:>17} {:>17} {:>17} {:>9}",
        scenario.name(),
        name,
        publish.rate(),
        pair(&publish),
        pair(&health),
        pair(&summary),
        outcome,
        format!("{rest}..{}", mib(peak)),
    );
    server.kill9();
}

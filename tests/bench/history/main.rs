//! The cost of questions over the history of many members, and of that history: on disk, in memory, at a start. In one run:
//! `cargo bench -p lastseen --bench history [-- --members N --events N --tenants N --days N --data DIR --seconds N --only N,...]`.
//!
//! The real binary serves on loopback what the simulated users did. With `--data`, the history stays in that directory, and a
//! later run with the same numbers begins with it. `--only` names the parts to measure by their numbers. Nothing here asserts anything about time.

#![expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people: no count here comes near 2^53"
)]

mod definitions;
#[path = "../harness/lib.rs"]
mod harness;
mod late;
mod past;
mod pressure;
mod publish;
mod questions;
mod scans;
mod starts;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::HumanCount;
use lastseen_tests::Server;

use self::harness::figures::print_row;
use self::harness::{BINARY, arguments};
use self::past::{History, Size};

fn main() {
    let Options { size, kept, span } = options();
    let kept = kept.as_deref();
    if let Some(kept) = kept {
        fs::create_dir_all(kept).expect("a directory can be made there");
    }
    // Beside what is kept, for hard links.
    let temporary = tempfile::tempdir_in(kept.unwrap_or(Path::new(env!("CARGO_TARGET_TMPDIR"))));
    let temporary = temporary.expect("the directory takes others");
    println!("(1) history");
    let history = History::at(kept.unwrap_or(&temporary.path().join("large")), size);
    let only = arguments::value("--only");
    let is_wanted = |part: &str| only.as_ref().is_none_or(|only| only.split(',').any(|it| it == part));
    if is_wanted("2") {
        starts::measure(&history);
    }
    let tenant = largest_tenant(&history);
    if is_wanted("3") {
        print_row("\n(3) questions", ["first", "median of 20"]);
        questions::measure(&history, &tenant);
    }
    if is_wanted("4") {
        print_row("\n(4) questions by scan", ["first", "median of 20"]);
        scans::measure(&history);
    }
    let large = history.copy(temporary.path());
    if is_wanted("5") {
        let small = History::at(&temporary.path().join("small"), size.hundredth());
        pressure::latency(&large, &small.copy(temporary.path()), span);
    }
    if is_wanted("6") {
        definitions::questions(&large);
    }
    if is_wanted("7") {
        definitions::published_beside(&large, span);
    }
    if is_wanted("8") {
        late::measure(&large, &tenant, span);
    }
    if is_wanted("9") {
        pressure::snapshots(&large, span);
    }
}

struct Options {
    size: Size,
    /// The directory in which the history stays.
    kept: Option<PathBuf>,
    /// Length of one measurement.
    span: Duration,
}

fn options() -> Options {
    use arguments::number;
    let members = number("--members").unwrap_or(200_000);
    let size = Size {
        members,
        events: number("--events").unwrap_or(2_000_000),
        tenants: number("--tenants").unwrap_or((members / 1_000).max(1)),
        days: number("--days").unwrap_or(90),
    };
    Options {
        size,
        kept: arguments::value("--data").map(PathBuf::from),
        span: Duration::from_secs(number("--seconds").unwrap_or(8).into()),
    }
}

/// A server on `data` with these options besides, which does not know what the one before followed. It tells of its snapshots.
fn serve(data: &Path, options: &[&str]) -> Server {
    const LOG: [&str; 2] = ["--log", "warn,lastseen_server::read_model::snapshotting=info"];
    // Not there before the first one.
    let _ = fs::remove_file(data.join("snapshots").join("followed"));
    Server::start_with(BINARY, data, &[&LOG, options].concat())
}

fn largest_tenant(history: &History) -> String {
    let server = serve(&history.data, &[]);
    let tenants = server.client().ask("/v1/tenants?sort=-total_users&limit=1");
    let largest = &tenants["tenants"][0];
    let users = HumanCount(largest["total_users"].as_u64().expect("a count"));
    println!("    the largest tenant has {users} members");
    server.kill9();
    largest["tenant_id"].as_str().expect("a name").to_owned()
}

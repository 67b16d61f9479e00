//! (2): starts, and what the history takes on disk and in memory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount};

use crate::harness::figures::{memory_bytes, mib, whole};
use crate::harness::latency::Latencies;
use crate::past::History;
use crate::serve;

/// Number of starts from the snapshot.
const STARTS: usize = 3;

pub(crate) fn measure(history: &History) {
    let data = history.data.as_path();
    println!("\n(2) starts");
    let starts = Latencies::new((0..STARTS).map(|_| start(data)).collect());
    println!("    from the snapshot, {STARTS} times: least {}, median {}", starts.at(0), starts.at(500));
    let snapshots = data.join("snapshots");
    let rebuilt = start_without(&snapshots, data).as_secs_f64();
    println!("    views rebuilt: {rebuilt:.3} s, {} events/s", whole(history.events as f64 / rebuilt));
    let dictionary = data.join("segments").join("dictionary");
    if dictionary.exists() {
        println!("    names read anew: {:.3} s", start_without(&dictionary, data).as_secs_f64());
    }
    let segments = bytes_in(&data.join("segments"));
    println!(
        "    on disk: segments {}, {:.1} bytes an event; snapshots {}",
        HumanBytes(segments),
        segments as f64 / history.events as f64,
        HumanBytes(bytes_in(&snapshots))
    );
    memory(data);
}

/// Time of a start until the server is ready.
fn start(data: &Path) -> Duration {
    let started = Instant::now();
    let server = serve(data, &[]);
    let spent = started.elapsed();
    server.kill9();
    spent
}

/// Time of a start without something that is worth only time; it is there again behind it.
fn start_without(path: &Path, data: &Path) -> Duration {
    let aside = data.with_extension("aside");
    fs::rename(path, &aside).expect("the history has it");
    let spent = start(data);
    // The server may have made another meanwhile.
    let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
    fs::rename(&aside, path).expect("it was there before");
    spent
}

/// Of a server that has started from the snapshot and was asked nothing but how many there are.
fn memory(data: &Path) {
    let empty = tempfile::tempdir().expect("a directory for temporary files");
    let server = serve(empty.path(), &[]);
    let without = memory_bytes(server.id(), "VmRSS");
    server.kill9();
    let server = serve(data, &[]);
    let with = memory_bytes(server.id(), "VmRSS");
    let summary = server.client().ask("/v1/summary");
    server.kill9();
    let count = |name: &str| summary[name].as_u64().expect("a count");
    let members = count("total_users") + count("deleted_users");
    let of_each = |bytes: u64| bytes as f64 / members as f64;
    println!(
        "    {} members in {} tenants: {} MiB in memory, {} MiB without any: {:.0} bytes a member, {:.0} of them its own",
        HumanCount(members),
        HumanCount(count("tenants")),
        mib(with),
        mib(without),
        of_each(with),
        of_each(with.saturating_sub(without))
    );
}

/// Bytes of the files in a folder.
fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
}

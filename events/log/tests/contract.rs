//! The log keeps the contract of the port.

use std::sync::Arc;

use lastseen_log::{Commit, Log, LogOptions, OsDisk};
use lastseen_store::SystemClock;
use tempfile::TempDir;

fn fresh() -> (Log, TempDir) {
    let dir = TempDir::new().expect("a temporary directory");
    let disk = Arc::new(OsDisk::new(dir.path()).expect("a directory"));
    let options = LogOptions { recent_ids: 10_000, ..LogOptions::default() };
    let log =
        Log::open(disk, options, Arc::new(SystemClock), Commit::acknowledge).expect("an empty log opens");
    (log, dir)
}

lastseen_store::contract_tests!(fresh());

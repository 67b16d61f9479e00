//! The log keeps the contract of the port.

use std::sync::Arc;

use lastseen_log::{Fault, FaultDisk, Log, LogOptions, Operation, OsDisk};
use lastseen_store::SystemClock;
use tempfile::TempDir;

fn fresh(segment_events: u64) -> (Log, TempDir) {
    let dir = TempDir::new().expect("a temporary directory");
    let disk = Arc::new(OsDisk::new(dir.path()).expect("a directory"));
    let options = LogOptions { segment_events, recent_ids: 10_000, ..LogOptions::default() };
    let log = Log::open(disk, options, Arc::new(SystemClock)).expect("an empty log opens");
    (log, dir)
}

lastseen_store::contract_tests!(fresh(1_000_000));

/// The same with a log that seals all the time, so that every reader and every append meets segments that come and WAL
/// files that go.
mod sealing {

    lastseen_store::contract_tests!(super::fresh(23));
}

#[tokio::test]
async fn refusals_pass() {
    let disk = FaultDisk::default();
    // A file holds one frame, so each append makes one.
    let options = LogOptions { wal_file_bytes: 1, ..LogOptions::default() };
    let log = Log::open(Arc::new(disk.clone()), options, Arc::new(SystemClock));
    let hinder = |hindered: bool| {
        if hindered {
            disk.fail(Operation::Create, 0, u64::MAX, (Fault::NoDescriptors, 0));
        } else {
            disk.heal();
        }
    };
    lastseen_store::contract::refusals_pass(&log.expect("opens"), hinder).await;
}

//! The store keeps the contract of the port, over the protocol emulator: one node, three nodes, and while the copy makes segments
//! all the time.

use std::sync::Arc;

use eventstoredb_emulator::{Cluster, Options, Timing};
use lastseen_eventstoredb::{ClusterSettings, ClusterStore};
use lastseen_log::{LockedDisk, LogOptions, OsDisk};
use lastseen_store::SystemClock;
use tempfile::TempDir;

fn fresh(nodes: usize, segment_events: u64) -> (ClusterStore, (Cluster, TempDir)) {
    let cluster = Cluster::start(Options { nodes, timing: Timing::short(), ..Options::default() });
    let cluster = cluster.expect("the emulator starts");
    let dir = TempDir::new().expect("a temporary directory");
    let disk = Arc::new(OsDisk::new(dir.path()).expect("a directory"));
    let options = LogOptions { segment_events, recent_ids: 10_000, ..LogOptions::default() };
    let settings = ClusterSettings::new(&cluster.connection_string(), None).expect("an address");
    let locked = LockedDisk::lock(disk).expect("is free");
    let store = ClusterStore::open(locked, options, &settings, (Arc::new(SystemClock), &[]), |_| ());
    (store.expect("the cluster is there"), (cluster, dir))
}

mod one_node {
    lastseen_store::contract_tests!(super::fresh(1, 1_000_000));
}

mod three_nodes {
    lastseen_store::contract_tests!(super::fresh(3, 1_000_000));
}

mod sealing {
    lastseen_store::contract_tests!(super::fresh(1, 23));
}

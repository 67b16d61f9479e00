//! The rules of the emulator, each with a test. LEDGER.md says where each rule comes from.

#![expect(clippy::unwrap_used, reason = "all of this is tests, also the functions without the attribute")]

mod appends;
mod client;
mod clients;
mod deletes;
mod elections;
mod faults;
mod idempotency;
mod ledger;
mod program;
mod reads;
mod restarts;
mod scavenging;
mod subscriptions;
mod users;

use std::path::PathBuf;

use eventstoredb_emulator::{Cluster, NodeHandle, Options, ServerVersion, Timing};

use client::Client;

/// One node of 23.10 and a client.
fn one_node() -> (Cluster, Client) {
    one_node_of(ServerVersion::V23_10)
}

fn one_node_of(version: ServerVersion) -> (Cluster, Client) {
    let cluster = Cluster::start(Options { version, timing: Timing::short(), ..Options::default() }).unwrap();
    let client = Client::to(cluster.addresses()[0]);
    (cluster, client)
}

/// Three nodes with short times; the first leads.
fn three_nodes() -> Cluster {
    let cluster =
        Cluster::start(Options { nodes: 3, timing: Timing::short(), ..Options::default() }).unwrap();
    let is_in_step = |node: NodeHandle<'_>| {
        let (log, committed) = node.log();
        node.is_ready() && committed > 0 && committed == log.len()
    };
    cluster.wait_until(|cluster| cluster.nodes().all(is_in_step));
    assert_eq!(cluster.leader(), Some(0));
    cluster
}

fn client_of(cluster: &Cluster, node: usize) -> Client {
    Client::to(cluster.addresses()[node])
}

/// Answers of real servers.
fn recorded(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/eventstoredb")).join(file)
}

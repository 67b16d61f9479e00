//! The official Rust client: its own tests of streams, against the emulator.

#![expect(clippy::disallowed_methods, reason = "the tests of the client are as their authors wrote them")]

#[path = "client/common.rs"]
mod common;
#[path = "client/streams.rs"]
#[expect(clippy::needless_borrows_for_generic_args, reason = "it is as its authors wrote it")]
mod streams;

use eventstoredb_emulator::{Cluster, Options, ServerVersion};
use kurrentdb::Client;

async fn of(nodes: usize, version: ServerVersion) {
    let cluster = Cluster::start(Options { nodes, version, ..Options::default() }).unwrap();
    cluster.wait_until(|cluster| cluster.nodes().all(|node| node.is_ready()));
    let client = Client::new(cluster.connection_string().parse().unwrap()).unwrap();
    streams::tests(client).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_of_the_rust_client_pass_on_one_node_of_23_10() {
    of(1, ServerVersion::V23_10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_of_the_rust_client_pass_on_three_nodes_of_24_10() {
    of(3, ServerVersion::V24_10).await;
}

//! Nodes that are killed keep what they acknowledged.

use eventstoredb_emulator::{Cluster, Options, Timing};

use crate::client::{Client, Frame, From, filtered, of_all};
use crate::{client_of, one_node, three_nodes};

#[tokio::test]
async fn a_killed_node_has_everything_it_acknowledged_when_it_starts() {
    let (cluster, client) = one_node();
    let mut put = Vec::new();
    for at in 0..20 {
        put.push(client.put(&format!("s-{at}"), "{}").await);
    }
    let before = cluster.committed();
    let mut frames = client.subscribe(From::End, "s", 32).await.unwrap();
    frames.caught_up().await;
    cluster.node(0).kill();
    assert!(!cluster.node(0).is_running());
    assert!(frames.next().await.is_err(), "its connections break");
    assert!(client.append("s", crate::client::Expect::Any, vec![crate::client::event("{}")]).await.is_err());
    cluster.node(0).start().unwrap();
    cluster.wait_until(|cluster| cluster.leader().is_some());
    assert_eq!(cluster.committed()[..before.len()], before);
    let client = client_of(&cluster, 0);
    let read: Vec<u64> = client
        .all(filtered(of_all(From::Start), "s-", 32))
        .await
        .unwrap()
        .iter()
        .filter_map(|frame: &Frame| frame.event().map(|event| event.2))
        .collect();
    assert_eq!(read, put);
    // The new leader's record stands between: 662 bytes, as on the real server.
    let next = client.put("s-19", "{}").await;
    assert_eq!(next, put[19] + 90 + 4 + 1 + 2 + 662);
}

#[tokio::test]
async fn a_cluster_in_a_folder_is_there_again_in_another_process() {
    let data = tempfile::tempdir().unwrap();
    let options = || Options {
        nodes: 3,
        data: Some(data.path().to_owned()),
        timing: Timing::short(),
        ..Options::default()
    };
    let cluster = Cluster::start(options()).unwrap();
    client_of(&cluster, 0).put("s", "{}").await;
    cluster.wait_until(|cluster| cluster.node(1).log().1 == cluster.node(0).log().1);
    let before = cluster.committed();
    drop(cluster);
    let cluster = Cluster::start(options()).unwrap();
    cluster.wait_until(|cluster| cluster.committed().len() > before.len());
    assert_eq!(cluster.committed()[..before.len()], before);
    assert_eq!(client_of(&cluster, 0).revisions("s").await, [0]);
}

#[tokio::test]
async fn a_node_that_was_away_gets_what_it_missed() {
    let cluster = three_nodes();
    cluster.node(2).kill();
    let client = client_of(&cluster, 0);
    for _ in 0..10 {
        client.put("s", "{}").await;
    }
    cluster.node(2).start().unwrap();
    cluster.wait_until(|cluster| cluster.node(2).log().1 == cluster.committed().len());
    assert_eq!(cluster.node(2).log().0, cluster.committed());
    cluster.wait_until(|cluster| cluster.node(2).is_ready());
    assert_eq!(Client::to(cluster.addresses()[2]).revisions("s").await.len(), 10);
}

#[tokio::test]
async fn a_cluster_that_starts_from_empty_uses_its_positions_again() {
    let cluster = three_nodes();
    let first = client_of(&cluster, 0).put("s", "{}").await;
    cluster.start_from_empty().unwrap();
    let leader = cluster.leader().unwrap();
    let client = client_of(&cluster, leader);
    assert_eq!(client.revisions("s").await, [0_u64; 0]);
    assert_eq!(client.put("other", "{}").await, first);
}

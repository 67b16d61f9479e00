//! Scavenging, as in scavenge.txt: five events of a victim and of a keeper in turn, the victim deleted.

use eventstoredb_emulator::{Body, Cluster};

use crate::client::{Client, Expect, From, backwards, event, filtered, limited, of_all};
use crate::one_node;

/// Positions of the victim's and the keeper's events.
async fn scavenged() -> (Cluster, Client, Vec<u64>, Vec<u64>) {
    let (cluster, client) = one_node();
    let (mut victim, mut keep) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        victim.push(client.put("user-victim", "{}").await);
        keep.push(client.put("user-keep", "{}").await);
    }
    client.delete("user-victim").await.unwrap();
    assert_eq!(cluster.scavenge().unwrap(), 4, "the last event of a deleted stream stays");
    (cluster, client, victim, keep)
}

async fn read(client: &Client, from: u64) -> Vec<u64> {
    let frames = client.all(filtered(of_all(From::At(from, from)), "user-", 32)).await.unwrap();
    frames.iter().filter_map(|frame| frame.event().map(|event| event.2)).collect()
}

async fn subscribed(client: &Client, from: u64) -> Vec<u64> {
    let mut frames = client.subscribe(From::At(from, from), "user-", 1_000).await.unwrap();
    frames.caught_up().await.iter().filter_map(|frame| frame.event().map(|event| event.2)).collect()
}

#[tokio::test]
async fn a_subscription_from_a_scavenged_event_loses_the_next_one_and_a_read_does_not() {
    let (cluster, client, victim, keep) = scavenged().await;
    assert_eq!(subscribed(&client, victim[1]).await, [keep[2], keep[3], victim[4], keep[4]]);
    assert_eq!(subscribed(&client, victim[4]).await, [keep[4]]);
    assert_eq!(read(&client, victim[1]).await, [keep[1], keep[2], keep[3], victim[4], keep[4]]);
    assert_eq!(read(&client, victim[2]).await, [keep[2], keep[3], victim[4], keep[4]]);
    assert_eq!(read(&client, victim[4]).await, [victim[4], keep[4]]);
    let one = client.all(limited(of_all(From::At(victim[1], victim[1])), 1)).await.unwrap();
    assert_eq!(one[0].event().unwrap().2, keep[1]);
    let back = client.all(limited(backwards(of_all(From::At(victim[4], victim[4]))), 1)).await.unwrap();
    assert_eq!(back[0].event().unwrap().2, keep[3]);
    // The same after a restart: the file was scavenged too.
    cluster.node(0).kill();
    cluster.node(0).start().unwrap();
    cluster.wait_until(|cluster| cluster.leader().is_some());
    let client = crate::client_of(&cluster, 0);
    assert_eq!(read(&client, victim[1]).await, [keep[1], keep[2], keep[3], victim[4], keep[4]]);
    assert_eq!(subscribed(&client, victim[1]).await, [keep[2], keep[3], victim[4], keep[4]]);
}

#[tokio::test]
async fn a_scavenge_removes_what_metadata_hides_and_old_metadata() {
    let (cluster, client) = one_node();
    for _ in 0..5 {
        client.put("s", "{}").await;
    }
    for text in [r#"{"$maxCount":3}"#, r#"{"$maxCount":2}"#] {
        let mut metadata = event(text);
        metadata.metadata.insert("type".to_owned(), "$metadata".to_owned());
        client.append("$$s", Expect::Any, vec![metadata]).await.unwrap();
    }
    client.put("ended", "{}").await;
    client.tombstone("ended").await.unwrap();
    assert_eq!(cluster.scavenge().unwrap(), 3 + 1 + 1);
    assert_eq!(client.revisions("s").await, [3, 4]);
    let removed = cluster.committed().iter().filter(|record| record.body == Body::Removed).count();
    assert_eq!(removed, 5);
    client.put("s", "{}").await;
    assert_eq!(client.revisions("s").await, [4, 5]);
}

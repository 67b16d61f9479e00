//! The same event again: weak for any state and for a stream that exists, strong for a revision.

use eventstoredb_emulator::RECENT_BYTES_MAX;
use eventstoredb_emulator::{Cluster, Options};
use uuid::Uuid;

use crate::client::{Appended, Client, Expect, with_id};
use crate::{one_node, three_nodes};

fn ids<const N: usize>() -> [Uuid; N] {
    std::array::from_fn(|_| Uuid::new_v4())
}

async fn append(client: &Client, stream: &str, expect: Expect, ids: &[Uuid]) -> Appended {
    let events = ids.iter().map(|id| with_id(*id, "{}")).collect();
    client.append(stream, expect, events).await.unwrap()
}

#[tokio::test]
async fn a_known_id_again_is_a_success_with_its_first_position_whatever_it_has() {
    let (_cluster, client) = one_node();
    let [id] = ids();
    let first = append(&client, "s", Expect::Any, &[id]).await;
    client.put("s", "{}").await;
    assert_eq!(append(&client, "s", Expect::Any, &[id]).await, first);
    assert_eq!(append(&client, "s", Expect::Exists, &[id]).await, first);
    let other = client.append("s", Expect::Any, vec![with_id(id, "other")]).await.unwrap();
    assert_eq!(other, first);
    assert_eq!(client.revisions("s").await, [0, 1]);
}

#[tokio::test]
async fn an_id_is_known_in_its_stream_only() {
    let (_cluster, client) = one_node();
    let [id] = ids();
    let first = append(&client, "s", Expect::Any, &[id]).await;
    assert!(append(&client, "other", Expect::Any, &[id]).await.position() > first.position());
    assert_eq!(client.revisions("other").await, [0]);
}

#[tokio::test]
async fn only_the_first_id_decides_that_an_append_is_a_repeat() {
    let (_cluster, client) = one_node();
    let [one, two, new, newer, twice] = ids();
    assert!(matches!(append(&client, "twice", Expect::Any, &[twice, twice]).await, Appended::At(Some(1), _)));
    let both = append(&client, "s", Expect::Any, &[one, two]).await;
    let first = Appended::At(Some(0), both.position() - (90 + 1 + 1 + 2));
    assert_eq!(append(&client, "s", Expect::Any, &[one, two]).await, both);
    assert_eq!(append(&client, "s", Expect::Any, &[two, one]).await, first);
    assert_eq!(append(&client, "s", Expect::Any, &[two]).await, both);
    assert_eq!(append(&client, "s", Expect::Any, &[one, new]).await, Appended::Wrong(Some(1)));
    assert!(matches!(append(&client, "s", Expect::Any, &[newer, one]).await, Appended::At(Some(3), _)));
    // It has two records by now, and the first one is known.
    assert_eq!(append(&client, "s", Expect::Exists, &[one]).await, first);
}

#[tokio::test]
async fn by_revision_the_stored_events_are_compared_and_a_correct_revision_stores() {
    let (cluster, client) = one_node();
    let [one, two, other] = ids();
    let both = append(&client, "s", Expect::None, &[one, two]).await;
    cluster.node(0).kill();
    cluster.node(0).start().unwrap();
    cluster.wait_until(|cluster| cluster.leader().is_some());
    let client = Client::to(cluster.addresses()[0]);
    assert_eq!(append(&client, "s", Expect::None, &[one, two]).await, both);
    assert_eq!(append(&client, "s", Expect::At(0), &[two]).await, both);
    assert_eq!(append(&client, "s", Expect::None, &[one, other]).await, Appended::Wrong(Some(1)));
    assert_eq!(append(&client, "s", Expect::None, &[other]).await, Appended::Wrong(Some(1)));
    assert!(matches!(append(&client, "s", Expect::At(1), &[one]).await, Appended::At(Some(2), _)));
}

#[tokio::test]
async fn the_first_id_is_known_after_sixty_thousand_others_and_not_after_a_hundred_thousand() {
    let (_cluster, client) = one_node();
    // 51 characters, as on the real server; 500 events an append.
    let stream = "n".repeat(51);
    let fill = async |count: usize| {
        for _ in 0..count / 500 {
            append(&client, &stream, Expect::Any, &std::array::from_fn::<_, 500, _>(|_| Uuid::new_v4()))
                .await;
        }
    };
    let [id] = ids();
    let first = append(&client, &stream, Expect::Any, &[id]).await;
    fill(60_000).await;
    assert_eq!(append(&client, &stream, Expect::Any, &[id]).await, first);
    fill(40_000).await;
    assert!(append(&client, &stream, Expect::Any, &[id]).await.position() > first.position());
}

#[tokio::test]
async fn the_cache_of_ids_can_be_made_small_for_tests() {
    assert_eq!(RECENT_BYTES_MAX, 8 * 1024 * 1024);
    // Room for two names of one character.
    let cluster = Cluster::start(Options { recent_bytes_max: 60, ..Options::default() }).unwrap();
    let client = Client::to(cluster.addresses()[0]);
    let [one, two, three] = ids();
    let first = append(&client, "s", Expect::Any, &[one]).await;
    append(&client, "s", Expect::Any, &[two]).await;
    assert_eq!(append(&client, "s", Expect::Any, &[one]).await, first);
    append(&client, "s", Expect::Any, &[three]).await;
    assert_ne!(append(&client, "s", Expect::Any, &[one]).await, first);
}

#[tokio::test]
async fn ids_are_forgotten_by_a_restart() {
    let (cluster, client) = one_node();
    let [id] = ids();
    let first = append(&client, "s", Expect::Any, &[id]).await;
    cluster.node(0).kill();
    cluster.node(0).start().unwrap();
    cluster.wait_until(|cluster| cluster.leader().is_some());
    let client = Client::to(cluster.addresses()[0]);
    assert!(matches!(append(&client, "s", Expect::Any, &[id]).await, Appended::At(Some(1), _)));
    assert_eq!(client.revisions("s").await, [0, 1]);
    assert!(first.position() > 0);
}

#[tokio::test]
async fn ids_are_forgotten_at_a_new_leader_though_followers_had_the_events() {
    let cluster = three_nodes();
    let [id] = ids();
    append(&crate::client_of(&cluster, 0), "s", Expect::Any, &[id]).await;
    cluster.node(0).kill();
    cluster.wait_until(|cluster| cluster.leader().is_some());
    let client = crate::client_of(&cluster, cluster.leader().unwrap());
    assert!(matches!(append(&client, "s", Expect::Any, &[id]).await, Appended::At(Some(1), _)));
    assert_eq!(client.revisions("s").await, [0, 1]);
}

#[tokio::test]
async fn ids_are_forgotten_at_a_leader_that_leads_once_more() {
    let cluster = three_nodes();
    let [id] = ids();
    append(&crate::client_of(&cluster, 0), "s", Expect::Any, &[id]).await;
    cluster.node(0).freeze();
    cluster.wait_until(|cluster| cluster.leader().is_some());
    let other = cluster.leader().unwrap();
    cluster.node(0).thaw();
    cluster.wait_until(|cluster| {
        cluster.nodes().all(|node| node.is_ready() && node.log().0.len() == cluster.committed().len())
    });
    cluster.node(other).kill();
    cluster.wait_until(|cluster| cluster.leader() == Some(0));
    let client = crate::client_of(&cluster, 0);
    assert!(matches!(append(&client, "s", Expect::Any, &[id]).await, Appended::At(Some(1), _)));
}

//! Leaders, followers, quorums: what is safe, what is gone, and what a client is told.

use std::time::{Duration, Instant};

use eventstoredb_emulator::proto::client::Empty;
use eventstoredb_emulator::proto::client::gossip::gossip_client::GossipClient;
use eventstoredb_emulator::proto::client::gossip::member_info::VNodeState;
use tonic::Code;
use tonic::transport::Endpoint;
use uuid::Uuid;

use crate::client::{Appended, Client, Expect, From, event, of_stream, with_id};
use crate::{client_of, three_nodes};

async fn append(client: &Client, id: Uuid) -> Result<Appended, tonic::Status> {
    client.append("s", Expect::Any, vec![with_id(id, "{}")]).await
}

#[tokio::test]
async fn a_follower_passes_an_append_on_unless_it_is_for_a_leader() {
    let cluster = three_nodes();
    let follower = client_of(&cluster, 1);
    follower.put("s", "{}").await;
    let strict = client_of(&cluster, 1).with("requires-leader", "true");
    for status in [
        strict.append("s", Expect::Any, vec![event("{}")]).await.map(drop),
        strict.all(of_stream("s")).await.map(drop),
    ] {
        let status = status.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "Leader info available"));
        assert_eq!(status.metadata().get("exception").unwrap(), "not-leader");
        assert_eq!(status.metadata().get("leader-endpoint-host").unwrap(), "127.0.0.1");
        let port = cluster.addresses()[0].port().to_string();
        assert_eq!(status.metadata().get("leader-endpoint-port").unwrap(), port.as_str());
    }
    assert_eq!(client_of(&cluster, 0).revisions("s").await, [0]);
}

#[tokio::test]
async fn gossip_names_the_leader_and_those_that_are_away() {
    let cluster = three_nodes();
    cluster.node(2).kill();
    let endpoint = Endpoint::from_shared(format!("http://{}", cluster.addresses()[1])).unwrap();
    let mut gossip = GossipClient::new(endpoint.connect_lazy());
    let members = gossip.read(Empty {}).await.unwrap().into_inner().members;
    let states: Vec<_> = members.iter().map(|member| (member.state(), member.is_alive)).collect();
    let expected = [(VNodeState::Leader, true), (VNodeState::Follower, true), (VNodeState::Unknown, false)];
    assert_eq!(states, expected);
    let port = u32::from(cluster.addresses()[0].port());
    assert_eq!(members[0].http_end_point.as_ref().unwrap().port, port);
}

#[tokio::test]
async fn another_leads_when_the_leader_is_killed_and_has_all_that_was_acknowledged() {
    let cluster = three_nodes();
    let put = client_of(&cluster, 0).put("s", "{}").await;
    let before = cluster.committed();
    let mut frames = client_of(&cluster, 0).subscribe(From::End, "s", 32).await.unwrap();
    frames.caught_up().await;
    cluster.node(0).kill();
    assert!(frames.next().await.is_err(), "a subscription of the old leader fails");
    cluster.wait_until(|cluster| cluster.leader().is_some());
    let leader = cluster.leader().unwrap();
    assert_ne!(leader, 0);
    assert_eq!(cluster.committed()[..before.len()], before);
    let client = client_of(&cluster, leader);
    assert!(client.put("s", "{}").await > put);
    assert_eq!(client.revisions("s").await, [0, 1]);
}

/// A leader sleeps, the next one commits and is gone; then the first one wakes beside a node that has what was committed.
#[tokio::test]
async fn a_leader_that_wakes_does_not_undo_what_a_later_one_committed() {
    let cluster = three_nodes();
    client_of(&cluster, 0).put("s", "{}").await;
    cluster.node(0).freeze();
    cluster.wait_until(|cluster| cluster.leader() == Some(1));
    client_of(&cluster, 1).put("s", "{}").await;
    let committed = cluster.committed();
    cluster.node(1).kill();
    cluster.node(0).thaw();
    cluster.wait_until(|cluster| cluster.leader().is_some());
    assert_eq!(cluster.leader(), Some(2), "the one that has all of it");
    assert_eq!(cluster.committed()[..committed.len()], committed);
    cluster.node(1).start().unwrap();
    cluster.wait_until(|cluster| cluster.node(1).is_ready());
    assert_eq!(client_of(&cluster, 1).revisions("s").await, [0, 1]);
}

#[tokio::test]
async fn without_a_quorum_an_append_times_out_and_then_the_node_is_not_ready() {
    let cluster = three_nodes();
    cluster.node(1).kill();
    cluster.node(2).kill();
    let (client, id) = (client_of(&cluster, 0), Uuid::new_v4());
    let mut frames = client.subscribe(From::End, "s", 32).await.unwrap();
    frames.caught_up().await;
    let status = append(&client, id).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Aborted, "Operation timed out: Commit phase timeout.")
    );
    cluster.wait_until(|cluster| !cluster.node(0).is_ready());
    let status = append(&client, id).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "Server Is Not Ready"));
    // The quorum is back, and the same node leads: the append is stored, and known.
    cluster.node(1).start().unwrap();
    cluster.wait_until(|cluster| cluster.leader() == Some(0));
    let seen = frames.event().await;
    assert_eq!(append(&client, id).await.unwrap(), Appended::At(Some(0), seen));
    assert_eq!(client.revisions("s").await, [0]);
}

#[tokio::test]
async fn a_repeat_of_an_append_that_has_no_quorum_yet_is_dropped() {
    let cluster = three_nodes();
    cluster.node(1).freeze();
    cluster.node(2).freeze();
    let (client, id) = (client_of(&cluster, 0), Uuid::new_v4());
    let (first, second) = tokio::join!(append(&client, id), append(&client, id));
    assert_eq!((first.unwrap_err().code(), second.unwrap_err().code()), (Code::Aborted, Code::Aborted));
    let (log, committed) = cluster.node(0).log();
    assert_eq!(log.len(), committed + 1, "it is written once");
}

#[tokio::test]
async fn what_had_no_quorum_is_gone_at_a_new_leader_and_its_position_is_used_again() {
    let cluster = three_nodes();
    client_of(&cluster, 0).put("s", "{}").await;
    let mut frames = client_of(&cluster, 0).subscribe(From::End, "s", 32).await.unwrap();
    frames.caught_up().await;
    cluster.node(1).kill();
    cluster.node(2).kill();
    let lost = Uuid::new_v4();
    assert_eq!(append(&client_of(&cluster, 0), lost).await.unwrap_err().code(), Code::Aborted);
    let (log, committed) = cluster.node(0).log();
    let at = log[committed].position;
    assert_eq!(log.len(), committed + 1);
    cluster.node(0).kill();
    assert!(frames.next().await.is_err(), "it was never delivered");
    cluster.node(1).start().unwrap();
    cluster.node(2).start().unwrap();
    cluster.wait_until(|cluster| cluster.leader().is_some());
    let client = client_of(&cluster, cluster.leader().unwrap());
    client.put("s", "other").await;
    let record = cluster.committed()[committed].clone();
    assert_eq!(record.position, at, "another record stands there");
    assert!(record.event().is_none_or(|event| event.id != lost));
    // The old leader ends by itself to truncate, and must be started once more.
    cluster.node(0).start().unwrap();
    cluster.wait_until(|cluster| !cluster.node(0).is_running());
    cluster.node(0).start().unwrap();
    cluster.wait_until(|cluster| cluster.node(0).log().1 == cluster.committed().len());
    assert_eq!(cluster.node(0).log().0, cluster.committed());
    cluster.wait_until(|cluster| cluster.node(0).is_ready());
    assert_eq!(client_of(&cluster, 0).revisions("s").await, [0, 1]);
}

#[tokio::test]
async fn what_reached_frozen_followers_is_committed_by_the_next_leader() {
    let cluster = three_nodes();
    cluster.node(1).freeze();
    cluster.node(2).freeze();
    let id = Uuid::new_v4();
    assert_eq!(append(&client_of(&cluster, 0), id).await.unwrap_err().code(), Code::Aborted);
    cluster.node(0).kill();
    cluster.node(1).thaw();
    cluster.node(2).thaw();
    cluster.wait_until(|cluster| cluster.leader().is_some());
    let has_it = |cluster: &eventstoredb_emulator::Cluster| {
        cluster.committed().iter().any(|record| record.event().is_some_and(|event| event.id == id))
    };
    cluster.wait_until(has_it);
}

#[tokio::test]
async fn a_frozen_leader_says_nothing_and_the_others_elect() {
    let cluster = three_nodes();
    let client = client_of(&cluster, 0);
    client.put("s", "{}").await;
    cluster.node(0).freeze();
    let silent = tokio::time::timeout(Duration::from_millis(200), append(&client, Uuid::new_v4())).await;
    assert!(silent.is_err(), "no answer and no broken connection");
    cluster.wait_until(|cluster| cluster.leader().is_some());
    let leader = cluster.leader().unwrap();
    assert_ne!(leader, 0);
    client_of(&cluster, leader).put("s", "{}").await;
    cluster.node(0).thaw();
    cluster.wait_until(|cluster| cluster.node(0).log().1 == cluster.committed().len());
    assert_eq!(cluster.leader(), Some(leader));
}

#[tokio::test]
async fn a_leader_that_is_cut_off_acknowledges_nothing_and_truncates() {
    let cluster = three_nodes();
    cluster.node(0).cut();
    let lost = Uuid::new_v4();
    assert_eq!(append(&client_of(&cluster, 0), lost).await.unwrap_err().code(), Code::Aborted);
    cluster.wait_until(|cluster| cluster.leader().is_some());
    let leader = cluster.leader().unwrap();
    client_of(&cluster, leader).put("s", "{}").await;
    cluster.node(0).heal();
    cluster.wait_until(|cluster| !cluster.node(0).is_running());
    cluster.node(0).start().unwrap();
    cluster.wait_until(|cluster| cluster.node(0).log().1 == cluster.committed().len());
    let records = cluster.node(0).log().0;
    assert!(records.iter().all(|record| record.event().is_none_or(|event| event.id != lost)));
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_while_leaders_are_killed_under_load() {
    let cluster = three_nodes();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        let leader = cluster.leader().unwrap();
        let client = client_of(&cluster, leader);
        let mut appends = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let client = client.clone();
            appends.spawn(async move {
                let id = Uuid::new_v4();
                client.append("s", Expect::Any, vec![with_id(id, "{}")]).await.map(|_| id)
            });
        }
        let mut answered = 0;
        while let Some(answer) = appends.join_next().await {
            acknowledged.extend(answer.unwrap());
            answered += 1;
            if answered == 10 + round {
                cluster.node(leader).kill();
            }
        }
        assert!(Instant::now() < deadline);
        cluster.node(leader).start().unwrap();
        cluster.wait_until(|cluster| cluster.leader().is_some());
        if !cluster.node(leader).is_running() {
            cluster.node(leader).start().unwrap();
        }
        cluster.wait_until(|cluster| {
            cluster.nodes().all(|node| node.start().is_ok() && node.is_ready()) && cluster.leader().is_some()
        });
    }
    let committed = cluster.committed();
    let ids: Vec<Uuid> = committed.iter().filter_map(|record| record.event()).map(|event| event.id).collect();
    for id in &acknowledged {
        assert_eq!(ids.iter().filter(|it| *it == id).count(), 1);
    }
    assert!(acknowledged.len() >= 60);
    assert!(committed.is_sorted_by(|one, other| one.position < other.position));
}

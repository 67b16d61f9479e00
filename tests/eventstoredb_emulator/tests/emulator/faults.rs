//! The fault script.

use std::time::{Duration, Instant};

use eventstoredb_emulator::AppendFault;
use eventstoredb_emulator::proto::client::streams::batch_append_resp::Result as Answer;
use tonic::Code;

use crate::appends::Session;
use crate::client::{Expect, Frame, From, WITHIN, event};
use crate::{client_of, one_node, three_nodes};

#[tokio::test]
async fn a_reply_is_dropped_after_the_commit_or_the_append_before_it() {
    for (fault, stored) in [(AppendFault::CommitThenDropReply, 1), (AppendFault::DropBeforeStoring, 0)] {
        let (cluster, client) = one_node();
        let mut frames = client.subscribe(From::End, "s", 32).await.unwrap();
        frames.caught_up().await;
        cluster.faults().next_append(fault);
        let append = client.append("s", Expect::Any, vec![event("{}")]);
        assert!(append.await.is_err(), "{fault:?}");
        // All calls of the connection break, as those of a process that ends.
        while frames.next().await.is_ok() {}
        let revisions = client_of(&cluster, 0).revisions("s").await;
        assert_eq!(revisions.len(), stored, "{fault:?}");
        client_of(&cluster, 0).put("s", "{}").await;
    }
}

#[tokio::test]
async fn an_append_is_aborted_with_and_without_being_stored() {
    for (fault, stored) in [(AppendFault::AbortedButStored, 1), (AppendFault::AbortedNotStored, 0)] {
        let (cluster, client) = one_node();
        cluster.faults().next_append(fault);
        let status = client.append("s", Expect::Any, vec![event("{}")]).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Aborted, "Operation timed out: Commit phase timeout.")
        );
        assert_eq!(client.revisions("s").await.len(), stored);
    }
}

#[tokio::test]
async fn an_append_is_refused_or_sent_to_another_leader() {
    let cluster = three_nodes();
    let client = client_of(&cluster, 0);
    let told = |tells_leader| AppendFault::NotLeader { tells_leader };
    for (fault, code, leader) in [
        (AppendFault::Refuse, Code::Unavailable, false),
        (told(true), Code::NotFound, true),
        (told(false), Code::NotFound, false),
    ] {
        cluster.faults().next_append(fault);
        let status = client.append("s", Expect::Any, vec![event("{}")]).await.unwrap_err();
        assert_eq!(status.code(), code, "{fault:?}");
        assert_eq!(status.metadata().get("leader-endpoint-port").is_some(), leader, "{fault:?}");
    }
    assert_eq!(client.revisions("s").await, [0_u64; 0]);
    client.put("s", "{}").await;
}

#[tokio::test]
async fn a_batch_session_dies_in_its_middle() {
    let (cluster, client) = one_node();
    cluster.faults().append_after(3, AppendFault::CommitThenDropReply);
    let mut session = Session::open(&client).await.unwrap();
    for _ in 0..10 {
        session.put("s").await;
    }
    let mut answered = 0;
    while let Some(Ok((_, answer))) = session.answer().await {
        assert!(matches!(answer, Answer::Success(_)));
        answered += 1;
    }
    let stored = client_of(&cluster, 0).revisions("s").await.len();
    assert_eq!(stored, 4, "three and the one whose reply was dropped");
    assert!(answered <= 3);
}

#[tokio::test]
async fn a_subscription_ends_with_ok_and_others_that_begin_later_go_on() {
    let (cluster, client) = one_node();
    let mut frames = client.subscribe(From::End, "s", 32).await.unwrap();
    frames.caught_up().await;
    cluster.faults().end_subscriptions();
    assert_eq!(frames.next().await.unwrap(), None);
    let mut frames = client.subscribe(From::End, "s", 32).await.unwrap();
    frames.caught_up().await;
    let put = client.put("s", "{}").await;
    assert_eq!(frames.event().await, put);
}

#[tokio::test]
async fn a_checkpoint_comes_twice() {
    let (cluster, client) = one_node();
    for _ in 0..40 {
        client.put("other", "{}").await;
    }
    cluster.faults().repeat_checkpoints(1);
    let frames = client.subscribe(From::Start, "s", 10).await.unwrap().caught_up().await;
    assert_eq!(frames[1], frames[2]);
    assert!(matches!(frames[1], Frame::Checkpoint(..)));
    assert_ne!(frames[2], frames[3]);
}

#[tokio::test]
async fn reads_rest_before_each_page() {
    let (cluster, client) = one_node();
    for _ in 0..100 {
        client.put("s", "{}").await;
    }
    let pause = Duration::from_millis(50);
    cluster.faults().pause_reads(pause);
    let began = Instant::now();
    assert_eq!(client.revisions("s").await.len(), 100);
    assert!(began.elapsed() >= pause * 3, "pages of 32");
    cluster.faults().clear();
}

#[tokio::test]
async fn a_slow_consumer_loses_nothing_and_holds_up_nobody() {
    let (cluster, client) = one_node();
    // A connection of its own: calls of one connection share its window.
    let mut slow = client_of(&cluster, 0).subscribe(From::Start, "s", 32).await.unwrap();
    let data = "a".repeat(10_000);
    let mut put = Vec::new();
    for _ in 0..1_000 {
        put.push(client.put("s", &data).await);
    }
    let fast = client.revisions("s");
    assert_eq!(tokio::time::timeout(WITHIN, fast).await.unwrap().len(), 1_000);
    for position in put {
        assert_eq!(slow.event().await, position);
    }
}

#[tokio::test]
async fn a_frozen_node_keeps_its_connections_and_answers_when_it_thaws() {
    let (cluster, client) = one_node();
    client.put("s", "{}").await;
    cluster.node(0).freeze();
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn({
        let client = client.clone();
        async move { client.append("s", Expect::Any, vec![event("{}")]).await }
    });
    // Another connection is accepted and says nothing either.
    let other = client_of(&cluster, 0);
    assert!(tokio::time::timeout(Duration::from_millis(100), other.revisions("s")).await.is_err());
    assert!(waiting.try_join_next().is_none());
    cluster.node(0).thaw();
    assert!(tokio::time::timeout(WITHIN, waiting.join_next()).await.unwrap().unwrap().unwrap().is_ok());
    assert_eq!(client.revisions("s").await, [0, 1]);
}

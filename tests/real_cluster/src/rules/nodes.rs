//! Nodes that are killed, frozen, started: what is forgotten, and what is not.

use std::time::Duration;

use super::{Asked, id};
use crate::ground::Ground;
use crate::raw::{Expect, From, event, of_stream, with_id};
use crate::waiting::{until, wait};

/// A new leader knows no ids, though it has the events.
pub(crate) fn ids_are_forgotten_at_a_new_leader(ground: &Ground) {
    let asked = Asked::of(ground.cluster());
    let (stream, first) = (asked.stream("a"), id());
    let stored = wait(asked.client.append(&stream, Expect::Any, vec![with_id(first, "{}")])).unwrap();
    let leader = asked.cluster.wait_for_leader();
    asked.cluster.kill(leader);
    until("another node leads", || asked.cluster.leader().is_some_and(|other| other != leader));
    let client = asked.cluster.raw_leader();
    let mut again = None;
    until("the new leader takes appends", || {
        again = wait(client.append(&stream, Expect::Any, vec![with_id(first, "{}")])).ok();
        again.is_some()
    });
    asked.cluster.start(leader);
    assert!(again.unwrap().position() > stored.position(), "it is stored again");
    assert_eq!(wait(client.seen(of_stream(&stream))).len(), 2);
}

/// A restart forgets ids.
pub(crate) fn ids_are_forgotten_by_a_restart(ground: &Ground) {
    let asked = Asked::one(ground);
    let (stream, first) = (asked.stream("a"), id());
    let stored = wait(asked.client.append(&stream, Expect::Any, vec![with_id(first, "{}")])).unwrap();
    (0..asked.cluster.nodes()).for_each(|node| asked.cluster.kill(node));
    (0..asked.cluster.nodes()).for_each(|node| asked.cluster.start(node));
    let client = asked.cluster.raw_leader();
    let mut again = None;
    until("it takes appends", || {
        again = wait(client.append(&stream, Expect::Any, vec![with_id(first, "{}")])).ok();
        again.is_some()
    });
    assert!(again.unwrap().position() > stored.position(), "it is stored again");
}

/// Everything that was acknowledged is at the next leader, and a node that was away has it soon.
pub(crate) fn another_node_leads_and_has_everything(ground: &Ground) {
    let asked = Asked::of(ground.cluster());
    let stream = asked.stream("a");
    for _ in 0..50 {
        wait(asked.client.append(&stream, Expect::Any, vec![event("{}")])).unwrap();
    }
    let leader = asked.cluster.wait_for_leader();
    let mut frames = wait(asked.client.subscribe(From::End, &asked.prefix, 32)).unwrap();
    wait(frames.caught_up());
    asked.cluster.kill(leader);
    let ends = async { while frames.next().await.is_ok_and(|frame| frame.is_some()) {} };
    wait(ends);
    until("another node leads", || asked.cluster.leader().is_some_and(|other| other != leader));
    let client = asked.cluster.raw_leader();
    let mut more = 0;
    until("the new leader takes appends", || {
        more += usize::from(wait(client.append(&stream, Expect::Any, vec![event("{}")])).is_ok());
        more == 1
    });
    asked.cluster.start(leader);
    assert_eq!(wait(client.seen(of_stream(&stream))).len(), 51);
    let returned = asked.cluster.raw(leader);
    until("the node that was away has all of it", || {
        let read = async {
            let asked = tokio::time::timeout(Duration::from_secs(2), returned.all(of_stream(&stream))).await;
            asked.is_ok_and(|frames| frames.is_ok_and(|frames| frames.len() >= 51))
        };
        wait(read)
    });
}

/// A frozen leader is replaced, and follows when it thaws.
pub(crate) fn a_frozen_leader_is_replaced(ground: &Ground) {
    let asked = Asked::of(ground.cluster());
    let stream = asked.stream("a");
    wait(asked.client.append(&stream, Expect::Any, vec![event("{}")])).unwrap();
    let leader = asked.cluster.wait_for_leader();
    asked.cluster.freeze(leader);
    let call = asked.client.append(&stream, Expect::Any, vec![event("{}")]);
    let silent = wait(async { tokio::time::timeout(Duration::from_secs(1), call).await });
    until("another node leads", || asked.cluster.leader().is_some_and(|other| other != leader));
    let client = asked.cluster.raw_leader();
    let mut answered = false;
    until("the new leader takes appends", || {
        answered = wait(client.append(&stream, Expect::Any, vec![event("{}")])).is_ok();
        answered
    });
    asked.cluster.thaw(leader);
    assert!(silent.is_err(), "a frozen node answered: {silent:?}");
    until("one node leads", || asked.cluster.leader().is_some());
    assert!(wait(client.seen(of_stream(&stream))).len() >= 2);
}

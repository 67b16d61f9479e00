//! The event id is the key: the same event again adds nothing, another event under a used id is refused.

use lastseen_tests::instant::{HOUR, now, rfc3339};
use lastseen_tests::{Events, Server};
use serde_json::{Value, json};

use crate::answers::{array, empty_server, numbers, position};

/// `(stored, duplicates)` of publishing `events`.
fn publish(server: &Server, events: &[Value]) -> (u64, u64) {
    let answer = server.client().publish(events);
    assert!(array(&answer, "refused").is_empty(), "{answer}");
    let numbers = numbers(&answer, &["stored", "duplicates"]);
    (numbers[0], numbers[1])
}

#[test]
fn the_same_event_again_is_a_success_that_adds_nothing() {
    let (server, _data) = empty_server();
    let (mut events, now) = (Events::seeded(301), now());
    let batch: Vec<_> = (0..10).map(|user| events.login(("acme", &format!("u{user}")), now - HOUR)).collect();
    assert_eq!(publish(&server, &batch), (10, 0));
    let tail = position(&server.client().ask("/v1/summary"));
    assert_eq!(publish(&server, &batch), (0, 10));
    assert_eq!(position(&server.client().ask("/v1/summary")), tail);

    // The same instant in other words, and an id in upper case, are the same event.
    let mut respelled = batch[0].clone();
    respelled["id"] = respelled["id"].as_str().unwrap().to_uppercase().into();
    respelled["occurred_at"] = rfc3339(now - HOUR).replace('Z', "999+00:00").into();
    respelled["session_id"] = Value::Null;
    assert_eq!(publish(&server, &[respelled]), (0, 1));

    let server = server.crash_and_restart();
    assert_eq!(publish(&server, &batch), (0, 10));
    let more = events.login(("acme", "late"), now - HOUR);
    assert_eq!(publish(&server, &[batch[3].clone(), more, batch[4].clone()]), (1, 2));
}

#[test]
fn twice_in_one_request_counts_once() {
    let (server, _data) = empty_server();
    let (mut events, now) = (Events::seeded(302), now());
    let login = events.login(("acme", "ada"), now);
    assert_eq!(publish(&server, &[login.clone(), login.clone(), login]), (1, 2));
}

#[test]
fn another_event_under_a_used_id_is_refused_with_everything_beside_it() {
    let (server, _data) = empty_server();
    let (mut events, now) = (Events::seeded(303), now());
    let login = events.login(("acme", "ada"), now - HOUR);
    publish(&server, std::slice::from_ref(&login));
    let tail = position(&server.client().ask("/v1/summary"));
    let other = |field: &str, value: &str| {
        let mut other = login.clone();
        other[field] = value.into();
        other
    };
    for (of, second) in [
        ("another user", other("user_id", "bob")),
        ("another type", other("type", "token_refresh")),
        ("another instant", other("occurred_at", &rfc3339(now - HOUR + 1))),
        ("another session", other("session_id", "s1")),
    ] {
        let beside = events.login(("acme", "beside"), now);
        let answer = server.client().post_json("/v1/events", &json!([beside, second]));
        let problem = answer.problem(422, "invalid_events", of);
        let errors = array(&problem, "errors");
        assert_eq!(errors.len(), 1, "{of}: {problem}");
        assert_eq!((&errors[0]["index"], &errors[0]["code"]), (&1.into(), &"id_conflict".into()), "{of}");
        assert_eq!(errors[0]["id"], login["id"], "{of}");
        assert!(errors[0]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{of}");
        assert_eq!(position(&server.client().ask("/v1/summary")), tail, "{of}: nothing is written");
    }
    let server = server.restart();
    let answer = server.client().post_json("/v1/events", &other("user_id", "bob"));
    answer.problem(422, "invalid_events", "a conflict with an event from before the restart");
    // Another tenant has ids of its own.
    let theirs = other("tenant_id", "other");
    assert_eq!(publish(&server, std::slice::from_ref(&theirs)), (1, 0));
    assert_eq!(publish(&server, &[theirs]), (0, 1));
}

#[test]
fn two_events_under_one_id_in_one_request_are_refused() {
    let (server, _data) = empty_server();
    let (mut events, now) = (Events::seeded(304), now());
    let first = events.login(("acme", "ada"), now);
    let mut second = first.clone();
    second["user_id"] = "bob".into();
    let answer = server.client().post_json("/v1/events", &json!([first, second]));
    let problem = answer.problem(422, "invalid_events", "one id, two users");
    assert_eq!(array(&problem, "errors")[0]["code"], "id_conflict");
    assert_eq!(numbers(&server.client().ask("/v1/summary"), &["total_users"]), [0]);

    // With on_invalid=skip the first one is stored.
    let answer = server.client().post_json("/v1/events?on_invalid=skip", &json!([first, second])).ok("skip");
    assert_eq!(numbers(&answer, &["stored", "duplicates"]), [1, 0]);
    assert_eq!(array(&answer, "refused")[0]["code"], "id_conflict");
    assert_eq!(array(&answer, "refused")[0]["index"], 1);
}

//! One call for one page of the caller's own table.

use lastseen_tests::Events;
use lastseen_tests::instant::{DAY, now};
use serde_json::json;

use crate::answers::{array, comparable, empty_server, position, user_ids};

const LOOKUP: &str = "/v1/tenants/acme/users/lookup";

#[test]
fn known_users_are_answered_as_alone_and_the_others_are_named() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(1101), now());
    client.publish(&[
        events.login(("acme", "ada"), now),
        events.login(("acme", "away"), now - 40 * DAY),
        events.invited(("acme", "invited"), now),
        events.login(("acme", "gone"), now - DAY),
        events.of("user_deleted", ("acme", "gone"), now),
        events.login(("other", "elsewhere"), now),
    ]);
    let asked = ["gone", "nobody", "ada", "elsewhere", "invited", "away"];
    let answer = client.post_json(LOOKUP, &json!({ "user_ids": asked })).ok(LOOKUP);
    assert_eq!(user_ids(array(&answer, "users")), ["gone", "ada", "invited", "away"], "in the order asked");
    assert_eq!(answer["unknown"], json!(["nobody", "elsewhere"]));
    assert_eq!(answer["definition"], 3);
    assert!(position(&answer) > 0);
    for user in array(&answer, "users") {
        let alone = client.ask(&format!("/v1/tenants/acme/users/{}", user["user_id"].as_str().unwrap()));
        assert_eq!(comparable(user), comparable(&alone));
        assert_eq!(user["last_seen_position"], alone["last_seen_position"]);
    }
}

#[test]
fn a_thousand_users_are_looked_up_at_once_and_not_one_more() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(1102), now());
    let names: Vec<_> = (0..1_000).map(|user| format!("u{user}")).collect();
    let batch: Vec<_> = names.iter().map(|user| events.login(("acme", user), now)).collect();
    client.publish(&batch);
    let answer = client.post_json(LOOKUP, &json!({ "user_ids": names })).ok(LOOKUP);
    assert_eq!(array(&answer, "users").len(), 1_000);
    let more: Vec<_> = (0..1_001).map(|user| format!("u{user}")).collect();
    let answer = client.post_json(LOOKUP, &json!({ "user_ids": more }));
    assert!((400..500).contains(&answer.status), "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

#[test]
fn a_user_may_be_called_lookup() {
    let (server, _data) = empty_server();
    server.client().publish(&[Events::seeded(1104).login(("acme", "lookup"), now())]);
    assert_eq!(server.client().ask(LOOKUP)["user_id"], "lookup");
}

#[test]
fn bad_lookups_are_problems() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(1103).login(("acme", "ada"), now())]);
    for body in
        ["", "nope", "[]", "{}", r#"{"user_ids":"ada"}"#, r#"{"user_ids":[1]}"#, r#"{"user_ids":[],"x":1}"#]
    {
        let answer = client.post(LOOKUP, "application/json", body.as_bytes());
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.text());
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        answer.problem(answer.status, &code, body);
    }
    let answer = client.post(LOOKUP, "text/plain", br#"{"user_ids":["ada"]}"#);
    answer.problem(415, "unsupported_media_type", "text");
    let answer = client.post_json("/v1/tenants/nobody/users/lookup", &json!({"user_ids": ["ada"]}));
    answer.problem(404, "unknown_tenant", "a tenant that nobody has heard of");
}

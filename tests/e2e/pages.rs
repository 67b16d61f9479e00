//! Cursors: pages together are the list, and a cursor belongs to the question it was issued for.

use lastseen_tests::instant::{DAY, HOUR, now, rfc3339};
use lastseen_tests::{Client, Events};
use serde_json::Value;

use crate::answers::{array, empty_server, user_ids, walk};

const USERS: &str = "/v1/tenants/acme/users";

/// 30 users, several at each instant, some never seen, some deleted.
fn publish_thirty(client: &Client, events: &mut Events, now: i64) {
    let mut batch = Vec::new();
    for user in 0..30_i64 {
        let name = format!("user {}", user * 7 % 30);
        let member = ("acme", name.as_str());
        match user % 5 {
            0 => batch.push(events.created_confirmed(member, now - 50 * DAY)),
            1 => batch.push(events.invited(member, now - 50 * DAY)),
            _ => batch.push(events.login(member, now - (user / 6) * 9 * DAY)),
        }
        if user % 11 == 3 {
            batch.push(events.of("user_deleted", member, now));
        }
    }
    client.publish(&batch);
}

#[test]
fn pages_of_every_size_together_are_the_whole_list() {
    let (server, _data) = empty_server();
    let client = server.client();
    let now = now();
    publish_thirty(client, &mut Events::seeded(1001), now);
    let as_of = format!("as_of={}", rfc3339(now - HOUR));
    for query in [
        "sort=last_seen_at",
        "sort=-last_seen_at",
        "status=never_seen,inactive",
        "status=active,inactive,pending,never_seen,deleted&sort=last_seen_at",
        "seen_since=1990-01-01T00:00:00Z",
        "types=login&window=7d",
        as_of.as_str(),
    ] {
        let whole = client.ask(&format!("{USERS}?{query}&limit=1000"));
        assert!(whole["next_cursor"].is_null());
        let whole = array(&whole, "users");
        assert!(!whole.is_empty(), "{query}");
        for limit in [1, 2, 3, 7, 10, whole.len(), whole.len() + 1] {
            assert_eq!(&walk(client, &format!("{USERS}?{query}&limit={limit}")), whole, "{query} by {limit}");
        }
    }
}

#[test]
fn the_default_page_has_100_users_and_the_last_page_no_cursor() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(1002), now());
    let batch: Vec<_> = (0..201).map(|user| events.login(("acme", &format!("u{user:03}")), now)).collect();
    client.publish(&batch);
    let mut sizes = Vec::new();
    let mut page = client.ask(USERS);
    loop {
        sizes.push(array(&page, "users").len());
        // A cursor alone is enough.
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        page = client.ask(&format!("{USERS}?cursor={cursor}"));
    }
    assert_eq!(sizes, [100, 100, 1]);
    assert_eq!(array(&client.ask(&format!("{USERS}?limit=201")), "users").len(), 201);
    assert!(client.ask(&format!("{USERS}?limit=201"))["next_cursor"].is_null(), "exactly the last one");
}

#[test]
fn a_cursor_goes_on_alone_or_with_the_parameters_it_was_issued_under() {
    let (server, _data) = empty_server();
    let client = server.client();
    publish_thirty(client, &mut Events::seeded(1003), now());
    let query = "sort=last_seen_at&status=active,inactive&limit=4&window=60d";
    let first = client.ask(&format!("{USERS}?{query}"));
    let cursor = first["next_cursor"].as_str().unwrap();
    let alone = client.ask(&format!("{USERS}?cursor={cursor}"));
    let together = client.ask(&format!("{USERS}?{query}&cursor={cursor}"));
    assert_eq!(alone["users"], together["users"]);
    assert_eq!(alone["next_cursor"], together["next_cursor"]);
    assert_eq!(array(&alone, "users").len(), 4);
    let both = [user_ids(array(&first, "users")), user_ids(array(&alone, "users"))].concat();
    let whole = walk(client, &format!("{USERS}?sort=last_seen_at&status=active,inactive&window=60d"));
    assert_eq!(both, user_ids(&whole)[..8]);
}

#[test]
fn a_cursor_with_other_parameters_or_a_made_up_one_is_refused() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(1004), now());
    publish_thirty(client, &mut events, now);
    client.publish(&[events.login(("other", "x"), now)]);
    let query = "sort=last_seen_at&limit=4";
    let first = client.ask(&format!("{USERS}?{query}"));
    let cursor = first["next_cursor"].as_str().unwrap();
    for (of, path) in [
        ("another order", format!("{USERS}?sort=-last_seen_at&limit=4&cursor={cursor}")),
        ("another status", format!("{USERS}?{query}&status=active&cursor={cursor}")),
        ("another window", format!("{USERS}?{query}&window=7d&cursor={cursor}")),
        ("another filter", format!("{USERS}?{query}&types=login&cursor={cursor}")),
        ("another instant", format!("{USERS}?{query}&as_of={}&cursor={cursor}", rfc3339(now))),
        ("another tenant", format!("/v1/tenants/other/users?cursor={cursor}")),
        ("not a cursor", format!("{USERS}?cursor=x")),
        ("an empty cursor", format!("{USERS}?cursor=")),
        ("half a cursor", format!("{USERS}?cursor={}", &cursor[..cursor.len() / 2])),
        ("too much of a cursor", format!("{USERS}?cursor={cursor}AAAA")),
    ] {
        let problem = client.get(&path).problem(400, "invalid_parameter", of);
        assert_eq!(problem["field"], "cursor", "{of}");
    }
    let page = client.ask(&format!("{USERS}?{query}&cursor={cursor}"));
    assert_eq!(array(&page, "users").len(), 4, "the cursor itself is still good");
}

#[test]
fn a_walk_ends_while_events_arrive_and_meets_everyone_who_did_not_move() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(1005), now());
    publish_thirty(client, &mut events, now);
    let before = walk(client, USERS);
    let mut met: Vec<Value> = Vec::new();
    let mut page = client.ask(&format!("{USERS}?limit=5"));
    loop {
        met.extend(array(&page, "users").iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        let cursor = cursor.to_owned();
        client.publish(&[events.login(("acme", "newcomer"), now + 1)]);
        page = client.ask(&format!("{USERS}?cursor={cursor}"));
    }
    let met = user_ids(&met);
    for user in user_ids(&before) {
        assert_eq!(met.iter().filter(|met| **met == user).count(), 1, "{user}");
    }
}

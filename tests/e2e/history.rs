//! Questions about the past and about some of the events: `as_of`, `known_at`, `types`, `provenance`, `compare`.

use lastseen_tests::instant::{DAY, HOUR, micros, now, rfc3339};
use lastseen_tests::{Events, Server};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{comparable, empty_server, numbers, position, user_ids, walk};

const NAMES: [&str; 4] = ["total_users", "active_users", "observed_users", "estimated_users"];

#[test]
fn an_observed_event_beats_every_estimate_from_its_instant_on() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, start) = (Events::seeded(701), micros("2025-03-01T00:00:00Z"));
    client.publish(&[
        events.estimated(("acme", "ada"), start + 20 * DAY),
        events.login(("acme", "ada"), start + 10 * DAY),
        events.estimated(("acme", "bob"), start + 5 * DAY),
        events.estimated(("acme", "bob"), start + 6 * DAY),
    ]);
    let ada = comparable(&client.ask("/v1/tenants/acme/users/ada"));
    assert_eq!(ada["last_seen_at"], rfc3339(start + 10 * DAY), "even an older one");
    assert_eq!((&ada["last_seen_type"], &ada["last_seen_provenance"]), (&"login".into(), &"observed".into()));
    assert_eq!(ada["first_seen_at"], rfc3339(start + 10 * DAY));
    let bob = comparable(&client.ask("/v1/tenants/acme/users/bob"));
    assert_eq!(bob["last_seen_at"], rfc3339(start + 6 * DAY), "the greatest estimate");
    assert_eq!(
        (&bob["last_seen_type"], &bob["last_seen_provenance"]),
        (&"estimated_activity".into(), &"estimated".into())
    );
    assert_eq!(bob["confirmed"], true, "an estimate is of a confirmed member");

    for (day, query, expected) in [
        (4, "", [0, 0, 0, 0]),
        (5, "", [1, 1, 0, 1]),
        (15, "", [2, 2, 1, 1]),
        (36, "", [2, 2, 1, 1]),
        (37, "", [2, 1, 1, 0]),
        (40, "", [2, 1, 1, 0]),
        (41, "", [2, 0, 0, 0]),
        (15, "&provenance=observed", [2, 1, 1, 0]),
        (15, "&types=login", [2, 1, 1, 0]),
        (15, "&types=token_refresh", [2, 0, 0, 0]),
        (15, "&types=token_refresh,login", [2, 1, 1, 0]),
    ] {
        let as_of = rfc3339(start + day * DAY);
        for path in ["/v1/summary", "/v1/tenants/acme/summary"] {
            let summary = client.ask(&format!("{path}?as_of={as_of}{query}"));
            assert_eq!(numbers(&summary, &NAMES), expected, "{path} as of day {day} {query}");
        }
        let listed = walk(client, &format!("/v1/tenants/acme/users?as_of={as_of}&status=active{query}"));
        assert_eq!(listed.len() as u64, expected[1], "the list as of day {day} {query}");
    }
}

#[test]
fn an_estimate_counts_until_the_first_observed_activity() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, start) = (Events::seeded(702), micros("2025-03-01T00:00:00Z"));
    client.publish(&[
        events.estimated(("acme", "ada"), start),
        events.login(("acme", "ada"), start + 10 * DAY),
    ]);
    let as_of = |at: i64| {
        let users = walk(client, &format!("/v1/tenants/acme/users?as_of={}", rfc3339(at)));
        (users[0]["last_seen_provenance"].clone(), users[0]["last_seen_at"].as_str().map(micros).unwrap())
    };
    assert_eq!(as_of(start + 10 * DAY - 1), ("estimated".into(), start));
    assert_eq!(as_of(start + 10 * DAY), ("observed".into(), start + 10 * DAY));
}

#[test]
fn known_at_answers_as_it_was_known_at_a_position() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(703), now());
    let first = position(&client.publish(&[events.login(("acme", "ada"), now - 50 * DAY)]));
    let second = position(&client.publish(&[
        events.login(("acme", "ada"), now - 2 * DAY),
        events.login(("acme", "bob"), now - 40 * DAY),
        events.login(("other", "ada"), now - DAY),
    ]));
    assert!(second > first);
    let late = position(&client.publish(&[events.login(("acme", "bob"), now - 20 * DAY)]));
    for (known_at, overall, acme) in
        [(first, [1, 0], [1, 0]), (second, [3, 2], [2, 1]), (late, [3, 3], [2, 2])]
    {
        let names = ["total_users", "active_users"];
        let summary = client.ask(&format!("/v1/summary?known_at={known_at}"));
        assert_eq!(numbers(&summary, &names), overall, "known at {known_at}");
        let summary = client.ask(&format!("/v1/tenants/acme/summary?known_at={known_at}"));
        assert_eq!(numbers(&summary, &names), acme, "known at {known_at}");
        let listed = walk(client, &format!("/v1/tenants/acme/users?known_at={known_at}&status=active"));
        assert_eq!(listed.len() as u64, acme[1], "the list known at {known_at}");
    }
    // Both clocks: what was known at `second` about 19 days ago, and what is known about it since.
    let as_of = rfc3339(now - 19 * DAY);
    let summary = |known_at| client.ask(&format!("/v1/summary?as_of={as_of}&known_at={known_at}"));
    assert_eq!(numbers(&summary(second), &["total_users", "active_users"]), [2, 1], "bob, 21 days before");
    assert_eq!(numbers(&summary(late), &["total_users", "active_users"]), [2, 1]);
    let as_of = rfc3339(now - 5 * DAY);
    let summary = |known_at| client.ask(&format!("/v1/summary?as_of={as_of}&known_at={known_at}"));
    assert_eq!(numbers(&summary(second), &["active_users"]), [0]);
    assert_eq!(numbers(&summary(late), &["active_users"]), [1]);
}

#[test]
fn compare_previous_adds_the_counts_one_window_before() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(704), now());
    client.publish(&[
        events.login(("acme", "ada"), now - 3 * DAY),
        events.login(("acme", "bob"), now - 8 * DAY),
        events.login(("acme", "cyd"), now - 8 * DAY),
        events.login(("acme", "dan"), now - 30 * DAY),
    ]);
    for path in ["/v1/summary", "/v1/tenants/acme/summary"] {
        let summary = client.ask(&format!("{path}?window=7d&compare=previous"));
        assert_eq!(numbers(&summary, &["total_users", "active_users"]), [4, 1], "{summary}");
        assert_eq!(
            numbers(&summary["previous"], &["total_users", "active_users", "inactive_users"]),
            [3, 2, 1]
        );
        let as_of = rfc3339(now - 7 * DAY);
        let previous = client.ask(&format!("{path}?window=7d&as_of={as_of}"));
        for name in NAMES {
            assert_eq!(summary["previous"][name], previous[name], "{path}: {name}");
        }
        let at = rfc3339(now);
        let exact = client.ask(&format!("{path}?window=7d&compare=previous&as_of={at}"));
        assert_eq!(numbers(&exact["previous"], &NAMES), numbers(&summary["previous"], &NAMES), "{path}");
        assert!(client.ask(path).get("previous").is_none(), "only where it was asked for");
    }
}

#[test]
fn the_past_of_a_known_tenant_before_its_first_event_is_zeros_and_the_future_is_as_now() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(705), now());
    client.publish(&[events.login(("acme", "ada"), now - HOUR)]);
    let before = rfc3339(now - DAY);
    for path in ["/v1/summary", "/v1/tenants/acme/summary"] {
        assert_eq!(numbers(&client.ask(&format!("{path}?as_of={before}")), &NAMES), [0; 4], "{path}");
        let ahead = client.ask(&format!("{path}?as_of={}", rfc3339(now + 10 * DAY)));
        assert_eq!(numbers(&ahead, &NAMES), [1, 1, 1, 0], "{path}");
        let far = client.ask(&format!("{path}?as_of={}", rfc3339(now + 31 * DAY)));
        assert_eq!(numbers(&far, &NAMES), [1, 0, 0, 0], "{path}");
    }
    assert!(walk(client, &format!("/v1/tenants/acme/users?as_of={before}")).is_empty());
    client.get(&format!("/v1/tenants/other/summary?as_of={before}")).problem(
        404,
        "unknown_tenant",
        "never heard of",
    );
}

#[test]
fn without_persons_the_person_counts_are_omitted() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(BINARY, data.path(), &["--persons", "off"]);
    let (mut events, now) = (Events::seeded(706), now());
    server.client().publish(&[events.login(("acme", "1"), now), events.login(("other", "1"), now)]);
    for query in [String::new(), format!("?as_of={}", rfc3339(now)), "?compare=previous".to_owned()] {
        let summary = server.client().ask(&format!("/v1/summary{query}"));
        assert_eq!(
            numbers(&summary, &["total_users", "active_users", "tenants", "active_tenants"]),
            [2, 2, 2, 2]
        );
        for name in ["total_persons", "active_persons"] {
            assert!(summary.get(name).is_none(), "{name} in {summary}");
            assert!(summary["previous"].get(name).is_none(), "{name} in {summary}");
        }
    }
    // The same data with persons.
    server.terminate();
    let server = Server::start(BINARY, data.path());
    assert_eq!(numbers(&server.client().ask("/v1/summary"), &["total_persons", "active_persons"]), [1, 1]);
}

#[test]
fn a_person_is_active_when_one_of_its_memberships_is() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(707), now());
    client.publish(&[
        events.login(("acme", "ada"), now - 40 * DAY),
        events.login(("other", "ada"), now - DAY),
        events.login(("third", "ada"), now - 2 * DAY),
        events.login(("acme", "bob"), now - 40 * DAY),
    ]);
    let names =
        ["total_users", "active_users", "total_persons", "active_persons", "tenants", "active_tenants"];
    assert_eq!(numbers(&client.ask("/v1/summary"), &names), [4, 2, 2, 1, 3, 2]);
    client.publish(&[events.of("user_deleted", ("other", "ada"), now)]);
    assert_eq!(numbers(&client.ask("/v1/summary"), &names), [3, 1, 2, 1, 2, 1]);
    client.publish(&[events.of("user_deleted", ("third", "ada"), now)]);
    assert_eq!(numbers(&client.ask("/v1/summary"), &names), [2, 0, 2, 0, 1, 0]);
}

#[test]
fn of_equal_instants_the_type_listed_first_is_reported_and_ids_decide_between_delete_and_restore() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(708), now());
    for event_type in ["signup_complete", "tenant_switch", "token_refresh", "login", "token_refresh"] {
        client.publish(&[events.of(event_type, ("acme", "ada"), now)]);
    }
    let ada = client.ask("/v1/tenants/acme/users/ada");
    assert_eq!(ada["last_seen_type"], "login");

    let mut ids = [events.id(), events.id()];
    ids.sort();
    let [lesser, greater] = ids;
    for (user, deleted, restored, status) in
        [("bob", &greater, &lesser, "deleted"), ("cyd", &lesser, &greater, "active")]
    {
        let with_id = |mut event: Value, id: &str| {
            // Two users share the ids but for their last digit.
            let digit = if user == "bob" { '0' } else { '1' };
            event["id"] = format!("{}{digit}", &id[..35]).into();
            event
        };
        client.publish(&[
            events.login(("acme", user), now),
            with_id(events.of("user_restored", ("acme", user), now), restored),
            with_id(events.of("user_deleted", ("acme", user), now), deleted),
        ]);
        assert_eq!(client.ask(&format!("/v1/tenants/acme/users/{user}"))["status"], status, "{user}");
    }
    assert_eq!(user_ids(&walk(client, "/v1/tenants/acme/users?status=deleted")), ["bob"]);
}

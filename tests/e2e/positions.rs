//! After a 2xx the next answer holds the event, and an answer says which position it reflects.

use std::thread;

use lastseen_tests::Events;
use lastseen_tests::instant::{DAY, HOUR, micros, now, rfc3339};

use crate::answers::{empty_server, numbers, position, without_at};

#[test]
fn every_publisher_reads_its_own_writes_at_once() {
    const PUBLISHERS: i64 = 4;
    const EVENTS: i64 = 100;
    let (server, _data) = empty_server();
    let now = now();
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let client = server.client();
            scope.spawn(move || {
                let mut events = Events::seeded(1200 + publisher.unsigned_abs());
                let user = format!("u{publisher}");
                let path = format!("/v1/tenants/acme/users/{user}");
                for step in 0..EVENTS {
                    let at = now - HOUR + step;
                    let stored = client.publish(&[events.login(("acme", &user), at)]);
                    let found = client.ask(&path);
                    assert_eq!(found["last_seen_at"].as_str().map(micros), Some(at), "{user}, event {step}");
                    assert!(position(&found) >= position(&stored));
                    assert!(found["last_seen_position"].as_u64().unwrap() <= position(&found));
                    let new = format!("{user}-{step}");
                    client.publish(&[events.login(("other", &new), at)]);
                    assert_eq!(client.ask(&format!("/v1/tenants/other/users/{new}"))["status"], "active");
                }
            });
        }
    });
    let summary = server.client().ask("/v1/summary");
    let users = u64::try_from(PUBLISHERS + PUBLISHERS * EVENTS).unwrap();
    assert_eq!(numbers(&summary, &["total_users", "active_users"]), [users, users]);
}

#[test]
fn positions_grow_with_new_events_and_with_nothing_else() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(1210), now());
    let mut last = position(&client.ask("/v1/summary"));
    for step in 0..20 {
        let login = events.login(("acme", "ada"), now - step);
        let stored = position(&client.publish(std::slice::from_ref(&login)));
        assert!(stored > last);
        last = stored;
        assert_eq!(position(&client.publish(&[login])), last, "a duplicate has no position of its own");
        for path in [
            "/v1/summary",
            "/v1/tenants/acme/summary",
            "/v1/tenants/acme/users",
            "/v1/tenants/acme/users/ada",
        ] {
            assert_eq!(position(&client.ask(path)), last, "{path}");
        }
    }
    let ada = without_at(client.ask("/v1/tenants/acme/users/ada"));
    assert!(ada["last_seen_position"].as_u64().unwrap() < last, "the greatest instant came first");
    let server = server.restart();
    assert_eq!(position(&server.client().ask("/v1/summary")), last);
    assert_eq!(without_at(server.client().ask("/v1/tenants/acme/users/ada")), ada);
}

#[test]
fn min_position_waits_for_what_is_there_and_gives_up_on_what_is_not() {
    let (server, _data) = empty_server();
    let client = server.client();
    let stored = client.publish(&[Events::seeded(1211).login(("acme", "ada"), now() - DAY)]);
    let tail = position(&stored);
    for path in [
        "/v1/summary".to_owned(),
        format!("/v1/summary?as_of={}", rfc3339(now())),
        "/v1/tenants/acme/summary".to_owned(),
        "/v1/tenants/acme/users".to_owned(),
        "/v1/tenants/acme/users/ada".to_owned(),
    ] {
        let separator = if path.contains('?') { '&' } else { '?' };
        for there in [0, tail] {
            client.ask(&format!("{path}{separator}min_position={there}"));
        }
        let bad = client.get(&format!("{path}{separator}min_position=-1"));
        let problem = bad.problem(400, "invalid_parameter", &path);
        assert_eq!(problem["field"], "min_position");
    }
    let answer = client.get(&format!("/v1/summary?min_position={}", tail + 1_000_000));
    answer.problem(503, "position_not_reached", "a position from nowhere");
    assert!(answer.header("retry-after").parse::<u64>().is_ok(), "{:?}", answer.headers);
}

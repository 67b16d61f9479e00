//! The cases that every application with a last-seen column knows, over HTTP.

use lastseen_tests::instant::{DAY, HOUR, MINUTE, micros, now, rfc3339};
use lastseen_tests::{Client, Events};
use serde_json::Value;

use crate::answers::{comparable, empty_server, numbers, user_ids, walk};

const COUNTS: [&str; 6] =
    ["total_users", "active_users", "pending_users", "never_seen_users", "inactive_users", "deleted_users"];

fn user(client: &Client, tenant: &str, user: &str) -> Value {
    comparable(&client.ask(&format!("/v1/tenants/{tenant}/users/{user}")))
}

fn last_seen(client: &Client, tenant: &str, name: &str) -> Option<i64> {
    user(client, tenant, name)["last_seen_at"].as_str().map(micros)
}

/// Publishes the tenant of case (a): five users in all states but deleted.
fn publish_five(client: &Client, events: &mut Events, now: i64) {
    let long_ago = now - 90 * DAY;
    client.publish(&[
        events.created_confirmed(("acme", "owner"), long_ago),
        events.created_confirmed(("acme", "recent"), long_ago),
        events.created_confirmed(("acme", "away"), long_ago),
        events.created_confirmed(("acme", "never"), long_ago),
        events.invited(("acme", "invited"), long_ago),
        events.login(("acme", "owner"), now),
        events.login(("acme", "recent"), now - 5 * DAY),
        events.login(("acme", "away"), now - 31 * DAY),
    ]);
}

#[test]
fn a_tenant_of_five_has_two_active_and_one_pending_user() {
    let (server, _data) = empty_server();
    let client = server.client();
    let now = now();
    publish_five(client, &mut Events::seeded(101), now);

    for path in ["/v1/tenants/acme/summary", "/v1/summary"] {
        let at_now = client.ask(path);
        let as_of = client.ask(&format!("{path}?as_of={}", rfc3339(now)));
        for summary in [&at_now, &as_of] {
            assert_eq!(numbers(summary, &COUNTS), [5, 2, 1, 2, 1, 0], "{path}: {summary}");
            assert_eq!(summary["window"], "30d");
            assert_eq!(summary["definition"], 3);
        }
        assert!(at_now["as_of"].is_null(), "as_of is answered only where it was asked: {at_now}");
        assert_eq!(micros(as_of["as_of"].as_str().unwrap()), now);
    }
    let summary = client.ask("/v1/summary");
    assert_eq!(
        numbers(&summary, &["tenants", "active_tenants", "total_persons", "active_persons"]),
        [1, 1, 5, 2]
    );
    for (name, status) in [
        ("owner", "active"),
        ("recent", "active"),
        ("away", "inactive"),
        ("never", "never_seen"),
        ("invited", "pending"),
    ] {
        assert_eq!(user(client, "acme", name)["status"], status, "{name}");
    }
}

#[test]
fn a_role_change_and_a_profile_edit_leave_last_seen_at_untouched() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(102), now());
    publish_five(client, &mut events, now);

    for name in ["recent", "away", "never", "invited"] {
        let before = user(client, "acme", name);
        let role = events.of("user_changed", ("acme", name), now - MINUTE);
        let profile = events.of("user_changed", ("acme", name), now);
        client.publish(&[role]);
        client.publish(&[profile]);
        assert_eq!(user(client, "acme", name), before);
    }
    assert_eq!(numbers(&client.ask("/v1/tenants/acme/summary"), &COUNTS), [5, 2, 1, 2, 1, 0]);
}

#[test]
fn soft_delete_takes_a_user_out_of_the_counts_and_restore_brings_it_back_as_it_was() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(103), now());
    publish_five(client, &mut events, now);
    let before = user(client, "acme", "recent");

    client.publish(&[events.of("user_deleted", ("acme", "recent"), now - HOUR)]);
    assert_eq!(numbers(&client.ask("/v1/tenants/acme/summary"), &COUNTS), [4, 1, 1, 2, 1, 1]);
    assert_eq!(numbers(&client.ask("/v1/summary"), &["total_persons", "active_persons"]), [4, 1]);
    let deleted = user(client, "acme", "recent");
    assert_eq!(deleted["status"], "deleted");
    assert_eq!(deleted["deleted_at"].as_str().map(micros), Some(now - HOUR));
    assert_eq!(deleted["last_seen_at"], before["last_seen_at"]);
    assert!(deleted["active_until"].is_null());
    let listed = walk(client, "/v1/tenants/acme/users");
    assert!(!user_ids(&listed).contains(&"recent"));
    // Activity of a deleted user is kept, and does not restore it.
    client.publish(&[events.login(("acme", "recent"), now - 2 * HOUR)]);
    assert_eq!(user(client, "acme", "recent")["status"], "deleted");

    client.publish(&[events.of("user_restored", ("acme", "recent"), now - MINUTE)]);
    assert_eq!(numbers(&client.ask("/v1/tenants/acme/summary"), &COUNTS), [5, 2, 1, 2, 1, 0]);
    let restored = user(client, "acme", "recent");
    assert_eq!(restored["status"], "active");
    assert!(restored["deleted_at"].is_null());
    assert_eq!(restored["last_seen_at"].as_str().map(micros), Some(now - 2 * HOUR));
    // As of the minutes between, the user is still deleted.
    let between = client.ask(&format!("/v1/tenants/acme/summary?as_of={}", rfc3339(now - 2 * MINUTE)));
    assert_eq!(numbers(&between, &["deleted_users"]), [1]);
}

#[test]
fn a_restored_user_has_the_same_last_seen_at() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(104), now());
    publish_five(client, &mut events, now);
    for name in ["owner", "recent", "away", "never", "invited"] {
        let before = user(client, "acme", name);
        client.publish(&[events.of("user_deleted", ("acme", name), now - HOUR)]);
        client.publish(&[events.of("user_restored", ("acme", name), now - MINUTE)]);
        assert_eq!(user(client, "acme", name), before);
    }
    assert_eq!(numbers(&client.ask("/v1/tenants/acme/summary"), &COUNTS), [5, 2, 1, 2, 1, 0]);
}

#[test]
fn login_refresh_switch_and_signup_each_move_last_seen_at() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(105), now());
    for (step, event_type) in (1_i64..).zip(["login", "token_refresh", "tenant_switch", "signup_complete"]) {
        let at = now - HOUR + step * MINUTE;
        client.publish(&[events.of(event_type, ("acme", "ada"), at)]);
        let ada = client.ask("/v1/tenants/acme/users/ada");
        assert_eq!(ada["last_seen_at"].as_str().map(micros), Some(at), "{event_type}");
        assert_eq!(
            (&ada["last_seen_type"], &ada["last_seen_provenance"]),
            (&event_type.into(), &"observed".into())
        );
        assert_eq!(ada["status"], "active");
        assert_eq!(ada["active_until"].as_str().map(micros), Some(at + 30 * DAY));
        // An older one of the same kind arrives late and moves nothing.
        client.publish(&[events.of(event_type, ("acme", "ada"), at - 30)]);
        assert_eq!(last_seen(client, "acme", "ada"), Some(at), "{event_type}");
    }
}

#[test]
fn a_tenant_switch_marks_the_target_member_only() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(106), now());
    client.publish(&[events.login(("source", "ada"), now - DAY)]);
    let mut switch = events.of("tenant_switch", ("target", "ada"), now - HOUR);
    switch["from_tenant_id"] = "source".into();
    client.publish(&[switch]);
    assert_eq!(last_seen(client, "source", "ada"), Some(now - DAY));
    assert_eq!(last_seen(client, "target", "ada"), Some(now - HOUR));
    // A source that nobody has heard of stays unheard of.
    let mut switch = events.of("tenant_switch", ("target", "bob"), now - HOUR);
    switch["from_tenant_id"] = "elsewhere".into();
    client.publish(&[switch]);
    client.get("/v1/tenants/elsewhere/summary").problem(404, "unknown_tenant", "the source of a switch");
    client.get("/v1/tenants/source/users/bob").problem(404, "unknown_user", "a user that left");
    let summary = client.ask("/v1/summary");
    assert_eq!(numbers(&summary, &["total_users", "total_persons", "tenants"]), [3, 2, 2]);
}

#[test]
fn a_user_seen_exactly_30_days_ago_is_active_and_one_microsecond_more_is_not() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, seen) = (Events::seeded(107), micros("2024-02-01T12:34:56.789012Z"));
    client.publish(&[events.login(("acme", "ada"), seen)]);
    for (at, active) in [(seen - 1, 0), (seen, 1), (seen + 30 * DAY, 1), (seen + 30 * DAY + 1, 0)] {
        for path in ["/v1/tenants/acme/summary", "/v1/summary"] {
            let summary = client.ask(&format!("{path}?as_of={}", rfc3339(at)));
            let total = u64::from(at >= seen);
            let expected = [total, active, 0, 0, total - active, 0];
            assert_eq!(numbers(&summary, &COUNTS), expected, "{path} as of {}", rfc3339(at));
        }
        let path = format!("/v1/tenants/acme/users?as_of={}", rfc3339(at));
        for (status, count) in [("active", active), ("inactive", u64::from(at >= seen) - active)] {
            let users = walk(client, &format!("{path}&status={status}"));
            assert_eq!(users.len() as u64, count, "{status} as of {}", rfc3339(at));
        }
    }
    // The same edge of another window, in another unit.
    for (window, active) in [("3600000001us", 1), ("1h", 0), ("60m", 0), ("3600001ms", 1)] {
        let at = rfc3339(seen + HOUR + 1);
        let summary = client.ask(&format!("/v1/summary?as_of={at}&window={window}"));
        assert_eq!(numbers(&summary, &["active_users"]), [active], "{window}");
        assert_eq!(summary["window"], window);
    }
}

#[test]
fn the_window_at_now_has_the_same_edge() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(108), now());
    client.publish(&[
        events.login(("acme", "inside"), now - 30 * DAY + MINUTE),
        events.login(("acme", "outside"), now - 30 * DAY),
        events.login(("acme", "ahead"), now + 4 * MINUTE),
    ]);
    for path in ["/v1/tenants/acme/summary", "/v1/summary"] {
        let expected = [3, 2, 0, 0, 1, 0];
        assert_eq!(numbers(&client.ask(path), &COUNTS), expected, "the tolerated clock skew counts");
        let as_of_now = client.ask(&format!("{path}?as_of={}", rfc3339(now + MINUTE)));
        assert_eq!(
            numbers(&as_of_now, &COUNTS),
            [2, 1, 0, 0, 1, 0],
            "as of an instant, nothing after it counts"
        );
    }
    for (name, status) in [("inside", "active"), ("outside", "inactive"), ("ahead", "active")] {
        assert_eq!(user(client, "acme", name)["status"], status, "{name}");
    }
}

#[test]
fn never_seen_users_come_last_in_both_directions() {
    let (server, _data) = empty_server();
    let client = server.client();
    let now = now();
    publish_five(client, &mut Events::seeded(109), now);
    for (sort, expected) in [
        ("last_seen_at", ["away", "recent", "owner", "invited", "never"]),
        ("-last_seen_at", ["owner", "recent", "away", "invited", "never"]),
    ] {
        for as_of in [String::new(), format!("&as_of={}", rfc3339(now))] {
            for limit in [1, 2, 5, 100] {
                let path = format!("/v1/tenants/acme/users?sort={sort}&limit={limit}{as_of}");
                assert_eq!(user_ids(&walk(client, &path)), expected, "{path}");
            }
        }
    }
    let default = walk(client, "/v1/tenants/acme/users");
    assert_eq!(user_ids(&default), ["owner", "recent", "away", "invited", "never"]);
}

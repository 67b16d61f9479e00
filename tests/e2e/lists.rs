//! Lists of users: order, filters, and that they are the users behind the numbers of the summary.

use lastseen_tests::instant::{DAY, HOUR, micros, now, rfc3339};
use lastseen_tests::{Client, Events};
use serde_json::Value;

use crate::answers::{OF_ONE_ANSWER, empty_server, numbers, sealing_server, user_ids, walk};
use crate::worlds::{TENANTS, spring};

const USERS: &str = "/v1/tenants/acme/users";

/// The columns of CSV.
const COLUMNS: [&str; 13] = [
    "tenant_id",
    "user_id",
    "status",
    "last_seen_at",
    "last_seen_type",
    "last_seen_provenance",
    "last_seen_position",
    "first_seen_at",
    "created_at",
    "confirmed",
    "confirmed_at",
    "deleted_at",
    "active_until",
];

/// Users in every state; `now` is the newest activity. Names are chosen so that no two orders are the same.
fn publish_all_states(client: &Client, events: &mut Events, now: i64) {
    client.publish(&[
        events.login(("acme", "m"), now),
        events.login(("acme", "b"), now - DAY),
        events.login(("acme", "z"), now - DAY),
        events.login(("acme", "B"), now - DAY),
        events.login(("acme", "é"), now - DAY),
        events.estimated(("acme", "guess"), now - 2 * DAY),
        events.login(("acme", "away"), now - 40 * DAY),
        events.created_confirmed(("acme", "quiet"), now - 3 * DAY),
        events.created_confirmed(("acme", "Quiet"), now - 3 * DAY),
        events.invited(("acme", "invited"), now - 3 * DAY),
        events.login(("acme", "gone"), now - DAY),
        events.of("user_deleted", ("acme", "gone"), now - HOUR),
        events.invited(("acme", "gone-invited"), now - DAY),
        events.of("user_deleted", ("acme", "gone-invited"), now - HOUR),
        events.login(("other", "x"), now),
    ]);
}

#[test]
fn ties_are_in_the_byte_order_of_user_ids_in_both_directions() {
    let (server, _data) = empty_server();
    let client = server.client();
    publish_all_states(client, &mut Events::seeded(901), now());
    let tied = ["B", "b", "z", "é"];
    let never = ["Quiet", "invited", "quiet"];
    let down = [["m"].as_slice(), &tied, &["guess", "away"], &never].concat();
    let up = [["away", "guess"].as_slice(), &tied, &["m"], &never].concat();
    assert_eq!(user_ids(&walk(client, USERS)), down, "newest first is the default");
    assert_eq!(user_ids(&walk(client, &format!("{USERS}?sort=-last_seen_at"))), down);
    assert_eq!(user_ids(&walk(client, &format!("{USERS}?sort=last_seen_at"))), up);
}

#[test]
fn every_status_lists_as_many_users_as_the_summary_counts() {
    let (server, _data) = empty_server();
    let client = server.client();
    let now = now();
    publish_all_states(client, &mut Events::seeded(902), now);
    for question in ["", "window=1h", "window=36h", "provenance=observed", "types=login"] {
        for as_of in
            [String::new(), format!("as_of={}", rfc3339(now)), format!("as_of={}", rfc3339(now - 2 * HOUR))]
        {
            let parts = ["", question, &as_of];
            let query = parts.join("&").replace("&&", "&");
            let query = query.trim_end_matches('&');
            let summary = client.ask(&format!("/v1/tenants/acme/summary?{}", query.trim_start_matches('&')));
            for (status, name) in [
                ("active", "active_users"),
                ("inactive", "inactive_users"),
                ("pending", "pending_users"),
                ("never_seen", "never_seen_users"),
                ("deleted", "deleted_users"),
                ("active,inactive,never_seen", "total_users"),
            ] {
                let users = walk(client, &format!("{USERS}?status={status}{query}"));
                assert_eq!(
                    vec![users.len() as u64],
                    numbers(&summary, &[name]),
                    "{status} {query}: {users:?}"
                );
            }
            let all = walk(client, &format!("{USERS}?limit=7{query}"));
            assert_eq!(
                vec![all.len() as u64],
                numbers(&summary, &["total_users"]),
                "all but deleted {query}"
            );
        }
    }
}

#[test]
fn a_status_filter_is_the_condition_and_the_status_of_a_user_the_first_that_holds() {
    let (server, _data) = empty_server();
    let client = server.client();
    publish_all_states(client, &mut Events::seeded(903), now());
    let of = |status: &str| walk(client, &format!("{USERS}?status={status}"));
    assert_eq!(user_ids(&of("never_seen")), ["Quiet", "invited", "quiet"], "pending users are among them");
    assert_eq!(user_ids(&of("pending")), ["invited"]);
    assert_eq!(of("pending")[0]["status"], "pending");
    assert_eq!(user_ids(&of("deleted")), ["gone", "gone-invited"]);
    assert_eq!(user_ids(&of("deleted,pending")), ["gone", "gone-invited", "invited"]);
    assert_eq!(user_ids(&of("inactive")), ["away"]);
    for status in ["active", "inactive", "pending", "deleted"] {
        assert!(of(status).iter().all(|user| user["status"] == status), "{status}");
    }
}

#[test]
fn seen_since_is_inclusive_seen_before_exclusive_and_both_leave_out_never_seen_users() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, seen) = (Events::seeded(904), micros("2026-01-06T16:00:00.000001Z"));
    client.publish(&[
        events.login(("acme", "early"), seen - 1),
        events.login(("acme", "exact"), seen),
        events.login(("acme", "late"), seen + 1),
        events.created_confirmed(("acme", "never"), seen),
    ]);
    let list = |query: &str| {
        let users = walk(client, &format!("{USERS}?sort=last_seen_at&{query}"));
        user_ids(&users).join(" ")
    };
    let at = rfc3339(seen);
    assert_eq!(list(&format!("seen_since={at}")), "exact late");
    assert_eq!(list(&format!("seen_before={at}")), "early");
    assert_eq!(list(&format!("seen_since={at}&seen_before={at}")), "");
    assert_eq!(list(&format!("seen_since={at}&seen_before={}", rfc3339(seen + 1))), "exact");
    assert_eq!(list("seen_since=1990-01-01T00:00:00Z"), "early exact late");
    assert_eq!(list("seen_before=2100-01-01T00:00:00Z"), "early exact late");
    assert_eq!(list("status=never_seen&seen_since=1990-01-01T00:00:00Z"), "");
    assert_eq!(list(&format!("status=inactive&seen_since={at}")), "exact late");
}

#[test]
fn csv_has_the_columns_and_the_rows_of_the_list() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(905), now());
    publish_all_states(client, &mut events, now);
    for user in ["comma, \"quote\"", "=1+1", " space "] {
        client.publish(&[events.login(("acme", user), now - DAY)]);
    }
    for query in
        ["", "status=deleted", "sort=last_seen_at&status=never_seen", "window=1h", "types=token_refresh"]
    {
        let users = walk(client, format!("{USERS}?limit=3&{query}").trim_end_matches('&'));
        let answer = client.get(format!("{USERS}?format=csv&{query}").trim_end_matches('&'));
        assert_eq!((answer.status, answer.header("content-type").split(';').next()), (200, Some("text/csv")));
        let mut reader = csv::Reader::from_reader(answer.body.as_slice());
        let columns: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let mut expected: Vec<_> =
            client.ask(&format!("{USERS}/m")).as_object().unwrap().keys().cloned().collect();
        expected.retain(|field| !OF_ONE_ANSWER.contains(&field.as_str()));
        let mut sorted = columns.clone();
        sorted.sort();
        expected.sort();
        assert_eq!(sorted, expected, "the columns are the fields of a user");
        assert_eq!(columns, COLUMNS, "in this order");

        let rows: Vec<Vec<String>> =
            reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let from_json: Vec<Vec<String>> =
            users.iter().map(|user| columns.iter().map(|column| text(&user[column])).collect()).collect();
        assert_eq!(rows, from_json, "{query}");
    }
}

#[test]
fn each_count_of_a_summary_is_as_long_as_its_list_and_its_csv() {
    let (server, _data) = sealing_server("80");
    let client = server.client();
    let (mut world, span) = spring();
    world.publish(client, 320);
    let days = span.dates().step_by(17);
    let instants = days.map(|date| format!("as_of={date}T23:59:59.999999Z&"));
    for as_of in std::iter::once(String::new()).chain(instants) {
        for question in
            ["", "types=login,tenant_switch&", "types=token_refresh&window=5d&", "provenance=observed&"]
        {
            for tenant in TENANTS {
                assert_lengths(client, &format!("/v1/tenants/{tenant}"), &format!("{as_of}{question}"));
            }
        }
    }
}

/// The number of users and of rows, in the order of one as in that of the other.
fn assert_lengths(client: &Client, scope: &str, query: &str) {
    let summary = client.ask(format!("{scope}/summary?{query}").trim_end_matches(['&', '?']));
    for (status, name) in [
        ("active", "active_users"),
        ("inactive", "inactive_users"),
        ("pending", "pending_users"),
        ("never_seen", "never_seen_users"),
        ("deleted", "deleted_users"),
        ("active,inactive,pending,never_seen", "total_users"),
    ] {
        let path = format!("{scope}/users?{query}status={status}");
        let users = walk(client, &format!("{path}&limit=3"));
        let answer = client.get(&format!("{path}&format=csv"));
        let mut rows = csv::Reader::from_reader(answer.body.as_slice());
        let column = rows.headers().unwrap().iter().position(|name| name == "user_id").unwrap();
        let named: Vec<_> = rows.records().map(|row| row.unwrap()[column].to_owned()).collect();
        assert_eq!(named, user_ids(&users), "{path} as CSV");
        assert_eq!(vec![users.len() as u64], numbers(&summary, &[name]), "{path}");
        if name == "active_users" {
            let by =
                |word: &str| users.iter().filter(|user| user["last_seen_provenance"] == word).count() as u64;
            let counts = numbers(&summary, &["observed_users", "estimated_users"]);
            assert_eq!(counts, [by("observed"), by("estimated")], "{path}");
        }
    }
}

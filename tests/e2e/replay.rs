//! History itself over HTTP: in order, filtered, from any position, across seals and restarts, and of one user.

use std::io::Read;

use lastseen_tests::instant::{micros, now, rfc3339};
use lastseen_tests::{Client, Events, Seeded, git_activity, wait_until_sealed};
use serde_json::Value;

use crate::answers::{array, position, sealing_server};

fn publish(client: &Client, lines: &[String]) {
    for lines in lines.chunks(1_000) {
        client.post("/v1/events", "application/x-ndjson", lines.join("\n").as_bytes()).ok("a batch");
    }
}

fn replay(client: &Client, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("/v1/events{query}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/x-ndjson"), "{query}");
    let text = String::from_utf8(answer.body).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The event as it was published, instants in one form.
fn published(event: &Value) -> Value {
    let mut event = event.clone();
    let fields = event.as_object_mut().unwrap();
    for added in ["position", "recorded_at"] {
        fields.remove(added);
    }
    fields["occurred_at"] = rfc3339(micros(fields["occurred_at"].as_str().unwrap())).into();
    event
}

/// Tells if an event is one of those that are asked for.
type Keeps<'a> = Box<dyn Fn(&Value) -> bool + 'a>;

fn positions(events: &[Value]) -> Vec<u64> {
    events.iter().map(position).collect()
}

#[test]
fn a_replay_is_what_was_published_in_order_whatever_is_asked_for() {
    const EVENTS: usize = 12_000;
    let (server, data) = sealing_server("2500");
    let client = server.client();
    let lines = &git_activity::lines()[..EVENTS];
    publish(client, lines);
    wait_until_sealed(data.path(), 9_000);
    let expected: Vec<Value> =
        lines.iter().map(|line| published(&serde_json::from_str(line).unwrap())).collect();
    let all = replay(client, "");
    assert_eq!(all.iter().map(published).collect::<Vec<_>>(), expected);
    assert_eq!(positions(&all), (1..=EVENTS as u64).collect::<Vec<_>>());
    assert!(all.is_sorted_by_key(|event| micros(event["recorded_at"].as_str().unwrap())));
    assert_eq!(client.get("/v1/events?limit=1").header("lastseen-until"), EVENTS.to_string());

    let text = |at: usize, field: &str| all[at][field].as_str().unwrap().to_owned();
    let (tenant, user, at) = (text(4_000, "tenant_id"), text(4_000, "user_id"), text(7_000, "occurred_at"));
    let recorded = text(9_000, "recorded_at");
    let is =
        |field: &'static str, value: String| -> Keeps<'_> { Box::new(move |event| event[field] == *value) };
    let instant = |event: &Value, field: &str| micros(event[field].as_str().unwrap());
    let questions: [(String, Keeps<'_>); 10] = [
        (format!("tenant_id={tenant}"), is("tenant_id", tenant.clone())),
        (format!("user_id={user}"), is("user_id", user.clone())),
        (
            format!("tenant_id={tenant}&user_id={user}"),
            Box::new(|event| event["tenant_id"] == *tenant && event["user_id"] == *user),
        ),
        ("types=token_refresh".to_owned(), is("type", "token_refresh".to_owned())),
        (
            "types=login,token_refresh".to_owned(),
            Box::new(|event| ["login", "token_refresh"].contains(&event["type"].as_str().unwrap())),
        ),
        ("types=user_deleted".to_owned(), Box::new(|_| false)),
        (format!("occurred_since={at}"), Box::new(|event| instant(event, "occurred_at") >= micros(&at))),
        (format!("occurred_before={at}"), Box::new(|event| instant(event, "occurred_at") < micros(&at))),
        (
            format!("recorded_since={recorded}"),
            Box::new(|event| instant(event, "recorded_at") >= micros(&recorded)),
        ),
        (
            format!("recorded_before={recorded}&types=login&tenant_id={tenant}"),
            Box::new(|event| {
                instant(event, "recorded_at") < micros(&recorded)
                    && event["type"] == "login"
                    && event["tenant_id"] == *tenant
            }),
        ),
    ];
    for (question, keeps) in &questions {
        for (bounds, after, until) in
            [("", 0, u64::MAX), ("&after=2600", 2_600, u64::MAX), ("&after=100&until=7777", 100, 7_777)]
        {
            let kept: Vec<&Value> = all
                .iter()
                .filter(|event| position(event) > after && position(event) <= until && keeps(event))
                .collect();
            let found = replay(client, &format!("?{question}{bounds}"));
            assert!(found.iter().eq(kept.iter().copied()), "{question}{bounds}");
            let limited = replay(client, &format!("?{question}{bounds}&limit=7"));
            assert!(limited.iter().eq(kept.into_iter().take(7)), "{question}{bounds}, limited");
        }
    }
    // The same from a log that was closed and opened again.
    let server = server.restart();
    assert_eq!(replay(server.client(), ""), all);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let (server, _data) = sealing_server("100");
    let client = server.client();
    client.publish(&[Events::seeded(1901).login(("acme", "ada"), now())]);
    for (query, code, field) in [
        ("after=-1", "invalid_parameter", "after"),
        ("until=x", "invalid_parameter", "until"),
        ("limit=0", "invalid_parameter", "limit"),
        ("types=logout", "invalid_parameter", "types"),
        ("types=", "invalid_parameter", "types"),
        ("occurred_since=yesterday", "invalid_parameter", "occurred_since"),
        ("recorded_before=2026-1-1", "invalid_parameter", "recorded_before"),
        ("recorded_until=2026-01-01T00:00:00Z", "unknown_parameter", "recorded_until"),
        ("occurred_until=2026-01-01T00:00:00Z", "unknown_parameter", "occurred_until"),
        ("type=login", "unknown_parameter", "type"),
        ("after=1&after=2", "invalid_parameter", "after"),
        ("tenant=acme", "unknown_parameter", "tenant"),
    ] {
        let problem = client.get(&format!("/v1/events?{query}")).problem(400, code, query);
        assert_eq!(problem["field"], field, "{query}");
    }
    client.get("/v1/events?tenant_id=nobody").problem(404, "unknown_tenant", "tenant");
    client.get("/v1/events?user_id=nobody").problem(404, "unknown_user", "user");
    client.get("/v1/events?tenant_id=acme&user_id=bob").problem(404, "unknown_user", "member");
    client.get("/v1/events?after=99").problem(409, "position_ahead", "a position that is not there");
    assert_eq!(replay(client, "?until=0").len(), 0);
    client.get("/v1/tenants/acme/users/bob/events").problem(404, "unknown_user", "history");
    client.get("/v1/tenants/nobody/users/ada/events").problem(404, "unknown_tenant", "history");
    for query in ["limit=0", "limit=1001", "cursor=x", "cursor=0"] {
        client.get(&format!("/v1/tenants/acme/users/ada/events?{query}")).problem(
            400,
            "invalid_parameter",
            query,
        );
    }
}

/// Reads a replay from a position on, leaves it somewhere, and comes back with the position of the last whole line: a
/// thousand times, while events come, WAL files are sealed and the server is stopped and killed.
#[test]
fn a_replay_that_is_cut_anywhere_goes_on_from_its_last_position() {
    const CUTS: u32 = 1_000;
    let seed = 1902;
    println!("seed {seed}");
    let (mut server, _data) = sealing_server("900");
    let (mut chance, mut events) = (Seeded::new(seed), Events::seeded(seed));
    let (mut published, mut read): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let at = now();
    for cut in 0..CUTS {
        if cut % 250 == 249 {
            server = if cut % 500 == 249 { server.crash_and_restart() } else { server.restart() };
        }
        let users: Vec<String> = (0..chance.below(40)).map(|_| format!("u{}", chance.below(300))).collect();
        let batch: Vec<Value> = users.iter().map(|user| events.login(("acme", user), at)).collect();
        if !batch.is_empty() {
            server.client().publish(&batch);
            published.extend(batch.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
        }
        let (_, mut body) = server.client().stream(&format!("/v1/events?after={}", read.len()));
        let mut bytes = vec![0; usize::try_from(chance.below(9_000)).unwrap()];
        let mut len = 0;
        while len < bytes.len() {
            match body.read(&mut bytes[len..]).unwrap() {
                0 => break,
                more => len += more,
            }
        }
        drop(body);
        let whole = bytes[..len].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in std::str::from_utf8(&bytes[..whole]).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(position(&event), read.len() as u64 + 1, "cut {cut}");
            read.push(event["id"].as_str().unwrap().to_owned());
        }
    }
    let rest = replay(server.client(), &format!("?after={}", read.len()));
    read.extend(rest.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
    assert!(read == published, "{} read, {} published", read.len(), published.len());
    println!("{CUTS} cuts of a replay of {} events: nothing missing, nothing twice", read.len());
}

#[test]
fn a_user_has_a_history_newest_first() {
    let (server, data) = sealing_server("1000");
    let client = server.client();
    let lines = &git_activity::lines()[..6_500];
    publish(client, lines);
    wait_until_sealed(data.path(), 5_000);
    let all = replay(client, "");
    let mut counts = std::collections::BTreeMap::new();
    for event in &all {
        let name = |field: &str| event[field].as_str().unwrap();
        *counts.entry((name("tenant_id"), name("user_id"))).or_insert(0) += 1;
    }
    let mut by_count: Vec<_> = counts.into_iter().map(|(member, count)| (count, member)).collect();
    by_count.sort_unstable();
    for (count, (tenant, user)) in [by_count[0], by_count[by_count.len() / 2], by_count[by_count.len() - 1]] {
        let mut expected: Vec<&Value> =
            all.iter().filter(|event| event["tenant_id"] == tenant && event["user_id"] == user).collect();
        expected.reverse();
        for limit in [1_000, 37] {
            let path = format!("/v1/tenants/{tenant}/users/{user}/events?limit={limit}");
            let (mut found, mut next) = (Vec::new(), path.clone());
            loop {
                let page = client.ask(&next);
                assert_eq!(position(&page), all.len() as u64);
                found.extend(array(&page, "events").iter().cloned());
                assert!(found.len() <= count, "{path}: the pages do not end");
                let Some(cursor) = page["next_cursor"].as_str() else { break };
                next = format!("{path}&cursor={cursor}");
            }
            assert!(found.iter().eq(expected.iter().copied()), "{path}");
        }
    }
}

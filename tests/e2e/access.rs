//! Access: every route of the table with every scope, for its own tenant, another one and none, with every key that is
//! not to be accepted; and a key that is bound to a tenant, which tries to learn of another.

use std::path::Path;

use lastseen_server::{RouteInfo, routes};
use lastseen_tests::instant::{DAY, now};
use lastseen_tests::{Answer, Client, Events, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answers::empty_server;
use crate::every_route::{ask, path, plain_status};
use crate::keys::{create, until, until_known};

const SCOPES: [&str; 5] = ["publish", "query", "replay", "backfill", "admin"];

/// A server with keys, two tenants with a user each, and a batch; and a client whose key may do everything.
pub(crate) fn closed_server() -> (Server, Client, TempDir) {
    let (server, data) = empty_server();
    let all = create(data.path(), &["--name", "all", "--scope", &SCOPES.join(",")]);
    until(server.client(), 401);
    let client = server.client().with_key(&all);
    let (mut events, now) = (Events::seeded(4101), now());
    let mut of_batch = events.login(("acme", "bob"), now - DAY);
    of_batch["batch"] = "run".into();
    client.publish(&[events.login(("acme", "ada"), now), of_batch, events.login(("beta", "eve"), now - DAY)]);
    (server, client, data)
}

/// Makes keys with these names, scopes and tenants, and waits until the server knows the last one.
fn clients(server: &Server, data: &Path, keys: &[(&str, &str, Option<&str>)]) -> Vec<Client> {
    let created = |(name, scopes, tenant): &(&str, &str, Option<&str>)| {
        let mut arguments = vec!["--name", name, "--scope", scopes];
        arguments.extend(tenant.iter().flat_map(|tenant| ["--tenant", tenant]));
        create(data, &arguments)
    };
    let keys: Vec<_> = keys.iter().map(created).collect();
    until_known(server.client(), keys.last().unwrap());
    keys.iter().map(|key| server.client().with_key(key)).collect()
}

/// The answer without what differs from request to request.
fn comparable(answer: &Answer) -> (u16, String) {
    let mut text = answer.text();
    if let Ok(mut json) = serde_json::from_str::<Value>(&text)
        && let Some(fields) = json.as_object_mut()
    {
        fields.remove("request_id");
        text = json.to_string();
    }
    (answer.status, text)
}

#[test]
fn every_route_asks_for_its_scope_and_for_a_key_in_force() {
    let (server, all, data) = closed_server();
    let keys = SCOPES.map(|scope| (scope, scope, None));
    let clients = clients(&server, data.path(), &keys);
    let nobody = server.client();
    for route in routes() {
        let of = format!("{} {}", route.method, route.path);
        let (status, code) = plain_status(&route);
        let is_plain = |answer: &Answer| {
            assert_eq!(answer.status, status, "{of}: {}", answer.text());
            if let Some(code) = code {
                answer.problem(status, code, &of);
            }
        };
        is_plain(&ask(&all, &route, &path(&route)));
        if route.access == "open" {
            for client in clients.iter().chain([nobody, &nobody.with_key("nonsense")]) {
                is_plain(&ask(client, &route, &path(&route)));
            }
            continue;
        }
        for (client, scope) in clients.iter().zip(SCOPES) {
            let answer = ask(client, &route, &path(&route));
            if scope == route.access {
                is_plain(&answer);
            } else {
                answer.problem(403, "scope_missing", &format!("{of} with {scope}"));
            }
        }
    }
}

#[test]
fn no_route_takes_a_request_without_a_key_in_force() {
    let (server, _all, _data) = closed_server();
    let nobody = server.client();
    let unknown = format!("ls_0123456789_{}", "0".repeat(64));
    let wrong = ["", "ls_", "nonsense", &unknown, &unknown.to_uppercase()];
    let refuse = |route: &RouteInfo| {
        let of = format!("{} {}", route.method, route.path);
        ask(nobody, route, &path(route)).problem(401, "key_missing", &of);
        for wrong in wrong {
            ask(&nobody.with_key(wrong), route, &path(route)).problem(401, "key_invalid", &of);
        }
        let basic = [("authorization", "Basic eDp5")];
        nobody.send(&route.method, &path(route), &basic, &[]).unwrap().problem(401, "key_invalid", &of);
    };
    // At the same time: each answer is held back.
    std::thread::scope(|scope| {
        for route in routes().into_iter().filter(|route| route.access != "open") {
            scope.spawn(move || refuse(&route));
        }
    });
}

/// The answer that a key bound to `acme` gets, whatever is there.
fn of_a_bound_key(route: &RouteInfo, client: &Client) {
    let of = format!("{} {}", route.method, route.path);
    let answer = ask(client, route, &path(route));
    let (status, _) = plain_status(route);
    match (route.access, route.path.contains("{tenant_id}")) {
        ("open" | "publish", _) => assert_eq!(answer.status, status, "{of}: {}", answer.text()),
        ("query" | "replay", true) => {
            assert_eq!(answer.status, status, "{of}: {}", answer.text());
            let [other, none] = ["beta", "nobody"].map(|tenant| {
                let answer = ask(client, route, &path(route).replace("acme", tenant));
                answer.problem(404, "unknown_tenant", &of);
                comparable(&answer)
            });
            assert_eq!(other, none, "{of}");
        }
        ("query" | "replay", false) => {
            answer.problem(403, "tenant_required", &of);
        }
        ("backfill" | "admin", _) => {
            answer.problem(403, "scope_missing", &of);
        }
        (other, _) => panic!("no rule for a bound key on a route with {other}"),
    }
}

#[test]
fn a_bound_key_reaches_its_own_tenant_on_every_route() {
    let (server, _all, data) = closed_server();
    let keys = [("bound", "publish,query,replay", Some("acme"))];
    let bound = clients(&server, data.path(), &keys).remove(0);
    for route in routes() {
        of_a_bound_key(&route, &bound);
    }
    // A replay is of a tenant when the parameter says so.
    assert_eq!(bound.get("/v1/events?tenant_id=acme").text().lines().count(), 2);
    let [other, none] = ["beta", "nobody"].map(|tenant| {
        let answer = bound.get(&format!("/v1/events?tenant_id={tenant}"));
        answer.problem(404, "unknown_tenant", tenant);
        comparable(&answer)
    });
    assert_eq!(other, none);
    bound.get("/v1/events?user_id=eve").problem(403, "tenant_required", "a replay of a person");
}

#[test]
fn a_bound_key_publishes_events_of_its_tenant_and_of_no_batch() {
    let (server, all, data) = closed_server();
    let bound = clients(&server, data.path(), &[("bound", "publish,query", Some("acme"))]).remove(0);
    let (mut events, now) = (Events::seeded(4102), now());
    let (own, other) = (events.login(("acme", "ada"), now), events.login(("beta", "ada"), now));
    let estimate = events.estimated(("acme", "kim"), now - DAY);
    let refused = bound.post_json("/v1/events", &json!([own, other, estimate]));
    let problem = refused.problem(422, "invalid_events", "a foreign event and a batch");
    let faults: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|it| (&it["index"], &it["code"])).collect();
    assert_eq!(faults, [(&json!(1), &json!("tenant_not_allowed")), (&json!(2), &json!("batch_not_allowed"))]);
    let events_before = all.get("/v1/events").text().lines().count();
    let skipped = bound.post_json("/v1/events?on_invalid=skip", &json!([own, other, estimate])).ok("skip");
    assert_eq!((&skipped["stored"], skipped["refused"].as_array().unwrap().len()), (&json!(1), 2));
    assert_eq!(all.get("/v1/events").text().lines().count(), events_before + 1);
    // The source of a switch is data: any tenant may stand there, and is not made by it.
    let mut switch = events.of("tenant_switch", ("acme", "ada"), now);
    switch["from_tenant_id"] = "elsewhere".into();
    bound.publish(&[switch]);
    all.get("/v1/tenants/elsewhere/summary").problem(404, "unknown_tenant", "a source");
}

/// Every question of a key that is bound to `acme`, with everything that may vary.
fn questions() -> Vec<String> {
    let tenant = "/v1/tenants/acme";
    let mut questions = vec![
        format!("{tenant}/summary"),
        format!("{tenant}/summary?window=7d&compare=previous"),
        format!("{tenant}/summary?types=login&provenance=observed"),
        format!("{tenant}/users"),
        format!("{tenant}/users?limit=1"),
        format!("{tenant}/users?status=active,inactive,pending,never_seen,deleted&sort=last_seen_at"),
        format!("{tenant}/users?format=csv"),
        format!("{tenant}/users/ada"),
        format!("{tenant}/users/eve"),
        format!("{tenant}/users/nobody"),
        format!("{tenant}/users/ada/events"),
        format!("{tenant}/users/ada/events?limit=1"),
        format!("{tenant}/users/ada/sessions"),
        format!("{tenant}/users/ada/why"),
        format!("{tenant}/users/eve/why"),
        format!("{tenant}/decay?days=3"),
        format!("{tenant}/event-counts?compare=previous"),
        format!("{tenant}/corrections?since=1d"),
        format!("{tenant}/users?prefix=e&sort=user_id"),
        format!("{tenant}/users?format=ndjson"),
        format!("{tenant}/active-users"),
        format!("{tenant}/active-users?period=week&tz=Europe/Berlin"),
        format!("{tenant}/retention"),
        format!("{tenant}/active-users?format=csv"),
        "/v1/tenants?tenant_id=acme&compare=previous&trend=3".to_owned(),
        "/v1/tenants?tenant_id=beta".to_owned(),
        format!("{tenant}/summary?as_of=1d"),
        format!("{tenant}/users?as_of=1d"),
        "/v1/events?tenant_id=acme".to_owned(),
        "/v1/events?tenant_id=acme&user_id=eve".to_owned(),
        "/v1/events?tenant_id=acme&user_id=nobody".to_owned(),
        "/v1/summary".to_owned(),
        "/v1/tenants".to_owned(),
        "/v1/users".to_owned(),
        "/v1/persons".to_owned(),
        "/v1/persons/eve".to_owned(),
        "/v1/corrections?since=1d".to_owned(),
        "/v1/backfills".to_owned(),
        "/v1/backfills/secret-batch".to_owned(),
        "/readyz".to_owned(),
        "/nothing".to_owned(),
    ];
    questions.extend(["beta", "nobody"].map(|other| format!("/v1/tenants/{other}/users/eve")));
    questions
}

/// The answers to a key that is bound to `acme`, on a server on which `between` does something before each of its steps.
fn seen(between: impl Fn(&Client, usize)) -> Vec<(String, u16, String, String)> {
    let (server, data) = empty_server();
    let all = create(data.path(), &["--name", "all", "--scope", &SCOPES.join(",")]);
    until(server.client(), 401);
    let all = server.client().with_key(&all);
    let keys = [("bound", "publish,query,replay", Some("acme"))];
    let bound = clients(&server, data.path(), &keys).remove(0);
    let mut events = Events::seeded(4103);
    let mut seen = Vec::new();
    let mut note = |of: String, answer: Answer| {
        let (etag, log_id) = (answer.header("etag").to_owned(), answer.header("lastseen-log"));
        // Each log has its own.
        let text = blanked(&answer.text().replace(log_id, "the log"));
        seen.push((of, answer.status, text, etag));
    };
    for step in 0..4 {
        between(&all, step);
        let at = 1_767_715_200_000_000 + i64::try_from(step).unwrap() * DAY;
        let own = [events.login(("acme", "ada"), at), events.login(("acme", &format!("u{step}")), at - DAY)];
        let body = Value::from(own.to_vec());
        // Sent twice: the second time it is a duplicate, whoever else has used its ids.
        note(format!("publish {step}"), bound.post_json("/v1/events", &body));
        note(format!("publish {step} again"), bound.post_json("/v1/events", &body));
    }
    between(&all, 4);
    for question in questions() {
        let answer = bound.get(&question);
        note(question, answer);
    }
    let lookup = json!({"user_ids": ["ada", "eve", "nobody"]});
    note("look-up".to_owned(), bound.post_json("/v1/tenants/acme/users/lookup", &lookup));
    seen
}

/// The text without what is another each time: sealed positions, ids of requests, and instants of the server's clock. Bare
/// numbers of positions would stay, and differ.
fn blanked(text: &str) -> String {
    let mut blank = String::new();
    for (place, part) in text.split('"').enumerate() {
        let is_sealed = part.len() == 24 && part.starts_with("p_");
        let is_of_the_clock =
            part.len() >= 20 && part.starts_with("20") && part.ends_with('Z') && !part.starts_with("2026-01");
        let is_request = part.len() == 36
            && part.bytes().filter(|byte| *byte == b'-').count() == 4
            && text.contains("request_id");
        // CSV has no quotes.
        let part =
            part.split(',').map(|cell| if cell.len() == 24 && cell.starts_with("p_") { "_" } else { cell });
        let part = part.collect::<Vec<_>>().join(",");
        if place > 0 {
            blank.push('"');
        }
        // It has the instant of the first page in it.
        if blank.ends_with("\"next_cursor\":\"") {
            blank.push_str(&part.len().to_string());
            continue;
        }
        blank.push_str(if is_sealed || is_of_the_clock || is_request { "_" } else { &part });
    }
    blank
}

#[test]
fn a_bound_key_sees_the_same_whatever_others_do() {
    let alone = seen(|_, _| ());
    let among_others = seen(|all, step| {
        // Other tenants with the same users, a batch, a retraction; and the ids that the bound key is going to use.
        let mut same_ids = Events::seeded(4103);
        let mut events = Events::seeded(4104 + step as u64);
        let at = 1_767_715_200_000_000;
        let mut batch: Vec<_> = (0..50).map(|user| events.login(("beta", &format!("u{user}")), at)).collect();
        batch.push(events.login(("beta", "eve"), at + DAY));
        let mut of_batch = events.login(("beta", "ada"), at - DAY);
        of_batch["batch"] = "secret-batch".into();
        batch.push(of_batch);
        batch.extend((0..8).map(|_| same_ids.login(("beta", "ada"), at)));
        if step < 4 {
            all.publish(&batch);
        } else {
            let events = all.ask("/v1/backfills/secret-batch")["backfill"]["events"].clone();
            let events = if events.is_null() {
                all.ask("/v1/backfills/secret-batch")["events"].clone()
            } else {
                events
            };
            let path = format!("/v1/backfills/secret-batch?events={events}");
            assert_eq!(all.send("DELETE", &path, &[], &[]).unwrap().status, 202);
        }
    });
    for (alone, among_others) in alone.iter().zip(&among_others) {
        assert_eq!(alone, among_others);
    }
    assert_eq!(alone.len(), among_others.len());
    assert!(alone.iter().filter(|(_, status, ..)| *status == 200).count() >= 25, "{alone:#?}");
}

#[test]
fn own_events_name_no_other_tenant_and_no_batch() {
    let (server, all, data) = closed_server();
    let keys = [("bound", "query,replay", Some("acme"))];
    let bound = clients(&server, data.path(), &keys).remove(0);
    let (mut events, now) = (Events::seeded(4105), now());
    let mut from_other = events.of("tenant_switch", ("acme", "zoe"), now);
    from_other["from_tenant_id"] = "beta".into();
    let mut from_own = events.of("tenant_switch", ("acme", "zoe"), now);
    from_own["from_tenant_id"] = "acme".into();
    let mut of_batch = events.login(("acme", "zoe"), now - DAY);
    of_batch["batch"] = "merge-acme-beta".into();
    all.publish(&[from_other, from_own, of_batch]);
    for path in ["/v1/tenants/acme/users/zoe/events", "/v1/events?tenant_id=acme&user_id=zoe"] {
        assert!(["beta", "merge"].iter().all(|name| all.get(path).text().contains(name)), "{path}");
        let text = bound.get(path).text();
        assert!(["beta", "merge", "batch"].iter().all(|name| !text.contains(name)), "{path}: {text}");
        assert_eq!(text.matches("\"from_tenant_id\":\"acme\"").count(), 1, "{path}: {text}");
    }
}

#[test]
fn sealed_positions_are_given_back_and_nothing_else_is_taken() {
    let (server, all, data) = closed_server();
    let keys = [("bound", "publish,query,replay", Some("acme"))];
    let bound = clients(&server, data.path(), &keys).remove(0);
    let published = bound.publish(&[Events::seeded(4110).login(("acme", "zoe"), now())]);
    let position = published["position"].as_str().unwrap();
    for path in ["/v1/tenants/acme/summary", "/v1/tenants/acme/users", "/v1/tenants/acme/users/zoe"] {
        let answer = bound.ask(&format!("{path}?min_position={position}"));
        assert_ne!(answer["position"], position, "another text each time");
    }
    let known = bound.ask(&format!("/v1/tenants/acme/summary?known_at={position}"));
    assert_eq!(known["total_users"], 3);
    // A replay goes on behind a position, and reaches the one before.
    let replay = bound.get("/v1/events?tenant_id=acme");
    let lines: Vec<Value> = replay.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(replay.header("lastseen-until").starts_with("p_"));
    let second = lines[1]["position"].as_str().unwrap();
    assert_eq!(bound.get(&format!("/v1/events?tenant_id=acme&after={second}")).text().lines().count(), 1);
    assert_eq!(bound.get(&format!("/v1/events?tenant_id=acme&until={second}")).text().lines().count(), 2);
    // Pages, also under `known_at`.
    let first = bound.ask(&format!("/v1/tenants/acme/users?limit=2&known_at={position}"));
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(
        bound.ask(&format!("/v1/tenants/acme/users?cursor={cursor}"))["users"].as_array().unwrap().len(),
        1
    );
    bound.publish(&[Events::seeded(4111).login(("acme", "zoe"), now())]);
    let first = bound.ask("/v1/tenants/acme/users/zoe/events?limit=1");
    let cursor = first["next_cursor"].as_str().unwrap();
    assert!(cursor.starts_with("p_"), "{first}");
    let second = bound.ask(&format!("/v1/tenants/acme/users/zoe/events?limit=1&cursor={cursor}"));
    assert_eq!(second["events"].as_array().unwrap().len(), 1);
    assert_ne!(first["events"][0]["id"], second["events"][0]["id"]);
    // Numbers are guesses, and other texts are not of this server.
    let foreign = "p_AAAAAAAAAAAAAAAAAAAAAA";
    for (path, name) in [
        ("/v1/tenants/acme/summary", "min_position"),
        ("/v1/tenants/acme/summary", "known_at"),
        ("/v1/tenants/acme/users/zoe/events", "cursor"),
        ("/v1/events?tenant_id=acme", "after"),
        ("/v1/events?tenant_id=acme", "until"),
    ] {
        let separator = if path.contains('?') { '&' } else { '?' };
        for wrong in ["1", "0", foreign, "p_", ""] {
            let answer = bound.get(&format!("{path}{separator}{name}={wrong}"));
            let problem = answer.problem(400, "invalid_parameter", &format!("{path} {name}={wrong}"));
            assert_eq!(problem["field"], name);
        }
    }
    // Unbound keys see numbers, and those are no sealed positions.
    assert!(all.ask("/v1/summary")["position"].is_u64());
    all.get(&format!("/v1/summary?min_position={position}")).problem(400, "invalid_parameter", "sealed");
}

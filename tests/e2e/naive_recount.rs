//! A small random world, asked about at every edge it has, against a naive recount of the same events.

use lastseen_tests::instant::{DAY, HOUR, now, rfc3339};
use lastseen_tests::{Client, Events, Model, Question, Seeded};
use serde_json::Value;

use crate::answers::{comparable, numbers, sealing_server, walk};

const TENANTS: [&str; 3] = ["acme", "beta", "gamma"];
const USERS: [&str; 7] = ["ada", "bob", "cyd", "dan", "eve", "fay", "gus"];
const STATUSES: &str = "active,inactive,pending,never_seen,deleted,left_out";
const TYPES: [&str; 10] = [
    "login",
    "token_refresh",
    "tenant_switch",
    "signup_complete",
    "user_created",
    "user_confirmed",
    "user_changed",
    "user_deleted",
    "user_restored",
    "estimated_activity",
];

/// Events on a grid of three days, so that many meet at one instant, over the 90 days before `end`.
fn random_events(random: &mut Seeded, end: i64, count: usize) -> Vec<Value> {
    let mut events = Events::seeded(random.bits());
    let mut event = || {
        let member = (*random.pick(&TENANTS), *random.pick(&USERS));
        let at = end - i64::try_from(random.below(30)).expect("small") * 3 * DAY;
        match *random.pick(&TYPES) {
            "estimated_activity" => events.estimated(member, at),
            "user_created" if random.below(2) == 0 => events.created_confirmed(member, at),
            "user_created" => events.invited(member, at),
            "user_changed" => events.counting(random.below(3) > 0, member, at),
            event_type => events.of(event_type, member, at),
        }
    };
    (0..count).map(|_| event()).collect()
}

/// Publishes in requests of random sizes, every fifth one a second time.
fn publish(client: &Client, random: &mut Seeded, mut events: &[Value]) {
    while !events.is_empty() {
        let size = usize::try_from(1 + random.below(9)).expect("small").min(events.len());
        let (batch, rest) = events.split_at(size);
        client.publish(batch);
        if random.below(5) == 0 {
            client.publish(batch);
        }
        events = rest;
    }
}

fn query(question: &Question, window: &str) -> String {
    let as_of = question.as_of.then(|| format!("as_of={}", rfc3339(question.at)));
    let types = question.types.as_ref().map(|types| format!("types={}", types.join(",")));
    let provenance = question.observed_only.then(|| "provenance=observed".to_owned());
    let everyone = question.everyone.then(|| "counts=all".to_owned());
    [Some(format!("window={window}")), as_of, types, provenance, everyone]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("&")
}

fn assert_agrees(client: &Client, model: &Model, question: &Question, window: &str) {
    let query = query(question, window);
    for tenant in [None, Some(TENANTS[0]), Some(TENANTS[1]), Some(TENANTS[2])] {
        let scope = tenant.map_or_else(|| "/v1".to_owned(), |tenant| format!("/v1/tenants/{tenant}"));
        let expected = model.summary(tenant, question);
        let names: Vec<_> = expected.keys().map(String::as_str).collect();
        let found = client.ask(&format!("{scope}/summary?{query}"));
        assert_eq!(
            names.iter().copied().zip(numbers(&found, &names)).collect::<Vec<_>>(),
            names.iter().copied().zip(numbers(&expected.clone().into(), &names)).collect::<Vec<_>>(),
            "{scope}/summary?{query}"
        );
        if tenant.is_some() {
            let path = format!("{scope}/users?status={STATUSES}&limit=1000&{query}");
            let mut users: Vec<_> = walk(client, &path).iter().map(comparable).collect();
            users.sort_by(|a, b| a["user_id"].as_str().cmp(&b["user_id"].as_str()));
            assert_eq!(users, model.users(tenant, question), "{path}");
        }
    }
}

/// Instants where something changes for some event and window, and their neighbours.
fn edges(random: &mut Seeded, events: &[Value], windows: &[(&str, i64)]) -> Vec<i64> {
    let mut edges = Vec::new();
    for _ in 0..12 {
        let at =
            lastseen_tests::instant::micros(random.pick(events)["occurred_at"].as_str().expect("an instant"));
        for edge in std::iter::once(at).chain(windows.iter().map(|(_, window)| at + window)) {
            edges.extend([edge - 1, edge, edge + 1]);
        }
    }
    edges
}

fn random_world(seed: u64) {
    let mut random = Seeded::new(seed);
    let now = now();
    // Off the grid by three hours: no window that ends now has its other end near an event.
    let end = now - 3 * HOUR;
    let windows = [("30d", 30 * DAY), ("7d", 7 * DAY), ("36h", 36 * HOUR), ("86400000000us", DAY)];
    let events = random_events(&mut random, end, 400);
    let mut model = Model::default();
    model.publish(&events);
    let (server, _data) = sealing_server("60");
    publish(server.client(), &mut random, &events);

    let filters = [
        (None, false),
        (None, true),
        (Some(vec!["login"]), false),
        (Some(vec!["token_refresh", "tenant_switch"]), false),
        (Some(vec!["signup_complete", "login", "tenant_switch", "token_refresh"]), true),
    ];
    let filters = filters.map(|(types, observed_only)| {
        (types.map(|types| types.into_iter().map(str::to_owned).collect::<Vec<_>>()), observed_only)
    });
    for (name, window) in windows {
        for (types, observed_only) in &filters {
            let types = types.clone();
            for everyone in [false, true] {
                let (types, observed_only) = (types.clone(), *observed_only);
                let question = Question { at: now, as_of: false, window, types, observed_only, everyone };
                assert_agrees(server.client(), &model, &question, name);
            }
        }
    }
    for at in edges(&mut random, &events, &windows) {
        let (name, window) = *random.pick(&windows);
        let (types, observed_only) = random.pick(&filters).clone();
        let everyone = random.below(3) == 0;
        let unfiltered = Question { at, as_of: true, window, types: None, observed_only: false, everyone };
        assert_agrees(server.client(), &model, &unfiltered, name);
        assert_agrees(server.client(), &model, &Question { types, observed_only, ..unfiltered }, name);
    }
    let server = server.crash_and_restart();
    let question = Question {
        at: now,
        as_of: false,
        window: 30 * DAY,
        types: None,
        observed_only: false,
        everyone: false,
    };
    assert_agrees(server.client(), &model, &question, "30d");
}

#[test]
fn a_random_world_agrees_with_a_naive_recount() {
    random_world(801);
}

#[test]
fn another_random_world_agrees_with_a_naive_recount() {
    random_world(802);
}

//! The list of tenants: each row is what the tenant's own summary says, in the order asked for, page by page.

use std::cmp::Reverse;

use lastseen_tests::instant::{DAY, HOUR, micros, now, rfc3339};
use lastseen_tests::{Client, Events, Model, Question, Seeded, path_segment};
use serde_json::Value;

use crate::answers::{array, empty_server, numbers, position, sealing_server};

const COUNTS: [&str; 9] = [
    "total_users",
    "pending_users",
    "never_seen_users",
    "active_users",
    "observed_users",
    "estimated_users",
    "inactive_users",
    "deleted_users",
    "left_out_users",
];

/// 23 tenants of 1 to 8 users in every state, and one whose only user is deleted; few numbers, so that most of them meet.
fn publish_tenants(client: &Client, seed: u64, now: i64) -> Model {
    let (mut random, mut source, mut events) = (Seeded::new(seed), Events::seeded(seed), Vec::new());
    for tenant in 0..23 {
        let tenant = ["t", "T", "é", "a b/", "t-"][tenant % 5].to_owned() + &(tenant * 7 % 23).to_string();
        for user in 0..=random.below(8) {
            let user = format!("u{user}");
            let member = (tenant.as_str(), user.as_str());
            let at = now - HOUR - random.below(50).cast_signed() * DAY;
            events.push(match random.below(5) {
                0 => source.invited(member, at),
                1 => source.created_confirmed(member, at),
                2 => source.estimated(member, at),
                3 => source.of("token_refresh", member, at),
                _ => source.login(member, at),
            });
            if random.below(5) == 0 {
                events.push(source.of("user_deleted", member, at + HOUR / 2));
            }
        }
    }
    events.push(source.login(("left", "u0"), now - 15 * DAY));
    events.push(source.of("user_deleted", ("left", "u0"), now - 7 * DAY));
    random.shuffle(&mut events);
    for events in events.chunks(17) {
        client.publish(events);
    }
    let mut model = Model::default();
    model.publish(&events);
    model
}

/// All rows, page by page. "Now" stays that of the first page.
fn walk(client: &Client, query: &str) -> Vec<Value> {
    let first = format!("/v1/tenants?{query}");
    let (mut rows, mut page) = (Vec::new(), client.ask(first.trim_end_matches('?')));
    loop {
        rows.extend(array(&page, "tenants").iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { return rows };
        assert!(rows.len() < 10_000, "the pages of {first} do not end");
        page = client.ask(&format!("/v1/tenants?cursor={cursor}"));
    }
}

fn id(row: &Value) -> &str {
    row["tenant_id"].as_str().unwrap_or_else(|| panic!("an id in {row}"))
}

/// The question in a query and for the model.
fn questions(now: i64) -> Vec<(String, Question)> {
    let question = |window, types: Option<&str>| Question {
        at: now,
        as_of: false,
        window,
        types: types.map(|types| types.split(',').map(str::to_owned).collect()),
        observed_only: false,
        everyone: false,
    };
    let as_of = |at| format!("as_of={}&", rfc3339(at));
    let past = |days| Question { at: now - days * DAY, as_of: true, ..question(30 * DAY, None) };
    vec![
        (String::new(), question(30 * DAY, None)),
        ("window=7d&".to_owned(), question(7 * DAY, None)),
        ("types=login&".to_owned(), question(30 * DAY, Some("login"))),
        ("provenance=observed&".to_owned(), Question { observed_only: true, ..question(30 * DAY, None) }),
        (as_of(now - 10 * DAY), past(10)),
        (as_of(now - 45 * DAY), past(45)),
        (
            as_of(now - 20 * DAY) + "types=login,token_refresh&window=14d&",
            Question { window: 14 * DAY, types: question(1, Some("login,token_refresh")).types, ..past(20) },
        ),
        (as_of(now - 400 * DAY), past(400)),
    ]
}

/// The tenants of the model that have a user who is there, by bytes.
fn there(model: &Model, question: &Question) -> Vec<String> {
    let has_users = |tenant: &String| model.summary(Some(tenant), question)["total_users"] != 0;
    model.tenants().into_iter().filter(has_users).collect()
}

/// Ranks rows as they stand.
fn rank(rows: &mut [Value]) {
    rows.iter_mut().zip(1..).for_each(|(row, rank)| row["rank"] = rank.into());
}

/// The rows under `query` are those of the model and of the tenants' own summaries, whatever they are sorted by; there are as
/// many as the summary over all tenants counts.
fn assert_rows(client: &Client, model: &Model, query: &str, question: &Question) {
    let rows = walk(client, &format!("{query}sort=tenant_id"));
    let expected = there(model, question);
    assert_eq!(rows.iter().map(id).collect::<Vec<_>>(), expected, "{query}: all of them, by bytes");
    let overall = client.ask(format!("/v1/summary?{query}").trim_end_matches(['&', '?']));
    assert_eq!(overall["tenants"], rows.len(), "{query}: as many as the summary says");
    for row in &rows {
        let mut names: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        let mut fields = [["tenant_id", "rank", "last_seen_at", "created_at"].as_slice(), &COUNTS].concat();
        names.sort_unstable();
        fields.sort_unstable();
        assert_eq!(names, fields, "{row}");
        let known = Value::from(model.summary(Some(id(row)), question));
        let path = format!("/v1/tenants/{}/summary?{query}", path_segment(id(row)));
        let summary = client.ask(path.trim_end_matches(['&', '?']));
        for name in COUNTS {
            assert_eq!((&row[name], &row[name]), (&summary[name], &known[name]), "{name} of {row} {query}");
        }
    }
    for name in COUNTS {
        let by = |row: &Value| row[name].as_u64().unwrap();
        let mut sorted = rows.clone();
        sorted.sort_by_key(by);
        rank(&mut sorted);
        assert_eq!(walk(client, &format!("{query}sort={name}&limit=7")), sorted, "{query} {name}");
        sorted.clone_from(&rows);
        sorted.sort_by_key(|row| Reverse(by(row)));
        rank(&mut sorted);
        assert_eq!(walk(client, &format!("{query}sort=-{name}&limit=9")), sorted, "{query} -{name}");
        if name == "active_users" {
            assert_eq!(walk(client, query.trim_end_matches('&')), sorted, "the default");
        }
        let listed = rows.iter().map(by).sum::<u64>();
        // Who is deleted is counted also where nobody else is there.
        let not_listed = model.tenants().into_iter().filter(|tenant| !expected.contains(tenant));
        let gone = not_listed.map(|tenant| model.summary(Some(&tenant), question)[name].as_u64().unwrap());
        let gone = gone.sum::<u64>();
        assert!(gone == 0 || name == "deleted_users", "{name} {query}");
        assert_eq!(overall[name], listed + gone, "{name} overall {query}");
    }
    let down = walk(client, &format!("{query}sort=-tenant_id&limit=5"));
    let mut reversed: Vec<_> = rows.iter().rev().cloned().collect();
    rank(&mut reversed);
    assert_eq!(down, reversed, "{query}");
}

#[test]
fn rows_are_the_summaries_of_the_tenants_in_every_order() {
    let (server, _data) = sealing_server("40");
    let now = now();
    let model = publish_tenants(server.client(), 2501, now);
    for (query, question) in questions(now) {
        assert_rows(server.client(), &model, &query, &question);
    }
    let server = server.restart();
    for (query, question) in questions(now) {
        assert_rows(server.client(), &model, &query, &question);
    }
}

#[test]
fn the_list_knows_what_was_on_record_then() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(2502), now());
    let first =
        position(&client.publish(&[
            events.login(("acme", "ada"), now - DAY),
            events.login(("beta", "bob"), now - 40 * DAY),
        ]));
    client.publish(&[
        events.login(("acme", "cyd"), now - 2 * DAY),
        events.login(("beta", "bob"), now - DAY),
        events.of("user_deleted", ("acme", "ada"), now - HOUR),
    ]);
    let query = format!("sort=tenant_id&known_at={first}");
    let names = ["total_users", "active_users", "inactive_users", "deleted_users"];
    let counts = |rows: &[Value]| rows.iter().map(|row| numbers(row, &names)).collect::<Vec<_>>();
    assert_eq!(counts(&walk(client, &query)), [[1, 1, 0, 0], [1, 0, 1, 0]]);
    assert_eq!(counts(&walk(client, "sort=tenant_id")), [[1, 1, 0, 1], [1, 1, 0, 0]]);
    assert_eq!(walk(client, &format!("{query}&limit=1")), walk(client, &query));
}

#[test]
fn an_answer_says_what_it_is_of_and_no_tenants_are_an_empty_list() {
    let (server, _data) = empty_server();
    let client = server.client();
    let empty = client.ask("/v1/tenants");
    assert_eq!((&empty["tenants"], &empty["next_cursor"]), (&Value::from(Vec::<Value>::new()), &Value::Null));
    let stored = client.publish(&[Events::seeded(2503).login(("acme", "ada"), now() - DAY)]);
    let at = rfc3339(now());
    let answer = client.ask(&format!("/v1/tenants?window=7d&as_of={at}&min_position={}", position(&stored)));
    assert_eq!((&answer["window"], &answer["definition"]), (&"7d".into(), &3.into()));
    assert_eq!(micros(answer["as_of"].as_str().unwrap()), micros(&at));
    assert_eq!(position(&answer), position(&stored));
    let answer = client.ask("/v1/tenants");
    assert_eq!(answer["window"], "30d");
    assert!(answer["as_of"].is_null(), "{answer}");
    client.get("/v1/tenants?min_position=1000000").problem(503, "position_not_reached", "from nowhere");
}

#[test]
fn pages_of_every_size_together_are_the_whole_list() {
    let (server, _data) = empty_server();
    let client = server.client();
    let now = now();
    let model = publish_tenants(client, 2504, now);
    let (_, live) = &questions(now)[0];
    let past = format!("as_of={}", rfc3339(now - 9 * DAY));
    for query in ["", "sort=tenant_id", "sort=-tenant_id", "sort=pending_users", "sort=-total_users", &past] {
        let question = Question { at: now - 9 * DAY, as_of: true, ..live.clone() };
        let question = if query == past { &question } else { live };
        let whole = client.ask(format!("/v1/tenants?limit=1000&{query}").trim_end_matches('&'));
        assert!(whole["next_cursor"].is_null(), "{whole}");
        let whole = array(&whole, "tenants");
        assert_eq!(whole.len(), there(&model, question).len());
        for limit in 1..=whole.len() + 1 {
            let first = format!("limit={limit}&{query}");
            assert_eq!(&walk(client, first.trim_end_matches('&')), whole, "{query} by {limit}");
        }
    }
}

#[test]
fn the_default_page_has_100_tenants_and_the_last_page_no_cursor() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(2505), now());
    let batch: Vec<_> = (0..200).map(|tenant| events.login((&format!("t{tenant:03}"), "ada"), now)).collect();
    client.publish(&batch);
    let first = client.ask("/v1/tenants");
    assert_eq!(array(&first, "tenants").len(), 100);
    let second = client.ask(&format!("/v1/tenants?cursor={}", first["next_cursor"].as_str().unwrap()));
    assert_eq!(array(&second, "tenants").len(), 100);
    assert!(second["next_cursor"].is_null(), "exactly the last one");
    assert_eq!(id(&array(&second, "tenants")[0]), "t100", "ties by id, ascending");
}

#[test]
fn a_cursor_goes_on_alone_or_with_its_own_parameters_and_with_no_others() {
    let (server, _data) = empty_server();
    let client = server.client();
    publish_tenants(client, 2506, now());
    let query = "sort=-total_users&limit=4&window=60d";
    let first = client.ask(&format!("/v1/tenants?{query}"));
    let cursor = first["next_cursor"].as_str().unwrap();
    let alone = client.ask(&format!("/v1/tenants?cursor={cursor}"));
    let together = client.ask(&format!("/v1/tenants?{query}&cursor={cursor}"));
    assert_eq!((&alone["tenants"], &alone["next_cursor"]), (&together["tenants"], &together["next_cursor"]));
    assert_eq!(array(&alone, "tenants").len(), 4);
    assert_eq!(alone["window"], "60d");
    let users =
        client.ask(&format!("/v1/tenants/{}/users?limit=1", path_segment(id(&array(&first, "tenants")[0]))));
    let of_users = users["next_cursor"].as_str().unwrap();
    for (of, query) in [
        ("another order", format!("sort=total_users&limit=4&window=60d&cursor={cursor}")),
        ("another window", format!("sort=-total_users&limit=4&window=7d&cursor={cursor}")),
        ("another filter", format!("{query}&types=login&cursor={cursor}")),
        ("another provenance", format!("{query}&provenance=observed&cursor={cursor}")),
        ("another instant", format!("{query}&as_of=2026-01-01T00:00:00Z&cursor={cursor}")),
        ("not a cursor", "cursor=x".to_owned()),
        ("an empty cursor", "cursor=".to_owned()),
        ("half a cursor", format!("cursor={}", &cursor[..cursor.len() / 2])),
        ("too much of a cursor", format!("cursor={cursor}AAAA")),
        ("a cursor of users", format!("cursor={of_users}")),
    ] {
        let problem = client.get(&format!("/v1/tenants?{query}")).problem(400, "invalid_parameter", of);
        assert_eq!(problem["field"], "cursor", "{of}");
    }
    let tenant = path_segment(id(&array(&first, "tenants")[0]));
    let path = format!("/v1/tenants/{tenant}/users?cursor={cursor}");
    let problem = client.get(&path).problem(400, "invalid_parameter", "a cursor of tenants");
    assert_eq!(problem["field"], "cursor");
}

#[test]
fn a_walk_meets_every_tenant_that_does_not_move_while_events_arrive() {
    let (server, _data) = empty_server();
    let client = server.client();
    let now = now();
    publish_tenants(client, 2507, now);
    let before = walk(client, "");
    let (mut events, mut met) = (Events::seeded(2508), Vec::new());
    let mut page = client.ask("/v1/tenants?limit=3");
    loop {
        met.extend(array(&page, "tenants").iter().map(|row| id(row).to_owned()));
        let Some(cursor) = page["next_cursor"].as_str().map(str::to_owned) else { break };
        client.publish(&[events.login(("newcomer", &format!("u{}", met.len())), now)]);
        page = client.ask(&format!("/v1/tenants?cursor={cursor}"));
    }
    for tenant in before.iter().map(id) {
        assert_eq!(met.iter().filter(|met| *met == tenant).count(), 1, "{tenant}");
    }
}

#[test]
fn parameters_are_checked() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(2509).login(("acme", "ada"), now())]);
    for (field, values) in [
        (
            "sort",
            [
                "",
                "name",
                "+active_users",
                "--active_users",
                "last_seen_at",
                "tenants",
                "Active_users",
                "observed",
                "estimated_only",
            ]
            .as_slice(),
        ),
        ("limit", &["", "0", "1001", "-1", "ten"]),
        ("window", &["", "30", "0d", "36501d"]),
        ("as_of", &["", "yesterday", "2026-1-6"]),
        ("known_at", &["", "-1", "x"]),
        ("types", &["", "logout", "user_created"]),
        ("compare", &["", "next"]),
        ("trend", &["", "0", "367"]),
        ("provenance", &["", "estimated"]),
        ("min_position", &["", "-1"]),
    ] {
        for value in values {
            let path = format!("/v1/tenants?{field}={}", path_segment(value));
            let problem = client.get(&path).problem(400, "invalid_parameter", &path);
            assert_eq!(problem["field"], field, "{path}");
        }
    }
    for name in ["status", "seen_since", "format", "order", "from", "tz", "Sort"] {
        let path = format!("/v1/tenants?{name}=1");
        assert_eq!(client.get(&path).problem(400, "unknown_parameter", &path)["field"], name);
    }
    let twice = client.get("/v1/tenants?sort=tenant_id&sort=tenant_id");
    assert_eq!(twice.problem(400, "invalid_parameter", "twice")["field"], "sort");
    client.post("/v1/tenants", "application/json", b"{}").problem(405, "method_not_allowed", "POST");
}

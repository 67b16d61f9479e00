//! Taking a backfill back: its name is dead, and every number is as if it had never been, with no answer in between.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lastseen_tests::instant::{self, DAY, MINUTE};
use lastseen_tests::{
    Answer, Client, Events, Model, Process, Question, Seeded, Server, eventually, git_activity,
};
use serde_json::{Value, json};

use crate::BINARY;
use crate::answers::{array, sealing_server, text, without_at};

const WITHIN: Duration = Duration::from_mins(1);

fn backfill(server: &Server, arguments: &[&str]) {
    let mut command = Command::new(BINARY);
    command.args(["backfill", "--server", server.url()]).args(arguments);
    let ended = Process::start(command).wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

fn publish(server: &Server, lines: &[String]) {
    for lines in lines.chunks(5_000) {
        server.client().post("/v1/events", "application/x-ndjson", lines.join("\n").as_bytes()).ok("a batch");
    }
}

/// Takes a batch back with the number of events that the server tells of it; of one that it does not know, with none.
fn delete(client: &Client, batch: &str) -> Answer {
    let told = client.get(&format!("/v1/backfills/{batch}"));
    let events = if told.status == 200 { told.json()["events"].as_u64().unwrap() } else { 0 };
    delete_of(client, batch, &format!("?events={events}"))
}

fn delete_of(client: &Client, batch: &str, query: &str) -> Answer {
    client.send("DELETE", &format!("/v1/backfills/{batch}{query}"), &[], &[]).unwrap()
}

fn state(client: &Client, batch: &str) -> String {
    client.ask(&format!("/v1/backfills/{batch}"))["state"].as_str().unwrap().to_owned()
}

fn retract(client: &Client, batch: &str) {
    assert_eq!(delete(client, batch).status, 202);
    let retracted = eventually(WITHIN, || (state(client, batch) == "retracted").then_some(()));
    assert!(retracted.is_some(), "{batch} is still {}", state(client, batch));
}

/// Answers of every kind: from the live views, kept rows, scans, pieces of both.
fn answers(client: &Client) -> Vec<Value> {
    let tenant = "230287431257595797";
    [
        "/v1/summary?window=36500d".to_owned(),
        "/v1/summary?window=3650d&provenance=observed".to_owned(),
        "/v1/summary?as_of=2016-05-05T05:05:05Z&compare=previous".to_owned(),
        "/v1/summary?as_of=2016-05-05T05:05:05Z&types=login".to_owned(),
        "/v1/tenants?window=3650d&sort=tenant_id".to_owned(),
        "/v1/active-users?from=2019-01-01&to=2019-03-01".to_owned(),
        "/v1/active-users?from=2010-01-01&to=2012-03-01&tz=Europe/Berlin".to_owned(),
        format!("/v1/tenants/{tenant}/active-users?from=2016-01-01&to=2016-12-31&period=month"),
        format!("/v1/tenants/{tenant}/retention?from=2015-01-01&to=2015-12-31&period=month"),
        format!("/v1/tenants/{tenant}/users?limit=1000"),
        format!("/v1/tenants/{tenant}/users?limit=1000&as_of=2015-01-01T00:00:00Z&status=active,inactive"),
        format!("/v1/tenants/{tenant}/summary?window=3650d"),
    ]
    .iter()
    .map(|path| without_positions(client.ask(path)))
    .collect()
}

/// Positions and instants go on; the position of what a user was last seen by stays.
fn without_positions(answer: Value) -> Value {
    let mut answer = without_at(answer);
    let map = answer.as_object_mut().unwrap();
    map.remove("position").unwrap();
    map.remove("next_cursor");
    answer
}

#[test]
fn all_numbers_are_as_if_the_batch_had_never_been() {
    let users = git_activity::path("users.csv");
    let lines = git_activity::lines();
    let (server, data) = sealing_server("20000");
    let client = server.client().clone();
    publish(&server, &lines[..50_000]);
    backfill(&server, &[text(&users), "--batch", "kept"]);
    let kept = answers(&client);
    // Another table under another name, some of it in segments, some behind them.
    backfill(&server, &[text(&users), "--batch", "mistake", "--modified-column", "created_at"]);
    let logins = ["--logins", text(&users), "--login-column", "created_at", "--batch", "mistake"];
    backfill(&server, &logins);
    let mistaken = answers(&client);
    let changed = kept.iter().zip(&mistaken).filter(|(before, with)| before != with).count();
    assert!(changed >= kept.len() / 2, "the batch changes {changed} answers");
    let list = client.ask("/v1/backfills");
    let names: Vec<_> = array(&list, "backfills").iter().map(|batch| batch["batch"].clone()).collect();
    assert_eq!(names, ["mistake", "kept"], "the latest first");
    let [mistake, of_kept] = ["mistake", "kept"].map(|name| client.ask(&format!("/v1/backfills/{name}")));
    assert_eq!(mistake["types"]["login"], 3_954);
    assert_eq!(
        (&of_kept["events"], &of_kept["types"]),
        (&json!(5_925), &json!({"user_created": 3_954, "user_deleted": 89, "estimated_activity": 1_882}))
    );

    let answer = delete(&client, "mistake");
    assert_eq!((answer.status, &answer.json()["events"]), (202, &mistake["events"]));
    retract(&client, "mistake");
    assert_eq!(answers(&client), kept);
    // It is on record, and its events are.
    assert_eq!(client.ask("/v1/backfills/mistake")["events"], mistake["events"]);
    let records = client.get("/v1/events?types=backfill_retracted").text();
    let record: Value = serde_json::from_str(&records).unwrap();
    assert_eq!((&record["type"], &record["batch"]), (&json!("backfill_retracted"), &json!("mistake")));
    let position = client.ask("/v1/summary")["position"].as_u64().unwrap();
    assert!(position >= record["position"].as_u64().unwrap());
    let replayed = client.get("/v1/events").text();
    assert_eq!(replayed.lines().filter(|line| line.contains("\"batch\":\"mistake\"")).count() as u64, {
        mistake["events"].as_u64().unwrap() + 1
    });

    // However it is started again.
    let server = server.restart();
    assert_eq!(answers(server.client()), kept);
    assert_eq!(state(server.client(), "mistake"), "retracted");
    server.kill9();
    std::fs::remove_dir_all(data.path().join("snapshots")).unwrap();
    let server = Server::start(BINARY, data.path());
    assert_eq!(answers(server.client()), kept);
    publish(&server, &lines[50_000..]);
    let server = server.restart();
    let all = answers(server.client());
    drop(server);
    let mut command = Command::new(BINARY);
    command.args(["verify", "--projections", "--data", text(data.path())]);
    let sound = Process::start(command).wait(WITHIN);
    assert_eq!(sound.code, Some(0), "{}{}", sound.stdout, sound.stderr);
    let mut command = Command::new(BINARY);
    command.args(["replay", "--window", "36500d", "--format", "json", "--data", text(data.path())]);
    let replayed = Process::start(command).wait(WITHIN);
    let replayed: Value = serde_json::from_str(&replayed.stdout).unwrap();
    for name in ["total_users", "active_users", "estimated_users", "deleted_users"] {
        assert_eq!(replayed[name], all[0][name], "{name}");
    }
}

#[test]
fn a_dead_name_is_refused_before_the_id_is_looked_at() {
    let (server, _data) = sealing_server("1000");
    let client = server.client();
    let mut events = Events::seeded(71);
    let now = instant::now();
    let mut of_batch = |batch: &str| {
        let mut event = events.login(("acme", "ada"), now - DAY);
        event["batch"] = batch.into();
        event
    };
    let [dead, kept, other] = ["dead", "kept", "kept"].map(&mut of_batch);
    client.publish(&[dead.clone(), kept.clone()]);
    delete(client, "unheard").problem(404, "unknown_batch", "a name that no event has");
    client.get("/v1/backfills/unheard").problem(404, "unknown_batch", "a name that no event has");
    retract(client, "dead");
    assert_eq!(delete(client, "dead").status, 202, "again");

    let new = of_batch("dead");
    for refused in [&dead, &new] {
        let problem = client.post_json("/v1/events", refused).problem(409, "batch_retracted", "a dead name");
        let [fault] = &array(&problem, "errors")[..] else { panic!("{problem}") };
        assert_eq!((&fault["field"], &fault["code"]), (&json!("batch"), &json!("batch_retracted")));
    }
    // With anything else wrong it is one fault of several.
    let mut bad = other.clone();
    bad["type"] = "backfill_retracted".into();
    let problem =
        client.post_json("/v1/events", &json!([new, bad])).problem(422, "invalid_events", "two faults");
    let codes: Vec<_> = array(&problem, "errors").iter().map(|fault| fault["code"].clone()).collect();
    assert_eq!(codes, ["batch_retracted", "type_not_publishable"]);
    let skipped = client.post_json("/v1/events?on_invalid=skip", &json!([new, dead, kept, other])).ok("skip");
    assert_eq!((&skipped["stored"], &skipped["duplicates"]), (&json!(1), &json!(1)));
    let refused: Vec<_> = array(&skipped, "refused").iter().map(|fault| fault["index"].clone()).collect();
    assert_eq!(refused, [0, 1]);

    let history = client.ask("/v1/tenants/acme/users/ada/events");
    let marks: Vec<_> =
        array(&history, "events").iter().map(|event| event["retracted"] == json!(true)).collect();
    assert_eq!(marks, [false, false, true], "newest first; what was taken back stays on record");
    assert_eq!(history["total"], 3);
    assert_eq!(client.ask("/v1/tenants/acme/users/ada/events?limit=1")["total"], 3, "of the whole list");
    // Whom only a dead batch names is not known.
    let mut alone = Events::seeded(72).login(("beta", "bob"), now);
    alone["batch"] = "gone".into();
    client.publish(&[alone]);
    retract(client, "gone");
    client.get("/v1/tenants/beta/summary").problem(404, "unknown_tenant", "of a dead batch");
}

/// Batches, retractions and observed events in random order, with restarts in between: the answers are those of the events
/// that are left.
#[test]
fn any_interleaving_gives_what_the_surviving_events_give() {
    const BATCHES: u64 = 4;
    const TENANTS: [&str; 2] = ["acme", "beta"];
    const USERS: [&str; 6] = ["ada", "bob", "cyd", "dan", "eve", "fay"];
    const TYPES: [&str; 5] =
        ["login", "token_refresh", "user_deleted", "user_restored", "estimated_activity"];
    let now = instant::now();
    for seed in 0..3 {
        let (mut server, data) = sealing_server("150");
        let mut random = Seeded::new(seed);
        let (mut events, mut all, mut dead) = (Events::seeded(80 + seed), Vec::<Value>::new(), Vec::new());
        for _ in 0..40 {
            match random.below(10) {
                0 => {
                    let batch = format!("b{}", random.below(BATCHES));
                    match delete(server.client(), &batch).status {
                        202 => dead.push(batch),
                        404 => assert!(all.iter().all(|event| event["batch"] != *batch)),
                        other => panic!("{other}"),
                    }
                }
                1 => server = server.restart(),
                2 => {
                    server.kill9();
                    server = Server::start(BINARY, data.path());
                }
                _ => {
                    let mut one = || {
                        let member = (*random.pick(&TENANTS), *random.pick(&USERS));
                        let at = now - MINUTE - random.below((60 * DAY).unsigned_abs()).cast_signed();
                        let mut event = match random.below(8) {
                            0 => events.invited(member, at),
                            1 => events.created_confirmed(member, at),
                            _ => events.of(random.pick::<&str>(&TYPES), member, at),
                        };
                        if event["type"] == "estimated_activity" || random.below(2) == 0 {
                            event["batch"] = format!("b{}", random.below(BATCHES)).into();
                        }
                        event
                    };
                    let batch: Vec<_> = (0..25).map(|_| one()).collect();
                    let body = Value::from(batch.clone());
                    server.client().post_json("/v1/events?on_invalid=skip", &body).ok("events");
                    all.extend(batch);
                }
            }
        }
        for batch in &dead {
            retract(server.client(), batch);
        }
        let survives = |event: &&Value| dead.iter().all(|batch| event["batch"] != **batch);
        let mut model = Model::default();
        model.publish(all.iter().filter(survives));
        compare(server.client(), &model, now);
    }
}

fn compare(client: &Client, model: &Model, now: i64) {
    let window = 30 * DAY;
    for (at, parameters) in [(None, "window=30d"), (Some(now - 20 * DAY), "window=30d")] {
        for (types, filter) in [(None, ""), (Some(vec!["login".to_owned()]), "&types=login")] {
            let as_of = at.map(|at| format!("&as_of={}", instant::rfc3339(at))).unwrap_or_default();
            for tenant in [None, Some("acme"), Some("beta")] {
                let path = tenant.map_or("/v1".to_owned(), |tenant| format!("/v1/tenants/{tenant}"));
                let found = client.get(&format!("{path}/summary?{parameters}{as_of}{filter}"));
                let question = Question {
                    at: at.unwrap_or(now),
                    as_of: at.is_some(),
                    window,
                    types: types.clone(),
                    observed_only: false,
                    everyone: false,
                };
                if found.status == 404 {
                    assert!(model.users(tenant, &Question { as_of: false, ..question }).is_empty());
                    continue;
                }
                let found = found.ok("a summary");
                for (name, count) in model.summary(tenant, &question) {
                    assert_eq!(found[&name], count, "{name} of {path} {parameters}{as_of}{filter}");
                }
            }
        }
    }
}

/// While the views are rebuilt, every answer is the one before or the one after, and none before comes after one after.
#[test]
fn no_answer_mixes_before_and_after() {
    let users = git_activity::path("users.csv");
    let (server, _data) = sealing_server("30000");
    publish(&server, &git_activity::lines());
    // What is published meanwhile changes no answer: it says the same of the same user again and again.
    let (mut events, other) = (Events::seeded(73), ("230287431257595797", "another"));
    let mut again = || events.of("user_changed", other, instant::now());
    server.client().publish(&[again()]);
    let before = answers(server.client());
    for round in 0..5 {
        let batch = format!("round {round}");
        let path = format!("round%20{round}");
        backfill(&server, &["--logins", text(&users), "--login-column", "created_at", "--batch", &batch]);
        let with = answers(server.client());
        assert_ne!(before, with);
        let stop = AtomicBool::new(false);
        let asked = thread::scope(|scope| {
            let asking: Vec<_> = (0..3)
                .map(|_| {
                    let (stop, client) = (&stop, server.client().clone());
                    scope.spawn(move || {
                        let mut asked = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            asked.push(answers(&client));
                        }
                        asked.push(answers(&client));
                        asked
                    })
                })
                .collect();
            let writing = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    server.client().publish(&[again()]);
                }
            });
            retract(server.client(), &path);
            stop.store(true, Ordering::Relaxed);
            writing.join().unwrap();
            asking.into_iter().map(|asking| asking.join().unwrap()).collect::<Vec<_>>()
        });
        for asked in asked {
            for question in 0..before.len() {
                let states: Vec<bool> = asked
                    .iter()
                    .map(|answers| {
                        let found = &answers[question];
                        let [is_before, is_with] = [&before, &with].map(|all| all[question] == *found);
                        assert!(is_before || is_with, "{found} is neither");
                        is_before
                    })
                    .collect();
                assert!(
                    states.is_sorted(),
                    "question {question}: what was taken back came again: {states:?}"
                );
                assert!(states.last().unwrap());
            }
        }
    }
}

#[test]
fn batches_are_listed_page_by_page_the_latest_first() {
    let (server, _data) = sealing_server("10");
    let client = server.client();
    let mut events = Events::seeded(74);
    for batch in 0..7 {
        let mut event = events.login(("acme", "ada"), instant::now());
        event["batch"] = format!("run {batch} of \"many\"").into();
        client.publish(&[event]);
    }
    let (mut names, mut next) = (Vec::new(), "/v1/backfills?limit=3".to_owned());
    loop {
        let page = client.ask(&next);
        names.extend(
            array(&page, "backfills").iter().map(|batch| batch["batch"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("/v1/backfills?limit=3&cursor={cursor}");
    }
    let expected: Vec<_> = (0..7).rev().map(|batch| format!("run {batch} of \"many\"")).collect();
    assert_eq!(names, expected);
    // The numbers of batches are the same after a restart, from segments and from what is behind them.
    let server = server.restart();
    let again = array(&server.client().ask("/v1/backfills"), "backfills").clone();
    assert!(again.iter().map(|batch| batch["batch"].as_str().unwrap()).eq(&expected));
    for (path, code) in [
        ("/v1/backfills?limit=0", "invalid_parameter"),
        ("/v1/backfills?cursor=x", "invalid_parameter"),
        ("/v1/backfills?state=active", "unknown_parameter"),
        ("/v1/backfills/x?limit=1", "unknown_parameter"),
    ] {
        server.client().get(path).problem(400, code, path);
    }
    let one = format!("/v1/backfills/{}", lastseen_tests::path_segment("run 3 of \"many\""));
    assert_eq!(server.client().ask(&one)["types"], json!({"login": 1}));
}

/// Rebuilt views take the place of others while events come as fast as they can: each is there when it is acknowledged, and stays.
#[test]
fn what_is_acknowledged_is_visible_before_and_after_the_views_are_replaced() {
    const PUBLISHERS: u64 = 3;
    const ROUNDS: u64 = 6;
    let (server, _data) = sealing_server("4000");
    let client = server.client();
    let stop = AtomicBool::new(false);
    let published: u64 = thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let stop = &stop;
                scope.spawn(move || {
                    let (mut events, mut users) = (Events::seeded(600 + publisher), 0);
                    while !stop.load(Ordering::Relaxed) {
                        let names: Vec<_> = (0..50).map(|n| format!("p{publisher} u{}", users + n)).collect();
                        let now = instant::now();
                        let batch: Vec<_> =
                            names.iter().map(|name| events.login(("acme", name), now)).collect();
                        let position = client.publish(&batch)["position"].as_u64().unwrap();
                        users += 50;
                        let asked = json!({"user_ids": names});
                        let path = format!("/v1/tenants/acme/users/lookup?min_position={position}");
                        let found = client.post_json(&path, &asked).ok("a lookup");
                        assert_eq!(array(&found, "unknown").len(), 0, "acknowledged, and not there");
                        assert!(found["position"].as_u64().unwrap() >= position);
                    }
                    users
                })
            })
            .collect();
        let mut events = Events::seeded(700);
        for round in 0..ROUNDS {
            let batch: Vec<_> = (0..2_000)
                .map(|user| {
                    let name = format!("b{round} u{user}");
                    let mut event = events.login(("acme", &name), instant::now());
                    event["batch"] = format!("round{round}").into();
                    event
                })
                .collect();
            client.publish(&batch);
            retract(client, &format!("round{round}"));
        }
        stop.store(true, Ordering::Relaxed);
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).sum()
    });
    assert_eq!(client.ask("/v1/tenants/acme/summary")["active_users"], published);
    let server = server.restart();
    assert_eq!(server.client().ask("/v1/tenants/acme/summary")["active_users"], published);
}

/// Nothing is published behind a retraction: its position is reached all the same, and no answer says less.
#[test]
fn the_position_of_a_retraction_is_reached_and_stays() {
    let (server, data) = sealing_server("1000");
    let client = server.client();
    let mut event = Events::seeded(75).login(("acme", "ada"), instant::now());
    event["batch"] = "b".into();
    let kept = Events::seeded(76).login(("acme", "bob"), instant::now());
    client.publish(&[event, kept.clone()]);
    retract(client, "b");
    let repeated = client.publish(&[kept]);
    assert_eq!((&repeated["duplicates"], &repeated["position"]), (&json!(1), &json!(3)));
    let all = |client: &Client| {
        for path in
            ["/v1/summary", "/v1/summary?types=login", "/v1/summary?known_at=3", "/v1/tenants/acme/summary"]
        {
            let separator = if path.contains('?') { '&' } else { '?' };
            let found = client.ask(&format!("{path}{separator}min_position=3"));
            assert_eq!((&found["position"], &found["total_users"]), (&json!(3), &json!(1)), "{path}");
        }
    };
    all(client);
    server.kill9();
    drop(std::fs::remove_dir_all(data.path().join("snapshots")));
    all(Server::start(BINARY, data.path()).client());
}

#[test]
fn a_batch_is_taken_back_only_with_the_number_of_events_that_was_told() {
    let (server, _data) = sealing_server("5");
    let client = server.client();
    let mut events = Events::seeded(77);
    let mut login = |user: &str| {
        let mut event = events.login(("acme", user), instant::now());
        event["batch"] = "b".into();
        event
    };
    let all: Vec<_> = (0..7).map(|user| login(&format!("u{user}"))).collect();
    client.publish(&all);
    let position = || client.ask("/v1/summary")["position"].clone();
    let before = position();
    assert_eq!(client.ask("/v1/backfills/b")["events"], 7);
    for without in ["", "?events=", "?events=x", "?events=-7", "?events=7.0", "?events=7&events=7"] {
        let problem = delete_of(client, "b", without).problem(400, "invalid_parameter", without);
        assert_eq!(problem["field"], "events", "{without}");
    }
    for query in ["?batch=b", "?events=7&min_position=1"] {
        delete_of(client, "b", query).problem(400, "unknown_parameter", query);
    }
    for other in ["?events=0", "?events=6", "?events=8", "?events=18446744073709551615"] {
        let problem = delete_of(client, "b", other).problem(409, "count_changed", other);
        assert_eq!(problem["field"], "events", "{other}");
        assert_eq!(problem["detail"], "the batch has 7 events; nothing was retracted");
    }
    delete_of(client, "unheard", "?events=0").problem(404, "unknown_batch", "a name that no event has");
    delete_of(client, "unheard", "").problem(400, "invalid_parameter", "a name that no event has");
    assert_eq!((position(), state(client, "b")), (before, "active".to_owned()), "nothing was recorded");

    // One comes in between; one that comes again is none.
    client.publish(&[login("one more")]);
    client.publish(&all);
    delete_of(client, "b", "?events=7").problem(409, "count_changed", "what was told before");
    let taken = delete_of(client, "b", "?events=8");
    assert_eq!((taken.status, &taken.json()["events"]), (202, &json!(8)));
    retract(client, "b");
    assert_eq!(client.ask("/v1/summary")["total_users"], 0);
    // Again: the number is the same, and so is the answer.
    let after = position();
    assert_eq!(delete_of(client, "b", "?events=8").status, 202);
    delete_of(client, "b", "?events=7").problem(409, "count_changed", "another number of a dead batch");
    assert_eq!(position(), after);
}

/// A server that gives these answers, one to each request in turn. The thread returns the requests.
fn scripted(answers: Vec<(&'static str, String)>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let answer = |(status, body): (&str, String)| {
            let (stream, _) = listener.accept().unwrap();
            let mut lines =
                BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let request = lines.next().unwrap();
            assert!(lines.count() > 0, "a head");
            let head = "content-type: application/json\r\nconnection: close";
            let length = body.len();
            write!(&stream, "HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
            request
        };
        answers.into_iter().map(answer).collect()
    });
    (url, asked)
}

#[test]
fn the_command_asks_again_when_events_of_the_batch_came_in_between() {
    let told = |state: &str, events: u32| {
        (
            "200 OK",
            json!({"batch": "a b", "state": state, "events": events, "types": {}, "position": 9}).to_string(),
        )
    };
    let changed = || {
        let problem = json!({"code": "count_changed", "detail": "the batch has another number of events"});
        ("409 Conflict", problem.to_string())
    };
    let recorded = ("202 Accepted", told("retracting", 1_200).1);
    let busy = ("503 Service Unavailable", json!({"code": "overloaded", "detail": "later"}).to_string());
    let (url, asked) = scripted(vec![
        told("active", 5),
        changed(),
        told("active", 1_100),
        busy,
        changed(),
        told("active", 1_200),
        recorded,
        told("retracting", 1_200),
        told("retracted", 1_200),
    ]);
    let mut command = Command::new(BINARY);
    command.args(["backfill", "retract", "a b", "--server", &url]);
    let ended = Process::start(command).wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.starts_with("took back a b with 1,200 events in "), "{}", ended.stdout);
    let asked = asked.join().unwrap();
    let lines: Vec<_> = asked.iter().map(|line| line.trim_end_matches(" HTTP/1.1")).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/backfills/a%20b",
            "DELETE /v1/backfills/a%20b?events=5",
            "GET /v1/backfills/a%20b",
            "DELETE /v1/backfills/a%20b?events=1100",
            "DELETE /v1/backfills/a%20b?events=1100",
            "GET /v1/backfills/a%20b",
            "DELETE /v1/backfills/a%20b?events=1200",
            "GET /v1/backfills/a%20b",
            "GET /v1/backfills/a%20b",
        ]
    );
    // Of a batch that is gone already it says the same, and asks for nothing more.
    let (url, asked) = scripted(vec![told("retracted", 1)]);
    let mut command = Command::new(BINARY);
    command.args(["backfill", "retract", "a b", "--server", &url]);
    let ended = Process::start(command).wait(WITHIN);
    assert!(ended.stdout.starts_with("took back a b with 1 events in "), "{}", ended.stdout);
    assert_eq!(asked.join().unwrap().len(), 1);
}

/// Events of a batch come as fast as they can while it is taken back: all that were stored are gone, and the command says how many.
#[test]
fn a_batch_that_grows_is_taken_back_with_all_of_its_events() {
    let (server, _data) = sealing_server("400");
    let client = server.client();
    client.publish(&[Events::seeded(78).login(("acme", "kept"), instant::now())]);
    let publish = |seed| {
        let (mut events, mut stored) = (Events::seeded(seed), 0);
        loop {
            let mut event = events.login(("acme", &format!("{seed} {stored}")), instant::now());
            event["batch"] = "grows".into();
            let answer = client.post_json("/v1/events", &event);
            if answer.status == 409 {
                answer.problem(409, "batch_retracted", "its name is dead");
                return stored;
            }
            answer.ok("an event of the batch");
            stored += 1;
        }
    };
    let (stored, ended) = thread::scope(|scope| {
        let publishing: Vec<_> = (790..793_u64).map(|seed| scope.spawn(move || publish(seed))).collect();
        let begun = eventually(WITHIN, || (client.get("/v1/backfills/grows").status == 200).then_some(()));
        assert!(begun.is_some(), "{}", server.stderr());
        let mut command = Command::new(BINARY);
        command.args(["backfill", "retract", "grows", "--server", server.url()]);
        let ended = Process::start(command).wait(WITHIN);
        (publishing.into_iter().map(|publishing| publishing.join().unwrap()).sum::<u64>(), ended)
    });
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let said = ended.stdout.replace(',', "");
    assert!(said.starts_with(&format!("took back grows with {stored} events in ")), "{stored}: {said}");
    assert_eq!(client.ask("/v1/backfills/grows")["events"], stored);
    assert_eq!(client.ask("/v1/summary")["total_users"], 1);
}

/// The same without the command: not one event more goes than the number that was accepted.
#[test]
fn what_is_taken_back_is_what_was_told_while_the_batch_grows() {
    const ROUNDS: u64 = 5;
    let (server, _data) = sealing_server("100000");
    let client = server.client();
    for round in 0..ROUNDS {
        let batch = format!("b{round}");
        let publish = |seed: u64| {
            let mut events = Events::seeded(seed);
            loop {
                let mut event = events.login(("acme", "ada"), instant::now());
                event["batch"] = batch.as_str().into();
                if client.post_json("/v1/events", &event).status != 200 {
                    return;
                }
            }
        };
        let (publish, path) = (&publish, format!("/v1/backfills/{batch}"));
        let accepted = thread::scope(|scope| {
            for publisher in 0..4 {
                scope.spawn(move || publish(7_900 + round * 10 + publisher));
            }
            eventually(WITHIN, || {
                let told = client.get(&path);
                let events = if told.status == 200 { told.json()["events"].as_u64()? } else { return None };
                let answer = delete_of(client, &batch, &format!("?events={events}"));
                (answer.status == 202).then_some(events)
            })
        });
        assert_eq!(client.ask(&path)["events"].as_u64(), accepted, "round {round}");
    }
}

#[test]
fn names_of_batches_are_bounded_and_dead_ones_count() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(BINARY, data.path(), &["--batches-max", "2"]);
    let (client, mut events) = (server.client(), Events::seeded(2950));
    let mut of_batch = |batch: &str| {
        let mut event = events.login(("acme", "ada"), instant::now() - DAY);
        event["batch"] = batch.into();
        event
    };
    client.publish(&[of_batch("first"), of_batch("second")]);
    assert_eq!(client.send("DELETE", "/v1/backfills/first?events=1", &[], &[]).unwrap().status, 202);
    let third = of_batch("third");
    let refused = client.post_json("/v1/events", &third).problem(409, "too_many_batches", "a third name");
    assert!(refused["detail"].as_str().unwrap().contains("2 names"), "{refused}");
    client.publish(&[of_batch("second")]);
    // Only the setting is in the way.
    assert_eq!(server.terminate().code, Some(0));
    let server = Server::start_with(BINARY, data.path(), &["--batches-max", "3"]);
    server.client().publish(&[third]);
}

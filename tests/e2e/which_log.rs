//! A log has an id, in every answer: whoever keeps positions learns that they are of another log, and where to read on.

use std::path::Path;

use lastseen_tests::instant::{DAY, now};
use lastseen_tests::{Client, Events, Server};
use serde_json::Value;

use crate::BINARY;
use crate::access::closed_server;
use crate::answers::{empty_server, lastseen, position};
use crate::every_route;
use crate::keys::{create, until_known};

fn backup(data: &Path, copy: &Path) {
    let ended = lastseen(&["backup", copy.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

fn log_id(client: &Client) -> String {
    client.ask("/v1/summary")["log_id"].as_str().unwrap().to_owned()
}

/// The lines of the answer to a request for history.
fn replay(client: &Client, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("/v1/events?{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A consumer of history, which keeps what it read and the log that it read it from.
struct Consumer {
    events: Vec<Value>,
    log_id: String,
}

impl Consumer {
    fn after(&self) -> u64 {
        self.events.last().map_or(0, |event| event["position"].as_u64().unwrap())
    }

    fn forget_above(&mut self, until: u64) {
        self.events.retain(|event| event["position"].as_u64().unwrap() <= until);
    }

    /// Reads on, as docs/API.md says. Returns the codes of the problems that it met.
    fn read(&mut self, client: &Client) -> Vec<String> {
        let mut codes = Vec::new();
        for _ in 0..3 {
            let answer = client.get(&format!("/v1/events?after={}&log_id={}", self.after(), self.log_id));
            if answer.status == 200 {
                assert_eq!(answer.header("lastseen-log"), self.log_id);
                self.events.extend(answer.text().lines().map(|line| serde_json::from_str(line).unwrap()));
                return codes;
            }
            let problem: Value = answer.json();
            let code = problem["code"].as_str().unwrap().to_owned();
            match code.as_str() {
                "position_ahead" => self.forget_above(problem["position"].as_u64().unwrap()),
                "other_log" => {
                    let lineage = problem["lineage"].as_array().unwrap();
                    let parted = lineage.iter().find(|ancestor| ancestor["log_id"] == self.log_id);
                    self.forget_above(parted.map_or(0, |ancestor| ancestor["until"].as_u64().unwrap()));
                    problem["log_id"].as_str().unwrap().clone_into(&mut self.log_id);
                }
                _ => panic!("{problem}"),
            }
            codes.push(code);
        }
        panic!("no end: {codes:?}");
    }
}

#[test]
fn whoever_follows_a_log_through_a_restored_backup_has_its_history_and_nothing_else() {
    let (server, data) = empty_server();
    let (mut events, now) = (Events::seeded(6300), now());
    let mut publish = |client: &Client, users: [&str; 3]| {
        client.publish(&users.map(|user| events.login(("acme", user), now - DAY)));
    };
    publish(server.client(), ["a", "b", "c"]);
    let directory = tempfile::tempdir_in(data.path().parent().unwrap()).unwrap();
    let copies = [directory.path().join("read"), directory.path().join("written")];
    for copy in &copies {
        backup(data.path(), copy);
    }
    publish(server.client(), ["d", "e", "f"]);
    let first = log_id(server.client());
    let follow = || {
        let mut consumer = Consumer { events: Vec::new(), log_id: first.clone() };
        assert!(consumer.read(server.client()).is_empty());
        assert_eq!(consumer.events.len(), 6);
        consumer
    };
    // A copy that nobody wrote to is the same log, and shorter.
    let mut consumer = follow();
    let copy = Server::start(BINARY, &copies[0]);
    assert_eq!(log_id(copy.client()), first);
    assert_eq!(consumer.read(copy.client()), ["position_ahead"]);
    assert_eq!(consumer.events, replay(copy.client(), ""));
    // Its next event makes another log of it, while the consumer follows.
    publish(copy.client(), ["g", "h", "i"]);
    assert_eq!(consumer.read(copy.client()), ["other_log"]);
    assert_eq!(consumer.events, replay(copy.client(), ""));
    assert_ne!(consumer.log_id, first);
    let copy = copy.restart();
    assert_eq!(log_id(copy.client()), consumer.log_id, "a log keeps its id");
    assert!(consumer.read(copy.client()).is_empty());

    assert_eq!(copy.terminate().code, Some(0));

    // A copy that was written to meanwhile has the same positions for other events.
    let copy = Server::start(BINARY, &copies[1]);
    publish(copy.client(), ["j", "k", "l"]);
    let summary = server.client().ask("/v1/summary");
    assert_eq!(position(&copy.client().ask("/v1/summary")), position(&summary));
    let mut consumer = follow();
    assert_eq!(consumer.read(copy.client()), ["other_log"]);
    assert_eq!(consumer.events, replay(copy.client(), ""));
    // The copies are relatives, and none continues the other: all is read again.
    let other = Server::start(BINARY, &copies[0]);
    assert_eq!(consumer.read(other.client()), ["other_log"]);
    assert_eq!(consumer.events, replay(other.client(), ""));
}

#[test]
fn a_request_about_another_log_reads_and_stores_nothing() {
    let (server, _data) = every_route::server();
    let client = server.client();
    let before = client.ask("/v1/summary?window=36500d");
    let (this, other) = (log_id(client), "0199a1b2-7c3d-4e4f-8a5b-6c7d8e9f0a1b");
    for route in lastseen_server::routes() {
        let path = every_route::completed(&route, &every_route::path(&route));
        let separator = if path.contains('?') { '&' } else { '?' };
        let ask =
            |log_id: &str| every_route::ask(client, &route, &format!("{path}{separator}log_id={log_id}"));
        let of = format!("{} {path}", route.method);
        let answer = ask(other);
        assert_eq!(answer.header("lastseen-log"), this, "{of}");
        if !route.path.starts_with("/v1") {
            answer.problem(400, "unknown_parameter", &of);
            continue;
        }
        let problem = answer.problem(409, "other_log", &of);
        assert_eq!(
            (&problem["log_id"], &problem["field"], &problem["position"]),
            (&this.clone().into(), &"log_id".into(), &before["position"]),
            "{of}"
        );
        assert_eq!(problem["lineage"].as_array().map(Vec::len), Some(0), "{of}");
        let answer = ask(&this);
        assert_eq!(
            (answer.status, answer.header("lastseen-log")),
            (every_route::plain_status(&route).0, this.as_str()),
            "{of}"
        );
        let is_json = answer.headers.get("content-type").is_some_and(|it| it == "application/json");
        if answer.status == 200 && is_json {
            let answer = answer.json();
            assert_eq!(
                (&answer["log_id"], &answer["position"]),
                (&this.clone().into(), &before["position"]),
                "{of}"
            );
        }
    }
    let login = Events::seeded(6310).login(("acme", "new"), now());
    let body = serde_json::to_vec(&login).unwrap();
    let headers = [("content-type", "application/json")];
    let publish =
        |log_id: &str| client.send("POST", &format!("/v1/events?log_id={log_id}"), &headers, &body).unwrap();
    publish(other).problem(409, "other_log", "an event for another log");
    assert_eq!(position(&client.ask("/v1/summary")), position(&before));
    assert_eq!(publish(&this).json()["log_id"], this);
    for path in ["/v1/nothing", "/v1/summary?x=1", "/", "/healthz", "/metrics", "/openapi.json"] {
        assert_eq!(client.get(path).header("lastseen-log"), this, "{path}");
    }
}

#[test]
fn a_position_beyond_the_end_is_refused_and_the_end_itself_is_not() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.get("/v1/events?after=1").problem(409, "position_ahead", "an empty log has no position 1");
    assert_eq!(client.get("/v1/events?after=0").text(), "");
    let stored = client.publish(&[Events::seeded(6320).login(("acme", "ada"), now())]);
    let tail = position(&stored);
    assert_eq!(client.get(&format!("/v1/events?after={tail}")).text(), "");
    for (after, rest) in
        [(tail + 1, ""), (u64::MAX, ""), (tail + 1, "&order=newest"), (tail + 7, "&tenant_id=acme")]
    {
        // Whoever waits for the next event behind such a position would wait for ever.
        for wait in [String::new(), format!("&min_position={}", after.saturating_add(1))] {
            let path = format!("/v1/events?after={after}{rest}{wait}");
            let problem = client.get(&path).problem(409, "position_ahead", &path);
            assert_eq!((&problem["field"], &problem["position"]), (&"after".into(), &tail.into()), "{path}");
        }
    }
    client.get(&format!("/v1/events?after={tail}&min_position={}", tail + 1)).problem(
        503,
        "position_not_reached",
        "nothing came",
    );
}

#[test]
fn a_key_of_one_tenant_is_told_where_logs_part_by_a_text_that_it_gives_back() {
    let (server, all, data) = closed_server();
    let scopes = ["--name", "bound", "--scope", "publish,query,replay", "--tenant", "acme"];
    let key = create(data.path(), &scopes);
    until_known(server.client(), &key);
    let bound = server.client().with_key(&key);
    let directory = tempfile::tempdir_in(data.path().parent().unwrap()).unwrap();
    let (copy, first) = (directory.path().join("copy"), log_id(&all));
    backup(data.path(), &copy);
    assert_eq!(replay(&bound, "tenant_id=acme").len(), 2);
    let keys = data.path().join("keys.json");
    let server = Server::start_with(BINARY, &copy, &["--keys", keys.to_str().unwrap()]);
    let bound = server.client().with_key(&key);
    bound.publish(&[Events::seeded(6330).login(("acme", "zoe"), now())]);
    let problem = bound.get(&format!("/v1/events?tenant_id=acme&log_id={first}"));
    let problem = problem.problem(409, "other_log", "the log that the copy continues");
    assert!(problem["position"].as_str().unwrap().starts_with("p_"), "{problem}");
    let ancestor = &problem["lineage"][0];
    assert_eq!(ancestor["log_id"], first);
    let (until, log_id) = (ancestor["until"].as_str().unwrap(), problem["log_id"].as_str().unwrap());
    let new = replay(&bound, &format!("tenant_id=acme&after={until}&log_id={log_id}"));
    assert_eq!((new.len(), &new[0]["user_id"]), (1, &"zoe".into()), "{new:?}");
}

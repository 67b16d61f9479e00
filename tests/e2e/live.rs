//! Live numbers: a reader who stays is told what the summaries say, of its tenant alone, until its key or the server ends.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use lastseen_tests::instant::{DAY, now};
use lastseen_tests::{Client, Events, Server};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{empty_server, lastseen, text};
use crate::keys::{create, until, until_known};
use crate::slow_peers::connect;

/// A reader who stays.
struct Reader(BufReader<TcpStream>);

/// A message to it.
#[derive(Debug)]
struct Told {
    id: String,
    data: Value,
}

impl Reader {
    fn new(server: &Server, query: &str, key: Option<&str>) -> Self {
        let mut stream = connect(server);
        let key = key.map_or(String::new(), |key| format!("Authorization: Bearer {key}\r\n"));
        let host = server.url().trim_start_matches("http://");
        write!(stream, "GET /v1/live{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{key}\r\n")
            .unwrap();
        let mut reader = Self(BufReader::new(stream));
        let status = reader.line().unwrap();
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        let head: Vec<String> =
            std::iter::from_fn(|| reader.line()).take_while(|line| !line.is_empty()).collect();
        assert!(head.iter().any(|line| line == "content-type: text/event-stream"), "{head:?}");
        assert!(head.iter().any(|line| line == "cache-control: no-store"), "{head:?}");
        assert!(head.iter().any(|line| line == "x-accel-buffering: no"), "{head:?}");
        reader
    }

    /// The next line. `None`: the answer has ended.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap_or(0);
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next message. `None`: the answer has ended.
    fn next(&mut self) -> Option<Told> {
        let field = |reader: &mut Self, name: &str| loop {
            let line = reader.line()?;
            // The lengths of chunks and comments lie between.
            if let Some(value) = line.strip_prefix(name) {
                return Some(value.to_owned());
            }
        };
        field(self, "event: now")?;
        let id = field(self, "id: ")?;
        let data = field(self, "data: ")?;
        Some(Told { id, data: serde_json::from_str(&data).unwrap() })
    }
}

/// The message says what the summaries of a scope say.
fn assert_says(told: &Told, client: &Client, scope: &str) {
    let windows = told.data["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 3);
    for counts in windows {
        let window = counts["window"].as_str().unwrap();
        let mut summary = client.ask(&format!("{scope}/summary?window={window}"));
        for field in ["at", "position", "log_id", "definition", "estimates_until", "tenant_id"] {
            summary.as_object_mut().unwrap().remove(field);
        }
        assert_eq!(*counts, summary, "{window}");
    }
}

#[test]
fn each_change_is_told_and_is_what_the_summaries_say() {
    let (server, _data) = empty_server();
    let (client, mut events) = (server.client(), Events::seeded(6001));
    let mut reader = Reader::new(&server, "", None);
    let first = reader.next().unwrap();
    assert_eq!(first.id, "0");
    assert_says(&first, client, "/v1");
    assert!(first.data["events"].as_array().unwrap().is_empty());
    let types = ["login", "user_confirmed", "token_refresh", "user_deleted", "login"];
    for (event_type, user) in types.into_iter().zip(["ada", "bob", "ada", "bob", "eve"]) {
        let event = events.of(event_type, ("acme", user), now() - DAY / 2);
        let position = client.publish(std::slice::from_ref(&event))["position"].to_string();
        let told = reader.next().unwrap();
        assert_eq!(told.id, position);
        assert_says(&told, client, "/v1");
        let latest = &told.data["events"][0];
        for field in ["id", "type", "tenant_id", "user_id"] {
            assert_eq!(latest[field], event[field]);
        }
    }
    let many: Vec<Value> = (0..50).map(|user| events.login(("acme", &format!("u{user}")), now())).collect();
    client.publish(&many);
    let told = reader.next().unwrap();
    let latest: Vec<&Value> =
        told.data["events"].as_array().unwrap().iter().map(|event| &event["id"]).collect();
    assert_eq!(latest, many.iter().rev().take(20).map(|event| &event["id"]).collect::<Vec<_>>());
    assert_says(&told, client, "/v1");
    // A reader who comes later gets the same at once.
    let late = Reader::new(&server, "", None).next().unwrap();
    assert_eq!((late.id, &late.data["events"]), (told.id, &told.data["events"]));
}

#[test]
fn a_limit_ends_the_answer_and_a_stop_of_the_server_does() {
    let (server, _data) = empty_server();
    let mut events = Events::seeded(6002);
    let mut limited = Reader::new(&server, "?limit=2", None);
    assert!(limited.next().is_some());
    let mut staying = Reader::new(&server, "", None);
    assert!(staying.next().is_some());
    server.client().publish(&[events.login(("acme", "ada"), now())]);
    assert!(limited.next().is_some() && staying.next().is_some());
    assert!(limited.next().is_none());
    let stopped = std::thread::spawn(move || server.terminate());
    assert!(staying.next().is_none());
    stopped.join().unwrap();
}

#[test]
fn a_bound_key_is_told_of_its_tenant_alone_until_it_is_revoked() {
    let (server, data) = empty_server();
    let all = create(data.path(), &["--name", "all", "--scope", "publish,query"]);
    let bound = ["--name", "bound", "--scope", "query,replay", "--tenant", "acme"];
    let bound = create(data.path(), &bound);
    until_known(server.client(), &bound);
    let (client, mut events) = (server.client().with_key(&all), Events::seeded(6003));
    client.publish(&[events.login(("acme", "ada"), now()), events.login(("beta", "eve"), now())]);
    let of_bound = server.client().with_key(&bound);
    of_bound.get("/v1/live?limit=1").problem(403, "tenant_required", "all tenants");
    of_bound.get("/v1/live?tenant_id=beta&limit=1").problem(404, "unknown_tenant", "another tenant");
    let mut reader = Reader::new(&server, "?tenant_id=acme", Some(&bound));
    let first = reader.next().unwrap();
    assert!(first.id.starts_with("p_") && first.data["events_per_second"].is_null(), "{first:?}");
    assert_says(&first, &of_bound, "/v1/tenants/acme");
    // Of what others do nothing is told, not even that they did something.
    client.publish(&[events.login(("beta", "kim"), now())]);
    client.publish(&[events.login(("acme", "zoe"), now())]);
    let next = reader.next().unwrap();
    assert_eq!(next.data["events"][0]["user_id"], "zoe");
    assert!(next.data["events"].as_array().unwrap().iter().all(|event| event["tenant_id"] == "acme"));
    assert_says(&next, &of_bound, "/v1/tenants/acme");
    // Without the scope for history no event is told.
    let told = client.get("/v1/live?limit=1");
    assert!(told.status == 200 && !told.text().contains("\"events\""), "{}", told.text());
    let ended = lastseen(&["keys", "revoke", "bound", "--data", text(data.path())]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    until(&of_bound, 401);
    client.publish(&[events.login(("acme", "max"), now())]);
    assert!(reader.next().is_none(), "a revoked key is told nothing");
}

#[test]
fn readers_beyond_half_of_the_connections_are_told_to_come_again() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(BINARY, data.path(), &["--connections-max", "8"]);
    let mut readers: Vec<Reader> = (0..4).map(|_| Reader::new(&server, "", None)).collect();
    for reader in &mut readers {
        assert!(reader.next().is_some());
    }
    let refused = server.client().get("/v1/live?limit=1");
    refused.problem(503, "overloaded", "one reader more");
    drop(readers.pop());
    let admitted = lastseen_tests::eventually(Duration::from_mins(1), || {
        (server.client().get("/v1/live?limit=1").status == 200).then_some(())
    });
    assert!(admitted.is_some(), "the place of a reader who left is not given away");
}

//! Servers whose events are in a cluster of `EventStoreDB`: in a protocol emulator of it, not in a real one.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use eventstoredb_emulator::{Cluster, Options, Timing, User};
use lastseen_tests::{Events, Process, Server, eventually, instant};
use serde_json::{Value, json};

use crate::BINARY;
use crate::answers::lastseen;

const WITHIN: Duration = Duration::from_mins(1);

/// A cluster that elects and gives up quickly.
pub(crate) fn emulator(nodes: usize) -> Cluster {
    Cluster::start(Options { nodes, timing: Timing::short(), ..Options::default() }).unwrap()
}

/// A server over a cluster, once it is ready.
pub(crate) fn serve(cluster: &Cluster, data: &Path, options: &[&str]) -> Server {
    let address = cluster.connection_string();
    Server::start_with(BINARY, data, &[&["--store", &address], options].concat())
}

/// Deletes a server's copy of the cluster's events, as the documentation says.
pub(crate) fn delete_copy(data: &Path) {
    for name in ["wal", "segments", "ids", "snapshots"] {
        let path = data.join(name);
        if path.exists() {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
}

/// People of a simulation: 150, or so many as a longer run says. 2,000 have about 350,000 events.
fn people() -> String {
    let given = std::env::var_os("LASTSEEN_E2E_CLUSTER_USERS");
    given.map_or_else(|| "150".to_owned(), |given| given.into_string().unwrap())
}

fn simulate(server: &Server, seed: &str, until: &str) {
    const SIMULATED_WITHIN: Duration = Duration::from_mins(10);
    let mut command = Command::new(BINARY);
    command.args(["simulate", "--server", server.url(), "--seed", seed, "--until", until]);
    command.args(["--users", &people(), "--tenants", "4", "--days", "40", "--no-live"]);
    let ended = Process::start(command).wait(SIMULATED_WITHIN);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// Questions whose answers are fixed by the events alone.
const QUESTIONS: [&str; 8] = [
    "/v1/summary?as_of=2026-01-06T16:00:00Z&compare=previous",
    "/v1/tenants?as_of=2026-01-06T16:00:00Z",
    "/v1/users?as_of=2026-01-06T16:00:00Z&limit=1000",
    "/v1/persons?as_of=2026-01-06T16:00:00Z&limit=1000",
    "/v1/active-users?from=2025-12-01&to=2026-01-05&tz=Europe/Berlin",
    "/v1/active-users?from=2025-11-01&to=2026-01-31&period=week",
    "/v1/event-counts?from=2025-12-01&to=2026-01-05",
    "/v1/retention?from=2025-12-01&to=2026-01-05&period=week",
];

/// An answer without what the place of an event in a log has a part in.
fn of_events(mut answer: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for name in ["position", "log_id", "last_seen_position", "at", "next_cursor"] {
                    fields.remove(name);
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut answer);
    answer
}

fn replay(server: &Server) -> Vec<u8> {
    let answer = server.client().get("/v1/events");
    assert_eq!(answer.status, 200);
    answer.body
}

/// Both servers have the same: all answers, positions included, and all bytes of a replay.
fn assert_equal(one: &Server, other: &Server) {
    let position = one.client().ask("/v1/summary")["position"].clone();
    let there = other.client().ask(&format!("/v1/summary?min_position={position}"))["position"].clone();
    let back = one.client().ask(&format!("/v1/summary?min_position={there}"))["position"].clone();
    assert_eq!(back, there);
    for question in QUESTIONS {
        let ask = |server: &Server| {
            let mut answer = server.client().ask(question);
            // The instant of the question, which a cursor says as well.
            for name in ["at", "next_cursor"] {
                answer.as_object_mut().unwrap().remove(name);
            }
            answer
        };
        assert!(ask(one) == ask(other), "{question}");
    }
    assert!(replay(one) == replay(other), "replays differ");
}

#[test]
fn servers_on_one_cluster_have_the_same_and_what_one_server_alone_would_have() {
    const UNTIL: &str = "2026-01-06T16:00:00Z";
    let cluster = emulator(3);
    let [one_data, other_data, alone_data] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let one = serve(&cluster, one_data.path(), &["--segment-events", "3000"]);
    let other = serve(&cluster, other_data.path(), &[]);
    let alone = Server::start(BINARY, alone_data.path());
    std::thread::scope(|scope| {
        for (seed, server) in [("1", &one), ("2", &other), ("3", &one)] {
            scope.spawn(move || simulate(server, seed, UNTIL));
        }
        scope.spawn(|| ["1", "2", "3"].map(|seed| simulate(&alone, seed, UNTIL)));
    });
    assert_equal(&one, &other);
    for question in QUESTIONS {
        let [cluster, alone] = [&other, &alone].map(|server| of_events(server.client().ask(question)));
        assert!(cluster == alone, "{question}");
    }
    // The same once more adds nothing, whoever is told.
    let before = other.client().ask("/v1/summary")["position"].clone();
    simulate(&other, "1", UNTIL);
    assert_eq!(other.client().ask("/v1/summary")["position"], before);

    // A copy that was deleted is made anew, and one that was away catches up.
    assert_eq!(other.terminate().code, Some(0));
    delete_copy(other_data.path());
    simulate(&one, "4", UNTIL);
    let other = serve(&cluster, other_data.path(), &["--segment-events", "5000"]);
    assert_equal(&one, &other);
    let other = other.crash_and_restart();
    assert_equal(&one, &other);
}

#[test]
fn what_one_server_answered_another_one_has_at_that_position() {
    let cluster = emulator(1);
    let [one_data, other_data] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let one = serve(&cluster, one_data.path(), &[]);
    let other = serve(&cluster, other_data.path(), &[]);
    let mut events = Events::seeded(2201);
    for number in 0..20 {
        let user = format!("u{number}");
        let login = events.login(("acme", &user), instant::now());
        let (to, from) = if number % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let position = to.client().publish(std::slice::from_ref(&login))["position"].clone();
        let found = from.client().ask(&format!("/v1/tenants/acme/users/{user}?min_position={position}"));
        assert_eq!(found["last_seen_position"], position);
        // The same event again is known everywhere.
        let again = from.client().publish(&[login]);
        assert_eq!((&again["stored"], &again["duplicates"]), (&json!(0), &json!(1)));
    }
    // A batch is taken back from the other server than the one that brought it in.
    let mut estimate = events.login(("acme", "eve"), instant::now());
    estimate["type"] = "estimated_activity".into();
    estimate["batch"] = "run".into();
    estimate.as_object_mut().unwrap().remove("session_id");
    let position = one.client().publish(&[estimate])["position"].clone();
    other.client().ask(&format!("/v1/summary?min_position={position}"));
    assert_eq!(other.client().send("DELETE", "/v1/backfills/run?events=1", &[], &[]).unwrap().status, 202);
    let state = |server: &Server| server.client().ask("/v1/backfills/run")["state"].clone();
    for server in [&one, &other] {
        let retracted = eventually(WITHIN, || (state(server) == "retracted").then_some(()));
        assert!(retracted.is_some(), "{}", state(server));
    }
    assert_equal(&one, &other);
}

#[test]
fn a_cluster_that_is_away_is_told_and_questions_are_answered_meanwhile() {
    let (cluster, data) = (emulator(1), tempfile::tempdir().unwrap());
    let server = serve(&cluster, data.path(), &[]);
    let client = server.client();
    let mut events = Events::seeded(2202);
    client.publish(&[events.login(("acme", "ada"), instant::now())]);
    let metric = |name: &str| {
        let text = server.client().get("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap()
    };
    let ready = client.ask("/readyz");
    assert_eq!(
        (&ready["cluster"]["connected"], &ready["cluster"]["lag_positions"]),
        (&json!(true), &json!(0))
    );
    assert!((metric("lastseen_store_connected") - 1.0).abs() < 0.1);
    let status = lastseen(&["status", "--server", server.url()]);
    assert!(status.stdout.contains("the copy of the cluster is at its end"), "{}", status.stdout);

    cluster.node(0).kill();
    let told = eventually(WITHIN, || {
        let ready = client.ask("/readyz");
        let parts = ready["parts"].as_array().is_some_and(|parts| parts[0]["part"] == "cluster");
        (ready["cluster"]["connected"] == false && parts).then_some(ready)
    });
    let told = told.expect("the part that stands still");
    assert!(told["cluster"]["lag_positions"].is_null(), "{told}");
    assert_eq!(client.ask("/v1/summary")["total_users"], 1);
    let login = events.login(("acme", "bob"), instant::now());
    let refused = client.post_json("/v1/events", &json!([login]));
    assert_eq!(refused.status, 503, "{}", refused.text());
    let problem: Value = serde_json::from_str(&refused.text()).unwrap();
    assert!(
        ["store_unavailable", "outcome_unknown"].contains(&problem["code"].as_str().unwrap()),
        "{problem}"
    );
    assert!(metric("lastseen_store_lag_seconds") > 0.0 && metric("lastseen_store_connected") < 0.5);

    cluster.node(0).start().unwrap();
    let stored = eventually(WITHIN, || {
        let answer = client.post_json("/v1/events", &json!([login]));
        (answer.status == 200).then(|| answer.text())
    });
    assert!(stored.is_some(), "{}", server.stderr());
    assert_eq!(client.ask("/v1/summary")["total_users"], 2);
    let again =
        eventually(WITHIN, || client.ask("/readyz")["cluster"]["connected"].as_bool().filter(|it| *it));
    assert!(again.is_some());
}

#[test]
fn a_user_needs_the_right_to_read_all_which_a_command_gives() {
    let users = vec![User { name: "lastseen".to_owned(), password: "p%40 ss:/ü@".to_owned() }];
    let cluster = Cluster::start(Options { users, timing: Timing::short(), ..Options::default() }).unwrap();
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = data.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let own = file("password", "p%40 ss:/ü@\n");
    let (admin, wrong) = (file("admin", "changeit"), file("wrong", "changeit2"));
    let address = cluster.connection_string();
    let path = data.path().join("data");
    let start = |password: &str| {
        let data = path.to_str().unwrap();
        let options = ["serve", "--data", data, "--listen", "127.0.0.1:0", "--store", &address];
        lastseen(&[&options[..], &["--store-user", "lastseen", "--store-password-file", password]].concat())
    };
    let refused = start(&wrong);
    assert!(
        refused.code == Some(1) && refused.stderr.contains("does not let lastseen"),
        "{}",
        refused.stderr
    );
    let refused = start(&own);
    let command = "lastseen cluster grant lastseen --store ";
    assert!(refused.code == Some(1) && refused.stderr.contains(command), "{}", refused.stderr);
    let grant = |user: &str, password: &str| {
        let who = ["--store-user", user, "--store-password-file", password];
        lastseen(&[&["cluster", "grant", "lastseen", "--store", &address][..], &who].concat())
    };
    assert_eq!(grant("lastseen", &own).code, Some(1), "only an administrator gives it");
    for _ in 0..2 {
        let granted = grant("admin", &admin);
        assert_eq!(granted.code, Some(0), "{}", granted.stderr);
    }
    let server = serve(&cluster, &path, &["--store-user", "lastseen", "--store-password-file", &own]);
    server.client().publish(&[Events::seeded(2203).login(("acme", "ada"), instant::now())]);
    assert_eq!(server.client().ask("/v1/summary")["total_users"], 1);
}

#[test]
fn what_is_wrong_with_a_cluster_is_told_in_words() {
    let (cluster, data) = (emulator(1), tempfile::tempdir().unwrap());
    let address = cluster.connection_string();
    let [of_cluster, of_its_own] = ["one", "other"].map(|name| data.path().join(name));
    let start = |path: &Path, options: &[&str]| {
        let common = ["serve", "--data", path.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        lastseen(&[&common[..], options].concat())
    };
    assert_eq!(serve(&cluster, &of_cluster, &[]).terminate().code, Some(0));
    assert_eq!(Server::start(BINARY, &of_its_own).terminate().code, Some(0));
    let missing = data.path().join("nowhere");
    let missing =
        ["--store", &address, "--store-user", "x", "--store-password-file", missing.to_str().unwrap()];
    for (path, options, told) in [
        (&of_cluster, &[][..], "a copy of a cluster's log: it can only be used with that cluster"),
        (&of_its_own, &["--store", &address], "the directory has a log of its own"),
        (&of_its_own, &["--store", "esdb://admin:changeit@127.0.0.1:1"], "without user and password"),
        (&of_its_own, &["--store", "esdb://127.0.0.1:1?tsl=false"], "unknown parameter tsl"),
        (&of_its_own, &missing, "cannot read the password in "),
    ] {
        let ended = start(path, options);
        assert!(ended.code == Some(1) && ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    // Another cluster, which was founded at the same address.
    cluster.start_from_empty().unwrap();
    let other = start(&of_cluster, &["--store", &address]);
    assert!(
        other.code == Some(1) && other.stderr.contains("the directory has a copy of"),
        "{}",
        other.stderr
    );
}

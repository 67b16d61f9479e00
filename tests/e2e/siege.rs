//! Two hundred connections in each bad way at once, while a publisher and a dashboard go on as if nobody else were there:
//! every request of theirs succeeds, and the server's memory stays within its budget.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lastseen_tests::instant::now;
use lastseen_tests::{Client, Events, Server, eventually, raise_descriptors};
use serde_json::Value;

use crate::BINARY;
use crate::slow_peers::connect;

/// Connections in each bad way.
const EACH: usize = 200;
/// Requests that the publisher and the dashboard each make meanwhile.
const REQUESTS: usize = 300;
/// The memory budget that the server is started with.
const BUDGET_KIB: u64 = 64 * 1024;
/// Memory of a connection besides: two buffers of 64 KiB, the uncounted beginning of a body, its task, its request.
const CONNECTION_KIB: u64 = 160;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// Members of the one large tenant.
const USERS: usize = 40_000;

#[derive(Clone, Copy, Debug)]
enum Bad {
    /// The head of a request, never ended.
    HalfHead,
    /// Nothing at all.
    Idle,
    /// A body of 8 MiB, of which half comes and no more.
    StalledBody,
    /// Whole lists and replays, of which nothing is read.
    StalledReader,
    /// Scans of all history, pipelined, and then the connection is closed.
    AbandonedScans,
}

/// Resident memory of a process at its highest, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A server with a large tenant, and its memory so far.
fn server(data: &tempfile::TempDir) -> (Server, u64) {
    let options =
        ["--memory", "64MiB", "--connections-max", "2000", "--head-timeout", "60s", "--body-timeout", "60s"];
    let server = Server::start_with(BINARY, data.path(), &options);
    let mut events = Events::seeded(2801);
    for part in 0..USERS / 10_000 {
        let login = |user: usize| events.login(("acme", &format!("user {part} {user}")), now());
        server.client().publish(&(0..10_000).map(login).collect::<Vec<_>>());
    }
    // Every code path that the siege takes has been walked once.
    server.client().get("/v1/tenants/acme/users?format=csv");
    server.client().get("/v1/events");
    server.client().ask("/v1/summary?types=login");
    server.client().ask("/v1/active-users");
    let peak = peak_kib(server.id());
    (server, peak)
}

/// Opens a connection and misbehaves on it.
fn misbehave(server: &Server, bad: Bad, number: usize) -> Option<TcpStream> {
    let mut stream = connect(server);
    let request = match bad {
        Bad::HalfHead => "GET /v1/summary HTTP/1.1\r\nhost: local".to_owned(),
        Bad::Idle => String::new(),
        Bad::StalledBody => {
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                             content-length: 8388608\r\n\r\n"
                .to_owned()
        }
        Bad::StalledReader if number.is_multiple_of(2) => get("/v1/tenants/acme/users?format=csv"),
        Bad::StalledReader => get("/v1/events"),
        Bad::AbandonedScans => (0..5)
            .map(|scan| get(&format!("/v1/summary?types=login&known_at={}", 1 + number * 5 + scan)))
            .collect(),
    };
    stream.write_all(request.as_bytes()).unwrap();
    if matches!(bad, Bad::StalledBody) {
        // The server may refuse it in the middle: its budget has an end.
        let _ = stream.write_all(&vec![b' '; 4 << 20]);
    }
    (!matches!(bad, Bad::AbandonedScans)).then_some(stream)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// Publishes until it has done its part and the siege is complete; every request must be taken.
fn publish(client: &Client, complete: &AtomicBool) -> usize {
    let mut events = Events::seeded(2802);
    let mut stored = 0;
    while stored < REQUESTS || !complete.load(Ordering::Acquire) {
        let login = events.login(("zeta", &format!("user {stored}")), now());
        let answer = client.publish(&[login]);
        assert_eq!(answer["stored"], 1, "{answer}");
        // Acknowledged means visible, besieged or not.
        let user = client.ask(&format!("/v1/tenants/zeta/users/user%20{stored}"));
        assert_eq!(user["status"], "active", "{user}");
        stored += 1;
    }
    stored
}

/// Asks as a dashboard does; every answer must come.
fn look(client: &Client, complete: &AtomicBool) -> usize {
    let mut asked = 0;
    while asked < REQUESTS || !complete.load(Ordering::Acquire) {
        for path in ["/healthz", "/readyz", "/v1/summary", "/v1/tenants/zeta/summary?window=7d"] {
            // The other tenant comes with the first event of the publisher.
            let answer = client.get(path);
            assert!(
                answer.status == 200 || answer.json()["code"] == "unknown_tenant",
                "{path}: {}",
                answer.text()
            );
        }
        asked += 1;
    }
    asked
}

#[test]
fn a_publisher_and_a_dashboard_go_on_beside_a_thousand_bad_connections() {
    raise_descriptors();
    let data = tempfile::tempdir().unwrap();
    let (server, before) = server(&data);
    let (complete, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    let kinds = [Bad::HalfHead, Bad::Idle, Bad::StalledBody, Bad::StalledReader, Bad::AbandonedScans];
    let held: Vec<TcpStream> = thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(&Client::new(server.url()), &complete));
        let dashboard = scope.spawn(|| look(&Client::new(server.url()), &complete));
        let besieging = |bad| {
            let (server, opened) = (&server, &opened);
            scope.spawn(move || -> Vec<TcpStream> {
                let connections = (0..EACH).filter_map(|number| {
                    opened.fetch_add(1, Ordering::Relaxed);
                    misbehave(server, bad, number)
                });
                connections.collect()
            })
        };
        let besieging = kinds.map(besieging);
        let held = besieging.into_iter().flat_map(|besieger| besieger.join().unwrap()).collect();
        complete.store(true, Ordering::Release);
        assert!(publisher.join().unwrap() >= REQUESTS);
        assert!(dashboard.join().unwrap() >= REQUESTS);
        held
    });
    assert_eq!(opened.load(Ordering::Relaxed), EACH * kinds.len());
    let allowed = before + BUDGET_KIB * 11 / 10 + CONNECTION_KIB * (EACH * kinds.len()) as u64;
    let peak = peak_kib(server.id());
    assert!(peak <= allowed, "{peak} KiB at the highest, {before} KiB before; {allowed} KiB are allowed");
    drop(held);
    // Nothing of it is left behind: a costly question finds a place.
    let answered = eventually(PATIENCE, || {
        let answer = server.client().get("/v1/summary?types=login");
        (answer.status == 200).then(|| answer.json())
    });
    let answered = answered.unwrap_or(Value::Null);
    assert!(answered["active_users"].as_u64() >= Some(USERS as u64), "{answered}");
    let ended = server.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

//! The start and the stop of a server: signals lose nothing, a directory has one owner, and without keys only
//! this machine may connect.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use lastseen_tests::instant::now;
use lastseen_tests::{Client, Events, Server, Signal};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{empty_server, numbers};

const ENDED_WITHIN: Duration = Duration::from_mins(1);

/// Publishes one event after the other until the server does not answer any more; those that were acknowledged.
fn publish_until_gone(client: &Client, seed: u64) -> Vec<Value> {
    let mut events = Events::seeded(seed);
    let mut acknowledged = Vec::new();
    loop {
        let login = events.login(("acme", &format!("u{}", acknowledged.len() % 50)), now());
        let headers = [("content-type", "application/json")];
        match client.send("POST", "/v1/events", &headers, login.to_string().as_bytes()) {
            Ok(answer) if answer.status == 200 => acknowledged.push(login),
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{}", answer.text());
                return acknowledged;
            }
            Err(_) => return acknowledged,
        }
    }
}

#[test]
fn sigterm_and_sigint_lose_nothing_that_was_acknowledged() {
    for (seed, signal) in [(1400, Signal::TERM), (1500, Signal::INT)] {
        let (server, data) = empty_server();
        let acknowledged = Mutex::new(Vec::new());
        let ended = thread::scope(|scope| {
            for publisher in 0..4 {
                let (client, acknowledged) = (server.client().clone(), &acknowledged);
                scope.spawn(move || {
                    let mine = publish_until_gone(&client, seed + publisher);
                    acknowledged.lock().unwrap().extend(mine);
                });
            }
            let stored = || server.client().ask("/v1/summary")["position"].as_u64() > Some(100);
            assert!(lastseen_tests::eventually(ENDED_WITHIN, || stored().then_some(())).is_some());
            server.stop(signal)
        });
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout.lines().count(), 1, "one line on stdout: {}", ended.stdout);

        let server = Server::start(BINARY, data.path());
        let acknowledged = acknowledged.into_inner().unwrap();
        assert!(acknowledged.len() > 50);
        for batch in acknowledged.chunks(5_000) {
            let again = server.client().publish(batch);
            assert_eq!(numbers(&again, &["stored", "duplicates"]), [0, batch.len() as u64]);
        }
    }
}

#[test]
fn a_server_stops_though_a_client_holds_a_connection_open() {
    let (server, _data) = empty_server();
    let address = server.url().trim_start_matches("http://").to_owned();
    let idle = std::net::TcpStream::connect(&address).unwrap();
    let mut half_a_request = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut half_a_request, b"POST /v1/events HTTP/1.1\r\nhost: x\r\n").unwrap();
    assert_eq!(server.client().get("/healthz").status, 200);
    let ended = server.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    drop((idle, half_a_request));
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let (server, data) = empty_server();
    let directory = data.path().to_str().unwrap();
    let arguments = ["--data", directory, "--listen", "127.0.0.1:0"].map(std::ffi::OsStr::new);
    let ended = Server::launch(BINARY, &arguments).wait(ENDED_WITHIN);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "it never said that it listens");
    assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
    let said = ended.stderr.lines().last().unwrap_or_default();
    assert!(said.contains(directory), "it names the directory: {}", ended.stderr);
    assert!(["in use", "lock", "another process"].iter().any(|word| said.contains(word)), "{}", ended.stderr);
    let login = Events::seeded(1600).login(("acme", "ada"), now());
    assert_eq!(server.client().publish(&[login])["stored"], 1, "the first one goes on");
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let data = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let arguments =
            ["--data", data.path().to_str().unwrap(), "--listen", listen].map(std::ffi::OsStr::new);
        let ended = Server::launch(BINARY, &arguments).wait(ENDED_WITHIN);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("loopback"), "{}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let arguments = ["--data", data.path().to_str().unwrap(), "--listen", &address].map(std::ffi::OsStr::new);
    let ended = Server::launch(BINARY, &arguments).wait(ENDED_WITHIN);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
}

#[test]
fn the_one_line_on_stdout_says_where_it_listens() {
    let (server, _data) = empty_server();
    assert!(server.url().starts_with("http://127.0.0.1:"));
    let url = server.url().to_owned();
    let ended = server.terminate();
    assert_eq!(ended.stdout, format!("lastseen listening on {url}\n"));
}

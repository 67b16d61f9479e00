//! Peers that keep the server waiting, or of which there are too many: none of them takes anything from the
//! others.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use lastseen_tests::instant::now;
use lastseen_tests::{Events, Server, eventually};
use serde_json::Value;

use crate::BINARY;
use crate::answers::empty_server;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the server closes.
pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The status of the one answer to `request`, and its body.
pub(crate) fn raw(server: &Server, request: &str) -> (u16, Value) {
    let mut stream = connect(server);
    // The server may have heard enough before the end.
    let _ = stream.write_all(request.as_bytes());
    parsed(&rest(&mut stream))
}

fn parsed(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    assert!(head.contains("x-content-type-options: nosniff"), "{answer}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    if status >= 400 {
        assert!(head.contains("content-type: application/problem+json"), "{answer}");
    }
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// Asks for health on a kept connection.
fn healthy(stream: &mut TcpStream) -> bool {
    let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut answer = Vec::new();
    while asked.is_ok() && !answer.ends_with(b"}") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            _ => break,
        }
    }
    answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"}")
}

#[test]
fn half_a_head_is_told_and_cut_and_silence_is_cut() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(BINARY, data.path(), &["--head-timeout", "300ms"]);
    let (status, problem) = raw(&server, "GET /healthz HTTP/1.1\r\nhost: local");
    assert_eq!((status, &problem["code"]), (408, &"request_timeout".into()), "{problem}");
    assert_eq!(rest(&mut connect(&server)), "");
}

#[test]
fn an_idle_connection_is_closed_after_its_limit() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(BINARY, data.path(), &["--idle-timeout", "300ms"]);
    let mut stream = connect(&server);
    assert!(healthy(&mut stream));
    let begun = Instant::now();
    assert_eq!(rest(&mut stream), "");
    assert!(begun.elapsed() < Duration::from_secs(9), "that was the limit of heads");
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(BINARY, data.path(), &["--stall-timeout", "300ms"]);
    let mut events = Events::seeded(2701);
    for _ in 0..5 {
        let logins: Vec<_> = (0..10_000).map(|_| events.login(("acme", "ada"), now())).collect();
        server.client().publish(&logins);
    }
    let mut stream = connect(&server);
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let error = eventually(PATIENCE, || stream.take_error().unwrap());
    assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
    // Who reads gets all of it.
    let lines = server.client().get("/v1/events").text().lines().count();
    assert!(lines >= 50_000, "{lines}");
}

#[test]
fn at_the_cap_idle_connections_make_room_and_it_is_logged() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(BINARY, data.path(), &["--connections-max", "4"]);
    // The request of the start may keep its seat for a moment after its answer: then three are served.
    let latest = eventually(PATIENCE, || {
        let mut streams: Vec<_> = (0..12).map(|_| connect(&server)).collect();
        streams.iter_mut().rev().take(4).all(healthy).then_some(streams)
    });
    let mut streams = latest.expect("the latest are served");
    assert!(healthy(&mut connect(&server)), "and so is the next one");
    assert_eq!(rest(&mut streams[0]), "", "the first was closed");
    let logged = eventually(PATIENCE, || server.stderr().contains("--connections-max").then_some(()));
    assert!(logged.is_some(), "{}", server.stderr());
    assert!(server.stderr().matches("--connections-max").count() < 3, "{}", server.stderr());
}

#[test]
fn what_is_no_request_is_told_as_a_problem() {
    let (server, _data) = empty_server();
    let long = "x".repeat(70_000);
    let post = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
    for (request, status, code) in [
        ("nonsense\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n".to_owned(), 400, "invalid_request"),
        (format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n"), 414, "uri_too_long"),
        (format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n"), 431, "head_too_large"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505, "unsupported_version"),
        (format!("{post}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n"), 400, "invalid_body"),
    ] {
        let (found, problem) = raw(&server, &request);
        assert_eq!((found, &problem["code"]), (status, &code.into()), "{problem}");
        assert!(problem["request_id"].is_string() && problem["detail"].is_string(), "{problem}");
    }
    let mut stream = connect(&server);
    stream.write_all(format!("{post}content-length: 20\r\n\r\n{{").as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(parsed(&rest(&mut stream)).1["code"], "interrupted_body");
}

#[test]
fn stopping_waits_for_requests_and_for_nobody_else() {
    let (server, _data) = empty_server();
    let mut half = connect(&server);
    half.write_all(b"POST /v1/events HTTP/1.1\r\nhost: local").unwrap();
    let mut idle = connect(&server);
    assert!(healthy(&mut idle));
    let mut running = connect(&server);
    let login = Events::seeded(2702).login(("acme", "ada"), now()).to_string();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        login.len()
    );
    let (first, second) = login.split_at(10);
    running.write_all(format!("{head}{first}").as_bytes()).unwrap();
    // Whatever was sent before is read before this is answered.
    assert_eq!(server.client().get("/healthz").status, 200);
    let begun = Instant::now();
    let ended = thread::scope(|scope| {
        let ended = scope.spawn(move || server.terminate());
        assert_eq!((rest(&mut half), rest(&mut idle)), (String::new(), String::new()));
        running.write_all(second.as_bytes()).unwrap();
        let answer = rest(&mut running);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        drop(running);
        ended.join().unwrap()
    });
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("cut off"), "{}", ended.stderr);
    assert!(begun.elapsed() < Duration::from_secs(9), "nothing was waited for: {:?}", begun.elapsed());
}

//! The life of a kept-alive connection: an answer must never be followed by a silent hang-up, which a
//! publisher would take for the loss of its next request.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::answers::empty_server;

/// The whole answer on `stream` as text; `None` if none came in time.
fn answer(stream: &mut TcpStream, within: Duration) -> Option<String> {
    stream.set_read_timeout(Some(within)).unwrap();
    let mut text = Vec::new();
    loop {
        let mut part = [0; 4096];
        match stream.read(&mut part) {
            Ok(0) => panic!("the server has hung up after {:?}", String::from_utf8_lossy(&text)),
            Ok(read) => text.extend_from_slice(&part[..read]),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                return None;
            }
            Err(error) => panic!("{error}"),
        }
        let so_far = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.expect("an answer of known length").parse().unwrap() {
            return Some(so_far);
        }
    }
}

#[test]
fn a_refusal_that_comes_before_the_body_keeps_the_connection_or_says_that_it_closes_it() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let (server, _data) = empty_server();
    let address = server.url().trim_start_matches("http://");
    for (request, content_type, status) in [
        ("POST /v1/nothing", "application/json", 404),
        ("DELETE /v1/events", "application/json", 405),
        ("POST /v1/events?x=1", "application/json", 400),
        ("POST /v1/events", "text/plain", 415),
        ("POST /v1/events", "application/json", 422),
        ("POST /v1/tenants/nobody/users/lookup?x=1", "application/json", 400),
    ] {
        let of = format!("{request} of {content_type}");
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "{request} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: 2\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // Whether the answer waits for the body is up to the server.
        let early = answer(&mut stream, Duration::from_millis(200));
        let says_it_closes = |answer: &String| answer.to_lowercase().contains("\r\nconnection: close\r\n");
        if early.as_ref().is_some_and(says_it_closes) {
            assert!(early.is_some_and(|early| early.starts_with(&format!("HTTP/1.1 {status} "))), "{of}");
            continue;
        }
        stream.write_all(b"{}").unwrap_or_else(|error| panic!("{of}: the body: {error}"));
        let refusal = early.or_else(|| answer(&mut stream, PATIENCE)).expect("an answer");
        assert!(refusal.starts_with(&format!("HTTP/1.1 {status} ")), "{of}: {refusal}");
        if says_it_closes(&refusal) {
            continue;
        }
        let next = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(next).unwrap_or_else(|error| panic!("{of}: the next request: {error}"));
        let healthy = answer(&mut stream, PATIENCE).expect("an answer");
        assert!(healthy.starts_with("HTTP/1.1 200 "), "{of}: {healthy}");
    }
}

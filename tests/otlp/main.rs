//! Spans of a server that was built with the feature `otlp`, as a collector gets them.

#![expect(clippy::unwrap_used, reason = "all of this is a test, also the functions without the attribute")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lastseen_tests::instant::now;
use lastseen_tests::{Events, Server};

const WITHIN: Duration = Duration::from_mins(1);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// One request: its first line, its content type and its body. It is answered with 200.
fn receive(stream: &mut TcpStream) -> Option<(String, String, Vec<u8>)> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut content_type, mut length) = (String::new(), String::new(), 0);
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "content-type" => value.clone_into(&mut content_type),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()?;
    Some((line, content_type, body))
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_collector_gets_the_spans_of_a_request_as_children_of_its_caller() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        for stream in collector.incoming() {
            if let Some(request) = receive(&mut stream.unwrap()) {
                let _ = sender.send(request);
            }
        }
    });
    let data = tempfile::tempdir().unwrap();
    let server =
        Server::start_with(env!("CARGO_BIN_EXE_lastseen"), data.path(), &["--otlp-endpoint", &endpoint]);
    let event = Events::seeded(4701).login(("acme", "ada"), now()).to_string();
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("content-type", "application/json"), ("traceparent", traceparent.as_str())];
    let answer = server.client().send("POST", "/v1/events", &headers, event.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Those that wait are sent at the end.
    assert_eq!(server.terminate().code, Some(0));
    let mut sent = Vec::new();
    while let Ok((line, content_type, body)) =
        received.recv_timeout(if sent.is_empty() { WITHIN } else { Duration::ZERO })
    {
        assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
        assert_eq!(content_type, "application/x-protobuf");
        sent.extend(body);
    }
    for part in [
        &b"lastseen"[..],
        b"POST /v1/events",
        b"decode",
        b"append",
        b"http.response.status_code",
        &bytes(TRACE),
        &bytes(PARENT),
    ] {
        assert!(contains(&sent, part), "{:?} in {} bytes", String::from_utf8_lossy(part), sent.len());
    }
}

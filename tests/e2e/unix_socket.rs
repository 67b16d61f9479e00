//! A Unix socket as the address of the server.

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use lastseen_tests::{Process, Server, Signal, eventually};
use serde_json::Value;

use crate::BINARY;
use crate::answers::text;

const WITHIN: Duration = Duration::from_mins(1);

/// One request on a connection of its own.
fn ask(path: &Path, request: &str) -> Option<String> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

const SUMMARY: &str = "GET /v1/summary HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn launch(data: &Path, listen: &str) -> Process {
    let arguments = ["--data", text(data), "--listen", listen].map(std::ffi::OsStr::new);
    Server::launch(BINARY, &arguments)
}

fn served(path: &Path) -> Value {
    let answered =
        eventually(WITHIN, || ask(path, SUMMARY).filter(|answer| answer.starts_with("HTTP/1.1 200 ")));
    let answer = answered.expect("an answer within a minute");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn a_server_listens_on_a_unix_socket_for_owner_and_group() {
    let directory = tempfile::tempdir().unwrap();
    let (data, socket) = (directory.path().join("data"), directory.path().join("http.sock"));
    let listen = format!("unix:{}", socket.display());
    let mut server = launch(&data, &listen);
    assert_eq!(served(&socket)["total_users"], 0);
    let found = std::fs::symlink_metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    assert!(server.stdout().contains(&format!("lastseen listening on {listen}\n")), "{}", server.stdout());
    // A page in a browser cannot get here, but its name is checked all the same.
    let foreign = ask(&socket, &SUMMARY.replace("localhost", "evil.example")).unwrap();
    assert!(foreign.starts_with("HTTP/1.1 421 "), "{foreign}");

    let mut second = launch(&directory.path().join("other"), &listen);
    let ended = second.wait(WITHIN);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("cannot listen on {listen}")), "{}", ended.stderr);
    assert_eq!(served(&socket)["total_users"], 0, "the first one goes on");

    server.signal(Signal::TERM);
    assert_eq!(server.wait(WITHIN).code, Some(0));
    assert!(!socket.exists(), "the socket goes with its server");
}

#[test]
fn a_socket_that_a_kill_left_behind_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (data, socket) = (directory.path().join("data"), directory.path().join("http.sock"));
    let listen = format!("unix:{}", socket.display());
    let server = launch(&data, &listen);
    served(&socket);
    server.kill9();
    assert!(socket.exists());
    let mut server = launch(&data, &listen);
    served(&socket);
    server.signal(Signal::TERM);
    assert_eq!(server.wait(WITHIN).code, Some(0));
}

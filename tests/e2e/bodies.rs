//! Every way to write the same events: object, array, lines, packed or not.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lastseen_tests::instant::{MINUTE, micros, now, rfc3339};
use lastseen_tests::{Client, Events};
use serde_json::Value;

use crate::answers::empty_server;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Sends `body`, which must be stored; how many of its events were new.
fn stored(client: &Client, headers: &[(&str, &str)], body: &[u8]) -> u64 {
    let answer = client.send("POST", "/v1/events", headers, body).unwrap().ok("POST /v1/events");
    assert_eq!(answer["refused"], Value::Array(vec![]), "{headers:?}");
    answer["stored"].as_u64().unwrap()
}

#[test]
fn object_array_and_lines_are_taken_under_every_spelling_of_their_type() {
    let (server, _data) = empty_server();
    let mut events = Events::seeded(501);
    let mut login = || events.login(("acme", "ada"), now()).to_string();
    for content_type in
        ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
    {
        let headers = [("content-type", content_type)];
        assert_eq!(stored(server.client(), &headers, login().as_bytes()), 1, "{content_type}");
        let array = format!(" [{},\n{}] ", login(), login());
        assert_eq!(stored(server.client(), &headers, array.as_bytes()), 2, "{content_type}");
    }
    for content_type in ["application/x-ndjson", "application/x-ndjson; charset=utf-8"] {
        for end in ["\n", "\r\n", "\n\n \n"] {
            let lines = format!("{}{end}{}{end}{}", login(), login(), login());
            assert_eq!(stored(server.client(), &[("content-type", content_type)], lines.as_bytes()), 3);
        }
    }
}

#[test]
fn gzip_and_zstd_are_unpacked() {
    let (server, _data) = empty_server();
    let mut events = Events::seeded(502);
    let mut lines = || {
        let lines: Vec<_> = (0..500).map(|_| events.login(("acme", "ada"), now()).to_string()).collect();
        lines.join("\n")
    };
    for spelling in ["gzip", "GZIP", "x-gzip"] {
        let headers = [("content-type", "application/x-ndjson"), ("content-encoding", spelling)];
        assert_eq!(stored(server.client(), &headers, &gzip(lines().as_bytes())), 500, "{spelling}");
    }
    let headers = [("content-type", "application/x-ndjson"), ("content-encoding", "gzip")];
    let members = [gzip((lines() + "\n").as_bytes()), gzip(lines().as_bytes())].concat();
    assert_eq!(stored(server.client(), &headers, &members), 1_000, "several members are one file");

    let headers = [("content-type", "application/x-ndjson"), ("content-encoding", "zstd")];
    assert_eq!(stored(server.client(), &headers, &zstd::encode_all(lines().as_bytes(), 1).unwrap()), 500);
    let frames = [(lines() + "\n").into_bytes(), lines().into_bytes()];
    let frames = frames.map(|lines| zstd::encode_all(lines.as_slice(), 1).unwrap()).concat();
    assert_eq!(stored(server.client(), &headers, &frames), 1_000, "several frames are one file");

    let headers = [("content-type", "application/x-ndjson"), ("content-encoding", "identity")];
    assert_eq!(stored(server.client(), &headers, lines().as_bytes()), 500);
}

#[test]
fn the_largest_request_is_taken() {
    let (server, _data) = empty_server();
    let mut events = Events::seeded(503);
    let mut lines = String::new();
    for user in 0..10_000 {
        lines += &events.login(("acme", &format!("user-{user}")), now()).to_string();
        lines.push('\n');
    }
    lines += &" ".repeat((8 << 20) - lines.len());
    assert_eq!(
        stored(server.client(), &[("content-type", "application/x-ndjson")], lines.as_bytes()),
        10_000
    );
    assert_eq!(server.client().ask("/v1/summary")["total_users"], 10_000);
}

#[test]
fn instants_are_read_in_every_notation_and_answered_in_utc() {
    let (server, _data) = empty_server();
    let mut events = Events::seeded(504);
    for (user, (text, micros)) in [
        ("2026-01-06T16:00:00Z", micros("2026-01-06T16:00:00Z")),
        ("2026-01-06T17:30:00.1234567+01:30", micros("2026-01-06T16:00:00.123456Z")),
        ("2026-01-06T10:00:00.999999999-06:00", micros("2026-01-06T16:00:00.999999Z")),
        ("2026-01-06t16:00:00.5z", micros("2026-01-06T16:00:00.5Z")),
        ("1990-01-01T00:00:00Z", micros("1990-01-01T00:00:00Z")),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("u{user}");
        let mut login = events.login(("acme", &user), now());
        login["occurred_at"] = text.into();
        server.client().publish(&[login]);
        let seen = server.client().ask(&format!("/v1/tenants/acme/users/{user}"))["last_seen_at"].clone();
        let seen = seen.as_str().unwrap();
        assert!(seen.ends_with('Z'), "{seen}");
        assert_eq!(self::micros(seen), micros, "{text}");
    }
    // The tolerated clock skew.
    let ahead = events.login(("acme", "ahead"), now() + 4 * MINUTE);
    server.client().publish(std::slice::from_ref(&ahead));
    let seen = server.client().ask("/v1/tenants/acme/users/ahead")["last_seen_at"].clone();
    assert_eq!(rfc3339(self::micros(seen.as_str().unwrap())), ahead["occurred_at"].as_str().unwrap());
}

#[test]
fn names_of_every_kind_come_back_as_they_were_sent() {
    let (server, _data) = empty_server();
    let mut events = Events::seeded(505);
    for name in [
        "8127",
        "a b",
        "ada@example.com",
        "Zoë",
        "日本",
        "a/b?c=d&e#f%20",
        "\"quoted\\\"",
        "..",
        &"x".repeat(128),
    ] {
        server.client().publish(&[events.login((name, name), now())]);
        let segment = lastseen_tests::path_segment(name);
        let user = server.client().ask(&format!("/v1/tenants/{segment}/users/{segment}"));
        assert_eq!((&user["tenant_id"], &user["user_id"]), (&name.into(), &name.into()));
        assert_eq!(
            server.client().ask(&format!("/v1/tenants/{segment}/summary"))["total_users"],
            1,
            "{name}"
        );
    }
}

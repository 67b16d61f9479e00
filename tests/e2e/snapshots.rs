//! Snapshots of the views: a start goes on from one, and whatever is wrong with it changes no answer.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lastseen_tests::instant::micros;
use lastseen_tests::{Ended, Events, Process, Server, eventually, git_activity};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{sealing_server, without_at};

const WITHIN: Duration = Duration::from_mins(1);

fn publish(server: &Server, lines: &[String]) {
    for lines in lines.chunks(5_000) {
        server.client().post("/v1/events", "application/x-ndjson", lines.join("\n").as_bytes()).ok("a batch");
    }
}

/// The answers that must not change.
fn answers(server: &Server) -> Vec<Value> {
    let tenant = "230287431257595797";
    [
        "/v1/summary?window=36500d".to_owned(),
        "/v1/tenants?window=3650d&sort=tenant_id".to_owned(),
        "/v1/active-users?from=2019-01-01&to=2019-03-01".to_owned(),
        format!("/v1/tenants/{tenant}/active-users?from=2016-01-01&to=2016-12-31&period=month"),
        format!("/v1/tenants/{tenant}/retention?from=2015-01-01&to=2015-12-31&period=month"),
        format!("/v1/tenants/{tenant}/users?limit=1000"),
    ]
    .iter()
    .map(|path| without_at(server.client().ask(path)))
    .collect()
}

/// Number of events that had to be folded at the start. The server may answer before what it logs has come
/// through.
fn folded(server: &Server) -> u64 {
    let log = eventually(WITHIN, || Some(server.stderr()).filter(|log| log.contains(" ready ")));
    let log = log.unwrap_or_else(|| panic!("{}", server.stderr()));
    let line = log.lines().rfind(|line| line.contains(" views ")).unwrap_or_else(|| panic!("{log}"));
    let (_, number) = line.rsplit_once("events=").unwrap_or_else(|| panic!("{line}"));
    number.parse().unwrap()
}

fn snapshot(data: &Path) -> std::path::PathBuf {
    data.join("snapshots").join("views")
}

fn verify(data: &Path) -> Ended {
    let mut command = Command::new(BINARY);
    command.args(["verify", "--projections", "--data", data.to_str().unwrap()]);
    Process::start(command).wait(WITHIN)
}

#[test]
fn a_start_goes_on_from_the_snapshot_that_the_end_left() {
    let (server, data) = sealing_server("9000");
    let lines = git_activity::lines();
    publish(&server, &lines[..30_000]);
    let before = answers(&server);
    let server = server.restart();
    assert_eq!(answers(&server), before);
    assert_eq!(folded(&server), 0, "{}", server.stderr());

    publish(&server, &lines[30_000..40_000]);
    let more = answers(&server);
    assert_ne!(more, before);
    server.kill9();
    let server = Server::start(BINARY, data.path());
    assert_eq!(answers(&server), more);
    assert_eq!(folded(&server), 10_000, "{}", server.stderr());
    let sound = verify(data.path());
    assert_eq!(sound.code, Some(0), "{}{}", sound.stdout, sound.stderr);
    assert!(sound.stdout.contains("projections are sound"), "{}", sound.stdout);
}

#[test]
fn snapshots_are_taken_while_events_come() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(BINARY, data.path(), &["--snapshot-events", "1000"]);
    let lines = git_activity::lines();
    publish(&server, &lines[..5_000]);
    let taken = eventually(WITHIN, || snapshot(data.path()).exists().then_some(()));
    assert!(taken.is_some(), "{}", server.stderr());
    publish(&server, &lines[5_000..9_000]);
    let before = answers(&server);
    server.kill9();
    let server = Server::start(BINARY, data.path());
    assert_eq!(answers(&server), before);
    assert!(folded(&server) < 9_000, "{}", server.stderr());
}

#[test]
fn whatever_is_wrong_with_a_snapshot_the_answers_are_right() {
    let (server, data) = sealing_server("2000");
    publish(&server, &git_activity::lines()[..8_000]);
    let before = answers(&server);
    server.terminate();
    let sound = fs::read(snapshot(data.path())).unwrap();

    let (other, other_data) = sealing_server("2000");
    publish(&other, &git_activity::lines()[1..8_001]);
    other.terminate();
    let foreign = fs::read(snapshot(other_data.path())).unwrap();

    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    for (bytes, told) in [
        (flipped(3), "damaged at offset 0"),
        (flipped(8), "version"),
        (flipped(13), "damaged at offset 0"),
        (flipped(66), "damaged at offset 64"),
        (flipped(sound.len() / 2), "damaged at offset"),
        (flipped(sound.len() - 1), "damaged at offset"),
        (sound[..sound.len() - 1].to_vec(), "damaged at offset"),
        (sound[..20].to_vec(), "damaged at offset 0"),
        (Vec::new(), "damaged at offset 0"),
        ([sound.as_slice(), b"x"].concat(), "damaged at offset"),
        (foreign, "another history"),
    ] {
        fs::write(snapshot(data.path()), &bytes).unwrap();
        let found = verify(data.path());
        assert_eq!(found.code, Some(3), "{told}: {}{}", found.stdout, found.stderr);
        assert!(found.stdout.contains(told), "{told}: {}", found.stdout);
        let server = Server::start(BINARY, data.path());
        assert_eq!(answers(&server), before, "{told}");
        let is_told = eventually(WITHIN, || server.stderr().contains(told).then_some(()));
        assert!(is_told.is_some(), "{told}: {}", server.stderr());
        assert_eq!(folded(&server), 8_000);
        server.kill9();
    }
    fs::remove_file(snapshot(data.path())).unwrap();
    let none = verify(data.path());
    assert_eq!(none.code, Some(0), "{}{}", none.stdout, none.stderr);
    let server = Server::start(BINARY, data.path());
    assert_eq!(answers(&server), before);
}

/// A snapshot is worth only time, but it proves how long the history was: without the last file of the log, positions
/// would be used again for other events.
#[test]
fn a_history_that_is_shorter_than_its_snapshot_is_refused() {
    let (server, data) = sealing_server("2000");
    publish(&server, &git_activity::lines()[..5_000]);
    server.terminate();
    let wal = data.path().join("wal");
    let mut files: Vec<_> = fs::read_dir(&wal).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let last = files.pop().expect("what is not sealed yet");
    let kept = fs::read(&last).unwrap();
    fs::remove_file(&last).unwrap();
    let refused = Server::launch(BINARY, &["--data".as_ref(), data.path().as_ref()]).wait(WITHIN);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    for said in ["snapshots/views", "a history up to position 5000", "what is missing was lost"] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
    fs::write(&last, &kept).unwrap();
    let server = Server::start(BINARY, data.path());
    assert_eq!(server.client().ask("/v1/summary")["position"], 5_000);
    server.terminate();

    // Whoever accepts the loss says so, by removing the file that is named.
    fs::remove_file(fs::read_dir(&wal).unwrap().map(|entry| entry.unwrap().path()).max().unwrap()).unwrap();
    fs::remove_file(snapshot(data.path())).unwrap();
    let server = Server::start(BINARY, data.path());
    assert!(server.client().ask("/v1/summary")["position"].as_u64().unwrap() < 5_000);
}

#[test]
fn a_snapshot_of_other_numbers_is_told_member_by_member() {
    let (server, data) = sealing_server("2000");
    let (mut events, start) = (Events::seeded(1_501), micros("2026-01-06T16:00:00Z"));
    server.client().publish(&[events.login(("acme", "ada"), start), events.login(("acme", "bob"), start)]);
    server.terminate();
    // The first part behind the head: length, checksum, then kind, first member, number of members, position, the first record,
    // which begins with last seen. A bug would write a wrong one with its right checksum.
    let mut bytes = fs::read(snapshot(data.path())).unwrap();
    let length = usize::try_from(u32::from_le_bytes(bytes[64..68].try_into().unwrap())).unwrap();
    bytes[72 + 17] ^= 1;
    let checksum = crc32c::crc32c(&bytes[72..72 + length]);
    bytes[68..72].copy_from_slice(&checksum.to_le_bytes());
    fs::write(snapshot(data.path()), &bytes).unwrap();
    let found = verify(data.path());
    assert_eq!(found.code, Some(3), "{}{}", found.stdout, found.stderr);
    assert!(found.stdout.contains("tenant acme, user ada: expected"), "{}", found.stdout);
    assert!(found.stdout.contains("\n1 differences"), "{}", found.stdout);
}

/// The number of definitions that are followed, once it is this.
fn wait_until_followed(server: &Server, number: usize) {
    let line = format!("lastseen_definitions_followed {number}");
    let followed = eventually(WITHIN, || {
        let metrics = server.client().get("/metrics").text();
        metrics.lines().any(|found| found == line).then_some(())
    });
    assert!(followed.is_some(), "{}", server.stderr());
}

#[test]
fn what_was_followed_is_followed_again_after_a_start() {
    let (server, data) = sealing_server("20000");
    publish(&server, &git_activity::lines());
    let tenant = "230287431257595797";
    let answers = |server: &Server| {
        let paths = [
            "/v1/active-users?from=2019-01-01&to=2019-03-01&tz=America/New_York".to_owned(),
            format!(
                "/v1/tenants/{tenant}/active-users?from=2016-01-01&to=2016-12-31&period=month&types=login"
            ),
            "/v1/event-counts?from=2019-01-01&to=2019-03-01&tz=Asia/Kolkata".to_owned(),
        ];
        paths.map(|path| without_at(server.client().ask(&path)))
    };
    let before = answers(&server);
    wait_until_followed(&server, 3);
    assert_eq!(server.terminate().code, Some(0));
    let server = Server::start(BINARY, data.path());
    wait_until_followed(&server, 3);
    assert_eq!(answers(&server), before);
    wait_until_followed(&server, 3);
    server.kill9();
    // One that ends before all are made again forgets none.
    Server::start(BINARY, data.path()).kill9();
    let server = Server::start(BINARY, data.path());
    wait_until_followed(&server, 3);
    server.kill9();
    let server = Server::start_with(BINARY, data.path(), &["--definitions", "1"]);
    wait_until_followed(&server, 1);
    assert_eq!(answers(&server), before);
    assert_eq!(server.terminate().code, Some(0));
    // It is worth only time.
    let followed = data.path().join("snapshots").join("followed");
    fs::write(&followed, "[{").unwrap();
    let server = Server::start(BINARY, data.path());
    assert_eq!(answers(&server), before);
    wait_until_followed(&server, 3);
}

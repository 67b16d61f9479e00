//! `lastseen verify` and `lastseen backup`, on logs at rest and under a running server.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lastseen_tests::instant::now;
use lastseen_tests::{Client, Events, Server, git_activity, wait_until_sealed};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{array, empty_server, lastseen, numbers, position, sealing_server};

const ENDED_WITHIN: Duration = Duration::from_mins(1);

fn verify(data: &Path) -> (Option<i32>, Value) {
    let ended = lastseen(&["verify", "--format", "json", "--data", data.to_str().unwrap()]);
    let report = serde_json::from_str(&ended.stdout);
    (ended.code, report.unwrap_or_else(|error| panic!("{error}: {}{}", ended.stdout, ended.stderr)))
}

/// Every file of the log with its bytes.
fn files(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(data.join("wal")).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect()
}

fn imported() -> (Server, tempfile::TempDir) {
    fill(empty_server())
}

fn fill((server, data): (Server, tempfile::TempDir)) -> (Server, tempfile::TempDir) {
    for lines in git_activity::lines()[..20_000].chunks(5_000) {
        server.client().post("/v1/events", "application/x-ndjson", lines.join("\n").as_bytes()).ok("a batch");
    }
    (server, data)
}

#[test]
fn a_sound_log_is_sound_while_it_is_served_and_when_it_is_closed() {
    let (server, data) = imported();
    let (code, report) = verify(data.path());
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(numbers(&report, &["events", "last_position", "unfinished_bytes"]), [20_000, 20_000, 0]);
    assert_eq!(array(&report, "findings").len(), 0);
    assert_eq!(server.terminate().code, Some(0));
    let (code, report) = verify(data.path());
    assert_eq!((code, numbers(&report, &["events"])), (Some(0), vec![20_000]));
    let ended = lastseen(&["verify", "--data", data.path().to_str().unwrap()]);
    assert!(ended.stdout.starts_with("sound: 20,000 events of "), "{}", ended.stdout);
}

#[test]
fn damage_is_listed_with_its_place_and_nothing_is_changed() {
    let (server, data) = imported();
    assert_eq!(server.terminate().code, Some(0));
    let path = data.path().join("wal/0000000001.wal");
    let mut bytes = fs::read(&path).unwrap();
    // In the first and in the last of four frames.
    let flipped = [bytes.len() / 10, bytes.len() * 9 / 10];
    for at in flipped {
        bytes[at] ^= 0x10;
    }
    fs::write(&path, &bytes).unwrap();
    let before = files(data.path());
    let (code, report) = verify(data.path());
    assert_eq!(code, Some(3), "{report}");
    let found: Vec<_> = array(&report, "findings")
        .iter()
        .filter(|finding| finding["kind"] == "frame")
        .map(|finding| (finding["file"].as_str().unwrap(), finding["offset"].as_u64().unwrap()))
        .collect();
    assert_eq!(found.len(), 2, "{report}");
    assert!(array(&report, "findings").iter().all(|finding| finding["kind"] != "payload"), "{report}");
    for ((file, offset), at) in found.iter().zip(flipped) {
        assert_eq!(*file, "wal/0000000001.wal");
        assert!(*offset <= at as u64, "the frame that byte {at} is in begins at or before it: {offset}");
    }
    assert_eq!(files(data.path()), before);

    // The server refuses what verify found, in the same words, and changes nothing either.
    let arguments = ["--data".as_ref(), data.path().as_os_str(), "--listen".as_ref(), "127.0.0.1:0".as_ref()];
    let refused = Server::launch(BINARY, &arguments).wait(ENDED_WITHIN);
    assert_eq!(refused.code, Some(1));
    let place = format!("wal/0000000001.wal at byte {}", found[0].1);
    assert!(refused.stderr.contains(&place), "{}", refused.stderr);
    assert_eq!(files(data.path()), before);
}

#[test]
fn there_must_be_a_log_to_verify_or_to_copy() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere");
    let (nowhere, copy) = (nowhere.to_str().unwrap(), directory.path().join("copy"));
    for arguments in
        [&["verify", "--data", nowhere][..], &["backup", copy.to_str().unwrap(), "--data", nowhere]]
    {
        let ended = lastseen(arguments);
        assert_eq!(ended.code, Some(1), "{arguments:?}");
        assert!(ended.stderr.contains(nowhere), "{}", ended.stderr);
    }
    assert!(!Path::new(nowhere).exists(), "looking does not make a directory");
}

/// Publishes logins of seven users until told to stop.
fn publish(client: &Client, seed: u64, stop: &AtomicBool) {
    let mut events = Events::seeded(seed);
    while !stop.load(Ordering::Relaxed) {
        let batch: Vec<_> = (0..7).map(|user| events.login(("acme", &format!("u{user}")), now())).collect();
        client.publish(&batch);
    }
}

/// Stops the publishers, also when the test fails before it wants to.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_under_load_is_a_prefix_with_all_that_was_acknowledged_before() {
    let (server, data) = fill(sealing_server("500"));
    // The tenant is asked about in every copy, also in one that is made before the publishers have begun.
    server.client().publish(&[Events::seeded(1599).login(("acme", "first"), now())]);
    let directory = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let copies: Vec<_> = thread::scope(|scope| {
        let _stop = Stop(&stop);
        for seed in 1600..1603 {
            let (client, stop) = (server.client().clone(), &stop);
            scope.spawn(move || publish(&client, seed, stop));
        }
        let copies = (0..5).map(|number| {
            let before = position(&server.client().ask("/v1/summary"));
            let copy = directory.path().join(format!("copy {number}"));
            let ended =
                lastseen(&["backup", copy.to_str().unwrap(), "--data", data.path().to_str().unwrap()]);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            let (code, report) = verify(data.path());
            assert_eq!(code, Some(0), "the original is sound while it is written: {report}");
            (before, copy)
        });
        copies.collect()
    });
    for (before, path) in copies {
        assert_eq!(verify(&path).0, Some(0));
        let copy = Server::start(BINARY, &path);
        let summary = copy.client().ask("/v1/summary?window=36500d");
        let reached = position(&summary);
        assert!(reached >= before, "position {before} was acknowledged before the copy to {reached} began");
        let known = server.client().ask(&format!("/v1/summary?window=36500d&known_at={reached}"));
        let counts = ["position", "total_users", "active_users", "active_persons", "tenants"];
        assert_eq!(numbers(&summary, &counts), numbers(&known, &counts));
        let users = |client: &Client, rest: &str| {
            client.get(&format!("/v1/tenants/acme/users?format=csv&window=36500d{rest}")).text()
        };
        assert_eq!(users(copy.client(), ""), users(server.client(), &format!("&known_at={reached}")));
        // It is a log like any other.
        copy.client().publish(&[Events::seeded(1700).login(("acme", "new"), now())]);
    }
}

#[test]
fn segments_are_checked_and_linked() {
    let (server, data) = fill(sealing_server("5000"));
    wait_until_sealed(data.path(), 15_000);
    let (code, report) = verify(data.path());
    assert_eq!((code, numbers(&report, &["events", "segments"])), (Some(0), vec![20_000, 3]), "{report}");
    let directory = tempfile::tempdir_in(data.path().parent().unwrap()).unwrap();
    let copy = directory.path().join("copy");
    let ended = lastseen(&["backup", copy.to_str().unwrap(), "--data", data.path().to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let segment = "segments/00000000000000000001.parquet";
    let inode = |path: &Path| fs::metadata(path.join(segment)).unwrap().ino();
    assert_eq!(inode(data.path()), inode(&copy), "a hard link takes no space");
    assert_eq!(verify(&copy).0, Some(0));
    assert_eq!(server.terminate().code, Some(0));

    // A copy of its own, damaged: named by the check, by reading, and nothing is stored twice.
    let path = copy.join(segment);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    let (code, report) = verify(&copy);
    let finding = &array(&report, "findings")[0];
    assert_eq!(
        (code, finding["kind"].as_str(), finding["file"].as_str()),
        (Some(3), Some("segment"), Some(segment))
    );
    assert!(finding["offset"].as_u64().unwrap() <= middle as u64, "{report}");
    let arguments = ["--data".as_ref(), copy.as_os_str(), "--listen".as_ref(), "127.0.0.1:0".as_ref()];
    let refused = Server::launch(BINARY, &arguments).wait(ENDED_WITHIN);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains(segment), "{}", refused.stderr);
    assert_eq!(verify(data.path()).0, Some(0), "the original is untouched");
}

#[test]
fn a_directory_with_a_log_is_not_copied_over() {
    let (server, data) = imported();
    let copy = data.path().to_str().unwrap().to_owned() + "-copy";
    let backup = || lastseen(&["backup", &copy, "--data", data.path().to_str().unwrap()]);
    assert_eq!(backup().code, Some(0));
    let before = files(Path::new(&copy));
    let refused = backup();
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("holds a log already"), "{}", refused.stderr);
    assert_eq!(files(Path::new(&copy)), before);
    fs::remove_dir_all(copy).unwrap();
    drop(server);
}

//! Directories written by every version of the log: each opens, answers as its own program did, goes on and is sound.

use std::fs;
use std::path::{Path, PathBuf};

use lastseen_tests::{Server, eventually};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{lastseen, text};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// The directories of every version, in order.
fn versions() -> Vec<PathBuf> {
    let folders = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path());
    let mut versions: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    versions.sort();
    assert!(versions.len() >= 2, "version 1 and those after it: {versions:?}");
    versions
}

/// Panics unless everything that an old answer says is in the new one, which may say more.
fn assert_says(path: &str, new: &Value, old: &Value) {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            // The instant of asking, and the number of the definitions, are of the program that answers.
            for (name, old) in old.iter().filter(|(name, _)| !["at", "definition"].contains(&name.as_str())) {
                let new = new.get(name).unwrap_or_else(|| panic!("{path}: {name} is missing"));
                assert_says(&format!("{path} {name}"), new, old);
            }
        }
        (Value::Array(new), Value::Array(old)) => {
            assert_eq!(new.len(), old.len(), "{path}");
            new.iter().zip(old).for_each(|(new, old)| assert_says(path, new, old));
        }
        _ => assert_eq!(new, old, "{path}"),
    }
}

fn lines(body: &str) -> Vec<Value> {
    body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The body of an answer.
fn body(server: &Server, path: &str) -> String {
    let answer = server.client().get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

/// Copies a directory with all folders in it.
fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy_directory(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Asks every question again, and compares the answers with those of the program that wrote the directory.
fn assert_answers(server: &Server, version: &Path) {
    let questions = fs::read_to_string(golden().join("questions.txt")).unwrap();
    for question in questions.lines() {
        let (file, path) = question.split_once(' ').unwrap();
        let old = fs::read_to_string(version.join("answers").join(file)).unwrap();
        let new = body(server, path);
        let (old, new) = if file.ends_with(".ndjson") {
            (lines(&old), lines(&new))
        } else {
            (vec![serde_json::from_str(&old).unwrap()], vec![serde_json::from_str(&new).unwrap()])
        };
        assert_says(file, &Value::from(new), &Value::from(old));
    }
}

/// The events of a directory as they can be sent again: those whose batch was retracted are refused, and names that
/// have characters of format are only read.
fn to_send_again(version: &Path) -> Vec<Value> {
    let hidden = |name: &str| name.contains(['\u{200b}', '\u{202e}']);
    let mut events = lines(&fs::read_to_string(version.join("answers/events.ndjson")).unwrap());
    events.retain(|event| {
        let name = |field: &str| event[field].as_str().unwrap_or_default();
        event["batch"].is_null() && !hidden(name("tenant_id")) && !hidden(name("user_id"))
    });
    for event in &mut events {
        let fields = event.as_object_mut().unwrap();
        fields.remove("position");
        fields.remove("recorded_at");
    }
    events
}

#[test]
fn a_directory_of_every_version_opens_answers_as_it_did_and_goes_on() {
    for version in versions() {
        println!("{}", version.display());
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        copy_directory(&version.join("data"), &data);
        assert_eq!(verify(&data), "sound");

        let server = Server::start_with(BINARY, &data, &["--segment-events", "400"]);
        let events = to_send_again(&version);
        assert!(events.len() > 200);
        let rebuilt = eventually(std::time::Duration::from_mins(1), || {
            let summary = server.client().ask("/v1/summary?as_of=2026-12-12T00:00:00Z");
            let old: Value =
                serde_json::from_slice(&fs::read(version.join("answers/summary-end.json")).unwrap()).unwrap();
            (summary["total_users"] == old["total_users"]).then_some(())
        });
        assert!(rebuilt.is_some(), "{}", server.stderr());
        assert_answers(&server, &version);

        // Every event is known for ever, and what it says too.
        let sent = server.client().post_json("/v1/events", &Value::from(events.clone())).ok("known");
        assert_eq!((&sent["stored"], &sent["duplicates"]), (&0.into(), &events.len().into()));
        let position = sent["position"].as_u64().unwrap();
        let other = serde_json::json!([{
            "id": "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b", "type": "login", "tenant_id": "8127",
            "user_id": "later", "occurred_at": "2026-11-27T00:00:00Z",
        }]);
        let sent = server.client().post_json("/v1/events", &other).ok("new");
        assert_eq!((&sent["stored"], &sent["position"]), (&1.into(), &(position + 1).into()));

        // Once more with the history in files of today, sealed and not.
        let server = server.crash_and_restart().restart();
        let again: Vec<Value> = events.iter().cloned().chain(other.as_array().unwrap().clone()).collect();
        let sent = server.client().post_json("/v1/events", &Value::from(again)).ok("known");
        assert_eq!(sent["stored"], 0);
        let replayed = lines(&body(&server, "/v1/events?limit=10000"));
        let old = lines(&fs::read_to_string(version.join("answers/events.ndjson")).unwrap());
        assert_says("after a restart", &replayed[..old.len()].into(), &old.into());
        server.terminate();
        assert_eq!(verify(&data), "sound");
    }
}

/// The first word of what `lastseen verify --projections` says, or all of it where that is not good.
fn verify(data: &Path) -> String {
    let ended = lastseen(&["verify", "--projections", "--data", text(data)]);
    let sound = ended.code == Some(0) && ended.stdout.starts_with("sound");
    if sound { "sound".to_owned() } else { format!("{:?} {}{}", ended.code, ended.stdout, ended.stderr) }
}

//! `lastseen demo`: numbers that are not zeros from one command, and nothing left after ^C.

use std::fs;
use std::process::Command;
use std::time::Duration;

use lastseen_tests::{Client, Process, Signal, eventually};

use crate::BINARY;
use crate::answers::text;

const WITHIN: Duration = Duration::from_mins(2);

#[test]
fn a_demo_shows_numbers_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let mut shell = Command::new("/bin/sh");
    let script = format!("TMPDIR={} exec \"$@\"", text(temporary.path()));
    shell.args(["-c", &script, "sh", BINARY, "demo", "--listen", "127.0.0.1:0"]);
    let mut demo = Process::start(shell);
    let invited = eventually(WITHIN, || demo.stdout().contains("Look at it in a browser").then_some(()));
    assert!(invited.is_some(), "{} {}", demo.stdout(), demo.stderr());
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    // Each question that it proposes has an answer, and the numbers are not zeros.
    let questions = || -> Vec<String> {
        let stdout = demo.stdout();
        let lines = stdout.lines().filter_map(|line| line.trim().strip_prefix("curl -s '"));
        lines.map(|line| line.trim_end_matches('\'').to_owned()).collect()
    };
    let questions =
        eventually(WITHIN, || Some(questions()).filter(|questions| questions.len() >= 5)).unwrap();
    for question in &questions {
        let (base, path) = question.split_at(question.find("/v1").unwrap());
        Client::new(base).ask(path);
    }
    let (base, _) = questions[0].split_at(questions[0].find("/v1").unwrap());
    let summary = Client::new(base).ask("/v1/summary");
    assert!(summary["active_users"].as_u64().unwrap() > 100, "{summary}");
    // Time is real from then on: more comes, a session every ten seconds even on a Sunday night.
    let position = || Client::new(base).ask("/v1/summary")["position"].as_u64().unwrap();
    let first = position();
    assert!(eventually(WITHIN, || (position() > first).then_some(())).is_some(), "nobody lives");
    demo.signal(Signal::INT);
    let ended = demo.wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("nothing is left of it"), "{}", ended.stdout);
    assert!(!ended.stderr.contains("not_ready") && !ended.stderr.contains("to go on"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_demo_whose_port_is_taken_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(BINARY);
    command.args(["demo", "--listen", &taken.local_addr().unwrap().to_string()]);
    let ended = Process::start(command).wait(WITHIN);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("--listen 127.0.0.1:0 takes a free port"), "{}", ended.stderr);
}

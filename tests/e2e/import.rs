//! `lastseen import`: what it takes, what it refuses, and what it says.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use lastseen_tests::instant::now;
use lastseen_tests::{Ended, Events, Process, Server, Signal, eventually};

use crate::BINARY;
use crate::answers::{empty_server, text, write};

const WITHIN: Duration = Duration::from_mins(1);

fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["import", "--server", server.url()]).args(arguments);
    command
}

fn import(server: &Server, arguments: &[&str]) -> Ended {
    Process::start(command(server, arguments)).wait(WITHIN)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `count` lines of events of users `u0`, `u1`, ...
fn lines(events: &mut Events, count: usize) -> Vec<String> {
    (0..count).map(|user| events.login(("acme", &format!("u{user}")), now()).to_string()).collect()
}

fn assert_result(ended: &Ended, code: i32, counts: &str) {
    assert_eq!(ended.code, Some(code), "{} {}", ended.stdout, ended.stderr);
    assert!(ended.stdout.starts_with(&format!("{counts} in ")), "{} {}", ended.stdout, ended.stderr);
    assert!(ended.stdout.trim_end().ends_with("events/s)"), "{}", ended.stdout);
}

#[test]
fn plain_files_gzip_of_several_members_and_stdin_are_one_import() {
    let (server, directory) = (empty_server(), tempfile::tempdir().unwrap());
    let (server, _data) = server;
    let lines = lines(&mut Events::seeded(1701), 40);
    let plain = write(&directory, "plain.ndjson", lines[..10].join("\r\n"));
    let members =
        [gzip((lines[10..20].join("\n") + "\n").as_bytes()), gzip(lines[20..30].join("\n").as_bytes())];
    // The name says nothing: the first bytes do.
    let packed = write(&directory, "packed.txt", members.concat());
    let empty = write(&directory, "empty.ndjson", "");

    let mut command =
        command(&server, &[text(&plain), "-", text(&empty), text(&packed), "--batch-events", "7"]);
    command.stdin(Stdio::piped());
    let mut process = Process::start(command);
    process.take_stdin().write_all(lines[30..].join("\n").as_bytes()).unwrap();
    assert_result(&process.wait(WITHIN), 0, "stored 40, duplicates 0, refused 0");
    assert_eq!(server.client().ask("/v1/summary")["total_users"], 40);
    assert_result(&import(&server, &[text(&packed)]), 0, "stored 0, duplicates 20, refused 0");
}

#[test]
fn refused_lines_are_named_with_file_and_line_and_the_others_are_stored() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let mut lines = lines(&mut Events::seeded(1702), 12);
    lines[1] = "not json".to_owned();
    lines[4] = lines[4].replace("\"login\"", "\"logout\"").replace("\"u4\"", "\"\"");
    lines[7] = format!("{{\"id\":\"{}\"}}", "x".repeat(100_000));
    let first = write(&directory, "first.ndjson", format!("\n\n{}", lines[..6].join("\n\n")));
    let second = write(&directory, "second.ndjson", lines[6..].join("\n"));
    for batch_events in ["1", "3", "5000"] {
        let ended = import(&server, &[text(&first), text(&second), "--batch-events", batch_events]);
        let counts = if batch_events == "1" {
            "stored 9, duplicates 0, refused 3"
        } else {
            "stored 0, duplicates 9, refused 3"
        };
        assert_result(&ended, 3, counts);
        for (place, fault) in [
            (format!("{}:5: ", text(&first)), "invalid_json: "),
            (format!("{}:11: ", text(&first)), "unknown_type type: "),
            (format!("{}:11: ", text(&first)), "empty user_id: "),
            (format!("{}:2: ", text(&second)), "too_long: "),
        ] {
            let line = ended.stderr.lines().find_map(|line| line.strip_prefix(&format!("{place}{fault}")));
            assert!(line.is_some_and(|detail| !detail.is_empty()), "{place}{fault} in {}", ended.stderr);
        }
        assert_eq!(ended.stderr.lines().count(), 4, "{}", ended.stderr);
    }
}

#[test]
fn after_twenty_refused_lines_the_rest_is_only_counted() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory, "bad.ndjson", "nope\n".repeat(1_234));
    let ended = import(&server, &[text(&file), "--batch-events", "100"]);
    assert_result(&ended, 3, "stored 0, duplicates 0, refused 1,234");
    let printed: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(printed.len(), 21, "{}", ended.stderr);
    assert!(printed[20].contains("1,214"), "{}", printed[20]);
}

#[test]
fn a_broken_gzip_file_is_named_and_what_came_before_the_damage_is_stored() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let lines = lines(&mut Events::seeded(1703), 2_000);
    let whole = write(&directory, "whole.ndjson", lines[..5].join("\n"));
    let mut packed = gzip(lines[5..].join("\n").as_bytes());
    packed.truncate(packed.len() / 2);
    let broken = write(&directory, "broken.ndjson.gz", packed);
    let ended = import(&server, &[text(&whole), text(&broken)]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let said = ended.stderr.lines().last().unwrap();
    assert!(said.starts_with(&format!("lastseen: cannot read {} after line ", text(&broken))), "{said}");
    let stored = server.client().ask("/v1/summary")["total_users"].as_u64().unwrap();
    assert!((6..2_000).contains(&stored), "whole lines before the damage are stored: {stored}");
    let counted = ended.stdout.replace(',', "");
    assert!(counted.starts_with(&format!("stored {stored} duplicates 0 refused 0 in ")), "{}", ended.stdout);
}

#[test]
fn an_interrupted_import_says_so_and_the_same_command_goes_on() {
    for signal in [Signal::INT, Signal::TERM] {
        let (server, _data) = empty_server();
        let lines = lines(&mut Events::seeded(1704), 25);
        let mut command = command(&server, &["-", "--batch-events", "10"]);
        command.stdin(Stdio::piped());
        let mut process = Process::start(command);
        let mut stdin = process.take_stdin();
        stdin.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
        // Two batches are full and sent; the third waits for more lines, which never come.
        let twenty = || server.client().ask("/v1/summary")["total_users"] == 20;
        assert!(eventually(WITHIN, || twenty().then_some(())).is_some(), "{}", process.stderr());
        process.signal(signal);
        let ended = process.wait(WITHIN);
        assert_result(&ended, 130, "stored 20, duplicates 0, refused 0");
        assert!(ended.stderr.contains("the same command goes on"), "{}", ended.stderr);
        drop(stdin);

        let directory = tempfile::tempdir().unwrap();
        let file = write(&directory, "events.ndjson", lines.join("\n"));
        assert_result(&import(&server, &[text(&file)]), 0, "stored 5, duplicates 20, refused 0");
    }
}

#[test]
fn an_import_waits_for_a_server_that_is_not_there_yet() {
    let (server, _data) = empty_server();
    let lines = lines(&mut Events::seeded(1705), 30);
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory, "events.ndjson", lines.join("\n"));
    // Stopped by SIGSTOP and killed: connections are taken by nobody, then refused, then served again.
    server.signal(Signal::STOP);
    let mut process =
        Process::start(command(&server, &[text(&file), "--batch-events", "10", "--retry-for", "1m"]));
    let server = server.crash_and_restart_in_place();
    assert_result(&process.wait(WITHIN), 0, "stored 30, duplicates 0, refused 0");
    assert_eq!(server.client().ask("/v1/summary")["total_users"], 30);
}

#[test]
fn an_answer_that_is_no_success_is_told_with_its_code() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory, "events.ndjson", lines(&mut Events::seeded(1706), 1).join("\n"));
    let mut command = Command::new(BINARY);
    command.args(["import", text(&file), "--server", &format!("{}/wrong", server.url())]);
    let ended = Process::start(command).wait(WITHIN);
    assert_result(&ended, 1, "stored 0, duplicates 0, refused 0");
    let said = ended.stderr.lines().last().unwrap();
    assert!(said.contains("404") && said.contains("unknown_route: "), "{said}");
}

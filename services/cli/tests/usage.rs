//! The command line as a user meets it, without a server.

use std::path::Path;
use std::process::{Command, Output};

fn lastseen(arguments: &[&str]) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_lastseen")).env_clear().args(arguments))
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the binary was built")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("output is UTF-8")
}

#[test]
fn help_names_every_command_and_every_flag_with_its_variable() {
    let help = lastseen(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["serve", "import", "backfill", "simulate", "verify", "replay", "backup", "Exit codes"] {
        assert!(text(&help.stdout).contains(word), "{word} in {}", text(&help.stdout));
    }
    for (command, flags) in [
        ("serve", ["DATA", "LISTEN", "PERSONS", "FUTURE_TOLERANCE", "LOG"].as_slice()),
        ("serve", &["CONNECTIONS_MAX", "HEAD_TIMEOUT", "IDLE_TIMEOUT", "STALL_TIMEOUT", "CORS_ORIGIN"]),
        ("import", ["SERVER", "KEY", "BATCH_EVENTS", "RETRY_FOR"].as_slice()),
        ("backfill", ["SERVER", "KEY", "BATCH_EVENTS", "RETRY_FOR"].as_slice()),
        ("simulate", ["SERVER", "KEY", "BATCH_EVENTS", "RETRY_FOR"].as_slice()),
    ] {
        let help = lastseen(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        for name in flags {
            let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
            assert!(text(&help.stdout).contains(&flag), "{flag}");
            assert!(text(&help.stdout).contains(&format!("LASTSEEN_{name}")), "{name}");
        }
    }
}

#[test]
fn bad_usage_exits_with_2_and_says_what_was_expected() {
    for arguments in [
        [].as_slice(),
        &["observe"],
        &["serve", "--colour"],
        &["serve", "--listen", "8080"],
        &["serve", "--persons", "maybe"],
        &["serve", "--future-tolerance", "5"],
        &["serve", "--log", "a=loud"],
        &["serve", "--log", "nonsense"],
        &["serve", "--log", "info,lastseen_log"],
        &["serve", "--connections-max", "0"],
        &["serve", "--head-timeout", "0s"],
        &["serve", "--idle-timeout", "2d"],
        &["serve", "--stall-timeout", "60"],
        &["serve", "--cors-origin", "*"],
        &["serve", "--cors-origin", "https://app.example/"],
        &["serve", "leftover"],
        &["import"],
        &["import", "x", "--batch-events", "0"],
        &["import", "x", "--batch-events", "10001"],
        &["import", "x", "--server", "127.0.0.1:8080"],
        &["import", "x", "--retry-for", "soon"],
    ] {
        let output = lastseen(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stdout).is_empty(), "{arguments:?}");
        assert!(
            text(&output.stderr).contains("Usage:") || text(&output.stderr).contains("--help"),
            "{arguments:?}"
        );
    }
}

#[test]
fn variables_stand_in_for_flags_and_flags_win() {
    let import = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastseen"));
        command.env_clear().env("LASTSEEN_BATCH_EVENTS", "0").args(["import", "/no/such/file"]);
        command
    };
    assert_eq!(run(&mut import()).status.code(), Some(2));
    assert_eq!(run(import().args(["--batch-events", "10"])).status.code(), Some(1));
}

#[test]
fn a_missing_file_is_named_before_anything_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().join("there.ndjson");
    std::fs::write(&there, "{}\n").unwrap();
    // Nothing listens on port 1: an attempt to send would be reported, and not the file.
    let server = ["--server", "http://127.0.0.1:1", "--retry-for", "0s"];
    let output =
        lastseen(&[&["import", there.to_str().unwrap(), "/no/such/file"], server.as_slice()].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).starts_with("lastseen: cannot read /no/such/file: "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_directory_is_not_a_file_of_events() {
    let directory = tempfile::tempdir().unwrap();
    let path: &Path = directory.path();
    let output = lastseen(&["import", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(path.to_str().unwrap()), "{}", text(&output.stderr));
}

#[test]
fn a_server_that_is_not_there_is_named_with_what_was_stored() {
    let directory = tempfile::tempdir().unwrap();
    let events = directory.path().join("events.ndjson");
    std::fs::write(&events, "{}\n").unwrap();
    let arguments =
        ["import", events.to_str().unwrap(), "--server", "http://127.0.0.1:1", "--retry-for", "200ms"];
    let output = lastseen(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("no answer from http://127.0.0.1:1/v1/events"), "{stderr}");
    assert!(stderr.contains("trying again for 200ms") && stderr.contains("gave up after 200ms"), "{stderr}");
    assert!(
        text(&output.stdout).starts_with("stored 0, duplicates 0, refused 0 in "),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_wrong_log_filter_is_named_with_what_was_expected() {
    for (filter, found) in
        [("nonsense", "nonsense"), ("info,lastseen_log", "lastseen_log"), ("a=loud", "a=loud")]
    {
        let output = lastseen(&["serve", "--log", filter]);
        let stderr = text(&output.stderr);
        assert!(stderr.contains(&format!("found \"{found}\"")), "{stderr}");
        assert!(stderr.contains("off, error, warn, info, debug, trace"), "{stderr}");
    }
}

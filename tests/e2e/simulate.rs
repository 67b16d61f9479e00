//! `lastseen simulate`: what it says it published is what the server has, and the same again adds nothing.

use std::process::Command;
use std::time::Duration;

use lastseen_tests::{Ended, Process, Server, Signal, eventually};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{empty_server, numbers};

const WITHIN: Duration = Duration::from_mins(2);
const UNTIL: &str = "2026-01-06T16:00:00Z";

fn command(server: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["simulate", "--server", server]).args(arguments);
    command
}

fn past(server: &Server, seed: &str) -> Ended {
    let plan =
        ["--users", "300", "--tenants", "7", "--days", "40", "--until", UNTIL, "--no-live", "--seed", seed];
    Process::start(command(server.url(), &plan)).wait(WITHIN)
}

/// The number behind a word of the last line.
fn number(ended: &Ended, before: &str) -> u64 {
    let line = ended.stdout.lines().last().unwrap_or_else(|| panic!("{}", ended.stderr));
    let behind = line.split(before).nth(1).unwrap_or_else(|| panic!("{line}"));
    behind.chars().filter(|c| *c != ',').take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn the_past_is_published_once_and_is_what_the_last_line_says() {
    let (server, _data) = empty_server();
    let first = past(&server, "5");
    assert_eq!(first.code, Some(0), "{}{}", first.stdout, first.stderr);
    let stored = number(&first, "stored ");
    let summary = server.client().ask(&format!("/v1/summary?as_of={UNTIL}"));
    assert_eq!(summary["position"], stored, "{}", first.stdout);
    let counts =
        numbers(&summary, &["total_users", "deleted_users", "tenants", "total_persons", "pending_users"]);
    let [total, deleted, tenants, persons, pending] = counts[..] else { panic!("{counts:?}") };
    let users = number(&first, "; ");
    assert_eq!(total + deleted, users, "{}", first.stdout);
    assert_eq!(tenants, 7);
    assert!(deleted > 0 && pending > 0 && persons < total, "{summary}");

    // A week is five days of work and two quiet ones: the first whole one before the end.
    let week = server.client().ask("/v1/active-users?from=2025-12-29&to=2026-01-04");
    let active: Vec<u64> =
        week["rows"].as_array().unwrap().iter().map(|day| day["active"].as_u64().unwrap()).collect();
    assert!(active[..5].iter().min() > active[5..].iter().max(), "{active:?}");

    let again = past(&server, "5");
    assert_eq!((number(&again, "stored "), number(&again, "duplicates ")), (0, stored), "{}", again.stdout);
    let after = server.client().ask(&format!("/v1/summary?as_of={UNTIL}"));
    assert_eq!(after, summary);
    assert!(number(&past(&server, "6"), "stored ") > 0, "another seed, other events");
}

#[test]
fn the_present_is_published_until_a_signal_comes() {
    let (server, _data) = empty_server();
    let mut running = Process::start(command(server.url(), &["--users", "2000", "--days", "1"]));
    let total = || server.client().ask("/v1/summary")["position"].as_u64().unwrap();
    let live = eventually(WITHIN, || running.stderr().contains("live from here").then(total));
    let past = live.unwrap_or_else(|| panic!("{}", running.stderr()));
    assert!(eventually(WITHIN, || (total() > past).then_some(())).is_some(), "{}", running.stderr());
    running.signal(Signal::INT);
    let ended = running.wait(WITHIN);
    assert_eq!(ended.code, Some(130), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(number(&ended, "stored "), total(), "{}", ended.stdout);
    let summary: Value = server.client().ask("/v1/summary");
    assert!(summary["active_users"].as_u64() > Some(1_000), "{summary}");
}

#[test]
fn without_a_server_and_without_a_sensible_plan_it_says_so() {
    let nobody = "http://127.0.0.1:1";
    let ended =
        Process::start(command(nobody, &["--users", "5", "--days", "1", "--no-live", "--retry-for", "1ms"]))
            .wait(WITHIN);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("no answer from http://127.0.0.1:1"), "{}", ended.stderr);
    for (arguments, expected) in [
        (&["--users", "0"][..], "users"),
        (&["--users", "5", "--tenants", "6"], "tenants"),
        (&["--days", "0"], "day"),
        (&["--until", "2999-01-01T00:00:00Z"], "--until"),
    ] {
        let ended = Process::start(command(nobody, arguments)).wait(WITHIN);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
}

//! `lastseen replay`: the numbers of a directory, equal to what the server says, while it serves it and of a backup.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lastseen_tests::{Ended, Process, git_activity, wait_until_sealed};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{numbers, sealing_server};

const ENDED_WITHIN: Duration = Duration::from_mins(1);

const COUNTS: [&str; 9] = [
    "total_users",
    "pending_users",
    "never_seen_users",
    "active_users",
    "observed_users",
    "estimated_users",
    "inactive_users",
    "deleted_users",
    "left_out_users",
];

fn lastseen(arguments: &[&str], data: &Path) -> Ended {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--data").arg(data);
    Process::start(command).wait(ENDED_WITHIN)
}

fn replayed(data: &Path, arguments: &[&str]) -> Value {
    let ended = lastseen(&[&["replay", "--format", "json"], arguments].concat(), data);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn the_numbers_of_a_directory_are_those_of_its_server() {
    let (server, data) = sealing_server("3000");
    let client = server.client();
    for lines in git_activity::lines()[..20_000].chunks(1_000) {
        client.post("/v1/events", "application/x-ndjson", lines.join("\n").as_bytes()).ok("a batch");
    }
    wait_until_sealed(data.path(), 12_000);
    let copy = tempfile::tempdir().unwrap();
    let backup = copy.path().join("copy");
    let ended = lastseen(&["backup", backup.to_str().unwrap()], data.path());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let tenant = serde_json::from_str::<Value>(&git_activity::lines()[0]).unwrap()["tenant_id"].clone();
    let tenant = tenant.as_str().unwrap();
    let as_of = "2018-05-05T10:00:00Z";
    let overall =
        [COUNTS.as_slice(), &["tenants", "active_tenants", "total_persons", "active_persons"]].concat();
    let of_tenant = format!("/v1/tenants/{tenant}/summary");
    for (arguments, question, names) in [
        (vec![], "/v1/summary".to_owned(), &overall[..]),
        (vec!["--as-of", as_of], format!("/v1/summary?as_of={as_of}"), &overall),
        (vec!["--as-of", as_of, "--window", "7d"], format!("/v1/summary?as_of={as_of}&window=7d"), &overall),
        (vec!["--until", "7001"], "/v1/summary?known_at=7001".to_owned(), &overall),
        (
            vec!["--as-of", as_of, "--types", "login,signup_complete"],
            format!("/v1/summary?as_of={as_of}&types=login,signup_complete"),
            &overall,
        ),
        (vec!["--tenant", tenant, "--as-of", as_of], format!("{of_tenant}?as_of={as_of}"), &COUNTS),
        (vec!["--tenant", tenant, "--until", "7001"], format!("{of_tenant}?known_at=7001"), &COUNTS),
    ] {
        let expected = numbers(&client.ask(&question), names);
        for directory in [data.path(), &backup] {
            assert_eq!(numbers(&replayed(directory, &arguments), names), expected, "{arguments:?}");
        }
    }
    let ended = lastseen(&["replay", "--as-of", as_of], data.path());
    assert!(ended.stdout.contains("active_users"), "{}", ended.stdout);
}

#[test]
fn what_cannot_be_replayed_is_said() {
    let (server, data) = sealing_server("3000");
    assert_eq!(server.terminate().code, Some(0));
    assert_eq!(numbers(&replayed(data.path(), &[]), &["total_users", "position"]), [0, 0]);
    for (arguments, code, words) in [
        (vec!["--until", "1"], 1, "the log ends at position 0"),
        (vec!["--tenant", "acme"], 1, "no event names tenant"),
        (vec!["--until", "1", "--as-of", "2020-01-01T00:00:00Z"], 2, "cannot be used with"),
        (vec!["--as-of", "yesterday"], 2, "RFC 3339"),
        (vec!["--window", "1y"], 2, "36500d"),
        (vec!["--types", "logout"], 2, "comma list"),
    ] {
        let ended = lastseen(&[&["replay"], &arguments[..]].concat(), data.path());
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
    let ended = lastseen(&["replay"], &data.path().join("nowhere"));
    assert_eq!(ended.code, Some(1));
}

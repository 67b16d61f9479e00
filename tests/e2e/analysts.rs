//! The segments of a running server, read by the tools of analysts: DuckDB, Polars and pandas say of them what the API
//! says. Needs a Python with those packages (see tests/README.md); says so and does nothing where there is none.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use lastseen_tests::instant::micros;
use lastseen_tests::{Process, git_activity, project_file, python_with, wait_until_sealed};
use serde_json::Value;

use crate::answers::{sealing_server, walk};

const ENDED_WITHIN: Duration = Duration::from_mins(5);

#[test]
fn other_tools_read_the_segments_and_say_the_same() {
    let Some(python) = python_with("duckdb, polars, pandas, pyarrow") else {
        return;
    };
    let lines = git_activity::lines();
    // All events are in segments: the last one begins where the others end.
    let (server, data) = sealing_server("10000");
    let client = server.client();
    for lines in lines.chunks(1_000) {
        client.post("/v1/events", "application/x-ndjson", lines.join("\n").as_bytes()).ok("a batch");
    }
    wait_until_sealed(data.path(), 80_000);
    let mut command = Command::new(python);
    let script = project_file("tests/analysts/segments.py");
    command.arg(script).arg(data.path().join("segments"));
    let ended = Process::start(command).wait(ENDED_WITHIN);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    let until = said["duckdb"]["events"].as_u64().unwrap();
    assert!(until >= 80_000, "{said}");
    let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for tool in ["duckdb", "polars", "pandas"] {
        let said = &said[tool];
        assert_eq!(said["events"], until, "{tool}");
        for active in said["active"].as_array().unwrap() {
            let (as_of, users) = (active[0].as_str().unwrap(), &active[1]);
            let summary =
                client.ask(&format!("/v1/summary?as_of={as_of}&known_at={until}&provenance=observed"));
            assert_eq!(summary["active_users"], *users, "{tool}, as of {as_of}");
        }
        let last_seen = said["last_seen"].as_array().unwrap();
        assert_eq!(last_seen.len(), 50, "{tool}");
        for user in last_seen {
            let [tenant, user, at] = [0, 1, 2].map(|field| user[field].as_str().unwrap());
            let users = lists.entry(tenant.to_owned()).or_insert_with(|| {
                walk(client, &format!("/v1/tenants/{tenant}/users?known_at={until}&limit=1000"))
            });
            let shown = users.iter().find(|shown| shown["user_id"] == user).unwrap();
            assert_eq!(
                micros(shown["last_seen_at"].as_str().unwrap()),
                micros(at),
                "{tool}: {tenant} {user}"
            );
        }
    }
}

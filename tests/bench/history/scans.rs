//! (4): series that no view holds, by a scan of the segments, beside DuckDB on the same files.

use std::process::Command;
use std::time::Duration;

use lastseen_tests::{Process, python_with};
use serde_json::{Value, json};

use crate::past::History;
use crate::questions::{ask, closed_days};
use crate::serve;

const ANSWERED_WITHIN: Duration = Duration::from_mins(30);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/analysts/series.py");

/// Each of them after a start of its own.
pub(crate) fn measure(history: &History) {
    let python = python_with("duckdb");
    if python.is_none() {
        println!("    no DuckDB here to compare with");
    }
    let (from, to) = closed_days();
    let series = [("60 days of logins", "UTC", "login"), ("60 days in Europe/Berlin", "Europe/Berlin", "")];
    for (name, zone, types) in series {
        let mut path = format!("/v1/active-users?from={from}&to={to}&tz={zone}");
        if !types.is_empty() {
            path = format!("{path}&types={types}");
        }
        let server = serve(&history.data, &[]);
        let ours = ask(&server, name, &path).0.as_secs_f64();
        let answer = server.client().ask(&path);
        server.kill9();
        let Some(python) = &python else { continue };
        let mut command = Command::new(python);
        command.arg(SCRIPT).arg(history.data.join("segments")).args([zone, types]);
        command.args([from, to].map(|date| date.to_string()));
        let theirs = duckdb(command, history.events, &answer);
        println!(
            "    DuckDB, active, wau and mau alone: {:.3} ms, {:.1} times as long",
            theirs * 1_000.0,
            theirs / ours
        );
    }
}

/// Seconds that DuckDB takes for the days of `answer`; it must say the same of them.
fn duckdb(script: Command, events: u64, answer: &Value) -> f64 {
    let ended = Process::start(script).wait(ANSWERED_WITHIN);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said: Value = serde_json::from_str(&ended.stdout).expect("it prints JSON");
    assert_eq!(said["events"], events, "all events are in segments");
    let rows = answer["rows"].as_array().expect("a list of days");
    let rows = rows.iter().map(|day| json!([day["from"], day["active"], day["wau"], day["mau"]]));
    assert_eq!(said["rows"], rows.collect::<Value>(), "DuckDB counts the same");
    said["seconds"].as_f64().expect("a number")
}

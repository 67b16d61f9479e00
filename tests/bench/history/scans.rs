//! (4): series that no view holds, by a scan of the segments, beside DuckDB and `ClickHouse` on the same files.

use std::process::Command;
use std::time::Duration;

use lastseen_tests::{Process, python_with};
use serde_json::{Value, json};

use crate::past::History;
use crate::questions::{ask, closed_days};
use crate::serve;

const ANSWERED_WITHIN: Duration = Duration::from_mins(30);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/bench/history/peers.py");
/// Times that a peer is asked; the best counts. Ours is asked once, as the first question after a start.
const PEERS_ASKED: usize = 2;

/// Each of them after a start of its own.
pub(crate) fn measure(history: &History) {
    let peers = [("DuckDB", "duckdb"), ("ClickHouse", "clickhouse")].map(|(name, engine)| {
        let module = if engine == "clickhouse" { "chdb" } else { engine };
        let python = python_with(module);
        if python.is_none() {
            println!("    no {name} here to compare with");
        }
        (name, engine, python)
    });
    let (from, to) = closed_days();
    let series = [
        ("60 days of logins", "UTC", "login"),
        ("60 days in Europe/Berlin", "Europe/Berlin", ""),
        ("60 days of logins in Asia/Kolkata", "Asia/Kolkata", "login"),
    ];
    for (name, zone, types) in series {
        let mut path = format!("/v1/active-users?from={from}&to={to}&tz={zone}");
        if !types.is_empty() {
            path = format!("{path}&types={types}");
        }
        let server = serve(&history.data, &[]);
        let ours = ask(&server, name, &path).0.as_secs_f64();
        let answer = server.client().ask(&path);
        server.kill9();
        for (peer, engine, python) in &peers {
            let Some(python) = python else { continue };
            let mut command = Command::new(python);
            command.arg(SCRIPT).arg(&history.data).args(["--tz", zone, "--types", types, "--json"]);
            command.args(["--engine", engine, "--repeat", &PEERS_ASKED.to_string()]);
            command.args(["--from", &from.to_string(), "--to", &to.to_string()]);
            let theirs = of_peer(command, engine, &answer);
            println!(
                "    {peer}, active, wau and mau alone: {theirs:.3} s, {:.1} times as long",
                theirs / ours
            );
        }
    }
}

/// Seconds that a peer takes for the days of `answer`; it must say the same of them.
fn of_peer(script: Command, engine: &str, answer: &Value) -> f64 {
    let ended = Process::start(script).wait(ANSWERED_WITHIN);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said: Value = serde_json::from_str(&ended.stdout).expect("it prints JSON");
    let rows = answer["rows"].as_array().expect("a list of days");
    let rows = rows.iter().map(|day| json!([day["from"], day["active"], day["wau"], day["mau"]]));
    assert_eq!(said[engine]["rows"], rows.collect::<Value>(), "{engine} counts the same");
    said[engine]["seconds"].as_f64().expect("a number")
}

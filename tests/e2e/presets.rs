//! Presets of `lastseen backfill`: exports in the formats of products, each with the events, the refused rows and the summary that
//! its product's documents make of it, written by hand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lastseen_tests::{Ended, Process, Server, instant};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{count, empty_server, lastseen, text};

const WITHIN: Duration = Duration::from_mins(1);

/// The results that a case must give.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[expect(dead_code, reason = "it is for those who read the case")]
    about: String,
    arguments: Vec<String>,
    events: Vec<(String, String, String, String, Said)>,
    refused: Vec<Refused>,
    summary: serde_json::Map<String, Value>,
}

/// The things that an event says beside its user and its instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Said {
    confirmed: Option<bool>,
    counts: Option<bool>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    line: u64,
    column: String,
}

/// Type, tenant, user, instant in microseconds (`None`: the start of the run), what it says.
type Event = (String, String, String, Option<i64>, Said);

fn cases() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/presets");
    let directories = |of: &Path| {
        let there = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
        let mut there: Vec<PathBuf> = there.filter(|path| path.is_dir()).collect();
        there.sort();
        there
    };
    directories(&all).iter().flat_map(|product| directories(product)).collect()
}

fn run(server: &Server, case: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(BINARY);
    command
        .arg("backfill")
        .args(arguments)
        .args(["--batch", "b", "--server", server.url()])
        .current_dir(case);
    Process::start(command).wait(WITHIN)
}

/// The counts of a summary, by the names of its lines.
fn counts(ended: &Ended) -> serde_json::Map<String, Value> {
    const NAMES: [(&str, &[&str]); 20] = [
        ("users", &["users"]),
        ("confirmed", &["  confirmed"]),
        ("deleted", &["  deleted"]),
        ("left_out", &["  left out of all numbers"]),
        ("observed", &["  real logins in their rows"]),
        ("skipped", &["users skipped (--skip-where)"]),
        ("logins", &["logins"]),
        ("token_refreshes", &["token refreshes"]),
        ("signups", &["sign-ups"]),
        ("not_counted", &["rows of logins that do not count"]),
        ("refused", &["refused rows"]),
        ("without_offset", &["instants without an offset: read as "]),
        ("dates_first", &["dates alone: their first instant"]),
        ("dates_last", &["dates alone: their last instant"]),
        ("damaged_ids", &["ids that look damaged"]),
        ("created_assumed", &["created when --created says", "created at the earliest other instant"]),
        ("deleted_at_change", &["deleted at the last change"]),
        ("deleted_at_start", &["deleted at the run's start"]),
        ("estimates_at_change", &["estimates at the last change"]),
        ("estimates_at_creation", &["estimates at the creation"]),
    ];
    let mut counts: serde_json::Map<String, Value> = NAMES
        .into_iter()
        .map(|(key, names)| (key.to_owned(), names.iter().map(|name| count(ended, name)).sum::<u64>().into()))
        .collect();
    counts.insert("unseen".to_owned(), count(ended, "no estimate: never seen").into());
    counts
}

/// The events of a server as those of a case.
fn events(server: &Server, since: i64) -> BTreeSet<Event> {
    let answer = server.client().get("/v1/events").text();
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        let at = instant::micros(&text("occurred_at"));
        let said = Said { confirmed: event["confirmed"].as_bool(), counts: event["counts"].as_bool() };
        assert_eq!(event["batch"], "b");
        (text("type"), text("tenant_id"), text("user_id"), Some(at).filter(|at| *at < since), said)
    };
    answer.lines().map(event).collect()
}

fn expected_events(expected: &Expected) -> BTreeSet<Event> {
    let at = |text: &str| (text != "now").then(|| instant::micros(text));
    let event = |(event_type, tenant, user, occurred_at, said): &(String, String, String, String, Said)| {
        (event_type.clone(), tenant.clone(), user.clone(), at(occurred_at), *said)
    };
    expected.events.iter().map(event).collect()
}

fn refused(file: &Path) -> Vec<Refused> {
    let Ok(mut rows) = csv::Reader::from_path(file) else { return Vec::new() };
    let mut refused: Vec<Refused> = rows
        .records()
        .map(|row| {
            let row = row.unwrap();
            Refused { line: row[1].parse().unwrap(), column: row[4].to_owned() }
        })
        .collect();
    refused.sort();
    refused
}

/// Compares one case. Returns what differs.
fn differences(case: &Path) -> Vec<String> {
    let mut expected: Expected =
        serde_json::from_slice(&fs::read(case.join("expected.json")).unwrap()).unwrap();
    let (server, data) = empty_server();
    let rejects = data.path().join("rejects.csv");
    let arguments: Vec<&str> =
        expected.arguments.iter().map(String::as_str).chain(["--rejects", text(&rejects)]).collect();
    let dry = run(&server, case, &[&arguments[..], &["--dry-run"]].concat());
    let since = instant::now();
    let ended = run(&server, case, &arguments);
    let mut differ = Vec::new();
    let code = if expected.refused.is_empty() { 0 } else { 3 };
    if [ended.code, dry.code] != [Some(code); 2] {
        return vec![format!(
            "exit codes {:?} and {:?}\n{}{}",
            ended.code, dry.code, ended.stdout, ended.stderr
        )];
    }
    let [found, wanted] = [events(&server, since), expected_events(&expected)];
    differ.extend(found.difference(&wanted).map(|event| format!("not expected: {event:?}")));
    differ.extend(wanted.difference(&found).map(|event| format!("missing: {event:?}")));
    expected.refused.sort();
    let found = refused(&rejects);
    if found != expected.refused {
        differ.push(format!("refused {found:?}, expected {:?}", expected.refused));
    }
    for (of, summary) in [("run", counts(&ended)), ("dry run", counts(&dry))] {
        for (name, count) in &expected.summary {
            // These two are sums of others.
            if !["rows", "login_rows"].contains(&name.as_str()) && summary[name] != *count {
                differ.push(format!("{name} of the {of}: {}, expected {count}", summary[name]));
            }
        }
    }
    let again = run(&server, case, &arguments);
    if !again.stdout.starts_with("stored 0, ") {
        differ.push(format!("once more: {}", again.stdout));
    }
    if expected.refused.is_empty() {
        differ.extend(compared(&server, case, &expected.arguments));
    }
    differ
}

/// Compares the users table with the server, which has just got it. Returns what is found.
fn compared(server: &Server, case: &Path, arguments: &[String]) -> Option<String> {
    let mut of_users = vec!["backfill", "verify", "--list"];
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        if ["--logins", "--login-where", "--token-refresh-where"].contains(&argument) {
            arguments.next();
        } else {
            of_users.push(argument);
        }
    }
    let mut command = Command::new(BINARY);
    command.args(of_users).args(["--server", server.url()]).current_dir(case);
    let ended = Process::start(command).wait(WITHIN);
    (ended.code != Some(0)).then(|| format!("verify: {}{}", ended.stdout, ended.stderr))
}

#[test]
fn every_preset_makes_of_an_export_what_its_product_means() {
    let cases = cases();
    let products: BTreeSet<&str> =
        cases.iter().map(|case| text(case.parent().unwrap().file_name().map(Path::new).unwrap())).collect();
    let listed = lastseen(&["backfill", "--preset", "none"]).stderr;
    for product in &products {
        assert!(listed.contains(product), "a preset {product}: {listed}");
        let printed = lastseen(&["backfill", "--print-preset", product]);
        assert!(printed.code == Some(0) && printed.stdout.starts_with("[about]\n"), "{product}");
    }
    assert!(products.len() >= 20 && cases.len() >= 50, "{} cases of {}", cases.len(), products.len());
    let mut wrong = Vec::new();
    for case in &cases {
        wrong.extend(
            differences(case).into_iter().map(|difference| format!("{}: {difference}", case.display())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

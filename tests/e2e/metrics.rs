//! `/metrics`: numbers that agree with what was done, in a form that Prometheus takes, for operators only.

#![expect(clippy::float_cmp, reason = "whole numbers of this size are exact")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use lastseen_tests::instant::{DAY, now};
use lastseen_tests::{Answer, Client, Events, Server, eventually, project_file, skip};

use crate::BINARY;
use crate::answers::{empty_server, text};
use crate::keys::{create, until};

/// The samples of an answer by name and labels.
fn samples(answer: &Answer) -> BTreeMap<String, f64> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    answer.text().lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn metrics(client: &Client) -> BTreeMap<String, f64> {
    samples(&client.get("/metrics"))
}

#[test]
fn metrics_count_what_was_done() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, now) = (Events::seeded(4301), now());
    let login = events.login(("acme", "ada"), now);
    client.publish(&[
        login.clone(),
        events.login(("beta", "bob"), now - DAY),
        events.invited(("acme", "eve"), now),
    ]);
    client.publish(&[login]);
    let mut old = events.login(("acme", "old"), now - 60 * DAY);
    client.publish(&[old.clone()]);
    old["occurred_at"] = "yesterday".into();
    client.post_json("/v1/events?on_invalid=skip", &old).ok("a refused event");
    client.get("/v1/nothing");
    client.get("/v1/summary?windows=7d");
    client.ask("/v1/summary");
    let found = metrics(client);
    for (name, expected) in [
        ("lastseen_ready", 1.0),
        ("lastseen_events_stored_total{type=\"login\"}", 3.0),
        ("lastseen_events_stored_total{type=\"user_created\"}", 1.0),
        ("lastseen_events_stored_total{type=\"token_refresh\"}", 0.0),
        ("lastseen_events_duplicate_total", 1.0),
        ("lastseen_events_refused_total", 1.0),
        ("lastseen_log_group_events_sum", 4.0),
        ("lastseen_log_group_events_count", 2.0),
        ("lastseen_log_sync_duration_seconds_count", 2.0),
        ("lastseen_log_position", 4.0),
        ("lastseen_log_unsealed_events", 4.0),
        ("lastseen_log_segments", 0.0),
        ("lastseen_views_lag_events", 0.0),
        ("lastseen_users", 4.0),
        ("lastseen_users_active", 2.0),
        ("lastseen_tenants", 2.0),
        ("lastseen_http_problems_total{code=\"unknown_route\"}", 1.0),
        ("lastseen_http_problems_total{code=\"unknown_parameter\"}", 1.0),
        (
            "lastseen_http_request_duration_seconds_count{method=\"GET\",route=\"/v1/summary\",status=\"2xx\"}",
            1.0,
        ),
        (
            "lastseen_http_request_duration_seconds_count{method=\"GET\",route=\"/v1/summary\",status=\"4xx\"}",
            1.0,
        ),
        (
            "lastseen_http_request_duration_seconds_count{method=\"POST\",route=\"/v1/events\",status=\"2xx\"}",
            4.0,
        ),
        ("lastseen_access_refused_total", 0.0),
        ("lastseen_question_places{kind=\"scan\"}", 1.0),
    ] {
        assert_eq!(found.get(name), Some(&expected), "{name} in {found:#?}");
    }
    assert!(
        found["lastseen_http_connections"] >= 1.0 && found["lastseen_memory_resident_bytes"] > 1e6,
        "{found:?}"
    );
    // No name of a tenant or a user is in it.
    let text = client.get("/metrics").text();
    assert!(["acme", "beta", "ada"].iter().all(|name| !text.contains(name)), "{text}");
}

#[test]
fn metrics_are_for_operators() {
    let data = tempfile::tempdir().unwrap();
    let admin = create(data.path(), &["--name", "prometheus", "--scope", "admin"]);
    let query = create(data.path(), &["--name", "dashboard", "--scope", "query"]);
    let server = Server::start_with(BINARY, data.path(), &["--metrics-listen", "127.0.0.1:0"]);
    let client = server.client();
    until(client, 401);
    client.get("/metrics").problem(401, "key_missing", "metrics without a key");
    client.with_key(&query).get("/metrics").problem(403, "scope_missing", "metrics with another scope");
    let found = metrics(&client.with_key(&admin));
    assert!(found["lastseen_access_refused_total"] >= 2.0, "{found:?}");
    // The listener of the operators needs no key and has nothing else.
    let told = server.stderr();
    let address = told.lines().find(|line| line.contains("health and metrics")).unwrap();
    let address = address.split(['[', ']']).nth(1).unwrap();
    let operators = Client::new(&format!("http://{address}"));
    assert_eq!(metrics(&operators)["lastseen_ready"], 1.0);
    assert_eq!(operators.get("/readyz").status, 200);
    for path in ["/v1/summary", "/v1/events", "/"] {
        operators.get(path).problem(404, "unknown_route", path);
    }
}

/// Runs promtool of Prometheus with this input. `None`: it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<(bool, String)> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            skip(&format!("promtool ({error})"));
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&told).into_owned()))
}

#[test]
fn prometheus_finds_nothing_to_say_against_metrics_and_rules() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(4302).login(("acme", "ada"), now())]);
    client.get("/v1/nothing");
    let shown = client.get("/metrics").text();
    if let Some((good, told)) = promtool(&["check", "metrics"], &shown) {
        assert!(good, "{told}\n{shown}");
    }
    let rules = project_file("docs/monitoring/alerts.yaml");
    if let Some((good, told)) = promtool(&["check", "rules", text(&rules)], "") {
        assert!(good, "{told}");
    }
    let open = client.get_with("/metrics", &[("accept", "application/openmetrics-text; version=1.0.0")]);
    assert!(open.header("content-type").starts_with("application/openmetrics-text"));
    assert!(open.text().ends_with("# EOF\n"));
}

/// Rules and dashboards are of no use if they name what is not there.
#[test]
fn rules_and_the_dashboard_name_metrics_that_are_there() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(4303).login(("acme", "ada"), now())]);
    client.get("/v1/nothing");
    let known: BTreeSet<String> = metrics(client)
        .into_keys()
        .map(|name| name.split('{').next().unwrap().to_owned())
        // It is there while a part stands still.
        .chain(["lastseen_part_standing_still".to_owned()])
        .collect();
    for file in ["alerts.yaml", "grafana/dashboards/lastseen.json"] {
        let path = project_file("docs/monitoring").join(file);
        let content = std::fs::read_to_string(path).unwrap();
        let is_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let named: BTreeSet<&str> = content
            .split(|letter| !is_of_a_name(letter))
            .filter(|word| word.starts_with("lastseen_"))
            .collect();
        assert!(named.len() > 5, "{file}");
        for name in named {
            assert!(known.contains(name), "{file} names {name}");
        }
    }
}

#[test]
fn metrics_go_on_where_a_server_stops_and_starts() {
    let (server, _data) = empty_server();
    server.client().publish(&[Events::seeded(4304).login(("acme", "ada"), now())]);
    let server = server.restart();
    let found = metrics(server.client());
    assert_eq!((found["lastseen_log_position"], found["lastseen_users"]), (1.0, 1.0));
    assert_eq!(found["lastseen_events_stored_total{type=\"login\"}"], 0.0, "since the start");
    let ages = || metrics(server.client())["lastseen_snapshot_age_seconds"];
    let first = ages();
    assert!(eventually(Duration::from_mins(1), || (ages() > first).then_some(())).is_some());
}

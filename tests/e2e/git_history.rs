//! Real history through the real importer and the real server, against answers that other code has computed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lastseen_tests::instant::micros;
use lastseen_tests::{
    Ended, Model, Process, Question, READY_WITHIN, Seeded, Server, eventually, git_activity, instant,
};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{array, comparable, numbers, sealing_server, walk, without_at};
use crate::cluster;

const IMPORTED_WITHIN: Duration = Duration::from_mins(5);

fn import(server: &Server, file: &Path) -> Ended {
    let mut command = Command::new(BINARY);
    command.arg("import").arg(file).args(["--server", server.url()]);
    Process::start(command).wait(IMPORTED_WITHIN)
}

fn assert_imported(ended: &Ended, stored: &str, duplicates: &str) {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected = format!("stored {stored}, duplicates {duplicates}, refused 0 in ");
    assert!(ended.stdout.starts_with(&expected), "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().count(), 1);
}

/// Every number of `truth` that does not need a backfill.
fn assert_truth(server: &Server, truth: &Value) {
    assert_totals(server, truth);
    assert_days(server, "/v1", array(truth, "days_all"));
    let tenant = truth["days_tenant"]["tenant_id"].as_str().unwrap();
    assert_days(server, &format!("/v1/tenants/{tenant}"), array(&truth["days_tenant"], "days"));
    for expected in array(truth, "active_30d_as_of") {
        assert_active(server, expected);
    }
    for expected in array(truth, "last_seen_at") {
        let (tenant, user) = (expected["tenant_id"].as_str().unwrap(), expected["user_id"].as_str().unwrap());
        let found = server.client().ask(&format!("/v1/tenants/{tenant}/users/{user}"));
        assert_eq!(found["last_seen_at"], expected["last_seen_at"], "{tenant} {user}");
    }
}

fn assert_totals(server: &Server, truth: &Value) {
    let summary = server.client().ask("/v1/summary");
    let expected = numbers(truth, &["members", "persons", "tenants"]);
    assert_eq!(numbers(&summary, &["total_users", "total_persons", "tenants"]), expected);
    assert_eq!(numbers(&summary, &["pending_users", "never_seen_users", "deleted_users"]), [0, 0, 0]);
    for (tenant, members) in truth["users_per_tenant"].as_object().unwrap() {
        let summary = server.client().ask(&format!("/v1/tenants/{tenant}/summary"));
        assert_eq!(summary["total_users"], *members, "{tenant}");
    }
}

/// The series, what follows from it alone, and what the rolling count says on the same days. Twice: the second time, the
/// rows were counted before.
fn assert_days(server: &Server, scope: &str, expected: &[Value]) {
    let client = server.client();
    let [from, to] = [expected.first(), expected.last()].map(|day| day.unwrap()["date"].as_str().unwrap());
    for path in [
        format!("{scope}/active-users?from={from}&to={to}"),
        // Another name for the same clock, by a scan of all events: of observed ones, which all of them are.
        format!("{scope}/active-users?from={from}&to={to}&tz=Etc/UTC&provenance=observed"),
        format!("{scope}/active-users?from={from}&to={to}"),
    ] {
        let answer = client.ask(&path);
        let days = array(&answer, "rows");
        assert_eq!(days.len(), expected.len(), "{path}");
        for (day, expected) in days.iter().zip(expected) {
            for (name, known) in
                [("from", "date"), ("to", "date"), ("active", "dau"), ("wau", "wau"), ("mau", "mau")]
            {
                assert_eq!(day[name], expected[known], "{path}: {name} of {day}");
            }
            assert_eq!(day["partial"], false, "{path}: {day}");
        }
        for pair in days.windows(2) {
            let names = ["active", "new", "returning", "resurrected", "dormant"];
            let (before, day) = (numbers(&pair[0], &names), numbers(&pair[1], &names));
            let [active, new, returning, resurrected, dormant] = day[..] else { panic!("{day:?}") };
            assert_eq!(active + dormant, before[0] + new + resurrected, "{path}: {}", pair[1]);
            assert_eq!(active, returning + new + resurrected, "{path}: {}", pair[1]);
        }
    }
    for day in expected.iter().step_by(13) {
        let as_of = format!("{}T23:59:59.999999Z", day["date"].as_str().unwrap());
        let summary = client.ask(&format!("{scope}/summary?as_of={as_of}&window=2591999999999us"));
        assert_eq!(summary["active_users"], day["mau"], "{scope} as of {as_of}");
    }
}

fn assert_active(server: &Server, expected: &Value) {
    let client = server.client();
    let as_of = expected["as_of"].as_str().unwrap();
    for (key, types) in [
        ("all", ""),
        ("all_logins_only", "&types=login,tenant_switch,signup_complete"),
        ("all_refreshes_only", "&types=token_refresh"),
    ] {
        let summary = client.ask(&format!("/v1/summary?window=30d&as_of={as_of}{types}"));
        let names = ["active_users", "active_persons"];
        assert_eq!(numbers(&summary, &names), numbers(&expected[key], &names), "{key} as of {as_of}");
    }
    for (tenant, active) in expected["tenants"].as_object().unwrap() {
        let summary = client.ask(&format!("/v1/tenants/{tenant}/summary?as_of={as_of}"));
        assert_eq!(summary["active_users"], *active, "{tenant} as of {as_of}");
    }
}

/// Every member of every tenant, by a recount of the same lines: through the list, CSV and the lookup.
fn assert_every_member(server: &Server, model: &Model) {
    let client = server.client();
    for tenant in model.tenants() {
        let question = Question {
            at: instant::now(),
            as_of: false,
            window: 30 * instant::DAY,
            types: None,
            observed_only: false,
            everyone: false,
        };
        let expected = model.users(Some(&tenant), &question);
        let path = format!("/v1/tenants/{tenant}/users");
        let mut listed: Vec<_> = walk(client, &format!("{path}?limit=1000")).iter().map(comparable).collect();
        listed.sort_by(|a, b| a["user_id"].as_str().cmp(&b["user_id"].as_str()));
        assert_eq!(listed, expected, "{path}");

        let csv = client.get(&format!("{path}?format=csv"));
        assert_eq!(csv.status, 200);
        let mut rows = csv::Reader::from_reader(csv.body.as_slice());
        let headers = rows.headers().unwrap().clone();
        let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
        let mut seen: Vec<_> = rows
            .records()
            .map(|row| row.unwrap())
            .map(|row| (row[column("user_id")].to_owned(), micros(&row[column("last_seen_at")])))
            .collect();
        seen.sort();
        let of = |user: &Value| {
            (user["user_id"].as_str().unwrap().to_owned(), micros(user["last_seen_at"].as_str().unwrap()))
        };
        assert_eq!(seen, expected.iter().map(of).collect::<Vec<_>>(), "{path} as CSV");

        for users in expected.chunks(1_000) {
            let ids: Vec<_> = users.iter().map(|user| user["user_id"].clone()).collect();
            let found = client
                .post_json(&format!("{path}/lookup"), &serde_json::json!({ "user_ids": ids }))
                .ok(&path);
            assert_eq!(
                array(&found, "users").iter().map(comparable).collect::<Vec<_>>(),
                users,
                "{path}/lookup"
            );
            assert!(array(&found, "unknown").is_empty());
        }
    }
}

fn model() -> Model {
    let events: Vec<Value> =
        git_activity::lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut model = Model::default();
    model.publish(&events);
    assert_eq!(model.events() as u64, git_activity::EVENTS);
    model
}

#[test]
fn imported_history_gives_the_known_answers_also_after_a_restart_and_a_second_import() {
    let (truth, model) = (git_activity::truth(), model());
    let (server, data) = sealing_server("9000");
    let file = git_activity::path("events.ndjson.gz");
    assert_imported(&import(&server, &file), "85,444", "0");
    assert_truth(&server, &truth);
    assert_every_member(&server, &model);
    let summary = |server: &Server| without_at(server.client().ask("/v1/summary"));
    let before = summary(&server);

    let server = server.restart();
    assert_truth(&server, &truth);
    assert_every_member(&server, &model);
    assert_eq!(summary(&server), before);

    assert_imported(&import(&server, &file), "0", "85,444");
    assert_eq!(summary(&server), before, "a second import changes nothing, not even the position");
    server.kill9();
    assert_never_half_an_answer(data.path(), &before);
}

#[test]
fn imported_history_gives_the_known_answers_over_a_cluster_also_when_the_copy_was_deleted() {
    let (truth, model) = (git_activity::truth(), model());
    let (cluster, data) = (cluster::emulator(3), tempfile::tempdir().unwrap());
    let server = cluster::serve(&cluster, data.path(), &["--segment-events", "9000"]);
    let file = git_activity::path("events.ndjson.gz");
    assert_imported(&import(&server, &file), "85,444", "0");
    assert_truth(&server, &truth);
    assert_every_member(&server, &model);
    let summary = |server: &Server| without_at(server.client().ask("/v1/summary"));
    let before = summary(&server);
    assert_eq!(server.terminate().code, Some(0));

    cluster::delete_copy(data.path());
    let server = cluster::serve(&cluster, data.path(), &["--segment-events", "9000"]);
    assert_truth(&server, &truth);
    assert_every_member(&server, &model);
    assert_eq!(summary(&server), before, "positions are the cluster's");
    assert_imported(&import(&server, &file), "0", "85,444");
    assert_eq!(summary(&server), before, "a second import changes nothing");
}

/// From the moment it listens, the server answers all it has, or that it is not ready yet.
fn assert_never_half_an_answer(data: &Path, complete: &Value) {
    let server = Server::listening(BINARY, data);
    let client = server.client();
    let ready = eventually(READY_WITHIN, || {
        assert_eq!(client.get("/healthz").status, 200, "alive from the beginning");
        // In this order: the server may become ready between the two.
        let nobody = client.get("/v1/tenants/nobody/users");
        let summary = client.get("/v1/summary");
        if summary.status == 200 {
            assert_eq!(&without_at(summary.json()), complete);
            return Some(());
        }
        summary.problem(503, "not_ready", "before the log is recovered");
        nobody.problem(503, "not_ready", "whether there is such a tenant is not known yet");
        None
    });
    assert!(ready.is_some(), "{}", server.stderr());
    assert_eq!(client.get("/readyz").status, 200);
}

#[test]
fn shuffled_history_gives_the_same_answers() {
    let mut lines = git_activity::lines();
    Seeded::new(202).shuffle(&mut lines);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shuffled.ndjson");
    fs::write(&file, lines.join("\n")).unwrap();

    let (server, _data) = sealing_server("4000");
    assert_imported(&import(&server, &file), "85,444", "0");
    let (truth, model) = (git_activity::truth(), model());
    assert_truth(&server, &truth);
    assert_every_member(&server, &model);
    let server = server.restart();
    assert_truth(&server, &truth);
}

//! The server's description of itself, and clients of other languages that believe it: it is valid, its
//! examples have their schemas, no request that schemathesis makes of it gets an answer that it does not tell, and a
//! TypeScript client that was generated from it compiles and works. The official SDKs of CloudEvents publish in each
//! mode. Needs the packages of tests/clients (see
//! tests/README.md); says so and does nothing where they are not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lastseen_tests::instant::{DAY, micros, now};
use lastseen_tests::{
    Ended, Events, Process, Server, eventually, node_packages, path_segment, project_file, python_with,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::BINARY;
use crate::answers::{empty_server, text};
use crate::keys::{create, until};

const WITHIN: Duration = Duration::from_mins(5);

fn source(file: &str) -> PathBuf {
    project_file("tests/clients").join(file)
}

/// Runs a command to its end, which must be good.
fn run(mut command: Command) -> Ended {
    command.env_remove("LASTSEEN_KEY");
    let ended = Process::start(command).wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    ended
}

/// A server with something for each name in a path.
fn server() -> (Server, TempDir) {
    let (server, data) = empty_server();
    let (mut events, now) = (Events::seeded(4401), now());
    let mut of_batch = events.login(("8127", "bob"), now - DAY);
    of_batch["batch"] = "run".into();
    server.client().publish(&[of_batch, events.login(("8127", "usr_01JK"), now)]);
    (server, data)
}

const EVERY_SCOPE: [&str; 10] = [
    "--scope", "publish", "--scope", "query", "--scope", "replay", "--scope", "backfill", "--scope", "admin",
];

/// The server with a key that has every scope.
fn with_key((server, data): (Server, TempDir)) -> (Server, TempDir, String) {
    let key = create(data.path(), &[&["--name", "all"][..], &EVERY_SCOPE].concat());
    until(server.client(), 401);
    let server = server.with_key(&key);
    (server, data, key)
}

#[test]
fn the_description_is_valid_and_its_examples_have_their_schemas() {
    let Some(python) = python_with("jsonschema, openapi_spec_validator") else { return };
    let (server, data) = server();
    let described = server.client().get("/openapi.json");
    let file = data.path().join("openapi.json");
    fs::write(&file, &described.body).unwrap();
    let mut command = Command::new(python);
    command.arg(source("description.py")).arg(&file);
    let said: Value = serde_json::from_str(&run(command).stdout).unwrap();
    assert_eq!(said["operations"], lastseen_server::routes().len(), "{said}");
    assert!(said["examples"].as_u64() > Some(15), "{said}");
    // A page in a browser loads nothing but its own style.
    let page = server.client().get("/docs");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    for route in lastseen_server::routes() {
        assert!(page.text().contains(route.path), "{}", route.path);
    }
}

/// Lets schemathesis ask the server whatever its description allows and forbids.
fn fuzz(server: &Server, data: &Path, arguments: &[&str]) {
    let Some(python) = python_with("schemathesis") else { return };
    let work = data.join("schemathesis");
    fs::create_dir(&work).unwrap();
    let mut command = Command::new(python);
    command.args(["-c", "import schemathesis.cli; schemathesis.cli.schemathesis()"]);
    command.arg("--config-file").arg(source("schemathesis.toml"));
    command.args(["run", "--no-color", &format!("{}/openapi.json", server.url())]);
    command.args(arguments).current_dir(&work);
    let said = run(command).stdout;
    // All but the route that it has the description from.
    let tested = format!("Tested: {}", lastseen_server::routes().len() - 1);
    assert!(said.contains(&tested), "{said}");
    assert_eq!(server.client().get("/readyz").status, 200);
}

#[test]
fn schemathesis_finds_no_answer_that_is_not_described_on_an_open_server() {
    let (server, data) = server();
    // The description asks for a key, and an open server for none.
    fuzz(
        &server,
        data.path(),
        &["--exclude-checks", "ignored_auth,missing_required_header,negative_data_rejection"],
    );
}

#[test]
fn schemathesis_finds_no_answer_that_is_not_described_on_a_server_with_keys() {
    let (server, data, key) = with_key(server());
    fuzz(&server, data.path(), &["--header", &format!("Authorization: Bearer {key}")]);
}

#[test]
fn a_client_generated_for_typescript_compiles_and_works() {
    let Some(packages) = node_packages() else { return };
    let (server, _data, key) = with_key(empty_server());
    // Beside the packages, where Node.js looks for them.
    let work = TempDir::new_in(packages.parent().unwrap()).unwrap();
    for file in ["client.ts", "tsconfig.json", "package.json"] {
        fs::copy(source(file), work.path().join(file)).unwrap();
    }
    fs::write(work.path().join("openapi.json"), server.client().get("/openapi.json").body).unwrap();
    let tool = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(packages.join(".bin").join(name));
        command.args(arguments).current_dir(work.path());
        run(command)
    };
    tool("openapi-typescript", &["openapi.json", "-o", "lastseen.ts"]);
    tool("tsc", &["-p", "tsconfig.json"]);
    let mut command = Command::new("node");
    command.args([text(&work.path().join("client.js")), server.url(), &key]);
    assert_eq!(run(command).stdout.trim(), "typed answers: ok");
    let found = server.client().ask("/v1/summary");
    assert_eq!((&found["active_users"], &found["pending_users"]), (&json!(1), &json!(1)));
}

/// The same events in each mode, some twice, some bad: what an SDK was answered, and what the server has then.
fn assert_published(server: &Server, answers: &Value, users: &[(&str, &str)]) {
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 11, "{answers:?}");
    for of_mode in answers[..10].chunks(5) {
        for (answer, (stored, duplicates)) in of_mode.iter().zip([(1, 0), (1, 0), (1, 0), (0, 1)]) {
            assert_eq!(answer[0], 200, "{answer}");
            assert_eq!(
                (&answer[1]["stored"], &answer[1]["duplicates"]),
                (&json!(stored), &json!(duplicates))
            );
        }
        let refused = &of_mode[4];
        assert_eq!((&refused[0], &refused[1]["code"]), (&json!(422), &json!("invalid_events")), "{refused}");
        assert_eq!(
            (&refused[1]["errors"][0]["field"], &refused[1]["errors"][0]["code"]),
            (&json!("subject"), &json!("placeholder"))
        );
    }
    assert_eq!((&answers[10][0], &answers[10][1]["stored"]), (&json!(200), &json!(3)), "{}", answers[10]);
    for (user, last_seen_type) in users {
        let found = server.client().ask(&format!("/v1/tenants/acme/users/{}", path_segment(user)));
        assert_eq!(found["last_seen_type"], *last_seen_type, "{user}: {found}");
        assert_eq!(micros(found["last_seen_at"].as_str().unwrap()), micros(CLOUD_EVENT_TIME), "{user}");
    }
    let events = server.client().get("/v1/events?types=token_refresh").text();
    assert!(events.lines().all(|line| line.contains("\"session_id\":\"s")), "{events}");
    assert_eq!(events.lines().count(), 2, "{events}");
    let summary = server.client().ask("/v1/summary?as_of=2026-10-20");
    assert_eq!((&summary["total_users"], &summary["active_users"]), (&json!(5), &json!(3)), "{summary}");
}

const CLOUD_EVENT_TIME: &str = "2026-10-18T16:00:00.123+00:00";

#[test]
fn the_python_sdk_of_cloud_events_publishes_in_each_mode() {
    let Some(python) = python_with("cloudevents.core") else { return };
    let (server, _data) = empty_server();
    let mut command = Command::new(python);
    command.arg(source("cloud_events.py")).args([server.url(), CLOUD_EVENT_TIME]);
    let answers = serde_json::from_str(&run(command).stdout).unwrap();
    assert_published(
        &server,
        &answers,
        &[("ada", "login"), ("Zo\u{eb} \"100%\" \u{7528}", "token_refresh"), ("bob", "login")],
    );
}

/// Runs a program that publishes some kinds of events and then thousands, and says which: the server is killed again and again
/// meanwhile, and has each of them once.
fn publishes_through_kills(program: impl FnOnce(&Server) -> Command) {
    let data = TempDir::new().unwrap();
    let mut server = Server::start(BINARY, data.path());
    let mut process = Process::start(program(&server));
    for reached in ["many", "published 1000", "published 3000", "published 5000"] {
        let is_there = || (process.stdout().contains(reached) || process.has_ended()).then_some(());
        assert!(eventually(WITHIN, is_there).is_some(), "{}{}", process.stdout(), process.stderr());
        server = server.crash_and_restart_in_place();
    }
    let ended = process.wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let said: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    let mut ids: Vec<String> = serde_json::from_value(said["ids"].clone()).unwrap();
    let replayed = server.client().get("/v1/events").text();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    let mut stored: Vec<String> = replayed.lines().map(id).collect();
    ids.sort_unstable();
    stored.sort_unstable();
    assert_eq!(stored, ids);
}

const PUBLISHED: &str = "6000";

#[test]
fn the_client_of_python_loses_nothing_while_the_server_is_killed() {
    let Some(python) = python_with("json") else { return };
    publishes_through_kills(|server| {
        let mut command = Command::new(python);
        command.arg(source("python_client.py")).arg(project_file("clients")).args([server.url(), PUBLISHED]);
        command
    });
}

#[test]
fn the_client_of_typescript_loses_nothing_while_the_server_is_killed() {
    let Some(packages) = node_packages() else { return };
    let work = TempDir::new_in(packages.parent().unwrap()).unwrap();
    for file in ["typescript_client.ts", "package.json"] {
        fs::copy(source(file), work.path().join(file)).unwrap();
    }
    fs::copy(project_file("clients/typescript/lastseen.ts"), work.path().join("lastseen.ts")).unwrap();
    let options = fs::read_to_string(source("tsconfig.json")).unwrap();
    fs::write(work.path().join("tsconfig.json"), options.replace("client.ts", "typescript_client.ts"))
        .unwrap();
    let mut compiler = Command::new(packages.join(".bin").join("tsc"));
    compiler.args(["-p", "tsconfig.json"]).current_dir(work.path());
    run(compiler);
    publishes_through_kills(|server| {
        let (program, vectors) =
            (work.path().join("typescript_client.js"), project_file("clients/vectors.json"));
        let mut command = Command::new("node");
        command.args([text(&program), server.url(), text(&vectors), PUBLISHED]);
        command
    });
}

#[test]
fn the_javascript_sdk_of_cloud_events_publishes_in_each_mode() {
    let Some(packages) = node_packages() else { return };
    let (server, _data) = empty_server();
    let work = TempDir::new_in(packages.parent().unwrap()).unwrap();
    fs::copy(source("cloud_events.mjs"), work.path().join("cloud_events.mjs")).unwrap();
    let mut command = Command::new("node");
    command.args([text(&work.path().join("cloud_events.mjs")), server.url(), CLOUD_EVENT_TIME]);
    let answers = serde_json::from_str(&run(command).stdout).unwrap();
    assert_published(&server, &answers, &[("ada", "login"), ("eve", "token_refresh"), ("bob", "login")]);
}

#[test]
fn a_cloud_event_of_another_notation_or_tenant_is_refused() {
    let (server, data) = empty_server();
    let client = &server.client().clone();
    for media_type in
        ["application/cloudevents+avro", "application/cloudevents-batch+protobuf", "application/cloudevents"]
    {
        let headers = [("content-type", media_type), ("ce-specversion", "1.0")];
        let answer = client.send("POST", "/v1/events", &headers, b"{}").unwrap();
        answer.problem(415, "unsupported_media_type", media_type);
    }
    // In binary mode the body is data, whatever it is and however it is encoded.
    let time = CLOUD_EVENT_TIME.replace("+00:00", "Z");
    let of = |tenant: &'static str| {
        [
            ("content-type", "image/png"),
            ("ce-specversion", "1.0"),
            ("ce-id", "7"),
            ("ce-source", "/"),
            ("ce-type", "dev.lastseen.login.v1"),
            ("ce-subject", "ada"),
            ("ce-tenantid", tenant),
            ("ce-time", time.as_str()),
        ]
    };
    let stored = client.send("POST", "/v1/events", &of("acme"), b"\xff\x00").unwrap();
    assert_eq!((stored.status, &stored.json()["stored"]), (200, &json!(1)), "{}", stored.text());
    let empty = client.post("/v1/events", "application/cloudevents-batch+json", b"[]");
    assert_eq!((empty.status, &empty.json()["stored"]), (200, &json!(0)), "{}", empty.text());
    let of_batch = || {
        let mut headers = of("acme").to_vec();
        headers[2] = ("ce-id", "8");
        headers.push(("ce-backfillbatch", "run"));
        client.send("POST", "/v1/events", &headers, b"").unwrap()
    };
    assert_eq!(of_batch().status, 200);
    assert_eq!(client.send("DELETE", "/v1/backfills/run?events=1", &[], b"").unwrap().status, 202);
    let problem = of_batch().problem(409, "batch_retracted", "a dead batch");
    assert_eq!(problem["errors"][0]["field"], "backfillbatch");
    let of_native = client.post("/v1/events", "application/json", br#"{"specversion":"1.0"}"#);
    of_native.problem(422, "invalid_events", "attributes in JSON of our own");
    let key = create(data.path(), &["--name", "acme", "--scope", "publish", "--tenant", "acme"]);
    until(client, 401);
    let bound = server.with_key(&key);
    let foreign = bound.client().send("POST", "/v1/events", &of("beta"), b"").unwrap();
    let problem = foreign.problem(422, "invalid_events", "a tenant that the key is not for");
    let fault = &problem["errors"][0];
    assert_eq!((&fault["field"], &fault["code"]), (&json!("tenantid"), &json!("tenant_not_allowed")));
}

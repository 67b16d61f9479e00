//! The server's description of itself, and clients of other languages that believe it: it is valid, its
//! examples have their schemas, no request that schemathesis makes of it gets an answer that it does not tell, and a
//! TypeScript client that was generated from it compiles and works. Needs the packages of tests/clients (see
//! tests/README.md); says so and does nothing where they are not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lastseen_tests::instant::{DAY, now};
use lastseen_tests::{Ended, Events, Process, Server, node_packages, python_with};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answers::{empty_server, text};
use crate::keys::{create, until};

const WITHIN: Duration = Duration::from_mins(5);

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients").join(file)
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

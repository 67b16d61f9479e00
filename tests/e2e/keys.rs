//! API keys from `lastseen keys` to the server: made, listed, revoked and expired while it runs, kept as hashes, used by
//! commands, told in the audit log.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lastseen_tests::instant::now;
use lastseen_tests::{Client, Events, Process, Server, eventually};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{empty_server, lastseen, text, write};
use crate::slow_peers::connect;

/// Far more than a server takes to look at its keys again.
const WITHIN: Duration = Duration::from_mins(1);

/// Makes a key in a data directory; its text.
pub(crate) fn create(data: &Path, arguments: &[&str]) -> String {
    let ended = lastseen(&[&["keys", "create", "--data", text(data)], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let key = ended.stdout.trim().to_owned();
    assert!(key.starts_with("ls_") && key.lines().count() == 1, "{}", ended.stdout);
    assert!(!ended.stderr.contains(&key), "{}", ended.stderr);
    key
}

/// Waits until the server answers a question of this client with `status`.
pub(crate) fn until(client: &Client, status: u16) {
    let reached = eventually(WITHIN, || (client.get("/v1/summary").status == status).then_some(()));
    assert!(reached.is_some(), "no answer with {status}");
}

/// Waits until the server asks for keys and knows this one, and so those that were created before it.
pub(crate) fn until_known(client: &Client, key: &str) {
    until(client, 401);
    let client = client.with_key(key);
    let known = eventually(WITHIN, || (client.get("/v1/summary").status != 401).then_some(()));
    assert!(known.is_some(), "the key stays unknown");
}

fn list(data: &Path) -> Vec<Value> {
    let ended = lastseen(&["keys", "list", "--format", "json", "--data", text(data)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The lines of the audit log with this action.
fn audited(data: &Path, action: &str) -> Vec<Value> {
    let file = if action == "access_refused" { "refused.ndjson" } else { "audit.ndjson" };
    let text = fs::read_to_string(data.join(file)).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["action"] == action).collect()
}

#[test]
fn the_first_key_closes_a_server_that_runs_and_it_stays_closed() {
    let (server, data) = empty_server();
    let open = server.client().clone();
    assert_eq!(open.get("/v1/summary").status, 200);
    let key = create(data.path(), &["--name", "dashboard", "--scope", "query"]);
    until(&open, 401);
    let missing = open.get("/v1/summary");
    missing.problem(401, "key_missing", "without a key");
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    assert_eq!(open.with_key(&key).get("/v1/summary").status, 200);
    // Health needs no key, and tells no numbers.
    assert_eq!(open.get("/healthz").status, 200);
    let ready = open.ask("/readyz");
    assert_eq!(ready, serde_json::json!({"status": "ready"}));

    // Neither a damaged file nor none opens it again.
    let file = data.path().join("keys.json");
    let kept = fs::read(&file).unwrap();
    fs::write(&file, "{}").unwrap();
    let told = eventually(WITHIN, || server.stderr().contains("the keys before stay in force").then_some(()));
    assert!(told.is_some(), "{}", server.stderr());
    fs::remove_file(&file).unwrap();
    open.get("/v1/summary").problem(401, "key_missing", "without a keys file");
    assert_eq!(open.with_key(&key).get("/v1/summary").status, 200);
    fs::write(&file, kept).unwrap();

    // A restart goes on with the keys, and so do last uses.
    let server = server.restart();
    assert_eq!(server.client().get("/v1/summary").status, 401);
    assert_eq!(server.client().with_key(&key).get("/v1/summary").status, 200);
    let listed = list(data.path());
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&"dashboard".into(), &"active".into()));
    assert!(listed[0]["last_used_at"].is_string(), "{listed:?}");
}

#[test]
fn keys_are_revoked_and_expire_while_the_server_runs() {
    let (server, data) = empty_server();
    let client = server.client();
    let lasting = create(data.path(), &["--name", "lasting", "--scope", "query"]);
    let revoked = create(data.path(), &["--name", "revoked", "--scope", "query"]);
    let expiring = create(data.path(), &["--name", "expiring", "--scope", "query", "--expires", "10s"]);
    until_known(client, &expiring);
    let ended = lastseen(&["keys", "revoke", "revoked", "--data", text(data.path())]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    until(&client.with_key(&revoked), 401);
    client.with_key(&revoked).get("/v1/summary").problem(401, "key_invalid", "revoked");
    until(&client.with_key(&expiring), 401);
    client.with_key(&expiring).get("/v1/summary").problem(401, "key_expired", "expired");
    assert_eq!(client.with_key(&lasting).get("/v1/summary").status, 200);
    let states: Vec<_> = list(data.path()).iter().map(|key| key["state"].clone()).collect();
    assert_eq!(states, ["active", "revoked", "expired"]);
    let again = lastseen(&["keys", "revoke", "revoked", "--data", text(data.path())]);
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert!(again.stderr.contains("no key in force"), "{}", again.stderr);
    // Its name is free again.
    create(data.path(), &["--name", "revoked", "--scope", "query"]);
    assert_eq!(audited(data.path(), "key_created").len(), 4);
    assert_eq!(audited(data.path(), "key_revoked")[0]["key_name"], "revoked");
}

#[test]
fn the_key_is_nowhere_but_with_its_holder() {
    let (server, data) = empty_server();
    let key = create(data.path(), &["--name", "api", "--scope", "query"]);
    until(server.client(), 401);
    let wrong = format!("{}{}", &key[..key.len() - 4], "0000");
    for _ in 0..8 {
        server.client().with_key(&wrong).get("/v1/summary").problem(401, "key_invalid", "a wrong key");
    }
    server.client().with_key(&key).get("/v1/events").problem(403, "scope_missing", "another scope");
    let ended = server.terminate();
    assert!(ended.stderr.contains("an access was refused"), "{}", ended.stderr);
    for secret in [&key[14..], &wrong[14..], &key[14..40]] {
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
        for entry in fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_file() {
                let content = fs::read(&entry).unwrap();
                let is_there = content.windows(secret.len()).any(|found| found == secret.as_bytes());
                assert!(!is_there, "{}", entry.display());
            }
        }
    }
    let refused = audited(data.path(), "access_refused");
    let count = |reason: &str| {
        let of = refused.iter().filter(|line| line["reason"] == reason);
        of.map(|line| line["count"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((count("key_invalid"), count("scope_missing")), (8, 1), "{refused:?}");
    assert!(
        count("key_missing") >= 1 && refused.iter().all(|line| line["address"] == "127.0.0.1"),
        "{refused:?}"
    );
}

#[test]
fn commands_take_a_key_from_a_file_or_the_environment() {
    let (server, data) = empty_server();
    let key = create(data.path(), &["--name", "import", "--scope", "publish"]);
    until(server.client(), 401);
    let key_file = write(&data, "import.key", format!("{key}\n"));
    let events =
        write(&data, "events.ndjson", Events::seeded(4001).login(("acme", "ada"), now()).to_string());
    let import = ["import", text(&events), "--server", server.url(), "--retry-for", "0s"];
    let ended = lastseen(&import);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("key_missing"), "{}", ended.stderr);
    let ended = lastseen(&[&import[..], &["--key-file", text(&key_file)]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = lastseen(&[&import[..], &["--key-file", text(&events)]].concat());
    assert!(ended.code == Some(1) && ended.stderr.contains("has no API key"), "{}", ended.stderr);
    // `Process` clears the environment, so the variable is set by a shell.
    let mut shell = Command::new("/bin/sh");
    shell.args([
        "-c",
        "LASTSEEN_KEY=$(cat \"$1\"); export LASTSEEN_KEY; shift; exec \"$@\"",
        "sh",
        text(&key_file),
        BINARY,
    ]);
    let ended = Process::start({
        shell.args(import);
        shell
    })
    .wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_server_starts_with_keys_that_can_be_read_or_not_at_all() {
    let data = tempfile::tempdir().unwrap();
    let start = |arguments: &[&str]| {
        let mut all = vec!["--data", text(data.path())];
        all.extend(arguments);
        let all: Vec<_> = all.into_iter().map(std::ffi::OsStr::new).collect();
        Server::launch(BINARY, &all)
    };
    // Without keys, only this machine.
    let ended = start(&["--listen", "0.0.0.0:0"]).wait(WITHIN);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("lastseen keys create"), "{}", ended.stderr);
    let elsewhere = data.path().join("elsewhere.json");
    let ended = start(&["--listen", "127.0.0.1:0", "--keys", text(&elsewhere)]).wait(WITHIN);
    assert!(ended.code == Some(1) && ended.stderr.contains("elsewhere.json"), "{}", ended.stderr);
    fs::write(&elsewhere, "[1]").unwrap();
    let ended = start(&["--listen", "127.0.0.1:0", "--keys", text(&elsewhere)]).wait(WITHIN);
    assert!(ended.code == Some(1) && ended.stderr.contains("is no keys file"), "{}", ended.stderr);
    fs::remove_file(&elsewhere).unwrap();
    // With keys, any address, and any name.
    let key = create(data.path(), &["--name", "api", "--scope", "query", "--keys", text(&elsewhere)]);
    let server = start(&["--listen", "0.0.0.0:0", "--keys", text(&elsewhere)]);
    let url = eventually(WITHIN, || {
        server.stdout().trim().rsplit(' ').next().map(str::to_owned).filter(|url| !url.is_empty())
    });
    let client = Client::new(&url.unwrap().replace("0.0.0.0", "127.0.0.1")).with_key(&key);
    until(&client, 200);
    for host in ["localhost", "activity.example", "10.0.0.1:8080"] {
        assert_eq!(client.get_with("/v1/summary", &[("host", host)]).status, 200, "{host}");
    }
}

#[test]
fn behind_a_proxy_the_public_host_is_served_and_its_client_is_told() {
    let data = tempfile::tempdir().unwrap();
    let key = create(data.path(), &["--name", "api", "--scope", "query"]);
    let options = ["--public-url", "https://activity.example", "--trusted-proxy", "127.0.0.0/8"];
    let server = Server::start_with(BINARY, data.path(), &options);
    let client = server.client().with_key(&key);
    for host in ["activity.example", "ACTIVITY.example:443", "localhost", "127.0.0.1:1"] {
        assert_eq!(client.get_with("/v1/summary", &[("host", host)]).status, 200, "{host}");
    }
    for host in ["evil.example", "activity.example.evil.example", "10.0.0.1"] {
        client.get_with("/v1/summary", &[("host", host)]).problem(421, "foreign_host", host);
        // A probe comes by the address of the machine.
        assert_eq!(client.get_with("/healthz", &[("host", host)]).status, 200, "{host}");
        assert_eq!(client.get_with("/readyz", &[("host", host)]).status, 200, "{host}");
    }
    let forwarded = [("x-forwarded-for", "203.0.113.1, 198.51.100.7")];
    server.client().get_with("/v1/summary", &forwarded).problem(401, "key_missing", "through a proxy");
    assert_eq!(server.terminate().code, Some(0));
    let refused = audited(data.path(), "access_refused");
    assert_eq!(refused[0]["address"], "198.51.100.7", "{refused:?}");

    // Without keys too, if the operator says so; pages of its own may then ask.
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(BINARY, data.path(), &options[..2]);
    let ask = |headers: &[(&str, &str)]| server.client().get_with("/v1/summary", headers).status;
    assert_eq!(ask(&[("host", "activity.example")]), 200);
    assert_eq!(ask(&[("host", "activity.example"), ("origin", "https://activity.example")]), 200);
    assert_eq!(ask(&[("host", "activity.example"), ("origin", "https://evil.example")]), 403);
    assert_eq!(ask(&[("host", "evil.example")]), 421);
}

#[test]
fn a_server_listens_on_several_addresses_and_names() {
    let data = tempfile::tempdir().unwrap();
    let arguments =
        ["--data", text(data.path()), "--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0,localhost:0"];
    let server = Server::launch(BINARY, &arguments.map(std::ffi::OsStr::new));
    let lines =
        eventually(WITHIN, || Some(server.stdout()).filter(|lines| lines.lines().count() >= 3)).unwrap();
    for line in lines.lines() {
        let url = line.strip_prefix("lastseen listening on ").unwrap();
        let healthy = eventually(WITHIN, || (Client::new(url).get("/healthz").status == 200).then_some(()));
        assert!(healthy.is_some(), "{url}");
    }
    let arguments = ["--data", text(data.path()), "--listen", "localhost"];
    let ended = Server::launch(BINARY, &arguments.map(std::ffi::OsStr::new)).wait(WITHIN);
    assert!(ended.code == Some(2) && ended.stderr.contains("expected a host and a port"), "{}", ended.stderr);
}

#[test]
fn a_key_has_its_limits_and_others_have_their_own() {
    let (server, data) = empty_server();
    let limited =
        create(data.path(), &["--name", "limited", "--scope", "query", "--requests-per-second", "5"]);
    let publisher =
        create(data.path(), &["--name", "publisher", "--scope", "publish", "--events-per-second", "1000"]);
    let key = write(&data, "publisher.key", &publisher);
    let free = create(data.path(), &["--name", "free", "--scope", "query"]);
    until_known(server.client(), &free);
    let [limited, publisher, free] = [limited, publisher, free].map(|key| server.client().with_key(&key));
    let answers: Vec<_> = (0..50).map(|_| limited.get("/v1/summary")).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!((20..50).contains(&refused.len()), "{} of 50 were refused", refused.len());
    for answer in refused {
        answer.problem(429, "rate_limited", "too many requests");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert!((0..50).all(|_| free.get("/v1/summary").status == 200), "another key has no limit");
    until(&limited, 200);

    // A batch of two seconds passes, and is paid back.
    let mut events = Events::seeded(4005);
    let mut batch =
        || Value::from((0..2_000).map(|_| events.login(("acme", "ada"), now())).collect::<Vec<_>>());
    publisher.post_json("/v1/events", &batch()).ok("the first batch");
    let next = batch();
    let refused = publisher.post_json("/v1/events", &next);
    refused.problem(429, "rate_limited", "events of three seconds");
    assert_eq!(free.ask("/v1/summary")["position"], 2_000, "nothing is stored");
    let stored =
        eventually(WITHIN, || (publisher.post_json("/v1/events", &next).status == 200).then_some(()));
    assert!(stored.is_some());
    // A command waits as long as it is told to.
    let file = write(&data, "many.ndjson", {
        let lines = batch();
        lines.as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
    });
    let ended = lastseen(&[
        "import",
        text(&file),
        "--server",
        server.url(),
        "--batch-events",
        "500",
        "--key-file",
        text(&key),
    ]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let listed = list(data.path());
    assert_eq!(listed[0]["limits"]["requests_per_second"], 5, "{listed:?}");
}

#[test]
fn a_key_has_so_many_costly_questions_at_once() {
    let (server, data) = empty_server();
    let mut events = Events::seeded(4006);
    for _ in 0..8 {
        let batch: Vec<_> = (0..10_000).map(|_| events.login(("acme", "ada"), now())).collect();
        server.client().publish(&batch);
    }
    let of = |name, more: &[&str]| {
        create(data.path(), &[&["--name", name, "--scope", "query,replay"][..], more].concat())
    };
    let (bounded, free) = (of("bounded", &["--costly-at-once", "1"]), of("free", &[]));
    until_known(server.client(), &free);
    // A replay that nobody reads: it is on its way as long as its connection.
    let mut replay = connect(&server);
    let request =
        format!("GET /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {bounded}\r\n\r\n");
    replay.write_all(request.as_bytes()).unwrap();
    let mut first = [0; 12];
    replay.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let [bounded, free] = [bounded, free].map(|key| server.client().with_key(&key));
    let costly = [
        "/v1/summary?known_at=7",
        "/v1/summary?as_of=2024-01-01",
        "/v1/retention",
        "/v1/tenants?as_of=2024-01-01",
        "/v1/tenants/acme/users/ada/events",
        "/v1/tenants/acme/users?format=csv",
        "/v1/events?limit=1",
    ];
    for path in costly {
        let problem = bounded.get(path).problem(429, "rate_limited", path);
        assert!(problem["detail"].as_str().unwrap().contains("costly questions"), "{problem}");
        assert_eq!(free.get(path).status, 200, "{path} with another key");
    }
    for cheap in ["/v1/summary", "/v1/tenants/acme/users/ada", "/v1/tenants/acme/users"] {
        assert_eq!(bounded.get(cheap).status, 200, "{cheap}");
    }
    drop(replay);
    for path in costly {
        let answered = eventually(WITHIN, || (bounded.get(path).status == 200).then_some(()));
        assert!(answered.is_some(), "{path} goes on to be refused");
    }
}

/// The server of another user must be able to read files that root writes.
#[test]
fn keys_stay_readable_for_the_server_where_root_changes_them() {
    use std::os::unix::fs::{MetadataExt, chown};
    const SERVER: u32 = 12_345;
    let data = tempfile::tempdir().unwrap();
    if chown(data.path(), Some(SERVER), Some(SERVER)).is_err() {
        // Only root gives files away, and only root can come into this.
        return;
    }
    create(data.path(), &["--name", "one", "--scope", "query"]);
    create(data.path(), &["--name", "two", "--scope", "query"]);
    for name in ["keys.json", "keys.json.lock", "audit.ndjson", "audit.lock"] {
        let found = fs::metadata(data.path().join(name)).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (SERVER, SERVER, 0o600), "{name}");
    }
}

#[test]
fn scripts_make_a_key_once_and_get_it_in_a_file() {
    use std::os::unix::fs::PermissionsExt;
    let data = tempfile::tempdir().unwrap();
    let out = data.path().join("job.key");
    let create = ["keys", "create", "--data", text(data.path()), "--name", "job", "--scope", "publish"];
    let create = |more: &[&str]| lastseen(&[&create[..], more].concat());
    let first = create(&["--out", text(&out), "--if-absent"]);
    assert_eq!((first.code, first.stdout.as_str()), (Some(0), ""), "{}", first.stderr);
    let key = fs::read_to_string(&out).unwrap();
    assert!(key.starts_with("ls_") && key.ends_with('\n'), "{key}");
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    // Again: nothing is made, and the file stays.
    assert_eq!(create(&["--out", text(&out), "--if-absent"]).code, Some(0));
    assert_eq!((fs::read_to_string(&out).unwrap(), list(data.path()).len()), (key, 1));
    // A key without its file is no success.
    fs::write(&out, "").unwrap();
    let lost = create(&["--out", text(&out), "--if-absent"]);
    assert!(lost.code == Some(1) && lost.stderr.contains("revoke it first"), "{}", lost.stderr);
    // A file that is there is not written over, and then no key is made.
    let other = ["keys", "create", "--data", text(data.path()), "--name", "other", "--scope", "publish"];
    let refused = lastseen(&[&other[..], &["--out", text(&out)]].concat());
    assert!(refused.code == Some(1) && refused.stderr.contains("job.key"), "{}", refused.stderr);
    assert_eq!(list(data.path()).len(), 1);
}

#[test]
fn keys_that_make_no_sense_are_bad_usage_or_refused() {
    let data = tempfile::tempdir().unwrap();
    let create = ["keys", "create", "--data", text(data.path())];
    for (arguments, code, told) in [
        (&["--name", "a"][..], 2, "--scope"),
        (&["--scope", "query"], 2, "--name"),
        (&["--name", "a", "--scope", "write"], 2, "publish, query, replay, backfill, admin"),
        (&["--name", "a", "--scope", "query", "--expires", "soon"], 2, "90d"),
        (&["--name", "a", "--scope", "query", "--expires", "2020-01-01"], 1, "still to come"),
        (&["--name", "", "--scope", "query"], 1, "name"),
        (&["--name", "a", "--scope", "query,backfill", "--tenant", "acme"], 1, "span all tenants"),
        (&["--name", "a", "--scope", "query", "--tenant", "null"], 1, "ids of tenants"),
    ] {
        let ended = lastseen(&[&create[..], arguments].concat());
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
    assert!(!data.path().join("keys.json").exists());
    let ended = lastseen(&["keys", "list", "--data", text(data.path())]);
    assert!(ended.stdout.contains("no keys file"), "{}", ended.stdout);
}

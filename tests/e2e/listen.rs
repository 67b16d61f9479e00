//! `lastseen listen`: deliveries as providers write them become events once; what is not signed, fails or is unknown does not.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lastseen_tests::instant::{MINUTE, now, rfc3339};
use lastseen_tests::{Answer, Client, Process, Server, Signal, eventually, path_segment};
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::BINARY;
use crate::answers::{empty_server, write};
use crate::publisher::stored;

const WITHIN: Duration = Duration::from_mins(1);
const SECRET: &str = "a-secret-of-the-provider";
const CLERK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const SOURCES: &str = r#"
    [[source]]
    kind = "auth0"
    secret_file = "secret"
    tenant = "shop"

    [[source]]
    kind = "auth0"
    path = "/auth0/organizations"
    secret_file = "secret"
    tenant = "shop-2"
    organizations = true

    [[source]]
    kind = "clerk"
    secret_file = "clerk.secret"
    tenant = "shop"
    organizations = true

    [[source]]
    kind = "entra"
    secret_file = "secret"

    [[source]]
    kind = "keycloak"
    secret_file = "secret"

    [[source]]
    kind = "okta"
    secret_file = "secret"
    tenant = "shop"

    [[source]]
    kind = "supabase"
    secret_file = "secret"
    tenant = "shop"
"#;

/// The command, and its clients: for deliveries, and for metrics.
struct Listening {
    process: Process,
    client: Client,
    metrics: Client,
    _files: TempDir,
}

impl Listening {
    fn start(server: &str, more: &[&str]) -> Self {
        let files = tempfile::tempdir().unwrap();
        write(&files, "secret", format!("{SECRET}\n"));
        write(&files, "clerk.secret", CLERK);
        let sources = write(&files, "sources.toml", SOURCES);
        let mut command = Command::new(BINARY);
        command.arg("listen").arg(sources).args([
            "--server",
            server,
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
        ]);
        let process = Process::start(mended(command, more));
        let urls = eventually(WITHIN, || {
            let said = process.stdout();
            let of = |what: &str| Some(said.lines().find_map(|line| line.split_once(what))?.1.to_owned());
            of("deliveries on ").zip(of("metrics on "))
        });
        let (url, metrics) = urls.unwrap_or_else(|| panic!("{}", process.stderr()));
        Self { process, client: Client::new(&url), metrics: Client::new(&metrics), _files: files }
    }

    fn deliver(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.client.send("POST", path, headers, body.as_bytes()).unwrap()
    }

    /// With the secret or the signature of its provider. A message of Clerk has an id that follows from its content.
    fn signed(&self, path: &str, body: &str) -> Answer {
        let provider = path.split('/').nth(1).unwrap();
        match provider {
            "clerk" => {
                let id = format!("msg_{}", hex(sign(&key(b"id"), body.as_bytes()).as_ref()));
                let headers = svix(&id, now() / 1_000_000, body);
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                self.deliver(path, &headers, body)
            }
            "keycloak" => {
                let tag = hex(sign(&key(SECRET.as_bytes()), body.as_bytes()).as_ref());
                self.deliver(path, &[("x-keycloak-signature", &tag)], body)
            }
            _ => self.deliver(path, &[("authorization", &format!("Bearer {SECRET}"))], body),
        }
    }

    /// The entries of a path, by outcome.
    fn entries(&self, path: &str) -> BTreeMap<String, u64> {
        let text = self.metrics.get("/metrics").text();
        let begin = format!("lastseen_listen_entries_total{{source=\"{path}\",outcome=\"");
        let of_path = text.lines().filter_map(|line| line.strip_prefix(&begin)?.split_once("\"} "));
        of_path.map(|(outcome, count)| (outcome.to_owned(), count.parse().unwrap())).collect()
    }
}

fn mended(mut command: Command, more: &[&str]) -> Command {
    command.args(more);
    command
}

fn key(secret: &[u8]) -> Key {
    Key::new(HMAC_SHA256, secret)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn svix(id: &str, seconds: i64, body: &str) -> [(&'static str, String); 3] {
    let secret = STANDARD.decode(CLERK.trim_start_matches("whsec_")).unwrap();
    let tag = STANDARD.encode(sign(&key(&secret), format!("{id}.{seconds}.{body}").as_bytes()));
    [
        ("svix-id", id.to_owned()),
        ("svix-timestamp", seconds.to_string()),
        ("svix-signature", format!("v1,bm90aGluZw== v1,{tag}")),
    ]
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/webhooks").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The bodies of a provider, and of what became of their entries: published, no event, unknown.
fn deliveries() -> Vec<(&'static str, Vec<String>, [u64; 3])> {
    let lines = |name: &str| fixture(name).lines().map(str::to_owned).collect::<Vec<_>>();
    vec![
        // Lines, as a stream sends them.
        ("/auth0", vec![fixture("auth0.ndjson")], [5, 7, 1]),
        ("/clerk", lines("clerk.ndjson"), [7, 2, 1]),
        ("/entra", vec![fixture("entra.json")], [2, 4, 1]),
        ("/keycloak", vec![fixture("keycloak.json")], [5, 5, 1]),
        ("/okta", vec![fixture("okta.json")], [6, 5, 1]),
        ("/supabase", lines("supabase.ndjson"), [4, 3, 2]),
    ]
}

#[test]
fn deliveries_of_every_provider_become_events_once() {
    let (server, _data) = empty_server();
    let listening = Listening::start(server.url(), &[]);
    for _ in 0..2 {
        // Again, as a provider does that has not heard the answer.
        for (path, bodies, _) in deliveries() {
            for body in bodies {
                listening.signed(path, &body).ok(path);
            }
        }
    }
    for (path, _, [published, no_event, unknown]) in deliveries() {
        let found = listening.entries(path);
        let found = ["published", "no_event", "unknown_kind", "unfit"].map(|outcome| found[outcome]);
        assert_eq!(found, [2 * published, 2 * no_event, 2 * unknown, 0], "{path}");
    }
    let events = stored(server.client());
    assert_eq!(events.len(), 30);
    assert!(events.values().all(|count| *count == 1), "a delivery that comes again adds nothing");

    assert_users(server.client());
    // The organisation is the tenant, where that is asked for.
    listening.signed("/auth0/organizations", &fixture("auth0.ndjson")).ok("auth0");
    let seen = |tenant: &str, name: &str| user(server.client(), tenant, name).1;
    assert_eq!(seen("org_Kp2Xn4Vb6Tz8Qr0W", "auth0|650c1d2e3f4a5b6c7d8e9f02"), "login");
    assert_eq!(seen("shop-2", "auth0|650c1d2e3f4a5b6c7d8e9f01"), "token_refresh");
    // Each kind of a source once.
    let told = || listening.process.stderr().matches("an unknown kind").count();
    assert!(eventually(WITHIN, || (told() == 8).then_some(())).is_some(), "{}", listening.process.stderr());
}

/// Last seen, its type, and the status.
fn user(client: &Client, tenant: &str, name: &str) -> (String, String, String) {
    let found = client.ask(&format!("/v1/tenants/{}/users/{}", path_segment(tenant), path_segment(name)));
    let text = |name: &str| found[name].as_str().unwrap_or("null").to_owned();
    (text("last_seen_at"), text("last_seen_type"), text("status"))
}

/// Of each provider the same story: a login at 16:00, a refresh at 16:30, failures and others after it.
fn assert_users(client: &Client) {
    let user = |tenant: &str, name: &str| user(client, tenant, name);
    let refreshed = ("2026-01-06T16:30:00Z", "token_refresh");
    for (tenant, name, (at, event_type)) in [
        ("shop", "auth0|650c1d2e3f4a5b6c7d8e9f01", refreshed),
        ("shop", "00u1abcd2EFGH3ijkl4X", refreshed),
        ("72f988bf-86f1-41af-91ab-2d7cd011db47", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", refreshed),
        ("shop", "8a0d1c9e-3f4b-4c2a-9b1d-5e6f7a8b9c0d", refreshed),
        ("shop", "d0c9b8a7-f6e5-4d4c-8b3a-291817161514", refreshed),
        // Clerk tells of new sessions alone.
        ("shop", "user_2AbCdEfGhIjKlMnOpQrStUvWxY1", ("2026-01-06T16:00:00.123Z", "login")),
        (
            "org_2AbCdEfGhIjKlMnOpQrStUvWxY9",
            "user_2AbCdEfGhIjKlMnOpQrStUvWxY1",
            ("2026-01-06T16:10:00.123Z", "login"),
        ),
        ("shop", "auth0|650c1d2e3f4a5b6c7d8e9f02", ("2026-01-06T16:40:00Z", "login")),
        ("shop", "1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e5f", ("2026-01-06T16:01:40.123Z", "signup_complete")),
    ] {
        let found = user(tenant, name);
        assert_eq!((found.0.as_str(), found.1.as_str()), (at, event_type), "{name}");
    }
    for (name, status) in [
        ("00u9new8USER7id6X", "pending"),
        ("00u5left4USER3id2X", "deleted"),
        ("22222222-3333-4444-8555-666666666666", "pending"),
        ("99999999-8888-4777-8666-555555555555", "deleted"),
        ("cccccccc-0000-4000-8000-00000000000c", "deleted"),
        ("user_2AbCdEfGhIjKlMnOpQrStUvWxY8", "deleted"),
        // Deactivated, and activated again.
        ("00u6back4USER3id2X", "never_seen"),
    ] {
        assert_eq!(user("shop", name).2, status, "{name}");
    }
    assert_eq!(user("org_2AbCdEfGhIjKlMnOpQrStUvWxY9", "user_2AbCdEfGhIjKlMnOpQrStUvWxY7").2, "deleted");
    // Administrators, services and nobody are no users.
    for nobody in [
        "auth0|administrator",
        "unknown",
        "00uADMIN",
        "service-account",
        "5d6c7b8a-1111-4222-8333-444455556666",
    ] {
        let path = format!("/v1/tenants/shop/users/{}", path_segment(nobody));
        client.get(&path).problem(404, "unknown_user", nobody);
    }
}

#[test]
fn nothing_comes_in_without_the_secret_of_its_provider() {
    let (server, _data) = empty_server();
    let listening = Listening::start(server.url(), &[]);
    let refused = |answer: Answer, what: &str| drop(answer.problem(401, "not_signed", what));
    for (path, bodies, _) in deliveries() {
        let body = &bodies[0];
        refused(listening.deliver(path, &[], body), "nothing");
        for value in [
            "",
            "Bearer ",
            "Bearer a-secret-of-the-provideR",
            "a-secret-of-the-provider-and-more",
            "a-secret-of-the-provide",
        ] {
            refused(
                listening.deliver(path, &[("authorization", value), ("x-keycloak-signature", value)], body),
                value,
            );
        }
    }
    // A signature of another body, of long ago, of the future, and with another id.
    let login = fixture("clerk.ndjson").lines().nth(1).unwrap().to_owned();
    let seconds = now() / 1_000_000;
    let send = |headers: &[(&'static str, String); 3], body: &str| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        listening.deliver("/clerk", &headers, body)
    };
    refused(send(&svix("msg_1", seconds, "{}"), &login), "another body");
    for apart in [-301, 310] {
        refused(send(&svix("msg_1", seconds + apart, &login), &login), "another time");
    }
    let mut other_id = svix("msg_1", seconds, &login);
    other_id[0].1 = "msg_2".to_owned();
    refused(send(&other_id, &login), "another id");
    let tag = hex(sign(&key(SECRET.as_bytes()), b"{}").as_ref());
    refused(
        listening.deliver("/keycloak", &[("x-keycloak-signature", &tag)], &fixture("keycloak.json")),
        "another body",
    );
    assert!(stored(server.client()).is_empty());
    // The same with the right one; the names of the standard are as good.
    let standard =
        svix("msg_1", seconds, &login).map(|(name, value)| (name.replace("svix", "webhook"), value));
    let headers: Vec<_> = standard.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    listening.deliver("/clerk", &headers, &login).ok("signed");
    assert_eq!(stored(server.client()).len(), 1);
    let metrics = listening.metrics.get("/metrics").text();
    assert!(metrics.contains("lastseen_listen_refused_deliveries_total{source=\"/clerk\"} 10"), "{metrics}");
    assert!(!metrics.contains(SECRET) && !listening.process.stderr().contains(SECRET));
}

#[test]
fn bad_deliveries_are_told_and_good_entries_beside_bad_ones_count() {
    let (server, _data) = empty_server();
    let listening = Listening::start(server.url(), &[]);
    listening.signed("/nothing", "{}").problem(404, "unknown_source", "a path of nobody");
    listening.signed("/okta", "{").problem(400, "invalid_json", "half an object");
    listening.signed("/okta", "{}").problem(400, "invalid_json", "a hook without events");
    listening.signed("/auth0", "[1]").problem(400, "invalid_json", "no objects");
    let secret = [("authorization", SECRET)];
    let got = |method: &str, headers: &[(&str, &str)]| {
        listening.client.send(method, "/okta", headers, b"").unwrap()
    };
    got("GET", &secret).problem(405, "method_not_allowed", "a question of nobody");
    // Okta asks before its first delivery.
    let asks = [secret[0], ("x-okta-verification-challenge", "a challenge")];
    assert_eq!(got("GET", &asks).ok("a challenge")["verification"], "a challenge");
    got("GET", &asks[1..]).problem(401, "not_signed", "a challenge of somebody else");
    let large = format!("[{}]", " ".repeat(5 << 20));
    listening.signed("/auth0", &large).problem(413, "body_too_large", "5 MiB");

    let at = rfc3339(now() - MINUTE);
    let log = |id: u8, user: Value, at: &str| json!({ "data": { "type": "s", "log_id": id.to_string(), "user_id": user, "date": at } });
    let body = json!([
        log(1, json!("ada"), &at),
        log(2, json!(""), &at),
        log(3, json!("null"), &at),
        log(4, json!("ada"), "yesterday"),
        { "data": { "type": "s", "user_id": "ada", "date": at } },
        log(5, json!("bob"), &at),
    ]);
    assert_eq!(listening.signed("/auth0", &body.to_string()).ok("two good ones")["published"], 2);
    assert_eq!(listening.entries("/auth0")["unfit"], 4);
    assert_eq!(stored(server.client()).len(), 2);
}

#[test]
fn a_delivery_is_answered_once_it_is_safe() {
    // A port on which nobody answers, until a server does.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let url = format!("http://{address}");
    let outbox = tempfile::tempdir().unwrap();
    let body = fixture("auth0.ndjson");
    let without = Listening::start(&url, &[]);
    without.signed("/auth0", &body).problem(503, "try_later", "the server is away");
    let with = Listening::start(&url, &["--outbox", outbox.path().to_str().unwrap()]);
    with.signed("/okta", &fixture("okta.json")).ok("it is in the outbox");
    // Killed, it has lost nothing.
    with.process.kill9();
    let data = tempfile::tempdir().unwrap();
    drop(silent);
    let server = Server::start_with(BINARY, data.path(), &["--listen", &address]);
    let mut again = Listening::start(&url, &["--outbox", outbox.path().to_str().unwrap()]);
    let have = |events: usize| (stored(server.client()).len() == events).then_some(());
    // Those of both: what was not acknowledged was still being tried.
    assert!(eventually(WITHIN, || have(12)).is_some());
    without.signed("/auth0", &body).ok("the server is there");
    assert!(have(12).is_some(), "a delivery that comes again adds nothing");
    again.process.signal(Signal::TERM);
    let ended = again.process.wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn sources_that_make_no_sense_are_named() {
    let files = tempfile::tempdir().unwrap();
    write(&files, "secret", SECRET);
    write(&files, "short", "secret");
    let told = |text: &str| {
        let sources = write(&files, "sources.toml", text);
        let mut command = Command::new(BINARY);
        command.arg("listen").arg(&sources);
        let ended = Process::start(command).wait(WITHIN);
        assert_eq!(ended.code, Some(1), "{text}: {}", ended.stderr);
        ended.stderr
    };
    let source = |more: &str| format!("[[source]]\n{more}");
    for (text, expected) in [
        (String::new(), "missing field `source`"),
        (source("kind = \"gitlab\"\nsecret_file = \"secret\""), "unknown variant `gitlab`"),
        (source("kind = \"okta\"\nsecret_file = \"secret\""), "okta names no tenant"),
        (source("kind = \"okta\"\ntenant = \"\"\nsecret_file = \"secret\""), "the tenant of okta"),
        (source("kind = \"okta\"\ntenant = \"a\"\nsecret_file = \"none\""), "the secret of okta"),
        (source("kind = \"okta\"\ntenant = \"a\"\nsecret_file = \"short\""), "at least 16 characters"),
        (
            source("kind = \"okta\"\ntenant = \"a\"\nsecret_file = \"secret\"\norganizations = true"),
            "okta names no organizations",
        ),
        (source("kind = \"clerk\"\ntenant = \"a\"\nsecret_file = \"secret\""), "begins with whsec_"),
        (
            source("kind = \"entra\"\npath = \"entra\"\nsecret_file = \"secret\""),
            "expected one such as /entra",
        ),
        (source("kind = \"entra\"\nsecret_file = \"secret\"\ntenants = \"a\""), "unknown field `tenants`"),
        (
            source("kind = \"entra\"\nsecret_file = \"secret\"\n").repeat(2),
            "two sources have the path /entra",
        ),
    ] {
        let told = told(&text);
        assert!(told.contains(expected) && told.contains("sources.toml"), "{told}");
    }
}

//! The form of answers, whatever they say: how long they may be kept, how they are packed, which instant they hold for, which
//! instants can be asked for, and how many faults one answer lists.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use lastseen_tests::instant::{DAY, HOUR, SECOND, micros, now, rfc3339};
use lastseen_tests::{Answer, Client, Events, Server, eventually, git_activity};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answers::{array, empty_server, numbers, position, sealing_server, without_at};

const NDJSON: &str = "application/x-ndjson";

/// Users of three tenants, one of them with a batch, most of them long ago.
fn server() -> (Server, TempDir, Events) {
    let (server, data) = sealing_server("7");
    let (mut events, then) = (Events::seeded(2901), micros("2023-12-20T12:00:00Z"));
    let mut batch = vec![events.login(("beta", "bob"), then), events.login(("gamma", "gus"), now())];
    for user in 0..40 {
        batch.push(events.login(("acme", &format!("u{user}")), then - user * HOUR));
    }
    let mut guess = events.estimated(("acme", "guess"), then);
    guess["batch"] = "run".into();
    batch.push(guess);
    server.client().publish(&batch);
    (server, data, events)
}

/// A question whose answer only retractions change.
const EARLIER: &str = "/v1/summary?as_of=2024-01-01&known_at=5";

/// Questions whose answer only new events and retractions change.
const FIXED: [&str; 22] = [
    EARLIER,
    "/v1/summary?as_of=2024-01-01T00:00:00Z",
    "/v1/summary?as_of=2024-01-01",
    "/v1/summary?as_of=2024-01-01&compare=previous&window=7d",
    "/v1/summary?as_of=2024-01-01&types=login",
    "/v1/summary?as_of=2024-01-01&known_at=100",
    "/v1/summary?as_of=2024-01-01&known_at=2030-01-01",
    "/v1/summary?as_of=2100-01-01",
    "/v1/tenants/acme/summary?as_of=2024-01-01",
    "/v1/tenants?as_of=2024-01-01",
    "/v1/tenants?as_of=2024-01-01&sort=tenant_id&limit=1",
    "/v1/tenants/acme/users?as_of=2024-01-01",
    "/v1/tenants/acme/users?as_of=2024-01-01&seen_since=2023-12-19&seen_before=2023-12-20T00:00:00Z",
    "/v1/active-users?from=2023-12-01&to=2024-01-31",
    "/v1/active-users?from=2023-12-01&to=2024-01-31&tz=Europe/Berlin&types=login",
    "/v1/tenants/acme/active-users?from=2023-12-01&to=2024-01-31&period=week",
    "/v1/tenants/acme/active-users?from=2023-12-01&to=2024-01-31&period=month",
    "/v1/retention?from=2023-12-01&to=2024-01-31",
    "/v1/tenants/acme/retention?from=2023-12-01&to=2024-01-31&period=month",
    "/v1/backfills",
    "/v1/backfills/run",
    "/v1/tenants/acme/users/u1/events",
];

/// Questions whose answer time alone may change, and answers that are sent piece by piece.
const OF_NOW: [&str; 21] = [
    "/v1/summary",
    "/v1/summary?known_at=5",
    "/v1/summary?as_of=90d",
    "/v1/summary?as_of=2024-01-01&known_at=1h",
    "/v1/tenants/acme/summary?window=7d",
    "/v1/tenants",
    "/v1/tenants?as_of=90d",
    "/v1/tenants/acme/users",
    "/v1/tenants/acme/users?as_of=2024-01-01&seen_since=4000d",
    "/v1/tenants/acme/users?as_of=2024-01-01&seen_before=1h",
    "/v1/tenants/acme/users?as_of=2024-01-01&format=csv",
    "/v1/tenants/acme/users?as_of=2024-01-01&format=excel",
    "/v1/tenants/acme/users/u1",
    "/v1/active-users",
    "/v1/active-users?to=2024-01-31",
    "/v1/active-users?from=2024-01-01&to=2033-01-01&period=month",
    "/v1/retention",
    "/v1/tenants/acme/retention?from=2024-01-01&to=2030-12-31",
    "/v1/events?until=3",
    "/healthz",
    "/readyz",
];

fn tag(client: &Client, path: &str) -> String {
    let answer = client.get(path);
    answer.ok(path);
    assert_eq!(answer.header("cache-control"), "no-cache", "{path}: kept, and asked about each time");
    let tag = answer.header("etag").to_owned();
    assert!(tag.starts_with("W/\"") && tag.ends_with('"') && tag.len() > 6, "{path}: {tag:?}");
    tag
}

#[test]
fn a_fixed_answer_is_asked_about_by_its_tag() {
    let (server, _data, _) = server();
    let client = server.client();
    let mut tags = BTreeSet::new();
    for path in FIXED {
        let (tag, answer) = (tag(client, path), client.get(path));
        assert_eq!(answer.header("etag"), tag, "{path}");
        assert_eq!(answer.header("vary"), "accept-encoding", "{path}");
        let strong = tag.trim_start_matches("W/");
        for held in [&tag, strong, "*", &format!("\"x\", {tag}"), &format!("{strong} , \"y\"")] {
            let again = client.get_with(path, &[("if-none-match", held)]);
            assert_eq!((again.status, again.text()), (304, String::new()), "{path} {held}");
            assert_eq!(
                (again.header("etag"), again.header("cache-control")),
                (tag.as_str(), "no-cache"),
                "{path}"
            );
        }
        for other in ["\"x\"", "", &tag.replace('"', ""), &format!("W/\"x{}\"", strong.trim_matches('"'))] {
            let again = client.get_with(path, &[("if-none-match", other)]);
            assert_eq!(again.status, 200, "{path} {other}");
        }
        tags.insert(tag);
    }
    assert_eq!(tags.len(), FIXED.len(), "one tag, one question");
    // The same after a restart: whoever holds an answer may go on holding it.
    let server = server.restart();
    assert_eq!(FIXED.map(|path| tag(server.client(), path)).into_iter().collect::<BTreeSet<_>>(), tags);
}

#[test]
fn an_answer_of_now_is_not_kept() {
    let (server, _data, _) = server();
    for path in OF_NOW {
        for held in [None, Some(("if-none-match", "*"))] {
            let answer = server.client().get_with(path, held.as_slice());
            assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{path}");
            assert_eq!(answer.header("etag"), "", "{path}");
            assert_eq!(answer.header("vary"), "accept-encoding", "{path}");
        }
    }
    for (path, body) in [
        ("/v1/events", Events::seeded(2902).login(("acme", "new"), now())),
        ("/v1/tenants/acme/users/lookup", json!({"user_ids": ["u1"]})),
    ] {
        let answer = server.client().post_json(path, &body);
        answer.ok(path);
        assert_eq!((answer.header("cache-control"), answer.header("etag")), ("no-store", ""), "{path}");
    }
}

#[test]
fn a_problem_is_not_kept() {
    let (server, _data, _) = server();
    for path in [
        "/v1/nothing",
        "/v1/tenants/nobody/summary?as_of=2024-01-01",
        "/v1/tenants/acme/users/nobody",
        "/v1/backfills/nobody",
        "/v1/summary?as_of=2024-01-01&x=1",
        "/v1/summary?as_of=2024-01-01&min_position=1000",
    ] {
        for held in [None, Some(("if-none-match", "*"))] {
            let answer = server.client().get_with(path, held.as_slice());
            assert!(answer.status >= 400, "{path}: {}", answer.text());
            assert_eq!((answer.header("cache-control"), answer.header("etag")), ("no-store", ""), "{path}");
        }
    }
}

#[test]
fn a_new_event_and_a_retraction_change_every_tag() {
    let (server, _data, mut events) = server();
    let client = server.client();
    let tags = || FIXED.map(|path| tag(client, path));
    let assert_changed = |before: &[String], why: &str, but: Option<&str>| {
        for (path, before) in FIXED.iter().zip(before).filter(|(path, _)| Some(**path) != but) {
            let again = client.get_with(path, &[("if-none-match", before)]);
            assert_eq!(again.status, 200, "{path}: {why}");
            assert_ne!(again.header("etag"), before, "{path}: {why}");
        }
    };
    let before = tags();
    client.publish(&[events.login(("acme", "late"), micros("2023-12-24T12:00:00Z"))]);
    assert_changed(&before, "a late event", Some(EARLIER));
    let at = FIXED.iter().position(|path| *path == EARLIER).unwrap();
    let again = client.get_with(EARLIER, &[("if-none-match", &before[at])]);
    assert_eq!(again.status, 304, "what was on record at a position stays that");
    assert_eq!(client.ask("/v1/summary?as_of=2024-01-01")["total_users"], 43);
    let before = tags();
    let answer = client.send("DELETE", "/v1/backfills/run?events=1", &[], &[]).unwrap();
    assert_eq!((answer.status, answer.header("cache-control"), answer.header("etag")), (202, "no-store", ""));
    let gone = eventually(Duration::from_mins(1), || {
        (client.ask("/v1/backfills/run")["state"] == "retracted").then_some(())
    });
    assert!(gone.is_some(), "{}", server.stderr());
    assert_changed(&before, "a retraction", None);
    assert_eq!(client.ask("/v1/summary?as_of=2024-01-01")["total_users"], 42);
}

/// Answers by path and tag.
type Met = Mutex<BTreeMap<(String, String), Value>>;

/// Asks, and compares with what came with the same tag before; whether something did.
fn meet(client: &Client, path: &str, met: &Met) -> bool {
    let answer = client.get(path);
    let mut body = answer.ok(path);
    // The instant and "now" in a cursor go on; they are no part of what is told.
    for only_here in ["at", "next_cursor"] {
        body.as_object_mut().unwrap().remove(only_here);
    }
    let of = (path.to_owned(), answer.header("etag").to_owned());
    let mut met = met.lock().unwrap();
    let is_known = met.get(&of).is_some_and(|known| {
        assert_eq!(*known, body, "{of:?}");
        true
    });
    if !is_known {
        met.insert(of, body);
    }
    is_known
}

#[test]
fn one_tag_never_stands_for_two_answers_while_events_come() {
    const EVENTS: i64 = 40;
    let (server, _data, mut events) = server();
    let client = server.client();
    // Batches are told as of now, also where the views are of an earlier position.
    let paths: Vec<&str> = FIXED.into_iter().filter(|path| !path.contains("backfills")).collect();
    let (stop, met, again) = (AtomicBool::new(false), Met::default(), AtomicUsize::new(0));
    let ask_all = || {
        let known = paths.iter().filter(|path| meet(client, path, &met)).count();
        again.fetch_add(known, Ordering::Relaxed);
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    ask_all();
                }
            });
        }
        for event in 0..EVENTS {
            let at = micros("2023-12-24T12:00:00Z") + event * SECOND;
            client.publish(&[
                events.login(("acme", "u1"), at),
                events.login(("acme", &format!("n{event}")), at),
            ]);
            ask_all();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(again.into_inner() > 0, "no tag was met twice");
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut text).unwrap();
    text
}

fn unpacked(answer: &Answer) -> Vec<u8> {
    match answer.header("content-encoding") {
        "" => answer.body.clone(),
        "gzip" => gunzip(&answer.body),
        "zstd" => zstd::decode_all(answer.body.as_slice()).unwrap(),
        other => panic!("{other}"),
    }
}

/// The headers that must be the same however the answer is packed.
const SAME: [&str; 7] = [
    "content-type",
    "content-disposition",
    "cache-control",
    "etag",
    "vary",
    "lastseen-position",
    "lastseen-until",
];

#[test]
fn answers_are_packed_as_the_request_accepts_it() {
    const LINES: usize = 12_000;
    let (server, _data) = sealing_server("2500");
    let client = server.client();
    for lines in git_activity::lines()[..LINES].chunks(1_000) {
        client.post("/v1/events", NDJSON, lines.join("\n").as_bytes()).ok("a batch");
    }
    let tenant = client.ask("/v1/tenants?sort=-total_users")["tenants"][0]["tenant_id"].clone();
    let users = format!("/v1/tenants/{}/users", tenant.as_str().unwrap());
    let list = format!("{users}?as_of=2024-01-01&limit=1000");
    let [csv, excel] = ["csv", "excel"].map(|format| format!("{users}?as_of=2024-01-01&format={format}"));
    let series = "/v1/active-users?from=2016-01-01&to=2017-12-31&types=login";
    for (path, least) in [
        (list.as_str(), 10_000),
        (&csv, 10_000),
        (&excel, 10_000),
        (series, 10_000),
        ("/v1/events", 2_000_000),
        ("/v1/events?types=login&after=77", 100_000),
    ] {
        let plain = client.get(path);
        assert_eq!((plain.status, plain.header("content-encoding")), (200, ""), "{path}");
        assert!(plain.body.len() > least, "{path}: {}", plain.body.len());
        for (accepted, encoding) in [
            ("gzip", "gzip"),
            ("zstd", "zstd"),
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip;q=1.0, zstd;q=0.5", "gzip"),
            ("*", "zstd"),
            ("identity", ""),
            ("br, deflate", ""),
            ("gzip;q=0, zstd;q=0", ""),
            ("", ""),
        ] {
            let answer = client.get_with(path, &[("accept-encoding", accepted)]);
            assert_eq!(
                (answer.status, answer.header("content-encoding")),
                (200, encoding),
                "{path} {accepted}"
            );
            if path != series {
                assert_eq!(unpacked(&answer), plain.body, "{path} {accepted}");
            } else if let Ok(series) = serde_json::from_slice(&unpacked(&answer)) {
                assert_eq!(without_at(series), without_at(plain.json()), "{path} {accepted}");
            } else {
                panic!("{path} {accepted}: {}", answer.text());
            }
            assert!(encoding.is_empty() || answer.body.len() * 3 < plain.body.len(), "{path} {accepted}");
            for name in SAME {
                assert_eq!(answer.header(name), plain.header(name), "{name} of {path} {accepted}");
            }
        }
    }
    // Whoever holds an answer in one form holds it in every form.
    let tag = client.get_with(&list, &[("accept-encoding", "zstd")]).header("etag").to_owned();
    let again = client.get_with(&list, &[("accept-encoding", "gzip"), ("if-none-match", &tag)]);
    assert_eq!((again.status, again.body.len(), again.header("content-encoding")), (304, 0, ""));
}

#[test]
fn small_answers_and_problems_are_sent_as_they_are_and_look_ups_are_packed() {
    let (server, _data, _) = server();
    let (client, gzip) = (server.client(), [("accept-encoding", "gzip, zstd")]);
    for path in ["/healthz", "/v1/summary", "/v1/backfills", "/v1/summary?x=1", "/v1/nothing"] {
        let answer = client.get_with(path, &gzip);
        assert_eq!(answer.header("content-encoding"), "", "{path}");
        answer.json();
    }
    let headers = [("accept-encoding", "gzip"), ("content-type", "application/json")];
    let ids: Vec<_> = (0..40).map(|user| format!("u{user}")).collect();
    let body = json!({ "user_ids": ids }).to_string();
    let answer = client.send("POST", "/v1/tenants/acme/users/lookup", &headers, body.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"));
    let found: Value = serde_json::from_slice(&unpacked(&answer)).unwrap();
    assert_eq!(array(&found, "users").len(), 40);
}

#[test]
fn csv_for_spreadsheets_has_a_mark_and_no_formula_and_is_else_the_same() {
    let (server, _data) = empty_server();
    let client = server.client();
    let mut events = Events::seeded(2903);
    let formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "=HYPERLINK(\"http://x\";\"y\")", "=cmd|' /C calc'!A0"];
    let harmless = ["a=1", " =1", "'=1", "8127", "comma, \"quote\"", "日本"];
    for tenant in ["acme", "=tenant", "-7"] {
        let batch: Vec<_> =
            formulas.iter().chain(&harmless).map(|user| events.login((tenant, user), now() - DAY)).collect();
        client.publish(&batch);
        let users = format!("/v1/tenants/{}/users", lastseen_tests::path_segment(tenant));
        let [exact, excel] =
            ["csv", "excel"].map(|format| client.get(&format!("{users}?format={format}&sort=last_seen_at")));
        for header in ["content-type", "content-disposition", "lastseen-position"] {
            assert_eq!(excel.header(header), exact.header(header), "{header}");
            assert_ne!(exact.header(header), "", "{header}");
        }
        assert_eq!(exact.header("content-type"), "text/csv; charset=utf-8");
        assert_eq!(position(&client.ask(&users)).to_string(), exact.header("lastseen-position"));
        let mark = "\u{feff}".as_bytes();
        assert!(excel.body.starts_with(mark) && !exact.body.starts_with(mark));
        let rows = |text: &[u8]| -> Vec<Vec<String>> {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
            reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
        };
        let [of_exact, of_excel] = [rows(&exact.body), rows(&excel.body[mark.len()..])];
        assert_eq!(of_exact.len(), 1 + formulas.len() + harmless.len());
        assert_eq!(of_exact.len(), of_excel.len());
        for (exact, excel) in of_exact.iter().flatten().zip(of_excel.iter().flatten()) {
            if exact.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                assert_eq!(*excel, format!("'{exact}"));
            } else {
                assert_eq!(excel, exact);
            }
        }
        let names: Vec<_> = of_exact[1..].iter().map(|row| row[1].as_str()).collect();
        assert!(formulas.iter().chain(&harmless).all(|user| names.contains(user)), "{names:?}");
        assert_eq!(of_exact[1][0], tenant);
    }
    for parameter in ["limit=1", "cursor=x"] {
        let path = format!("/v1/tenants/acme/users?format=excel&{parameter}");
        client.get(&path).problem(400, "invalid_parameter", &path);
    }
}

#[test]
fn rows_in_csv_are_those_in_json() {
    let (server, _data, _) = server();
    let client = server.client();
    let tenant = client.ask("/v1/tenants?limit=1")["tenants"][0]["tenant_id"].as_str().unwrap().to_owned();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    // The cells of a row by their names: lists and maps have a column for each entry.
    let cells = |row: &Value, before: Option<&Value>| {
        let mut cells = BTreeMap::new();
        let before = before.into_iter().flat_map(|row| row.as_object().unwrap());
        let before = before.filter(|(name, _)| *name != "partial").map(|field| ("previous_", field));
        for (prefix, (name, value)) in row.as_object().unwrap().iter().map(|field| ("", field)).chain(before)
        {
            match value {
                Value::Array(values) => {
                    let values = values.iter().enumerate();
                    cells.extend(values.map(|(at, value)| (format!("{name}_{at}"), text(value))));
                }
                Value::Object(values) => {
                    cells.extend(values.iter().map(|(of, value)| (format!("{prefix}{of}"), text(value))));
                }
                value => {
                    cells.insert(format!("{prefix}{name}"), text(value));
                }
            }
        }
        cells
    };
    for (of, query) in [
        ("active-users", "from=2023-12-20&to=2024-01-10"),
        ("active-users", "from=2023-01-01&to=2024-01-10&period=month&of=persons"),
        ("retention", "from=2023-01-01&to=2030-01-10&period=quarter"),
        ("event-counts", "from=2023-12-20&to=2024-01-10"),
        ("event-counts", "from=2023-12-20&to=2024-01-10&types=login,user_deleted&compare=previous"),
        ("decay", "as_of=2024-01-01&days=5"),
    ] {
        for path in [format!("/v1/{of}?{query}"), format!("/v1/tenants/{tenant}/{of}?{query}")] {
            if path.contains("tenants") && query.contains("of=persons") {
                continue;
            }
            let json = client.ask(&format!("{path}&format=json"));
            let answer = client.get(&format!("{path}&format=csv"));
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, "text/csv; charset=utf-8"),
                "{path}"
            );
            assert_eq!(
                answer.header("content-disposition"),
                format!("attachment; filename=\"{of}.csv\""),
                "{path}"
            );
            assert_eq!(answer.header("lastseen-position"), json["position"].to_string(), "{path}");
            let mut reader = csv::Reader::from_reader(answer.body.as_slice());
            let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
            let rows = array(&json, "rows");
            let mut lines = reader.records().map(Result::unwrap);
            for (at, row) in rows.iter().enumerate() {
                let line = lines.next().unwrap_or_else(|| panic!("{path}: a row less"));
                let mut shown: BTreeMap<_, _> =
                    names.iter().cloned().zip(line.iter().map(str::to_owned)).collect();
                let expected = cells(row, json["previous"].get(at));
                // A cohort has fewer periods than the first one: the cells of the others are empty.
                shown.retain(|name, value| expected.contains_key(name) || !value.is_empty());
                assert_eq!(shown, expected, "{path}");
            }
            assert!(!rows.is_empty() && lines.next().is_none(), "{path}");
            client.get(&format!("{path}&format=excel")).problem(400, "invalid_parameter", "format");
        }
    }
}

#[test]
fn a_date_is_its_first_instant_and_a_time_before_now_is_told_as_the_instant_it_was() {
    let (server, _data, _) = server();
    let client = server.client();
    for path in ["/v1/summary", "/v1/tenants/acme/summary", "/v1/tenants", "/v1/tenants/acme/users"] {
        let ask = |as_of: &str| client.ask(&format!("{path}?as_of={as_of}"));
        let (date, instant) = (ask("2023-12-20"), ask("2023-12-20T00:00:00Z"));
        assert_eq!(date, instant, "{path}");
        assert_eq!((&date["as_of"], &date["at"]), (&json!("2023-12-20T00:00:00Z"), &date["as_of"]), "{path}");
        let before = now();
        let relative = ask("90d");
        let after = now();
        let at = micros(relative["as_of"].as_str().unwrap());
        assert!((before - 90 * DAY..=after - 90 * DAY).contains(&at), "{path}: {relative}");
        assert_eq!(relative["as_of"], relative["at"], "{path}");
        let absolute = ask(&rfc3339(at));
        assert_eq!(absolute, relative, "{path}: what it was told as is the same question");
    }
    let total = |query: &str| client.ask(&format!("/v1/summary?{query}"))["total_users"].as_u64().unwrap();
    assert_eq!(
        [total("as_of=2023-12-20"), total("as_of=2023-12-21"), total("as_of=2100-01-01")],
        [28, 42, 43]
    );
    assert_eq!(
        [total("known_at=1h"), total("known_at=2020-01-01"), total("known_at=2100-01-01")],
        [0, 0, 43]
    );
    assert_eq!(total("known_at=2"), 2, "a number is a position");
    let previous = client.ask("/v1/summary?as_of=2023-12-21&window=1d&compare=previous");
    assert_eq!(previous["previous"]["total_users"], 28);
    let listed = |query: &str| {
        array(&client.ask(&format!("/v1/tenants/acme/users?limit=1000&{query}")), "users").len()
    };
    assert_eq!(listed("seen_since=2023-12-20"), 14);
    assert_eq!(listed("seen_before=2023-12-20"), 27);
    assert_eq!(listed("seen_since=2023-12-19&seen_before=2023-12-20"), 24);
    assert_eq!([listed("seen_since=1d"), listed("seen_before=1d")], [0, 41]);
    let replayed = |query: &str| client.get(&format!("/v1/events?{query}")).text().lines().count();
    assert_eq!([replayed("recorded_since=1h"), replayed("recorded_before=1h")], [43, 0]);
    assert_eq!([replayed("recorded_since=2020-01-01"), replayed("recorded_before=2020-01-01")], [43, 0]);
    assert_eq!([replayed("occurred_since=1h"), replayed("occurred_before=1h")], [1, 42]);
    assert_eq!(replayed("occurred_since=2023-12-19&occurred_before=2023-12-20"), 24);
    assert_eq!(
        replayed("occurred_since=2023-12-20T12:00:00Z&occurred_before=2023-12-20T12:00:00.000001Z"),
        3
    );
    assert_eq!(replayed("occurred_since=2023-12-20T12:00:00Z&occurred_before=2023-12-20T12:00:00Z"), 0);
}

#[test]
fn a_time_before_now_stays_that_of_the_first_page() {
    let (server, _data, mut events) = server();
    let client = server.client();
    // Large pages are put together elsewhere than small ones.
    let more = (0..300).map(|user| events.login(("acme", &format!("more {user}")), now() - 2 * DAY));
    client.publish(&more.collect::<Vec<_>>());
    for (list, limit) in [("tenants", 1), ("tenants/acme/users", 1), ("tenants/acme/users", 201)] {
        for query in ["as_of=1d", "known_at=1us", "as_of=1s&known_at=1us", "window=7d"] {
            let path = format!("/v1/{list}?{query}&limit={limit}");
            let first = client.ask(&path);
            let cursor = first["next_cursor"].as_str().unwrap();
            let next = client.ask(&format!("/v1/{list}?cursor={cursor}"));
            assert_eq!((&next["as_of"], &next["at"]), (&first["as_of"], &first["at"]), "{path}");
        }
    }
}

#[test]
fn every_answer_of_a_projection_says_which_instant_it_holds_for() {
    let (server, _data, _) = server();
    let client = server.client();
    let of_now = [
        "/v1/summary",
        "/v1/summary?types=login",
        "/v1/summary?known_at=5",
        "/v1/tenants/acme/summary",
        "/v1/tenants",
        "/v1/tenants/acme/users",
        "/v1/tenants/acme/users?provenance=observed",
        "/v1/tenants/acme/users/u1",
        "/v1/active-users",
        "/v1/active-users?from=2023-12-01&to=2023-12-31",
        "/v1/tenants/acme/active-users?tz=Asia/Kolkata",
        "/v1/retention",
        "/v1/tenants/acme/retention?types=login",
    ];
    for path in of_now {
        let before = now();
        let answer = client.ask(path);
        let at = micros(answer["at"].as_str().unwrap_or_else(|| panic!("an instant in {answer}")));
        assert!((before..=now()).contains(&at), "{path}: {answer}");
        assert!(answer.get("as_of").is_none(), "{path}: {answer}");
        assert_eq!(answer["definition"], 3, "{path}");
    }
    let (before, body) = (now(), json!({"user_ids": ["u1"]}));
    let found = client.post_json("/v1/tenants/acme/users/lookup", &body).ok("a lookup");
    assert!((before..=now()).contains(&micros(found["at"].as_str().unwrap())), "{found}");
    for path in FIXED.iter().filter(|path| path.contains("as_of=")) {
        let answer = client.ask(path);
        assert!(answer["at"].is_string(), "{path}");
        assert_eq!(answer["at"], answer["as_of"], "{path}");
    }
    // A summary says of itself what the same question with its own instant says.
    let live = client.ask("/v1/summary");
    let again = client.ask(&format!("/v1/summary?as_of={}", live["at"].as_str().unwrap()));
    let counts = ["total_users", "active_users", "observed_users", "estimated_users", "inactive_users"];
    assert_eq!(numbers(&live, &counts), numbers(&again, &counts));
}

#[test]
fn the_list_of_tenants_is_as_long_as_the_summary_says() {
    let (server, _data, mut events) = server();
    let client = server.client();
    client.publish(&[
        events.login(("gone", "x"), micros("2023-12-20T12:00:00Z")),
        events.of("user_deleted", ("gone", "x"), micros("2024-02-01T00:00:00Z")),
        events.of("user_deleted", ("never there", "y"), micros("2024-02-01T00:00:00Z")),
    ]);
    for (query, expected) in [
        ("", 3),
        ("as_of=2010-01-01T00:00:00Z", 0),
        ("as_of=2010-01-01", 0),
        ("as_of=2024-01-01", 3),
        ("as_of=2024-01-01&types=login", 3),
        ("as_of=2024-02-02", 2),
        ("as_of=2024-01-01&known_at=1", 1),
        ("known_at=0", 0),
        ("known_at=1", 1),
        ("known_at=2", 2),
        ("known_at=2020-01-01", 0),
        ("known_at=2010-01-01&as_of=2024-01-01", 0),
        ("known_at=44", 4),
        ("known_at=45", 3),
        ("provenance=observed", 3),
    ] {
        let listed = client.ask(&format!("/v1/tenants?{query}"));
        let summary = client.ask(&format!("/v1/summary?{query}"));
        assert_eq!(array(&listed, "tenants").len(), expected, "{query}: {listed}");
        assert_eq!(summary["tenants"], expected, "{query}: {summary}");
        assert!(listed["next_cursor"].is_null(), "{query}");
    }
    // Page by page as well: nobody who is not there is the last of a page.
    for sort in ["tenant_id", "-total_users", "deleted_users"] {
        let (mut names, mut next) = (BTreeSet::new(), format!("/v1/tenants?sort={sort}&limit=1"));
        loop {
            let page = client.ask(&next);
            let rows = array(&page, "tenants");
            assert_eq!(rows.len(), 1, "{page}");
            assert_ne!(rows[0]["total_users"], 0, "{page}");
            assert_eq!(rows[0]["rank"], names.len() + 1, "{page}");
            names.insert(rows[0]["tenant_id"].as_str().unwrap().to_owned());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("/v1/tenants?cursor={cursor}");
        }
        assert_eq!(names, ["acme", "beta", "gamma"].map(str::to_owned).into(), "{sort}");
    }
    // A row alone is that of the whole list, at its place there.
    for query in
        ["sort=tenant_id", "sort=-total_users", "sort=active_users&as_of=2024-02-02&trend=2", "known_at=2"]
    {
        let whole = client.ask(&format!("/v1/tenants?{query}"));
        for (row, rank) in array(&whole, "tenants").iter().zip(1..) {
            assert_eq!(row["rank"], rank, "{whole}");
            let tenant = row["tenant_id"].as_str().unwrap();
            let alone = client.ask(&format!("/v1/tenants?{query}&tenant_id={tenant}"));
            assert_eq!((&alone["tenants"], &alone["total"]), (&json!([row]), &whole["total"]), "{query}");
            assert!(alone["next_cursor"].is_null(), "{alone}");
        }
    }
    client.get("/v1/tenants?tenant_id=nobody").problem(404, "unknown_tenant", "a list");
    let gone = client.ask("/v1/tenants?known_at=1&tenant_id=beta");
    assert!(array(&gone, "tenants").is_empty() || gone["tenants"][0]["total_users"] != 0, "{gone}");
}

fn errors(problem: &Value) -> Vec<(u64, &str)> {
    let of = |error: &Value| error["index"].as_u64().unwrap();
    array(problem, "errors").iter().map(|error| (of(error), error["code"].as_str().unwrap())).collect()
}

#[test]
fn an_answer_lists_the_first_hundred_faults_and_counts_all() {
    const BAD: usize = 10_000;
    /// Two unknown fields and five that are missing.
    const FAULTS: usize = 7;
    let (server, _data) = empty_server();
    let client = server.client();
    let bad = r#"{"no":1,"neither":"this"}"#;
    let bodies = [
        ("application/json", format!("[{}]", vec![bad; BAD].join(","))),
        (NDJSON, vec![bad; BAD].join("\n")),
    ];
    for (content_type, body) in &bodies {
        let answer = client.post("/v1/events", content_type, body.as_bytes());
        let problem = answer.problem(422, "invalid_events", content_type);
        assert_eq!(problem["errors_total"], BAD * FAULTS, "{content_type}");
        assert_eq!(problem["detail"], "70000 faults; nothing of the request was stored");
        let listed = errors(&problem);
        assert_eq!(listed.len(), 100, "{content_type}");
        assert!(
            listed.iter().enumerate().all(|(at, (index, _))| *index == (at / FAULTS) as u64),
            "{listed:?}"
        );
        assert!(answer.body.len() < 32 * 1024, "{} bytes", answer.body.len());
    }
    // Whoever asks for the good ones to be stored is told of every bad one.
    let mut lines = bodies[1].1.clone();
    lines.truncate(lines.len() - bad.len());
    lines.push_str(&Events::seeded(2904).login(("acme", "ada"), now()).to_string());
    let skipped = client.post("/v1/events?on_invalid=skip", NDJSON, lines.as_bytes()).ok("skip");
    assert_eq!((&skipped["stored"], array(&skipped, "refused").len()), (&json!(1), (BAD - 1) * FAULTS));
    for total in [1, 99, 100, 101] {
        let body = format!("[{}]", vec![r#"{"type":"login"}"#; total].join(","));
        let problem = client.post("/v1/events", "application/json", body.as_bytes());
        let problem = problem.problem(422, "invalid_events", "four faults each");
        assert_eq!(problem["errors_total"], total * 4);
        assert_eq!(array(&problem, "errors").len(), (total * 4).min(100));
    }
}

#[test]
fn faults_that_only_the_log_finds_are_listed_and_counted_with_the_others() {
    const TAKEN: usize = 150;
    let (server, _data) = empty_server();
    let client = server.client();
    let mut events = Events::seeded(2905);
    let taken: Vec<Value> =
        (0..TAKEN).map(|user| events.login(("acme", &format!("u{user}")), now() - HOUR)).collect();
    client.publish(&taken);
    let conflicts: Vec<Value> = taken
        .iter()
        .map(|event| {
            let mut other = event.clone();
            other["type"] = "token_refresh".into();
            other
        })
        .collect();
    let problem = client.post_json("/v1/events", &Value::from(conflicts.clone()));
    let problem = problem.problem(422, "invalid_events", "conflicts");
    assert_eq!((&problem["errors_total"], array(&problem, "errors").len()), (&json!(TAKEN), 100));
    let expected: Vec<_> = (0..100).map(|index| (index, "id_conflict")).collect();
    assert_eq!(errors(&problem), expected);

    // Every other one is bad before the log sees it.
    let mixed: Vec<Value> =
        conflicts.iter().flat_map(|conflict| [json!({"type": "login"}), conflict.clone()]).collect();
    let problem = client.post_json("/v1/events", &Value::from(mixed));
    let problem = problem.problem(422, "invalid_events", "both");
    assert_eq!(problem["errors_total"], TAKEN * 5);
    assert_eq!(problem["detail"], "750 faults; nothing of the request was stored");
    let expected: Vec<_> = (0..100_u64)
        .map(|at| {
            (at / 5 * 2 + u64::from(at % 5 == 4), if at % 5 == 4 { "id_conflict" } else { "missing_field" })
        })
        .collect();
    assert_eq!(errors(&problem), expected, "the first by index, whoever found them");

    // A dead batch alone has a status of its own, however many events name it.
    let mut of_batch = |user: usize| {
        let mut event = events.login(("acme", &format!("u{user}")), now() - HOUR);
        event["batch"] = "dead".into();
        event
    };
    client.publish(&[of_batch(0)]);
    assert_eq!(client.send("DELETE", "/v1/backfills/dead?events=1", &[], &[]).unwrap().status, 202);
    let batch: Vec<Value> = (0..TAKEN).map(&mut of_batch).collect();
    let problem = client.post_json("/v1/events", &Value::from(batch.clone()));
    let problem = problem.problem(409, "batch_retracted", "a dead batch");
    assert_eq!((&problem["errors_total"], array(&problem, "errors").len()), (&json!(TAKEN), 100));
    let with_bad = [&batch[..], &[json!({})]].concat();
    let problem = client.post_json("/v1/events", &Value::from(with_bad));
    let problem = problem.problem(422, "invalid_events", "a dead batch and a bad event");
    assert_eq!(problem["errors_total"], TAKEN + 5);
}

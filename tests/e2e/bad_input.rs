//! The mistakes of publishers: each mistake has one precise answer, writes nothing and leaves the server
//! healthy.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use lastseen_tests::instant::{MINUTE, now, rfc3339};
use lastseen_tests::{Answer, Events, Server};
use serde_json::{Value, json};

use crate::answers::{array, empty_server, position, without_at};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// One mistake and its answer.
struct Case {
    of: &'static str,
    content_type: &'static str,
    encoding: Option<&'static str>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    /// `(index, field, code)` of each of the `errors`; an empty field is null.
    errors: &'static [(u64, &'static str, &'static str)],
}

/// A request that fails as a whole.
fn whole(of: &'static str, body: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Case {
    Case { of, content_type: JSON, encoding: None, body: body.into(), status, code, errors: &[] }
}

/// A request with bad events.
fn events(of: &'static str, body: &Value, errors: &'static [(u64, &'static str, &'static str)]) -> Case {
    let body = body.to_string().into_bytes();
    Case { of, content_type: JSON, encoding: None, body, status: 422, code: "invalid_events", errors }
}

/// Sends every case beside good events, and looks that nothing has changed.
fn assert_refused(server: &Server, cases: Vec<Case>) {
    let client = server.client();
    let before = without_at(client.ask("/v1/summary"));
    for case in cases {
        let mut headers = vec![("content-type", case.content_type)];
        headers.extend(case.encoding.map(|encoding| ("content-encoding", encoding)));
        let answer = client.send("POST", "/v1/events", &headers, &case.body);
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", case.of));
        assert_problem(&answer, &case);
        assert_eq!(without_at(client.ask("/v1/summary")), before, "{}: nothing is written", case.of);
        assert_eq!(client.get("/healthz").status, 200, "{}", case.of);
        assert_eq!(client.get("/readyz").status, 200, "{}", case.of);
    }
    let login = Events::seeded(400).login(("acme", "ada"), now());
    let stored = client.publish(&[login]);
    assert_eq!(stored["stored"], 1, "good events are taken as before");
    assert!(position(&stored) > position(&before));
}

fn assert_problem(answer: &Answer, case: &Case) {
    let problem = answer.problem(case.status, case.code, case.of);
    if case.errors.is_empty() {
        assert!(problem.get("errors").is_none_or(Value::is_null), "{}: {problem}", case.of);
        return;
    }
    let errors = array(&problem, "errors");
    let found: Vec<_> = errors
        .iter()
        .map(|error| {
            let text = |name: &str| error[name].as_str().unwrap_or_default();
            assert!(!text("detail").is_empty(), "{}: {error}", case.of);
            (error["index"].as_u64().expect("an index"), text("field"), text("code"))
        })
        .collect();
    assert_eq!(found, case.errors, "{}: {problem}", case.of);
    let total = errors.len();
    assert_eq!(problem["errors_total"], total, "{}: {problem}", case.of);
    let faults = if total == 1 { "fault" } else { "faults" };
    let detail = format!("{total} {faults}; nothing of the request was stored");
    assert_eq!(problem["detail"], detail, "{}", case.of);
}

/// A good event with one field changed.
fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut login = Events::seeded(401).login(("acme", "ada"), now());
    login[field] = value.into();
    login
}

fn without(field: &str) -> Value {
    let mut login = with("type", "login");
    login.as_object_mut().expect("an event is an object").remove(field);
    login
}

#[test]
fn bodies_that_cannot_be_read_are_refused_as_a_whole() {
    let good = with("type", "login").to_string();
    let lines = |count| format!("{good}\n").repeat(count);
    let ndjson =
        |of, body: String, status, code| Case { content_type: NDJSON, ..whole(of, body, status, code) };
    let (server, _data) = empty_server();
    assert_refused(
        &server,
        vec![
            whole("not JSON", "nope", 400, "invalid_json"),
            whole("cut off", &good.as_bytes()[..good.len() - 1], 400, "invalid_json"),
            whole("a cut off array", format!("[{good},"), 400, "invalid_json"),
            whole("two objects", format!("{good}{good}"), 400, "invalid_json"),
            whole("a number", "7", 400, "invalid_json"),
            whole("null", "null", 400, "invalid_json"),
            whole("bytes that are not UTF-8", b"[\"\xff\xfe\"]".as_slice(), 400, "invalid_json"),
            whole("an empty body", "", 400, "empty_body"),
            whole("white space", " \r\n\t ", 400, "empty_body"),
            whole("an empty array", "[]", 400, "empty_body"),
            ndjson("no line", String::new(), 400, "empty_body"),
            ndjson("blank lines", "\n\r\n \n".to_owned(), 400, "empty_body"),
            whole(
                "10,001 events",
                format!("[{}]", vec![good.as_str(); 10_001].join(",")),
                413,
                "too_many_events",
            ),
            ndjson("10,001 lines", lines(10_001), 413, "too_many_events"),
            whole("9 MiB", vec![b' '; 9 << 20], 413, "body_too_large"),
            ndjson("9 MiB of lines", lines((9 << 20) / good.len()), 413, "body_too_large"),
        ],
    );
}

#[test]
fn content_types_and_encodings_are_refused_by_name() {
    let good = with("type", "login").to_string();
    let typed =
        |of, content_type| Case { content_type, ..whole(of, good.clone(), 415, "unsupported_media_type") };
    let encoded =
        |of, encoding, body, status, code| Case { encoding: Some(encoding), ..whole(of, body, status, code) };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(good.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut wrong_checksum = gzip.clone();
    let at = wrong_checksum.len() - 8;
    wrong_checksum[at] ^= 1;
    let zstd = zstd::encode_all(good.as_bytes(), 1).unwrap();
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![b' '; 64 << 20]).unwrap();
    let zstd_bomb = zstd::encode_all(vec![b' '; 64 << 20].as_slice(), 3).unwrap();
    let (server, _data) = empty_server();
    assert_refused(
        &server,
        vec![
            typed("a form", "application/x-www-form-urlencoded"),
            typed("text", "text/plain"),
            typed("something like JSON", "application/jsonx"),
            typed("no type", ""),
            encoded("not gzip", "gzip", good.clone().into_bytes(), 400, "invalid_encoding"),
            encoded("gzip cut off", "gzip", gzip[..gzip.len() - 9].to_vec(), 400, "invalid_encoding"),
            encoded("gzip without its end", "gzip", gzip[..gzip.len() - 3].to_vec(), 400, "invalid_encoding"),
            encoded("gzip with a wrong checksum", "gzip", wrong_checksum, 400, "invalid_encoding"),
            encoded("not zstd", "zstd", gzip.clone(), 400, "invalid_encoding"),
            encoded("zstd cut off", "zstd", zstd[..zstd.len() - 2].to_vec(), 400, "invalid_encoding"),
            encoded(
                "an unknown encoding",
                "br",
                good.clone().into_bytes(),
                415,
                "unsupported_content_encoding",
            ),
            encoded("two encodings", "gzip, zstd", gzip, 415, "unsupported_content_encoding"),
            encoded("64 MiB in gzip", "gzip", bomb.finish().unwrap(), 413, "body_too_large"),
            encoded("64 MiB in zstd", "zstd", zstd_bomb, 413, "body_too_large"),
        ],
    );
}

#[test]
fn a_bad_event_is_refused_with_its_field_and_a_code() {
    let (server, _data) = empty_server();
    assert_refused(
        &server,
        vec![
            events("missing id", &without("id"), &[(0, "id", "missing_field")]),
            events("null id", &with("id", Value::Null), &[(0, "id", "missing_field")]),
            events("missing user", &without("user_id"), &[(0, "user_id", "missing_field")]),
            events("missing type", &without("type"), &[(0, "type", "missing_field")]),
            events("missing tenant", &without("tenant_id"), &[(0, "tenant_id", "missing_field")]),
            events("missing time", &without("occurred_at"), &[(0, "occurred_at", "missing_field")]),
            events("an id that is no UUID", &with("id", "42"), &[(0, "id", "invalid_id")]),
            events(
                "wrong JSON type of the tenant",
                &with("tenant_id", 5),
                &[(0, "tenant_id", "invalid_json")],
            ),
            events(
                "wrong JSON type of the type",
                &with("type", json!(["login"])),
                &[(0, "type", "unknown_type")],
            ),
            events("unknown event type", &with("type", "logout"), &[(0, "type", "unknown_type")]),
            events("type of our own", &with("type", "user_erased"), &[(0, "type", "type_not_publishable")]),
            events("129 bytes", &with("user_id", "x".repeat(129)), &[(0, "user_id", "too_long")]),
            events(
                "129 bytes of tenant",
                &with("tenant_id", "x".repeat(129)),
                &[(0, "tenant_id", "too_long")],
            ),
            events("\"null\" as user", &with("user_id", "null"), &[(0, "user_id", "placeholder")]),
            events("an empty user", &with("user_id", ""), &[(0, "user_id", "empty")]),
            events("a control character", &with("user_id", "a\u{7}"), &[(0, "user_id", "not_printable")]),
            events("a format character", &with("user_id", "a\u{200b}"), &[(0, "user_id", "not_printable")]),
            events(
                "text turned round",
                &with("tenant_id", "\u{202e}a"),
                &[(0, "tenant_id", "not_printable")],
            ),
            events("unknown field", &with("color", "red"), &[(0, "color", "unknown_field")]),
            events("a field of another type", &with("confirmed", true), &[(0, "confirmed", "unknown_field")]),
            events(
                "created without confirmed",
                &with("type", "user_created"),
                &[(0, "confirmed", "missing_field")],
            ),
            events(
                "an estimate without batch",
                &with("type", "estimated_activity"),
                &[(0, "batch", "missing_field")],
            ),
        ],
    );
}

#[test]
fn a_bad_time_is_refused() {
    let at = |value: Value| with("occurred_at", value);
    let ahead = rfc3339(now() + 6 * MINUTE);
    let (server, _data) = empty_server();
    assert_refused(
        &server,
        vec![
            events("epoch number", &at(1_767_715_200.into()), &[(0, "occurred_at", "invalid_instant")]),
            events("epoch text", &at("1767715200".into()), &[(0, "occurred_at", "invalid_instant")]),
            events("a date", &at("2026-01-06".into()), &[(0, "occurred_at", "invalid_instant")]),
            events("no offset", &at("2026-01-06T16:00:00".into()), &[(0, "occurred_at", "invalid_instant")]),
            events(
                "30 February",
                &at("2026-02-30T16:00:00Z".into()),
                &[(0, "occurred_at", "invalid_instant")],
            ),
            events("6 minutes ahead", &at(ahead.into()), &[(0, "occurred_at", "in_future")]),
            events("year 1", &at("0001-01-01T00:00:00Z".into()), &[(0, "occurred_at", "too_old")]),
            events("1989", &at("1989-12-31T23:59:59.999999Z".into()), &[(0, "occurred_at", "too_old")]),
        ],
    );
}

#[test]
fn all_bad_events_of_a_request_are_reported_at_once() {
    const ERRORS: &[(u64, &str, &str)] = &[
        (1, "type", "unknown_type"),
        (1, "user_id", "empty"),
        (3, "", "invalid_json"),
        (4, "id", "invalid_id"),
    ];
    let mut source = Events::seeded(402);
    let mut batch: Vec<_> = (0..6).map(|_| source.login(("acme", "ada"), now())).collect();
    batch[1]["type"] = "logout".into();
    batch[1]["user_id"] = "".into();
    batch[3] = json!([]);
    batch[4]["id"] = "x".into();
    let array = events("several bad ones", &Value::from(batch.clone()), ERRORS);
    // Blank lines do not count in the index; a line that is not JSON is one bad event.
    let mut lines = String::from("\r\n");
    for (index, event) in batch.iter().enumerate() {
        let line = if index == 3 { "not json".to_owned() } else { event.to_string() };
        write!(lines, "{line}\r\n \n").unwrap();
    }
    let ndjson =
        Case { content_type: NDJSON, body: lines.into_bytes(), ..events("lines", &json!(null), ERRORS) };
    let (server, _data) = empty_server();
    assert_refused(&server, vec![array, ndjson]);
}

#[test]
fn errors_name_the_id_of_the_event() {
    let (server, _data) = empty_server();
    let bad = with("type", "logout");
    let problem =
        server.client().post_json("/v1/events", &bad).problem(422, "invalid_events", "unknown type");
    assert_eq!(array(&problem, "errors")[0]["id"], bad["id"]);
}

#[test]
fn an_event_of_more_than_64_kib_is_refused_and_one_of_64_kib_is_not() {
    let (server, _data) = empty_server();
    let padded = |bytes: usize| {
        let good = with("type", "login").to_string();
        good.replacen('{', &format!("{{{}", " ".repeat(bytes - good.len())), 1).into_bytes()
    };
    let mut case = events("64 KiB and a byte", &json!(null), &[(0, "", "too_long")]);
    case.body = padded(64 * 1024 + 1);
    assert_refused(&server, vec![case]);
    assert_eq!(server.client().post("/v1/events", JSON, &padded(64 * 1024)).ok("64 KiB")["stored"], 1);
}

#[test]
fn on_invalid_skip_stores_the_good_ones_and_lists_the_others() {
    let (server, _data) = empty_server();
    let mut source = Events::seeded(403);
    let mut batch: Vec<_> = (0..5).map(|user| source.login(("acme", &format!("u{user}")), now())).collect();
    batch[1]["type"] = "logout".into();
    batch[4]["occurred_at"] = 5.into();
    let path = "/v1/events?on_invalid=skip";
    let answer = server.client().post_json(path, &Value::from(batch.clone())).ok("skip");
    assert_eq!((&answer["stored"], &answer["duplicates"]), (&3.into(), &0.into()));
    let refused = array(&answer, "refused");
    assert_eq!(refused.len(), 2);
    for (refused, index, field, code) in
        [(&refused[0], 1, "type", "unknown_type"), (&refused[1], 4, "occurred_at", "invalid_instant")]
    {
        assert_eq!((&refused["index"], &refused["field"]), (&index.into(), &field.into()));
        assert_eq!((&refused["code"], &refused["id"]), (&code.into(), &batch[index]["id"]));
    }
    assert_eq!(server.client().ask("/v1/summary")["total_users"], 3);

    let answer = server.client().post_json(path, &json!([batch[1], batch[4]])).ok("nothing but bad ones");
    assert_eq!((&answer["stored"], array(&answer, "refused").len()), (&0.into(), 2));
    // What cannot be read at all is refused all the same.
    server.client().post(path, JSON, b"nope").problem(400, "invalid_json", "not JSON, skipping");
}

//! The wire format as a table: what is taken, what is refused, and with which words.

mod cloud_events;

use super::*;
use crate::{EventType, FaultCode};

const GOOD: &str = r#"{"id":"0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b","type":"login","tenant_id":"8127","user_id":"usr_01JK","occurred_at":"2026-01-06T16:00:00.123Z"}"#;

fn latest() -> UtcInstant {
    UtcInstant::parse("2026-01-06T16:05:00Z").unwrap()
}

/// `GOOD` with `from` replaced.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replace(from, to)
}

/// The `(field, code)` of every fault of one event, the same through JSON and NDJSON.
fn faults(event: &str) -> Vec<(Option<String>, FaultCode)> {
    let [json, array, ndjson] = [
        decode_json(event.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()),
        decode_json(format!("[{event}]").as_bytes(), Accept::all(latest(), FaultsKept::All), || ()),
        decode_ndjson(event.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()),
    ]
    .map(|decoded| {
        let Decoded { faults, faults_total, .. } = decoded.unwrap();
        assert_eq!(faults.len(), faults_total);
        faults
    });
    assert_eq!(json, array);
    assert_eq!(json, ndjson);
    json.into_iter().map(|fault| (fault.field, fault.code)).collect()
}

#[test]
fn a_good_event_is_read_from_every_body() {
    let body = format!("\r\n{GOOD}\r\n\n{GOOD}");
    for decoded in [
        decode_json(
            format!(" [ {GOOD} ,\n{GOOD} ] ").as_bytes(),
            Accept::all(latest(), FaultsKept::All),
            || (),
        ),
        decode_ndjson(body.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()),
    ] {
        let decoded = decoded.unwrap();
        assert_eq!(decoded.faults, []);
        let events: Vec<_> = decoded.batch.iter().collect();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0], events[1]);
        assert_eq!(events[0].event_type, EventType::Login);
        assert_eq!(events[0].tenant_id.as_str(), "8127");
        assert_eq!(events[0].occurred_at.as_micros(), 1_767_715_200_123_000);
    }
}

#[test]
fn escapes_are_read_and_optional_fields_may_be_null() {
    let event =
        with(r#""user_id":"usr_01JK""#, r#""user_id":"us\u0072 \"x\"","session_id":null,"batch":"b\/1""#);
    let decoded = decode_json(event.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()).unwrap();
    let event = decoded.batch.get(0);
    assert_eq!(event.user_id.as_str(), "usr \"x\"");
    assert_eq!(event.session_id, None);
    assert_eq!(event.batch.unwrap().as_str(), "b/1");
}

#[test]
fn each_bad_value_has_its_code_and_field() {
    use FaultCode as C;
    let id = r#""0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b""#;
    let at = r#""2026-01-06T16:00:00.123Z""#;
    let user = r#""usr_01JK""#;
    let long = format!("\"{}\"", "x".repeat(129));
    for (from, to, field, code) in [
        (id, r#""nope""#, "id", C::InvalidId),
        (id, "7", "id", C::InvalidId),
        (id, r#""00000000-0000-0000-0000-000000000000""#, "id", C::InvalidId),
        (id, r#""ffffffff-ffff-ffff-ffff-ffffffffffff""#, "id", C::InvalidId),
        (id, "null", "id", C::MissingField),
        (r#""id":"0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b","#, "", "id", C::MissingField),
        (r#""login""#, r#""logout""#, "type", C::UnknownType),
        (r#""login""#, "[1]", "type", C::UnknownType),
        (r#""login""#, r#""user_erased""#, "type", C::TypeNotPublishable),
        (r#""login""#, r#""backfill_retracted""#, "type", C::TypeNotPublishable),
        (r#""8127""#, "8127", "tenant_id", C::InvalidJson),
        (r#""8127""#, r#""""#, "tenant_id", C::Empty),
        (r#""8127""#, r#""undefined""#, "tenant_id", C::Placeholder),
        (user, r#""null""#, "user_id", C::Placeholder),
        (user, r#""a\u0000b""#, "user_id", C::NotPrintable),
        (user, "\"a\u{200b}b\"", "user_id", C::NotPrintable),
        (user, r#""\ufeff8127""#, "user_id", C::NotPrintable),
        (r#""8127""#, "\"\u{202e}7218\"", "tenant_id", C::NotPrintable),
        ("{\"id\"", "{\"session_id\":\"\u{2066}s\",\"id\"", "session_id", C::NotPrintable),
        ("{\"id\"", "{\"batch\":\"b\u{ad}\",\"id\"", "batch", C::NotPrintable),
        (user, &long, "user_id", C::TooLong),
        (user, r#"{"a":[1,2]}"#, "user_id", C::InvalidJson),
        (at, "1767715200", "occurred_at", C::InvalidInstant),
        (at, r#""2026-01-06""#, "occurred_at", C::InvalidInstant),
        (at, r#""2026-01-06T16:05:00.000001Z""#, "occurred_at", C::InFuture),
        (at, r#""0001-01-01T00:00:00Z""#, "occurred_at", C::TooOld),
        (at, r#""1989-12-31T23:59:59.999999Z""#, "occurred_at", C::TooOld),
        ("{\"id\"", "{\"colour\":{\"a\":1},\"id\"", "colour", C::UnknownField),
        ("{\"id\"", "{\"confirmed\":true,\"id\"", "confirmed", C::UnknownField),
        ("{\"id\"", "{\"from_tenant_id\":\"x\",\"id\"", "from_tenant_id", C::UnknownField),
        ("{\"id\"", "{\"type\":\"login\",\"id\"", "type", C::InvalidJson),
        ("{\"id\"", "{\"session_id\":9,\"id\"", "session_id", C::InvalidJson),
        (r#""login""#, r#""user_created""#, "confirmed", C::MissingField),
        (r#""login""#, r#""estimated_activity""#, "batch", C::MissingField),
    ] {
        assert_eq!(faults(&with(from, to)), [(Some(field.to_owned()), code)], "{from} -> {to}");
    }
    // The edge itself is tolerated.
    assert_eq!(faults(&with(at, r#""2026-01-06T16:05:00Z""#)), []);
}

#[test]
fn all_faults_of_an_event_are_reported_at_once() {
    let event = r#"{"id":"x","type":"login","user_id":"","occurred_at":5,"a":1,"b":2}"#;
    let expected = ["a", "b", "id", "tenant_id", "user_id", "occurred_at"];
    assert_eq!(faults(event).into_iter().map(|(field, _)| field.unwrap()).collect::<Vec<_>>(), expected);
}

#[test]
fn faults_name_the_place_and_the_id() {
    let body = format!("\n{GOOD}\nnot json\n\n[]\n{}\n{GOOD}", with("login", "logout"));
    let decoded = decode_ndjson(body.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()).unwrap();
    let found: Vec<_> = decoded.faults.iter().map(|f| (f.index, f.id.is_some(), f.code.as_str())).collect();
    assert_eq!(found, [(1, false, "invalid_json"), (2, false, "invalid_json"), (3, true, "unknown_type")]);
    assert_eq!((decoded.batch.request_index(0), decoded.batch.request_index(1)), (0, 4));
}

#[test]
fn the_first_faults_are_kept_and_all_are_counted() {
    // Seven faults each, but for a good event now and then.
    let bad = r#"{"a":1,"b":2}"#;
    let events: Vec<&str> = (0..120).map(|index| if index % 10 == 9 { GOOD } else { bad }).collect();
    let (ndjson, array) = (events.join("\n"), format!("[{}]", events.join(",")));
    let read = |kept| {
        [
            decode_ndjson(ndjson.as_bytes(), Accept::all(latest(), kept), || ()),
            decode_json(array.as_bytes(), Accept::all(latest(), kept), || ()),
        ]
        .map(Result::unwrap)
    };
    for (all, kept) in [(0, 0), (1, 1), (100, 100), (755, 755), (756, 756), (756, 757)] {
        for (every, first) in read(FaultsKept::All).into_iter().zip(read(FaultsKept::First(kept))) {
            assert_eq!((every.faults.len(), every.faults_total), (756, 756));
            assert_eq!((&first.faults[..], first.faults_total), (&every.faults[..all], 756), "{kept}");
            // Whose faults are not kept is bad all the same.
            assert_eq!(first.batch.len(), 12, "{kept}");
            assert!(first.batch.iter().eq(every.batch.iter()), "{kept}");
        }
    }
}

#[test]
fn what_is_no_json_is_told_in_words_for_publishers() {
    let text = |line: &str| {
        decode_ndjson(line.as_bytes(), Accept::all(latest(), FaultsKept::All), || ())
            .unwrap()
            .faults
            .remove(0)
    };
    for (line, detail) in [
        ("nope", "this is not JSON at line 1, column 2"),
        ("{\"id\":", "the JSON ends too early at line 1, column 6"),
        (" {\"id\": 1,}", "this is not JSON at line 1, column 10"),
        ("[]", "expected an event object, found sequence at line 1, column 0"),
        ("7", "expected an event object, found integer `7` at line 1, column 1"),
    ] {
        let fault = text(line);
        assert_eq!(
            (fault.code, fault.field, fault.detail.as_str()),
            (FaultCode::InvalidJson, None, detail),
            "{line}"
        );
    }
    for (body, detail) in [
        ("[1", "the JSON ends too early at line 1, column 2"),
        ("{} {}", "this is not JSON at line 1, column 4"),
        ("7", "expected an object or an array, found a number"),
        ("null", "expected an object or an array, found null"),
    ] {
        let error = decode_json(body.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("expected one event object or an array of them: {detail}"),
            "{body}"
        );
    }
}

#[test]
fn a_huge_event_is_refused_before_it_is_read() {
    let event = with("\"login\"", &format!("\"login\"{}", " ".repeat(64 * 1024)));
    assert_eq!(faults(&event), [(None, FaultCode::TooLong)]);
}

#[test]
fn bodies_that_cannot_be_read_fail_as_a_whole() {
    for empty in ["", " \n\t", "[]", " [ ] "] {
        assert!(
            matches!(
                decode_json(empty.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()),
                Err(BodyError::Empty)
            ),
            "{empty:?}"
        );
    }
    assert!(matches!(
        decode_ndjson(b"\n\r\n \n", Accept::all(latest(), FaultsKept::All), || ()),
        Err(BodyError::Empty)
    ));
    for bad in ["{", "nope", "[{}", "3", "\"x\"", "null", "[1]x", "{} {}", "[\"\u{1}\"]"] {
        assert!(
            matches!(
                decode_json(bad.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()),
                Err(BodyError::InvalidJson(_))
            ),
            "{bad}"
        );
    }
    let lines = format!("{GOOD}\n").repeat(REQUEST_EVENTS_MAX);
    assert_eq!(
        decode_ndjson(lines.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()).unwrap().batch.len(),
        REQUEST_EVENTS_MAX
    );
    let lines = lines + GOOD;
    assert!(matches!(
        decode_ndjson(lines.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()),
        Err(BodyError::TooManyEvents)
    ));
    let array = format!("[{}]", vec!["1"; REQUEST_EVENTS_MAX + 1].join(","));
    assert!(matches!(
        decode_json(array.as_bytes(), Accept::all(latest(), FaultsKept::All), || ()),
        Err(BodyError::TooManyEvents)
    ));
}

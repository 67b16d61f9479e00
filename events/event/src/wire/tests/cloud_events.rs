//! `CloudEvents` in every mode: the same events as in JSON of our own, and faults under the names of its attributes.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::EventId;
use crate::wire::notation::{self, CloudEvents, Notation};

fn accept() -> Accept<'static> {
    Accept::all(latest(), FaultsKept::All)
}

fn good() -> Map<String, Value> {
    let Value::Object(good) = json!({
        "specversion": "1.0",
        "id": "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b",
        "source": "https://id.example",
        "type": "dev.lastseen.login.v1",
        "subject": "usr_01JK",
        "time": "2026-01-06T16:00:00.123Z",
        "tenantid": "8127",
    }) else {
        unreachable!()
    };
    good
}

/// One event in all modes, which must say the same.
fn decoded(event: &Map<String, Value>) -> Decoded {
    let text = serde_json::to_vec(event).unwrap();
    let structured = decode_cloud_event(&text, accept()).unwrap();
    let many = serde_json::to_vec(&[event]).unwrap();
    let batch = decode_cloud_event_batch(&many, accept(), || ()).unwrap();
    assert_eq!(structured.faults, batch.faults);
    assert!(structured.batch.iter().eq(batch.batch.iter()));
    // Binary mode has only text.
    if event.values().all(|value| value.is_string() || value.is_boolean()) {
        let texts: Vec<_> = event
            .iter()
            .map(|(name, value)| {
                (name.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            })
            .collect();
        let attributes = texts.iter().map(|(name, text)| (*name, Some(text.as_str())));
        let binary = decode_cloud_event_attributes(attributes, accept());
        assert_eq!(structured.faults, binary.faults);
        assert!(structured.batch.iter().eq(binary.batch.iter()));
    }
    structured
}

fn faults_of(event: &Map<String, Value>) -> Vec<(String, FaultCode)> {
    decoded(event).faults.into_iter().map(|fault| (fault.field.unwrap(), fault.code)).collect()
}

#[test]
fn an_event_is_the_same_as_in_json_of_our_own() {
    let native = decode_json(GOOD.as_bytes(), accept(), || ()).unwrap();
    assert!(decoded(&good()).batch.iter().eq(native.batch.iter()));
}

#[test]
fn what_others_add_is_passed_over() {
    let mut event = good();
    for (name, value) in [
        ("datacontenttype", json!("application/json")),
        ("dataschema", json!("https://id.example/schema")),
        ("data", json!({"tenantid": "other", "deep": [1, {"x": null}]})),
        ("data_base64", json!("AAAA")),
        ("traceparent", json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
        ("sampledrate", json!(7)),
        ("sessionid", Value::Null),
    ] {
        event.insert(name.to_owned(), value);
    }
    assert!(decoded(&event).batch.iter().eq(decoded(&good()).batch.iter()));
}

#[test]
fn an_id_that_is_no_uuid_becomes_one_together_with_its_source() {
    let id = |id: &str, source: &str| {
        let mut event = good();
        event.insert("id".to_owned(), id.into());
        event.insert("source".to_owned(), source.into());
        decoded(&event).batch.get(0).id
    };
    let first = id("session-7/3", "https://id.example");
    // Python: uuid5(uuid5(NAMESPACE_URL, "https://id.example"), "session-7/3")
    assert_eq!(first.to_string(), "789fb96a-c394-5e33-8350-63a2c10712a5");
    assert_eq!(first, EventId::of_cloud_event("https://id.example", "session-7/3"));
    assert_eq!(first, id("session-7/3", "https://id.example"));
    assert_ne!(first, id("session-7/3", "https://id.example/2"));
    assert_ne!(first, id("session-7/4", "https://id.example"));
    let uuid = "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b";
    assert_eq!(id(uuid, "a").to_string(), uuid);
    assert_eq!(id(uuid, "a"), id(uuid, "b"), "a UUID needs no source");
}

#[test]
fn faults_have_the_names_of_attributes() {
    use FaultCode as C;
    for (name, value, code) in [
        ("specversion", Value::Null, C::MissingField),
        ("specversion", json!("0.3"), C::UnknownSpecversion),
        ("specversion", json!(1.0), C::UnknownSpecversion),
        ("id", Value::Null, C::MissingField),
        ("id", json!(""), C::Empty),
        ("id", json!("00000000-0000-0000-0000-000000000000"), C::InvalidId),
        ("source", Value::Null, C::MissingField),
        ("source", json!(""), C::Empty),
        ("source", json!(7), C::InvalidJson),
        ("type", Value::Null, C::MissingField),
        ("type", json!("login"), C::UnknownType),
        ("type", json!("dev.lastseen.logout.v1"), C::UnknownType),
        ("type", json!("dev.lastseen.login.v2"), C::UnknownType),
        ("type", json!("com.example.login.v1"), C::UnknownType),
        ("type", json!("dev.lastseen.backfill_retracted.v1"), C::TypeNotPublishable),
        ("subject", Value::Null, C::MissingField),
        ("subject", json!(""), C::Empty),
        ("subject", json!("null"), C::Placeholder),
        ("subject", json!(7), C::InvalidJson),
        ("tenantid", Value::Null, C::MissingField),
        ("tenantid", json!("a\u{200b}"), C::NotPrintable),
        ("time", Value::Null, C::MissingField),
        ("time", json!("yesterday"), C::InvalidInstant),
        ("time", json!("1970-01-01T00:00:00Z"), C::TooOld),
        ("time", json!("2026-02-06T16:00:00Z"), C::InFuture),
        ("sessionid", json!(""), C::Empty),
        ("fromtenantid", json!("acme"), C::UnknownField),
        ("confirmed", json!(true), C::UnknownField),
        ("confirmed", json!("yes"), C::InvalidJson),
        ("confirmed", json!("True"), C::UnknownField),
        ("backfillbatch", json!("x".repeat(129)), C::TooLong),
    ] {
        let mut event = good();
        event.insert(name.to_owned(), value.clone());
        assert_eq!(faults_of(&event), [(name.to_owned(), code)], "{name}: {value}");
    }
    let mut created = good();
    created.insert("type".to_owned(), "dev.lastseen.user_created.v1".into());
    assert_eq!(faults_of(&created), [("confirmed".to_owned(), C::MissingField)]);
    let twice = r#"{"specversion":"1.0","specversion":"1.0"}"#;
    let twice = decode_cloud_event(twice.as_bytes(), accept()).unwrap();
    assert_eq!(twice.faults[0].field.as_deref(), Some("specversion"));
    assert_eq!(twice.faults[0].code, C::InvalidJson);
    let no_text = [("specversion", Some("1.0")), ("subject", None)].into_iter();
    let no_text = decode_cloud_event_attributes(no_text, accept());
    assert!(no_text.faults.iter().any(|fault| fault.field.as_deref() == Some("subject")), "{no_text:?}");
}

#[test]
fn bodies_that_are_no_cloud_events_fail_as_a_whole() {
    for body in ["", " \n"] {
        assert!(matches!(decode_cloud_event(body.as_bytes(), accept()), Err(BodyError::Empty)));
        assert!(matches!(decode_cloud_event_batch(body.as_bytes(), accept(), || ()), Err(BodyError::Empty)));
    }
    let none = decode_cloud_event_batch(b"[]", accept(), || ()).unwrap();
    assert_eq!((none.count, none.batch.len(), none.faults_total), (0, 0, 0), "a batch may be empty");
    for body in ["[]", "[{}]", "7", "null", "{", "{}x"] {
        let failed = decode_cloud_event(body.as_bytes(), accept());
        assert!(matches!(failed, Err(BodyError::InvalidJson(_))), "{body}");
    }
    for body in ["{}", "7", "[{}", "[{}]x"] {
        let failed = decode_cloud_event_batch(body.as_bytes(), accept(), || ());
        assert!(matches!(failed, Err(BodyError::InvalidJson(_))), "{body}");
    }
}

proptest! {
    /// Whatever is valid in JSON of our own is valid in each mode, and the same event.
    #[test]
    fn every_event_can_be_a_cloud_event(
        place in 0..EventType::PUBLISHABLE.len(),
        id in 1_u128..u128::MAX,
        names in prop::array::uniform5("[ -~é€用]{1,40}"),
        at in 631_152_000_000_000_i64..1_767_715_200_000_000,
        with in prop::array::uniform3(any::<bool>()),
    ) {
        let event_type = EventType::PUBLISHABLE[place];
        let [tenant, user, session, from, batch] = &names;
        let mut native = json!({
            "id": uuid::Uuid::from_u128(id).to_string(),
            "type": event_type.as_str(),
            "tenant_id": tenant,
            "user_id": user,
            "occurred_at": UtcInstant::from_micros(at).to_string(),
        });
        if with[0] { native["session_id"] = session.as_str().into(); }
        if with[1] { native["from_tenant_id"] = from.as_str().into(); }
        if with[2] || event_type == EventType::EstimatedActivity { native["batch"] = batch.as_str().into(); }
        if event_type == EventType::UserCreated { native["confirmed"] = with[0].into(); }
        let read = decode_json(native.to_string().as_bytes(), accept(), || ()).unwrap();
        let mut event = Map::new();
        event.insert("specversion".to_owned(), "1.0".into());
        event.insert("source".to_owned(), "/identity".into());
        for (name, value) in native.as_object().unwrap() {
            let place = notation::Native::place(name).unwrap();
            let value = if name == "type" { format!("dev.lastseen.{event_type}.v1").into() } else { value.clone() };
            event.insert(CloudEvents::NAMES[place].to_owned(), value);
        }
        let found = decoded(&event);
        prop_assert!(found.batch.iter().eq(read.batch.iter()));
        let named = |fault: &EventFault| {
            let place = notation::Native::place(fault.field.as_deref()?)?;
            Some((CloudEvents::NAMES[place].to_owned(), fault.code))
        };
        let expected: Vec<_> = read.faults.iter().map(named).collect();
        let found: Vec<_> = found.faults.into_iter().map(|fault| Some((fault.field?, fault.code))).collect();
        prop_assert_eq!(found, expected);
    }
}

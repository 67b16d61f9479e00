//! A record as a store that keeps JSON has it. It was valid when it was published: only its form is looked at, so that a rule that
//! came later does not take it out of the history.

use uuid::Uuid;

use super::encode::text;
use super::notation::Native;
use super::raw::{RawEvent, Scalar};
use crate::event::{field, missing};
use crate::{
    BatchName, Event, EventBatch, EventId, EventType, FaultCode, Refusal, SessionId, TenantId, UserId,
    UtcInstant,
};

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// An event of a member, which was added to the batch.
    Event,
    /// A batch was taken back.
    Retraction {
        /// Its name.
        batch: Box<str>,
        /// When it was asked for.
        occurred_at: UtcInstant,
    },
}

/// Writes the record that a batch is taken back, as [`decode_stored`] reads it.
pub fn encode_stored_retraction(batch: BatchName<'_>, occurred_at: UtcInstant, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"batch\":");
    text(batch.as_str(), out);
    out.extend_from_slice(b",\"occurred_at\":\"");
    occurred_at.encode(out);
    out.extend_from_slice(b"\"}\n");
}

/// Reads the JSON of a record that the store keeps under this id and type, and adds it to `batch` if it is an event. The JSON of an
/// event may say both as well, and then says the same.
///
/// # Errors
/// The first field that is not of the form that was written; nothing was added.
pub fn decode_stored(
    json: &[u8],
    (id, event_type): (Uuid, &str),
    batch: &mut EventBatch,
) -> Result<Stored, Refusal> {
    let raw = RawEvent::<Native>::read(json);
    let raw = raw.map_err(|error| Refusal::new(FaultCode::InvalidJson, format_args!("its data: {error}")))?;
    if let Some(name) = raw.repeated.first().copied().or(raw.unknown.first().map(String::as_str)) {
        return Err(Refusal::new(FaultCode::UnknownField, format_args!("a field {name}, once")));
    }
    let [
        said_id,
        said_type,
        tenant_id,
        user_id,
        occurred_at,
        session_id,
        from_tenant_id,
        confirmed,
        name,
        counts,
    ] = raw.values.each_ref().map(|value| value.as_ref().filter(|value| !matches!(value, Scalar::Null)));
    let id = EventId::new(id)?;
    let said_id = string(said_id, field::ID)?.map(EventId::parse).transpose()?;
    let differs = string(said_type, field::TYPE)?.is_some_and(|said| said != event_type);
    let event_type = EventType::parse(event_type)
        .ok_or_else(|| Refusal::new(FaultCode::UnknownType, format_args!("the type {event_type}")))?;
    if differs || said_id.is_some_and(|said| said != id) {
        return Err(Refusal::new(FaultCode::InvalidId, "its data is of another event"));
    }
    let occurred_at = string(occurred_at, field::OCCURRED_AT)?.ok_or_else(|| missing(field::OCCURRED_AT))?;
    let occurred_at = UtcInstant::parse(occurred_at)?;
    let name = string(name, field::BATCH)?.map(|text| name_of(BatchName::stored(text), field::BATCH));
    let name = name.transpose()?;
    if event_type == EventType::BackfillRetracted {
        let batch = name.ok_or_else(|| missing(field::BATCH))?.as_str().into();
        return Ok(Stored::Retraction { batch, occurred_at });
    }
    let tenant_id = string(tenant_id, field::TENANT_ID)?.and_then(TenantId::stored);
    let user_id = string(user_id, field::USER_ID)?.and_then(UserId::stored);
    let member = (name_of(tenant_id, field::TENANT_ID)?, name_of(user_id, field::USER_ID)?);
    let session_id = string(session_id, field::SESSION_ID)?
        .map(|text| name_of(SessionId::stored(text), field::SESSION_ID))
        .transpose()?;
    let from_tenant_id = string(from_tenant_id, field::FROM_TENANT_ID)?
        .map(|text| name_of(TenantId::stored(text), field::FROM_TENANT_ID))
        .transpose()?;
    let event = Event {
        session_id,
        from_tenant_id,
        confirmed: boolean(confirmed, field::CONFIRMED)?,
        counts: boolean(counts, field::COUNTS)?,
        batch: name,
        ..Event::new(id, event_type, member, occurred_at)
    };
    batch
        .push(&event)
        .map(|()| Stored::Event)
        .map_err(|(field, refusal)| Refusal::new(refusal.code, format_args!("{field}: {}", refusal.detail)))
}

fn name_of<T>(name: Option<T>, field: &str) -> Result<T, Refusal> {
    name.ok_or_else(|| Refusal::new(FaultCode::TooLong, format_args!("{field}: expected 1 to 255 bytes")))
}

fn string<'a>(value: Option<&'a Scalar<'_>>, field: &str) -> Result<Option<&'a str>, Refusal> {
    match value {
        None => Ok(None),
        Some(Scalar::Text(text)) => Ok(Some(text)),
        Some(other) => Err(found_instead(field, "a string", other)),
    }
}

fn boolean(value: Option<&Scalar<'_>>, field: &str) -> Result<Option<bool>, Refusal> {
    match value {
        None => Ok(None),
        Some(Scalar::Bool(value)) => Ok(Some(*value)),
        Some(other) => Err(found_instead(field, "true or false", other)),
    }
}

fn found_instead(field: &str, expected: &str, found: &Scalar<'_>) -> Refusal {
    Refusal::new(FaultCode::InvalidJson, format_args!("{field}: expected {expected}, found {}", found.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode_published;

    fn stored(id: u128, event_type: &str, json: &str) -> Result<(Stored, EventBatch), FaultCode> {
        let mut batch = EventBatch::default();
        let read = decode_stored(json.as_bytes(), (Uuid::from_u128(id), event_type), &mut batch);
        read.map(|read| (read, batch)).map_err(|refusal| refusal.code)
    }

    #[test]
    fn what_a_rule_refuses_today_is_read_if_it_was_stored() {
        let json = r#"{"tenant_id":"null","user_id":"a\u200bb","occurred_at":"1970-01-02T00:00:00Z"}"#;
        let (read, batch) = stored(7, "login", json).unwrap();
        assert_eq!(read, Stored::Event);
        assert_eq!(batch.get(0).tenant_id.as_str(), "null");
        assert_eq!(batch.get(0).user_id.as_str(), "a\u{200b}b");
    }

    #[test]
    fn a_retraction_comes_back() {
        let (mut json, at) = (Vec::new(), UtcInstant::from_micros(1_767_715_200_000_001));
        encode_stored_retraction(BatchName::new("run \"1\"").unwrap(), at, &mut json);
        let (read, batch) = stored(7, "backfill_retracted", str::from_utf8(&json).unwrap()).unwrap();
        assert_eq!(read, Stored::Retraction { batch: "run \"1\"".into(), occurred_at: at });
        assert!(batch.is_empty());
    }

    #[test]
    fn what_has_another_form_is_not_read() {
        let good = r#""tenant_id":"t","user_id":"u","occurred_at":"2026-01-02T00:00:00Z""#;
        for (event_type, json, code) in [
            ("login", "no JSON".to_owned(), FaultCode::InvalidJson),
            ("login", "{}".to_owned(), FaultCode::MissingField),
            ("login", format!("{{{good},\"new\":1}}"), FaultCode::UnknownField),
            ("login", format!("{{{good},\"user_id\":\"u\"}}"), FaultCode::UnknownField),
            ("login", format!("{{{good},\"type\":\"token_refresh\"}}"), FaultCode::InvalidId),
            ("login", format!("{{{good},\"session_id\":1}}"), FaultCode::InvalidJson),
            ("login", format!("{{{good},\"batch\":\"{}\"}}", "x".repeat(256)), FaultCode::TooLong),
            ("user_created", format!("{{{good}}}"), FaultCode::MissingField),
            ("of_tomorrow", format!("{{{good}}}"), FaultCode::UnknownType),
            ("backfill_retracted", format!("{{{good}}}"), FaultCode::MissingField),
        ] {
            assert_eq!(stored(7, event_type, &json).unwrap_err(), code, "{json}");
        }
        let nil = stored(0, "login", &format!("{{{good}}}"));
        assert_eq!(nil.unwrap_err(), FaultCode::InvalidId);
    }

    #[test]
    fn each_event_comes_back_as_it_was_published() {
        let names = (TenantId::new("acme").unwrap(), UserId::new("ada \\ \"").unwrap());
        let at = UtcInstant::from_micros(1_767_715_200_000_001);
        let id = EventId::new(Uuid::from_u128(9)).unwrap();
        for &event_type in EventType::PUBLISHABLE {
            let mut event = Event::new(id, event_type, names, at);
            event.confirmed = (event_type == EventType::UserCreated).then_some(true);
            event.batch = Some(BatchName::new("b").unwrap());
            let mut json = Vec::new();
            encode_published(&event, &mut json);
            let (_, batch) = stored(9, event_type.as_str(), str::from_utf8(&json).unwrap()).unwrap();
            assert_eq!(batch.get(0), event);
        }
    }
}

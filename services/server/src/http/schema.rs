//! JSON Schemas of what several answers have in common: the words and numbers whose Rust types say less than their
//! texts do.

pub(super) mod events;

use std::borrow::Cow;

use lastseen_event::{EventType, FaultCode, Provenance};
use lastseen_projections::Status;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::keys::seal::{SEALED_POSITION, ShownPosition};

macro_rules! schema {
    ($($(#[doc = $about:literal])+ $name:ty as $shown:literal: $schema:expr;)+) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $shown.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = $schema;
                schema.insert("description".to_owned(), concat!($($about),+).trim_ascii_start().into());
                schema
            }
        }
    )+};
}

/// One of these words.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Schema {
    json_schema!({ "type": "string", "enum": words.into_iter().collect::<Vec<_>>() })
}

/// A comma list of these words.
pub(super) fn list_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Schema {
    json_schema!({ "type": "array", "minItems": 1, "items": one_of(words) })
}

/// An integer from `least` on.
pub(super) fn integer_from(least: u64) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": least })
}

/// A position from `least` on, or a sealed one.
pub(super) fn position_from(least: u64) -> Schema {
    let sealed = json_schema!({ "type": "string", "pattern": SEALED_POSITION });
    json_schema!({ "anyOf": [integer_from(least), sealed] })
}

/// A name of 1 to 128 bytes.
pub(super) fn name() -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": lastseen_event::limits::NAME_BYTES_MAX })
}

/// An instant in an answer.
pub(super) struct Instant;
/// A calendar date in an answer.
pub(super) struct Date;
/// The condition of a user.
pub(super) struct UserStatus;
/// The type of an event.
pub(super) struct TypeName;
/// The provenance of a last-seen value.
pub(super) struct ProvenanceName;
/// The code of a fault.
pub(super) struct FaultName;
/// Numbers of events by type.
pub(super) struct EventsByType;

schema! {
    /// RFC 3339, in UTC.
    Instant as "Instant": json_schema!({ "type": "string", "format": "date-time" });
    /// A calendar date in the time zone of the answer.
    Date as "Date": json_schema!({ "type": "string", "format": "date" });
    /// A place in the log. A key that is bound to tenants sees a text in place of the number.
    ShownPosition as "Position": position_from(0);
    /// The state of a user at an instant.
    UserStatus as "UserStatus": one_of(Status::ALL.map(Status::as_str));
    /// The kind of an event.
    TypeName as "EventType": one_of(EventType::ALL.map(EventType::as_str));
    /// An event that happened, or a guess from older data.
    ProvenanceName as "Provenance": one_of([Provenance::Observed, Provenance::Estimated].map(Provenance::as_str));
    /// The kind of a fault of an event. A later version may have more.
    FaultName as "FaultCode": one_of(FaultCode::ALL.iter().map(|code| code.as_str()));
    /// The number of events of each type that is there.
    EventsByType as "EventsByType": json_schema!({
        "type": "object",
        "propertyNames": one_of(EventType::PUBLISHABLE.iter().map(|event_type| event_type.as_str())),
        "additionalProperties": integer_from(1),
    });
}

/// One fault of one event.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used: the event crate writes faults, and knows no schemas")]
pub(super) struct Fault {
    /// Place of the event in the request, from 0; blank lines do not count.
    index: u64,
    /// The event's id as it was sent, cut to 128 bytes; null where there was none.
    id: Option<String>,
    /// The field at fault; null where the event as a whole is.
    field: Option<String>,
    code: FaultName,
    /// The expected and the found value, for people.
    detail: String,
}

#[cfg(test)]
mod tests {
    use lastseen_event::EventFault;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_fault_has_the_fields_that_the_schema_says() {
        let fault = EventFault {
            index: 0,
            id: None,
            field: None,
            code: FaultCode::Empty,
            detail: "expected text".to_owned(),
        };
        let Value::Object(fault) = json!(fault) else { panic!("{fault:?}") };
        let schema = schemars::SchemaGenerator::default().into_root_schema_for::<Fault>();
        let said: Vec<_> = schema.get("properties").unwrap().as_object().unwrap().keys().collect();
        let mut written: Vec<_> = fault.keys().collect();
        written.sort_by_key(|key| said.iter().position(|said| said == key));
        assert_eq!(written, said);
    }
}

//! JSON Schemas of events, made by asking the rules themselves which fields each type has.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lastseen_event::{
    BatchName, Event, EventBatch, EventId, EventType, SessionId, TenantId, UserId, UtcInstant,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Instant, TypeName, name, one_of};
use crate::keys::seal::ShownPosition;

/// An event as it is published.
pub(in crate::http) struct PublishedEvent;

/// An event as `CloudEvents` 1.0 writes it in JSON.
pub(in crate::http) struct CloudEvent;

/// An event as the log has it.
pub(in crate::http) struct RecordedEvent;

/// The fields that not every type has, in the order of the wire.
const OPTIONAL: [&str; 5] = ["session_id", "from_tenant_id", "confirmed", "batch", "counts"];

/// The fields of `OPTIONAL` that a type may have, and those that it must have.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Fields {
    allowed: [bool; 5],
    required: [bool; 5],
}

impl Fields {
    /// Finds them by offering an event with each combination of the fields.
    fn of(event_type: EventType) -> Self {
        let taken: Vec<[bool; 5]> = (0..32_u8)
            .map(|bits| [0, 1, 2, 3, 4].map(|bit| bits & (1 << bit) != 0))
            .filter(|with| is_taken(event_type, *with))
            .collect();
        Self {
            allowed: [0, 1, 2, 3, 4].map(|field| taken.iter().any(|with| with[field])),
            required: [0, 1, 2, 3, 4].map(|field| taken.iter().all(|with| with[field])),
        }
    }
}

fn is_taken(event_type: EventType, [session, from, confirmed, batch, counts]: [bool; 5]) -> bool {
    let id = EventId::new(Uuid::from_u128(1)).expect("not nil");
    let of = (TenantId::new("t").expect("a name"), UserId::new("u").expect("a name"));
    let event = Event {
        session_id: session.then(|| SessionId::new("s").expect("a name")),
        from_tenant_id: from.then(|| TenantId::new("f").expect("a name")),
        confirmed: confirmed.then_some(true),
        counts: counts.then_some(false),
        batch: batch.then(|| BatchName::new("b").expect("a name")),
        ..Event::new(id, event_type, of, UtcInstant::EARLIEST)
    };
    EventBatch::default().push(&event).is_ok()
}

/// Types that have the same fields, and those of `OPTIONAL` among them, true where they are required.
type Group = (Vec<&'static str>, Vec<(&'static str, bool)>);

/// All types, in the order of their codes.
fn groups() -> Vec<Group> {
    let mut groups: BTreeMap<Fields, Vec<EventType>> = BTreeMap::new();
    for event_type in EventType::PUBLISHABLE {
        groups.entry(Fields::of(*event_type)).or_default().push(*event_type);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, types)| types.first().map(|first| first.code()));
    let fields = |Fields { allowed, required }: Fields| {
        let of = OPTIONAL.into_iter().zip(allowed).zip(required);
        of.filter(|((_, allowed), _)| *allowed).map(|((name, _), required)| (name, required)).collect()
    };
    let names = |types: Vec<EventType>| types.into_iter().map(EventType::as_str).collect();
    groups.into_iter().map(|(of, types)| (names(types), fields(of))).collect()
}

/// The meaning of a field, and the schema of its value.
fn field(name_of: &str) -> Value {
    let with = |mut schema: Schema, about: &str| {
        schema.insert("description".to_owned(), about.into());
        schema.to_value()
    };
    match name_of {
        "id" => with(
            json_schema!({ "type": "string", "format": "uuid" }),
            "The idempotency key, within the tenant: v7, or v5 of session id and token version. Not nil, not max.",
        ),
        "tenant_id" => with(name(), "1 to 128 bytes, compared byte by byte."),
        "user_id" => with(name(), "1 to 128 bytes, compared byte by byte; unique within the tenant."),
        "occurred_at" => with(
            json_schema!({ "type": "string", "format": "date-time" }),
            "The publisher's clock: RFC 3339 with an offset, from 1990 on.",
        ),
        "session_id" => with(name(), "The session, on observed activity."),
        "from_tenant_id" => with(name(), "The tenant that the user came from."),
        "confirmed" => with(json_schema!({ "type": "boolean" }), "True if the user is confirmed already."),
        "counts" => with(
            json_schema!({ "type": "boolean" }),
            "False leaves the user out of the numbers from then on, true takes it back in.",
        ),
        _ => with(name(), "The name of the backfill. It needs the scope `backfill`."),
    }
}

/// The field where it may be absent: null says so as well.
fn optional(name_of: &str) -> Value {
    let mut schema = field(name_of);
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

/// An object with the fields that each event has, and others.
fn object(types: &[&'static str], others: &[(&'static str, bool)]) -> (Map<String, Value>, Vec<Value>) {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for name in ["id", "type", "tenant_id", "user_id", "occurred_at"] {
        let mut schema = if name == "type" { one_of(types.iter().copied()).to_value() } else { field(name) };
        if name == "type" {
            schema["description"] = "What has happened.".into();
        }
        properties.insert(name.to_owned(), schema);
        required.push(name.into());
    }
    for (name, is_required) in others {
        properties.insert((*name).to_owned(), if *is_required { field(name) } else { optional(name) });
        if *is_required {
            required.push((*name).into());
        }
    }
    (properties, required)
}

impl JsonSchema for PublishedEvent {
    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let kinds: Vec<Value> = groups()
            .into_iter()
            .map(|(types, fields)| {
                let (properties, required) = object(&types, &fields);
                json!({
                    "title": types.join(", "),
                    "type": "object",
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            })
            .collect();
        json_schema!({
            "description": "A fact about one user of one tenant, in the past tense. Null means absent.",
            "oneOf": kinds,
        })
    }
}

impl JsonSchema for CloudEvent {
    fn schema_name() -> Cow<'static, str> {
        "CloudEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let types = EventType::PUBLISHABLE.iter().map(|event_type| format!("dev.lastseen.{event_type}.v1"));
        let with = |schema: Value, about: &str| {
            let mut schema = schema;
            schema["description"] = about.into();
            schema
        };
        let text = json!({ "type": "string", "minLength": 1 });
        json_schema!({
            "description": "An event of CloudEvents 1.0. Other attributes and the data are not read.",
            "type": "object",
            "properties": {
                "specversion": { "const": "1.0", "description": "The version of CloudEvents." },
                "id": with(text.clone(), "A UUID, or any text: then the id is a UUIDv5 of it and the source."),
                "source": with(text, "The publisher, a URI."),
                "type": with(json!({ "type": "string", "enum": types.collect::<Vec<_>>() }), "What has happened."),
                "subject": with(name().to_value(), "The user."),
                "time": field("occurred_at"),
                "tenantid": field("tenant_id"),
                "sessionid": optional("session_id"),
                "fromtenantid": optional("from_tenant_id"),
                "confirmed": optional("confirmed"),
                "backfillbatch": optional("batch"),
                "counts": optional("counts"),
            },
            "required": ["specversion", "id", "source", "type", "subject", "time", "tenantid"],
        })
    }
}

impl JsonSchema for RecordedEvent {
    fn schema_name() -> Cow<'static, str> {
        "RecordedEvent".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (mut properties, _) = object(&[], &[]);
        properties.extend(OPTIONAL.map(|name| (name.to_owned(), field(name))));
        properties.insert("type".to_owned(), generator.subschema_for::<TypeName>().to_value());
        properties.insert("position".to_owned(), generator.subschema_for::<ShownPosition>().to_value());
        properties.insert("recorded_at".to_owned(), generator.subschema_for::<Instant>().to_value());
        let retracted =
            json!({ "const": true, "description": "The event does not count: its batch was retracted." });
        properties.insert("retracted".to_owned(), retracted);
        json_schema!({
            "description": "The fields of the published event, its position and the store's clock. \
                            A `backfill_retracted` has no tenant and no user.",
            "type": "object",
            "properties": properties,
            "required": ["position", "id", "type", "occurred_at", "recorded_at"],
            "additionalProperties": false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_tell_the_fields_of_each_type() {
        let found = groups();
        let optional = |name| (name, false);
        let expected: [Group; 6] = [
            (
                vec!["login", "token_refresh", "signup_complete"],
                vec![optional("session_id"), optional("batch")],
            ),
            (vec!["tenant_switch"], ["session_id", "from_tenant_id", "batch"].map(optional).to_vec()),
            (vec!["user_created"], vec![("confirmed", true), optional("batch"), optional("counts")]),
            (vec!["user_confirmed", "user_deleted", "user_restored"], vec![optional("batch")]),
            (vec!["user_changed"], vec![optional("batch"), optional("counts")]),
            (vec!["estimated_activity"], vec![("batch", true)]),
        ];
        assert_eq!(found, expected);
    }
}

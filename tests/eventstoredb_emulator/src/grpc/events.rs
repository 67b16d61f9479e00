//! Proposed events: from the protocol's messages to the store's, with the checks that a server makes.

use std::collections::BTreeMap;

use ::uuid::Uuid;
use bytes::Bytes;
use tonic::Status;

use super::status::{missing_property, thrown};
use crate::proto::client::{StreamIdentifier, Uuid as UuidMessage, uuid};
use crate::record::{ContentType, Payload};
use crate::store::NewEvent;

/// The parts of a proposed event, of an append or of a batch.
pub(crate) struct Proposed {
    pub(crate) id: Option<UuidMessage>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) custom_metadata: Bytes,
    pub(crate) data: Bytes,
}

/// The text or the two halves of an id.
pub(crate) fn id_of(message: Option<&UuidMessage>) -> Option<Uuid> {
    match message?.value.as_ref()? {
        uuid::Value::String(text) => Uuid::parse_str(text).ok(),
        uuid::Value::Structured(halves) => {
            let half = |half: i64| u64::from_le_bytes(half.to_le_bytes());
            Some(Uuid::from_u64_pair(half(halves.most_significant_bits), half(halves.least_significant_bits)))
        }
    }
}

/// The name of a stream: text, not empty.
///
/// # Errors
/// A fault that a server did not foresee.
pub(crate) fn stream_name(identifier: Option<&StreamIdentifier>) -> Result<String, Status> {
    let name = identifier.map(|identifier| identifier.stream_name.to_vec()).unwrap_or_default();
    String::from_utf8(name).ok().filter(|name| !name.is_empty()).ok_or_else(thrown)
}

/// Checks a proposed event.
///
/// # Errors
/// A property is missing, or a fault that a server did not foresee.
pub(crate) fn new_event(proposed: &Proposed) -> Result<NewEvent, Status> {
    let id = id_of(proposed.id.as_ref()).filter(|id| !id.is_nil()).ok_or_else(thrown)?;
    let property = |name: &str| proposed.metadata.get(name).ok_or_else(|| missing_property(name));
    let event_type = property("type")?.clone();
    let content = match property("content-type")?.as_str() {
        "application/json" => ContentType::Json,
        _ => ContentType::Octets,
    };
    if event_type.is_empty() {
        return Err(thrown());
    }
    Ok(NewEvent {
        id,
        event_type,
        content,
        payload: Payload::copied(&proposed.data, &proposed.custom_metadata),
    })
}

//! An event as the cluster keeps it: the id and the type are the cluster's own fields, the data is the JSON that was published.

use bytes::Bytes;
use eventstore::{EventData, RecordedEvent};
use lastseen_event::wire::{Stored, decode_stored, encode_published, encode_stored_retraction};
use lastseen_event::{BatchName, Event, EventBatch, EventId, EventType, Position, UtcInstant};
use lastseen_log::Stamp;
use serde_json::value::RawValue;

/// The form that this version writes. Nodes with an older form do not go on: they would leave out what others keep.
const FORM: u64 = 1;

/// The metadata of each event: `{"lastseen":FORM}`. By it, an event of another application is told from one of a newer form.
const METADATA: &[u8] = b"{\"lastseen\":1}";

/// Bytes of an event in an append besides those of its data, at most: its id, its type, its metadata, and the frames around.
pub(crate) const OVERHEAD_BYTES: usize = 256;

/// An event to be sent, and the bytes that it takes.
pub(crate) fn encode(event: &Event<'_>) -> (EventData, usize) {
    let mut json = Vec::new();
    encode_published(event, &mut json);
    data(event.id, event.event_type, json)
}

/// The retraction of a batch to be sent.
pub(crate) fn encode_retraction(batch: BatchName<'_>, occurred_at: UtcInstant) -> EventData {
    let mut json = Vec::new();
    encode_stored_retraction(batch, occurred_at, &mut json);
    data(EventId::of_retraction(batch), EventType::BackfillRetracted, json).0
}

fn data(id: EventId, event_type: EventType, json: Vec<u8>) -> (EventData, usize) {
    let bytes = json.len() + OVERHEAD_BYTES;
    let json = String::from_utf8(json).ok().and_then(|json| RawValue::from_string(json).ok());
    let json = json.unwrap_or_else(|| unreachable!("an event is written as JSON"));
    let data = EventData::json(event_type.as_str(), &json).unwrap_or_else(|_| unreachable!("it is JSON"));
    (data.id(id.as_uuid()).metadata(Bytes::from_static(METADATA)), bytes)
}

/// A record of the cluster as the log takes it in.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It was added to the batch.
    Event,
    /// The retraction of a batch.
    Retraction { batch: Box<str>, occurred_at: UtcInstant },
    /// Not an event of Lastseen: it is left out.
    Foreign { cause: String },
    /// Of a form that this version does not know: nothing behind it can be taken in.
    Newer { form: u64 },
}

/// Reads a record, and adds it to `batch` if it is an event.
pub(crate) fn decode(record: &RecordedEvent, batch: &mut EventBatch) -> Taken {
    match form(&record.custom_metadata) {
        Some(form) if form > FORM => return Taken::Newer { form },
        Some(_) => {}
        None => return Taken::Foreign { cause: "it has not the metadata of Lastseen".to_owned() },
    }
    match decode_stored(&record.data, (record.id, &record.event_type), batch) {
        Ok(Stored::Event) => Taken::Event,
        Ok(Stored::Retraction { batch, occurred_at }) => Taken::Retraction { batch, occurred_at },
        Err(refusal) => Taken::Foreign { cause: refusal.detail },
    }
}

/// The form that the metadata says. `None`: it is not Lastseen's.
fn form(metadata: &[u8]) -> Option<u64> {
    if metadata == METADATA {
        return Some(FORM);
    }
    let metadata: serde_json::Value = serde_json::from_slice(metadata).ok()?;
    metadata.get("lastseen")?.as_u64()
}

/// The place of a record: the cluster's position and clock, which the client cuts to seconds in its own field.
pub(crate) fn stamp(record: &RecordedEvent) -> Stamp {
    let told = record.metadata.get("created").and_then(|ticks| created(ticks));
    let recorded_at = told.unwrap_or_else(|| UtcInstant::from_micros(record.created.timestamp_micros()));
    Stamp { position: Position::new(record.position.commit), recorded_at }
}

/// The instant that the cluster tells, in ticks of 100 ns since 1970, cut to microseconds.
fn created(ticks: &str) -> Option<UtcInstant> {
    const TICKS_PER_MICROSECOND: i64 = 10;
    Some(UtcInstant::from_micros(ticks.parse::<i64>().ok()?.div_euclid(TICKS_PER_MICROSECOND)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instant_of_a_record_is_cut_to_microseconds() {
        // As a real server told it.
        assert_eq!(created("17957239739058278"), Some(UtcInstant::from_micros(1_795_723_973_905_827)));
        assert_eq!(created("soon"), None);
    }

    #[test]
    fn the_form_of_an_event_stands_in_its_metadata() {
        assert_eq!(form(METADATA), Some(FORM));
        assert_eq!(form(b"{\"lastseen\": 7, \"other\": true}"), Some(7));
        for foreign in [&b""[..], b"{}", b"null", b"{\"lastseen\":\"1\"}", b"\xff"] {
            assert_eq!(form(foreign), None);
        }
    }
}

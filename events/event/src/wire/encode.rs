//! An event as one line of NDJSON: as a replay sends it, and as it is published. Written straight into the buffer, since
//! a replay is as fast as this.

use memchr::memchr2_iter;

use crate::{BatchName, Event, EventId, EventType, Position, Retraction, SessionId, TenantId, UtcInstant};

/// The value of `position` in a line.
#[derive(Clone, Copy, Debug)]
pub enum LinePosition<'a> {
    /// The number.
    Plain(Position),
    /// A string that stands for it: letters, digits, `-` and `_`.
    Sealed(&'a str),
}

/// Adds an event as a line: the fields it was published with, `position` and `recorded_at`. Absent fields are left out.
/// Without those two, the line can be published again.
pub fn encode_ndjson(
    event: &Event<'_>,
    position: LinePosition<'_>,
    recorded_at: UtcInstant,
    out: &mut Vec<u8>,
) {
    out.reserve(FIXED_BYTES);
    out.extend_from_slice(b"{\"position\":");
    match position {
        LinePosition::Plain(position) => decimal(position.get(), out),
        LinePosition::Sealed(sealed) => {
            out.push(b'"');
            out.extend_from_slice(sealed.as_bytes());
            out.push(b'"');
        }
    }
    out.push(b',');
    required(event, out);
    out.extend_from_slice(b",\"recorded_at\":\"");
    recorded_at.encode(out);
    out.push(b'"');
    optional(event, out);
}

/// Adds the record that a batch was taken back as a line.
pub fn encode_retraction(retraction: &Retraction, batch: BatchName<'_>, out: &mut Vec<u8>) {
    let Retraction { position, id, occurred_at, recorded_at, batch: _ } = *retraction;
    out.extend_from_slice(b"{\"position\":");
    decimal(position.get(), out);
    out.push(b',');
    identity(id, EventType::BackfillRetracted, out);
    out.extend_from_slice(b",\"occurred_at\":\"");
    occurred_at.encode(out);
    out.extend_from_slice(b"\",\"recorded_at\":\"");
    recorded_at.encode(out);
    out.extend_from_slice(b"\",\"batch\":");
    text(batch.as_str(), out);
    out.extend_from_slice(b"}\n");
}

/// Adds an event as a line that can be published. Absent fields are left out.
pub fn encode_published(event: &Event<'_>, out: &mut Vec<u8>) {
    out.reserve(FIXED_BYTES);
    out.push(b'{');
    required(event, out);
    optional(event, out);
}

/// Room for a line with names of usual lengths.
const FIXED_BYTES: usize = 240;

/// The fields that every event has.
fn required(event: &Event<'_>, out: &mut Vec<u8>) {
    identity(event.id, event.event_type, out);
    out.extend_from_slice(b",\"tenant_id\":");
    text(event.tenant_id.as_str(), out);
    out.extend_from_slice(b",\"user_id\":");
    text(event.user_id.as_str(), out);
    out.extend_from_slice(b",\"occurred_at\":\"");
    event.occurred_at.encode(out);
    out.push(b'"');
}

fn identity(id: EventId, event_type: EventType, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"id\":\"");
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    out.extend_from_slice(id.as_uuid().as_hyphenated().encode_lower(&mut text).as_bytes());
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(event_type.as_str().as_bytes());
    out.push(b'"');
}

/// The others, and the end of the line.
fn optional(event: &Event<'_>, out: &mut Vec<u8>) {
    for (name, value) in [
        (&b",\"session_id\":"[..], event.session_id.map(SessionId::as_str)),
        (b",\"from_tenant_id\":", event.from_tenant_id.map(TenantId::as_str)),
        (b",\"batch\":", event.batch.map(BatchName::as_str)),
    ] {
        if let Some(value) = value {
            out.extend_from_slice(name);
            text(value, out);
        }
    }
    for (name, value) in [(&b",\"confirmed\":"[..], event.confirmed), (b",\"counts\":", event.counts)] {
        if let Some(value) = value {
            out.extend_from_slice(name);
            out.extend_from_slice(if value { b"true" } else { b"false" });
        }
    }
    out.extend_from_slice(b"}\n");
}

/// A name as a JSON string. Names have no control characters, so only quotes and backslashes are escaped.
pub(super) fn text(name: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut written = 0;
    for at in memchr2_iter(b'"', b'\\', name.as_bytes()) {
        out.extend_from_slice(&name.as_bytes()[written..at]);
        out.push(b'\\');
        written = at;
    }
    out.extend_from_slice(&name.as_bytes()[written..]);
    out.push(b'"');
}

fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break out.extend_from_slice(&digits[start..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::wire::{Accept, FaultsKept, decode_ndjson};
    use crate::{BatchOrdinal, UserId};

    #[test]
    fn a_retraction_is_a_line_of_its_own() {
        let batch = BatchName::new("users \"old\"").unwrap();
        let retraction = Retraction {
            position: Position::new(7),
            id: EventId::of_retraction(batch),
            occurred_at: UtcInstant::from_micros(1_767_715_200_000_000),
            recorded_at: UtcInstant::from_micros(1_767_715_200_000_001),
            batch: BatchOrdinal::new(0),
        };
        let mut line = Vec::new();
        encode_retraction(&retraction, batch, &mut line);
        let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let expected = serde_json::json!({
            "position": 7,
            "id": retraction.id.to_string(),
            "type": "backfill_retracted",
            "occurred_at": "2026-01-06T16:00:00Z",
            "recorded_at": "2026-01-06T16:00:00.000001Z",
            "batch": "users \"old\"",
        });
        assert_eq!(read, expected);
    }

    proptest! {
        /// serde_json reads back what was written, and so does the decoder of what is published.
        #[test]
        fn a_line_is_read_back(
            id in 1_u128..u128::MAX,
            position in any::<u64>(),
            names in prop::array::uniform3("[ -~é€]{1,20}"),
            at in 631_152_000_000_000_i64..1_800_000_000_000_000,
            recorded in 0_i64..253_402_300_799_999_999,
            whole in any::<bool>(),
            kind in 0..3,
        ) {
            let [tenant, user, other] = names.each_ref().map(String::as_str);
            let (Ok(tenant), Ok(user), Ok(other)) = (TenantId::new(tenant), UserId::new(user), SessionId::new(other)) else {
                return Ok(());
            };
            let at = UtcInstant::from_micros(if whole { at / 1_000_000 * 1_000_000 } else { at });
            let id = EventId::new(Uuid::from_u128(id)).unwrap();
            let mut event = Event::new(id, EventType::TenantSwitch, (tenant, user), at);
            match kind {
                0 => event.session_id = Some(other),
                1 => event.from_tenant_id = Some(tenant),
                _ => {
                    event.event_type = EventType::UserCreated;
                    event.confirmed = Some(whole);
                    event.counts = if position.is_multiple_of(3) { None } else { Some(position.is_multiple_of(2)) };
                    event.batch = Some(BatchName::new(other.as_str()).unwrap());
                }
            }
            let recorded_at = UtcInstant::from_micros(recorded);
            let mut line = Vec::new();
            encode_ndjson(&event, LinePosition::Plain(Position::new(position)), recorded_at, &mut line);
            let mut read: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(read.remove("position"), Some(position.into()));
            prop_assert_eq!(read.remove("recorded_at"), Some(recorded_at.to_string().into()));
            let mut published = Vec::new();
            encode_published(&event, &mut published);
            for line in [serde_json::to_vec(&read).unwrap(), published] {
                let decoded = decode_ndjson(&line, Accept::all(UtcInstant::from_micros(i64::MAX), FaultsKept::All), || ()).unwrap();
                prop_assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
                prop_assert!(decoded.batch.iter().eq([event]));
            }
        }
    }
}

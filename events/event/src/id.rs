//! The event id: the idempotency key of everything that is appended, within its tenant.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use uuid::{Uuid, uuid};

use crate::{BatchName, EventType, TenantId, UserId, UtcInstant};

/// Identity of an event, chosen by its publisher: any UUID but nil and max.
///
/// Ordered by its 16 bytes; the order breaks ties between membership events of one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

/// Why a UUID cannot be an event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEventId {
    /// Not a UUID in the hyphenated form of RFC 9562.
    #[error("expected a hyphenated UUID such as 0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b")]
    NotAUuid,
    /// The nil or the max UUID, which publishers send when they have none.
    #[error("expected a UUID of its own, not the nil or max UUID")]
    Placeholder,
}

impl EventId {
    /// Accepts any UUID but nil and max.
    ///
    /// # Errors
    /// [`InvalidEventId::Placeholder`] for nil and max.
    pub fn new(uuid: Uuid) -> Result<Self, InvalidEventId> {
        if uuid.is_nil() || uuid.is_max() { Err(InvalidEventId::Placeholder) } else { Ok(Self(uuid)) }
    }

    /// Takes an id as a store holds it, whatever it is: a rule that came after it was stored does not make it damage.
    pub fn stored(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Parses the hyphenated form, hex digits in any case.
    ///
    /// # Errors
    /// [`InvalidEventId::NotAUuid`] for braces, URNs, missing hyphens and anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidEventId> {
        const HYPHENATED_LEN: usize = 36;
        if text.len() != HYPHENATED_LEN {
            return Err(InvalidEventId::NotAUuid);
        }
        Self::new(Uuid::try_parse(text).map_err(|_| InvalidEventId::NotAUuid)?)
    }

    /// The id of an event that a backfill makes of a row: the same row gives the same id, whoever reads it and however often. A
    /// `UUIDv5` in a namespace of its own, over the compact JSON array `[batch, tenant, user, type, occurred_at with 6 digits and Z,
    /// confirmed or null]`; where the event says `counts`, that comes seventh.
    pub fn of_backfill(
        batch: BatchName<'_>,
        (tenant_id, user_id): (TenantId<'_>, UserId<'_>),
        (event_type, occurred_at): (EventType, UtcInstant),
        (confirmed, counts): (Option<bool>, Option<bool>),
    ) -> Self {
        let at = DateTime::from_timestamp_micros(occurred_at.as_micros())
            .map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true));
        let names = (batch.as_str(), tenant_id.as_str(), user_id.as_str());
        let event_type = event_type.as_str();
        Self::of_json(match counts {
            None => serde_json::to_vec(&(names.0, names.1, names.2, event_type, at, confirmed)),
            Some(counts) => {
                serde_json::to_vec(&(names.0, names.1, names.2, event_type, at, confirmed, counts))
            }
        })
    }

    /// The id of the activity that a token of a session is proof of: whoever publishes it, and however often, it is one event.
    /// A `UUIDv5` over the compact JSON array `[type, session_id, version]`, in the namespace of [`EventId::of_backfill`].
    pub fn of_token(event_type: EventType, session_id: &str, version: u64) -> Self {
        Self::of_json(serde_json::to_vec(&(event_type.as_str(), session_id, version)))
    }

    /// The id of the event that takes a batch back: whoever does, and however often, it is one event. A `UUIDv5` over the
    /// compact JSON array `[batch, "backfill_retracted"]`, in the namespace of [`EventId::of_backfill`].
    pub fn of_retraction(batch: BatchName<'_>) -> Self {
        Self::of_json(serde_json::to_vec(&(batch.as_str(), EventType::BackfillRetracted.as_str())))
    }

    /// The id of a `CloudEvents` event whose own id is no UUID: a `UUIDv5` of that id, in the namespace that is the `UUIDv5` of its
    /// source as a URL.
    pub fn of_cloud_event(source: &str, id: &str) -> Self {
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, source.as_bytes());
        Self(Uuid::new_v5(&namespace, id.as_bytes()))
    }

    fn of_json(json: serde_json::Result<Vec<u8>>) -> Self {
        const NAMESPACE: Uuid = uuid!("d6768efc-a8dd-5c9c-9cf4-7540d260961e");
        Self(Uuid::new_v5(
            &NAMESPACE,
            &json.unwrap_or_else(|_| unreachable!("strings and a boolean are JSON")),
        ))
    }

    /// The id as a UUID.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hyphenated_uuids_of_their_own_are_ids() {
        let upper = EventId::parse("0199A1B2-7C3D-7E4F-8A5B-6C7D8E9F0A1B").unwrap();
        assert_eq!(upper.to_string(), "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b");
        for bad in ["", "0199a1b27c3d7e4f8a5b6c7d8e9f0a1b", "{0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b}", "x"] {
            assert_eq!(EventId::parse(bad), Err(InvalidEventId::NotAUuid), "{bad}");
        }
        for bad in [Uuid::nil(), Uuid::max()] {
            assert_eq!(EventId::new(bad), Err(InvalidEventId::Placeholder));
        }
    }

    #[test]
    fn the_id_of_a_retraction_follows_from_the_name() {
        for (batch, id) in [
            ("users 2026", "8280ee12-a303-5d79-bf68-ad975fe398e7"),
            ("b\"\\", "5e190cbb-caf9-5fd8-95e5-aff997f0d4d0"),
        ] {
            assert_eq!(EventId::of_retraction(BatchName::new(batch).unwrap()).to_string(), id);
        }
    }

    /// Beside what Python's `uuid.uuid5` and `json.dumps` make of the same arrays.
    #[test]
    fn ids_of_tokens_follow_from_session_and_version() {
        for (event_type, session, version, id) in [
            (EventType::Login, "s-1", 1, "1c601b07-2ac4-57ad-b5a0-b597bacf6acc"),
            (EventType::TokenRefresh, "s-1", 2, "dd14cca6-d7b2-562f-8044-75e0d2526c9d"),
            (EventType::TokenRefresh, "日本 \"x\"", u64::MAX, "f78eebfa-d8a3-5540-b771-21d71bcbb49c"),
        ] {
            assert_eq!(EventId::of_token(event_type, session, version).to_string(), id);
        }
    }

    /// Beside what Python's `uuid.uuid5` and `json.dumps` make of the same rows.
    #[test]
    fn ids_of_a_backfill_follow_from_the_row() {
        for (batch, tenant, user, event_type, at, said, id) in [
            (
                "users 2026",
                "8127",
                "usr_01JK",
                EventType::UserCreated,
                "2026-01-06T16:00:00Z",
                (Some(true), None),
                "5e87f900-9def-5b26-8811-fd04b3256596",
            ),
            (
                "users 2026",
                "8127",
                "usr_01JK",
                EventType::EstimatedActivity,
                "2026-01-06T17:00:00.123456+01:00",
                (None, None),
                "e3a9107a-1289-59b0-b5c8-47cb5b9f55e7",
            ),
            (
                "b\"\\",
                "Zoë",
                "日本 \"x\"",
                EventType::UserCreated,
                "1990-01-01T00:00:00Z",
                (Some(false), None),
                "e972a338-da50-5f7c-b34b-83c256694d19",
            ),
            (
                "users 2026",
                "8127",
                "bot",
                EventType::UserCreated,
                "2026-01-06T17:00:00.123456+01:00",
                (Some(true), Some(false)),
                "52454b1e-3872-5418-9547-aed3226cfa1b",
            ),
            (
                "users 2026",
                "8127",
                "bot",
                EventType::UserChanged,
                "2026-01-06T17:00:00.123456+01:00",
                (None, Some(true)),
                "ac97ceb6-249c-5e7c-8477-0614bab5ce2c",
            ),
        ] {
            let member = (TenantId::new(tenant).unwrap(), UserId::new(user).unwrap());
            let what = (event_type, UtcInstant::parse(at).unwrap());
            let found = EventId::of_backfill(BatchName::new(batch).unwrap(), member, what, said);
            assert_eq!(found.to_string(), id);
        }
    }
}

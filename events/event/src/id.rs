//! The event id: the idempotency key of everything that is appended.

use std::fmt;

use uuid::Uuid;

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
}

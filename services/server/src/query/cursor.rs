//! The opaque cursor of a list: the question it belongs to, the instant it was asked at, the last user shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lastseen_event::UtcInstant;
use serde::{Deserialize, Serialize};

use super::page::Place;

/// Where the next page begins. Fixes "now", so that no window moves between pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) tenant_id: String,
    /// The other parameters, in canonical form.
    pub(crate) query: String,
    /// The instant of the first page.
    pub(crate) at: UtcInstant,
    pub(crate) after: Place,
}

/// `(tenant, query, at, last seen, user)`, instants in microseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Fields(String, String, i64, Option<i64>, String);

impl Cursor {
    pub(crate) fn encode(self) -> String {
        let Self { tenant_id, query, at, after } = self;
        let last_seen_us = after.last_seen_at.map(UtcInstant::as_micros);
        let fields = Fields(tenant_id, query, at.as_micros(), last_seen_us, after.user_id);
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&fields).expect("strings and integers are serializable"))
    }

    /// `None` for text that no cursor encodes to.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let fields = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let Fields(tenant_id, query, at_us, last_seen_us, user_id) = fields;
        let after = Place { last_seen_at: last_seen_us.map(UtcInstant::from_micros), user_id };
        Some(Self { tenant_id, query, at: UtcInstant::from_micros(at_us), after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip_and_nothing_else_is_one() {
        let after = Place { last_seen_at: None, user_id: "Zoë \"x\"".to_owned() };
        let at = UtcInstant::from_micros(7);
        let cursor = Cursor { tenant_id: "8127".to_owned(), query: "limit=2".to_owned(), at, after };
        assert_eq!(Cursor::decode(&cursor.clone().encode()), Some(cursor));
        for bad in ["", "x", "!!", "bnVsbA", "W10"] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }
}

//! The opaque cursor of a list: the question it belongs to, the instant it was asked at, the last row shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lastseen_event::UtcInstant;
use serde::{Deserialize, Serialize};

use super::params::Params;
use crate::problem::Problem;

/// Where the next page begins. Fixes "now", so that no window moves between pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Of the list's users; empty for the list of tenants.
    pub(crate) tenant_id: String,
    /// The other parameters, in canonical form.
    pub(crate) query: String,
    /// The instant of the first page.
    pub(crate) at: UtcInstant,
    pub(crate) after: Place,
}

/// The place of a row in a list: everything the order looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// A count, or an instant in microseconds since 1970.
    pub(crate) key: Option<i64>,
    /// Decides between equal ones.
    pub(crate) name: String,
}

/// `(tenant, query, at, key, name)`, `at` in microseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Fields(String, String, i64, Option<i64>, String);

impl Cursor {
    /// The cursor of a request, if it has one.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub(crate) fn read(params: &Params) -> Result<Option<Self>, Problem> {
        params.get("cursor", |text| Self::decode(text).ok_or("expected a next_cursor of this list"))
    }

    /// The parameters that the list was asked with. Those of this request may be left out, or must be the same;
    /// `per_page` may differ.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub(crate) fn resume(
        &self,
        params: &Params,
        tenant_id: &str,
        (known, per_page): (&[&str], &[&str]),
    ) -> Result<Params, Problem> {
        let asked = params.canonical(per_page);
        if self.tenant_id != tenant_id || !(asked.is_empty() || asked == self.query) {
            let detail =
                "expected the list and the parameters that the cursor was given under, or the cursor alone";
            return Err(Problem::invalid_parameter("cursor", detail));
        }
        Params::parse(Some(&self.query), known)
    }

    pub(crate) fn encode(self) -> String {
        let Self { tenant_id, query, at, after } = self;
        let fields = Fields(tenant_id, query, at.as_micros(), after.key, after.name);
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&fields).expect("strings and integers are serializable"))
    }

    /// `None` for text that no cursor encodes to.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let fields = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let Fields(tenant_id, query, at_us, key, name) = fields;
        let after = Place { key, name };
        Some(Self { tenant_id, query, at: UtcInstant::from_micros(at_us), after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip_and_nothing_else_is_one() {
        let after = Place { key: None, name: "Zoë \"x\"".to_owned() };
        let at = UtcInstant::from_micros(7);
        let cursor = Cursor { tenant_id: "8127".to_owned(), query: "limit=2".to_owned(), at, after };
        assert_eq!(Cursor::decode(&cursor.clone().encode()), Some(cursor));
        for bad in ["", "x", "!!", "bnVsbA", "W10"] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }
}

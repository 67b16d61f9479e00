//! The opaque cursor of a list: the question it belongs to, "now" of the first page, the last row shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lastseen_event::{Position, UtcInstant};
use schemars::{Schema, json_schema};
use serde::{Deserialize, Serialize};

use super::value::Value;
use super::{Params, Query};
use crate::http::problem::Problem;
use crate::keys::seal::Positions;
use crate::questions::place::Place;

/// The beginning of the next page. Fixes "now", so no window moves between pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Cursor {
    /// The tenant whose users the list has; empty for the list of tenants.
    pub(in crate::http) tenant_id: String,
    /// The other parameters, in canonical form.
    pub(in crate::http) query: String,
    /// "Now" of the first page.
    pub(in crate::http) now: UtcInstant,
    pub(in crate::http) after: Place,
    /// The position of a list of the past, which stands still, as the caller sees it.
    pub(in crate::http) position: Option<String>,
}

/// `(tenant, query, now, key, (name, of), position)`, `now` in microseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Fields(String, String, i64, Option<i64>, (String, String), Option<String>);

/// Parameters that may differ from page to page.
const PER_PAGE: [&str; 4] = ["cursor", "min_position", "log_id", LIMIT];
/// Of these, the one that stays as it was where it is not given again.
const LIMIT: &str = "limit";

impl Cursor {
    /// The parameters that the list was asked with. Those of this request may be left out, or must be the same; the
    /// cursor itself, `limit` and `min_position` may differ.
    ///
    /// # Errors
    /// `invalid_parameter`.
    fn resume<P: Params>(&self, asked: &Query, tenant_id: &str) -> Result<P, Problem> {
        let first = Query::parse::<P>(Some(&self.query), asked.positions().clone())?;
        let others = asked.canonical(&PER_PAGE);
        let is_same = others.is_empty() || others == first.canonical(&PER_PAGE);
        if self.tenant_id != tenant_id || !is_same {
            let detail =
                "expected the list and the parameters that the cursor was given under, or the cursor alone";
            return Err(Problem::invalid_parameter("cursor", detail));
        }
        P::take(&first.with(LIMIT, asked.text(LIMIT)))
    }

    fn encode(self) -> String {
        let Self { tenant_id, query, now, after, position } = self;
        let fields = Fields(tenant_id, query, now.as_micros(), after.key, (after.name, after.of), position);
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&fields).expect("strings and integers are serializable"))
    }
}

/// A list that is asked for page by page: the parameters of the first page, and the place of this one.
pub(in crate::http) struct Paged<P> {
    pub(in crate::http) params: P,
    /// The parameters in canonical form.
    query: String,
    /// "Now" of the first page. `None`: this is the first page.
    pub(in crate::http) now: Option<UtcInstant>,
    /// The last row of the page before.
    pub(in crate::http) after: Option<Place>,
    /// The position of a list of the past, which stands still.
    pub(in crate::http) position: Option<Position>,
    positions: Positions,
}

impl<P: Params> Paged<P> {
    /// Reads a request for a page.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub(in crate::http) fn read(
        params: P,
        cursor: Option<Cursor>,
        asked: &Query,
        tenant_id: &str,
    ) -> Result<Self, Problem> {
        let positions = asked.positions().clone();
        let Some(cursor) = cursor else {
            let query = asked.canonical(&["cursor", "min_position", "log_id"]);
            return Ok(Self { params, query, now: None, after: None, position: None, positions });
        };
        let params = cursor.resume(asked, tenant_id)?;
        let Cursor { query, now, after, position, .. } = cursor;
        let position = match position {
            Some(text) => {
                let position =
                    if positions.are_sealed() { positions.open(&text) } else { Value::parse(&text) };
                let foreign = || Problem::invalid_parameter("cursor", "expected a cursor of this list");
                Some(position.ok_or_else(foreign)?)
            }
            None => None,
        };
        Ok(Self { params, query, now: Some(now), after: Some(after), position, positions })
    }

    /// The cursor of the page after the row at `after`. A list of the past stands still at `position`.
    pub(in crate::http) fn next(
        &self,
        tenant_id: &str,
        (now, position): (UtcInstant, Option<Position>),
        after: Place,
    ) -> String {
        let position = position.map(|position| self.positions.show(position).to_string());
        let (tenant_id, query) = (tenant_id.to_owned(), self.query.clone());
        Cursor { tenant_id, query, now, after, position }.encode()
    }
}

impl Value for Cursor {
    const FORM: &'static str = "a next_cursor of this list";

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }

    fn parse(text: &str) -> Option<Self> {
        let fields = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let Fields(tenant_id, query, now_us, key, (name, of), position) = fields;
        let (now, after) = (UtcInstant::from_micros(now_us), Place { key, name, of });
        Some(Self { tenant_id, query, now, after, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip_and_nothing_else_is_one() {
        let after = Place { key: None, name: "Zoë \"x\"".to_owned(), of: "8127".to_owned() };
        let now = UtcInstant::from_micros(7);
        let (tenant_id, query, position) = ("8127".to_owned(), "limit=2".to_owned(), Some("7".to_owned()));
        let cursor = Cursor { tenant_id, query, now, after, position };
        assert_eq!(Cursor::parse(&cursor.clone().encode()), Some(cursor));
        for bad in ["", "x", "!!", "bnVsbA", "W10"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}

//! One person as every answer shows it: single and in lists.

use lastseen_event::{EventType, Provenance, UtcInstant};
use lastseen_projections::{Status, Window};
use schemars::JsonSchema;
use serde::Serialize;

use super::list::ListRow;
use super::user::{provenance_name, type_name};
use crate::http::schema;
use crate::keys::seal::{Positions, ShownPosition};
use crate::questions::users::NamedUser;

/// A person over all tenants at one instant.
// The order of the fields is that of the CSV columns.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[schemars(rename = "PersonRow")]
pub(in crate::http) struct PersonRow {
    pub(in crate::http) user_id: String,
    /// Of the memberships that are neither deleted nor left out: active in any, or inactive everywhere.
    #[schemars(with = "schema::UserStatus")]
    pub(in crate::http) status: &'static str,
    /// The latest in any of them. Null: never seen.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) last_seen_at: Option<UtcInstant>,
    /// The type of the event that decided.
    #[serde(serialize_with = "type_name")]
    #[schemars(with = "Option<schema::TypeName>")]
    pub(in crate::http) last_seen_type: Option<EventType>,
    #[serde(serialize_with = "provenance_name")]
    #[schemars(with = "Option<schema::ProvenanceName>")]
    pub(in crate::http) last_seen_provenance: Option<Provenance>,
    /// The position of that event.
    pub(in crate::http) last_seen_position: Option<ShownPosition>,
    /// The first activity in any tenant.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) first_seen_at: Option<UtcInstant>,
    /// The person exists from this instant.
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) created_at: UtcInstant,
    pub(in crate::http) confirmed: bool,
    /// Last seen plus the window; null unless active.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) active_until: Option<UtcInstant>,
    /// Tenants in which the person is or was.
    pub(in crate::http) tenants: usize,
}

impl ListRow for PersonRow {
    const COLUMNS: &'static [&'static str] = &[
        "user_id",
        "status",
        "last_seen_at",
        "last_seen_type",
        "last_seen_provenance",
        "last_seen_position",
        "first_seen_at",
        "created_at",
        "confirmed",
        "active_until",
        "tenants",
    ];

    fn ids(&mut self) -> Vec<&mut String> {
        vec![&mut self.user_id]
    }
}

impl PersonRow {
    /// The person as it is where the window of length `window` begins at `since`, inclusive.
    pub(in crate::http) fn new(
        user: &NamedUser,
        (since, window): (UtcInstant, &Window),
        positions: &Positions,
    ) -> Self {
        let NamedUser { user_id, state, memberships, .. } = user;
        let (status, seen) = (state.status(since), state.last_seen);
        let is_active = status == Status::Active;
        Self {
            user_id: user_id.to_string(),
            status: status.as_str(),
            last_seen_at: seen.map(|seen| seen.at),
            last_seen_type: seen.map(|seen| seen.event_type),
            last_seen_provenance: seen.map(|seen| seen.provenance()),
            last_seen_position: seen.map(|seen| positions.show(seen.position)),
            first_seen_at: state.first_seen_at,
            created_at: state.exists_from,
            confirmed: state.confirmed_from.is_some(),
            active_until: seen.filter(|_| is_active).map(|seen| seen.at.saturating_add(window.span)),
            tenants: *memberships,
        }
    }
}

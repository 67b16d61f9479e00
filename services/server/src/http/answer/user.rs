//! One user as every answer shows it: single, list, look-up and CSV.

use lastseen_event::{EventType, Provenance, UtcInstant};
use lastseen_projections::{MemberState, Status, Window};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::list::ListRow;
use crate::http::schema;
use crate::keys::seal::{Positions, ShownPosition};

/// A user of a tenant at one instant.
// The order of the fields is that of the CSV columns.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[schemars(rename = "UserRow")]
pub(in crate::http) struct UserRow {
    pub(in crate::http) tenant_id: String,
    pub(in crate::http) user_id: String,
    #[schemars(with = "schema::UserStatus")]
    pub(in crate::http) status: &'static str,
    /// Null: never seen.
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
    /// The first activity.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) first_seen_at: Option<UtcInstant>,
    /// The user exists from this instant.
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) created_at: UtcInstant,
    pub(in crate::http) confirmed: bool,
    /// The first event that confirms.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) confirmed_at: Option<UtcInstant>,
    /// Null: not deleted.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) deleted_at: Option<UtcInstant>,
    /// Last seen plus the window; null unless active.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) active_until: Option<UtcInstant>,
}

impl ListRow for UserRow {
    const COLUMNS: &'static [&'static str] = &[
        "tenant_id",
        "user_id",
        "status",
        "last_seen_at",
        "last_seen_type",
        "last_seen_provenance",
        "last_seen_position",
        "first_seen_at",
        "created_at",
        "confirmed",
        "confirmed_at",
        "deleted_at",
        "active_until",
    ];

    fn ids(&mut self) -> Vec<&mut String> {
        vec![&mut self.tenant_id, &mut self.user_id]
    }
}

impl UserRow {
    /// The member as it is where the window of length `window` begins at `since`, inclusive.
    pub(in crate::http) fn new(
        (tenant_id, user_id): (&str, &str),
        state: &MemberState,
        (since, window): (UtcInstant, &Window),
        positions: &Positions,
    ) -> Self {
        let status = state.status(since);
        let seen = state.last_seen;
        let active = status == Status::Active;
        Self {
            tenant_id: tenant_id.to_owned(),
            user_id: user_id.to_owned(),
            status: status.as_str(),
            last_seen_at: seen.map(|seen| seen.at),
            last_seen_type: seen.map(|seen| seen.event_type),
            last_seen_provenance: seen.map(|seen| seen.provenance()),
            last_seen_position: seen.map(|seen| positions.show(seen.position)),
            first_seen_at: state.first_seen_at,
            created_at: state.exists_from,
            confirmed: state.confirmed_from.is_some(),
            confirmed_at: state.confirmed_from,
            deleted_at: state.deleted_at,
            active_until: seen.filter(|_| active).map(|seen| seen.at.saturating_add(window.span)),
        }
    }
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
pub(super) fn type_name<S: Serializer>(value: &Option<EventType>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(EventType::as_str).serialize(serializer)
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
pub(super) fn provenance_name<S: Serializer>(
    value: &Option<Provenance>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.map(Provenance::as_str).serialize(serializer)
}

//! The numbers of a scope as every answer shows them.

use lastseen_projections::Summary;
use schemars::JsonSchema;
use serde::Serialize;

/// Numbers of members.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
pub(in crate::http) struct UserCounts {
    /// Neither deleted nor left out.
    pub(in crate::http) total_users: u64,
    /// Created, not confirmed.
    pub(in crate::http) pending_users: u64,
    /// Without any activity; pending ones too.
    pub(in crate::http) never_seen_users: u64,
    /// Last seen within the window.
    pub(in crate::http) active_users: u64,
    /// Of these, by an event that happened.
    pub(in crate::http) observed_users: u64,
    /// Of these, by a guess from older data.
    pub(in crate::http) estimated_users: u64,
    /// Last seen before the window.
    pub(in crate::http) inactive_users: u64,
    /// Deleted, and not restored since; without those that are left out.
    pub(in crate::http) deleted_users: u64,
    /// Left out of all other numbers: bots, staff, test users.
    pub(in crate::http) left_out_users: u64,
}

/// Numbers of members; over all tenants also of tenants, and of persons where ids are shared.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
pub(in crate::http) struct Counts {
    #[serde(flatten)]
    pub(in crate::http) users: UserCounts,
    #[serde(flatten)]
    pub(in crate::http) tenants: Option<TenantCounts>,
    #[serde(flatten)]
    pub(in crate::http) persons: Option<PersonCounts>,
}

#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
pub(in crate::http) struct TenantCounts {
    pub(in crate::http) tenants: u64,
    pub(in crate::http) active_tenants: u64,
}

#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
pub(in crate::http) struct PersonCounts {
    pub(in crate::http) total_persons: u64,
    pub(in crate::http) active_persons: u64,
}

impl From<&Summary> for UserCounts {
    fn from(summary: &Summary) -> Self {
        Self {
            total_users: summary.total_users,
            pending_users: summary.pending_users,
            never_seen_users: summary.never_seen_users,
            active_users: summary.active_users,
            observed_users: summary.observed_users,
            estimated_users: summary.estimated_users,
            inactive_users: summary.inactive_users,
            deleted_users: summary.deleted_users,
            left_out_users: summary.left_out_users,
        }
    }
}

impl From<&Summary> for Counts {
    fn from(summary: &Summary) -> Self {
        let overall = summary.overall.as_ref();
        let tenants = overall
            .map(|overall| TenantCounts { tenants: overall.tenants, active_tenants: overall.active_tenants });
        let persons = overall.and_then(|overall| overall.persons).map(|persons| PersonCounts {
            total_persons: persons.total_persons,
            active_persons: persons.active_persons,
        });
        Self { users: summary.into(), tenants, persons }
    }
}

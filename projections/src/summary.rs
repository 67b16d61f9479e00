//! The numbers, and the scope that they are asked about.

use lastseen_event::{TenantOrdinal, UtcInstant};

/// The members that a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All tenants.
    All,
    /// One tenant.
    Tenant(TenantOrdinal),
}

/// Counts of the members of a scope. Each membership of a person counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Neither deleted nor left out.
    pub total_users: u64,
    /// Of the total, not confirmed.
    pub pending_users: u64,
    /// Of the total, last seen null; the pending ones are among them.
    pub never_seen_users: u64,
    /// Of the total, confirmed, last seen within the window: `observed_users + estimated_users`.
    pub active_users: u64,
    /// Active through an observed event.
    pub observed_users: u64,
    /// Active only through an estimate.
    pub estimated_users: u64,
    /// Of the total, last seen before the window.
    pub inactive_users: u64,
    /// Deleted and not left out.
    pub deleted_users: u64,
    /// Left out, deleted or not.
    pub left_out_users: u64,
    /// The latest of the estimates that make the `estimated_users` active. `None`: there are none.
    pub last_estimate_at: Option<UtcInstant>,
    /// Counts that only all tenants together have; some exactly for [`Scope::All`].
    pub overall: Option<Overall>,
}

impl Summary {
    /// The numbers by name, in the order in which they are shown.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        let mut named = vec![
            ("total_users", self.total_users),
            ("pending_users", self.pending_users),
            ("never_seen_users", self.never_seen_users),
            ("active_users", self.active_users),
            ("observed_users", self.observed_users),
            ("estimated_users", self.estimated_users),
            ("inactive_users", self.inactive_users),
            ("deleted_users", self.deleted_users),
            ("left_out_users", self.left_out_users),
        ];
        if let Some(overall) = &self.overall {
            named.extend([("tenants", overall.tenants), ("active_tenants", overall.active_tenants)]);
            if let Some(persons) = &overall.persons {
                named.extend([
                    ("total_persons", persons.total_persons),
                    ("active_persons", persons.active_persons),
                ]);
            }
        }
        named
    }
}

/// Counts of tenants and persons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overall {
    /// Tenants with a member in `total_users`.
    pub tenants: u64,
    /// Tenants with a member in `active_users`.
    pub active_tenants: u64,
    /// `None` where persons are off.
    pub persons: Option<PersonNumbers>,
}

/// Counts of persons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersonNumbers {
    /// Persons with a member in `total_users`.
    pub total_persons: u64,
    /// Persons with a member in `active_users`.
    pub active_persons: u64,
}

//! The numbers and what they are asked about.

use lastseen_event::TenantOrdinal;

/// Whose members a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All tenants.
    All,
    /// One tenant.
    Tenant(TenantOrdinal),
}

/// How many members there are in a scope and how many of them are active. Counts of members; each member of a
/// person counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Not deleted.
    pub total_users: u64,
    /// Not deleted, not confirmed.
    pub pending_users: u64,
    /// Not deleted, last seen null; the pending ones are among them.
    pub never_seen_users: u64,
    /// Not deleted, confirmed, last seen within the window: `observed + estimated_only`.
    pub active_users: u64,
    /// Not deleted, last seen before the window.
    pub inactive_users: u64,
    /// Deleted.
    pub deleted_users: u64,
    /// Active through an observed event.
    pub observed: u64,
    /// Active only through an estimate.
    pub estimated_only: u64,
    /// What only all tenants together have; some exactly for [`Scope::All`].
    pub overall: Option<Overall>,
}

impl Summary {
    /// The numbers by name, in the order in which they are shown; those of persons where they mean something.
    pub fn named(&self, with_persons: bool) -> Vec<(&'static str, u64)> {
        let mut named = vec![
            ("total_users", self.total_users),
            ("pending_users", self.pending_users),
            ("never_seen_users", self.never_seen_users),
            ("active_users", self.active_users),
            ("inactive_users", self.inactive_users),
            ("deleted_users", self.deleted_users),
            ("observed", self.observed),
            ("estimated_only", self.estimated_only),
        ];
        if let Some(overall) = &self.overall {
            named.extend([("tenants", overall.tenants), ("active_tenants", overall.active_tenants)]);
            if with_persons {
                named.extend([
                    ("total_persons", overall.total_persons),
                    ("active_persons", overall.active_persons),
                ]);
            }
        }
        named
    }
}

/// Tenants and persons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overall {
    /// Tenants with a member in `total_users`.
    pub tenants: u64,
    /// Tenants with a member in `active_users`.
    pub active_tenants: u64,
    /// Persons with a member in `total_users`.
    pub total_persons: u64,
    /// Persons with a member in `active_users`.
    pub active_persons: u64,
}

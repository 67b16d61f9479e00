//! The event types and what each of them does to a member.

use std::fmt;

/// The kind of an event. The discriminants stand in the log's files (see its FORMAT.md) and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventType {
    /// A user signed in.
    Login = 1,
    /// A session was renewed.
    TokenRefresh = 2,
    /// A user entered this tenant from another; only the target member is marked.
    TenantSwitch = 3,
    /// A user finished signing up.
    SignupComplete = 4,
    /// A member was created, confirmed or not.
    UserCreated = 5,
    /// A member confirmed its address.
    UserConfirmed = 6,
    /// Role or profile changed.
    UserChanged = 7,
    /// Soft delete.
    UserDeleted = 8,
    /// Undo of a soft delete.
    UserRestored = 9,
    /// A guess, made from older data, of when a confirmed member was last seen.
    EstimatedActivity = 10,
    /// A backfill batch was taken back. About no member, and written by Lastseen alone.
    BackfillRetracted = 11,
}

/// The source of a last-seen value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provenance {
    /// An event that happened.
    Observed,
    /// A guess from older data.
    Estimated,
}

impl Provenance {
    /// The word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Estimated => "estimated",
        }
    }
}

impl EventType {
    /// Every type, in the order of its discriminants.
    pub const ALL: [Self; 11] = [
        Self::Login,
        Self::TokenRefresh,
        Self::TenantSwitch,
        Self::SignupComplete,
        Self::UserCreated,
        Self::UserConfirmed,
        Self::UserChanged,
        Self::UserDeleted,
        Self::UserRestored,
        Self::EstimatedActivity,
        Self::BackfillRetracted,
    ];

    /// Those that are published: each is about a member.
    pub const PUBLISHABLE: &[Self] = Self::ALL.split_at(10).0;

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::TokenRefresh => "token_refresh",
            Self::TenantSwitch => "tenant_switch",
            Self::SignupComplete => "signup_complete",
            Self::UserCreated => "user_created",
            Self::UserConfirmed => "user_confirmed",
            Self::UserChanged => "user_changed",
            Self::UserDeleted => "user_deleted",
            Self::UserRestored => "user_restored",
            Self::EstimatedActivity => "estimated_activity",
            Self::BackfillRetracted => "backfill_retracted",
        }
    }

    /// The type of this name, or `None`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event_type| event_type.as_str() == name)
    }

    /// The type with this discriminant, or `None`.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// The discriminant, as the log stores it.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Returns the kind of activity that the type is proof of: observed or estimated. `None`: it says nothing
    /// about when the member was seen.
    pub fn activity(self) -> Option<Provenance> {
        match self {
            Self::Login | Self::TokenRefresh | Self::TenantSwitch | Self::SignupComplete => {
                Some(Provenance::Observed)
            }
            Self::EstimatedActivity => Some(Provenance::Estimated),
            Self::UserCreated
            | Self::UserConfirmed
            | Self::UserChanged
            | Self::UserDeleted
            | Self::UserRestored
            | Self::BackfillRetracted => None,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_lead_back_to_their_type() {
        for event_type in EventType::ALL {
            assert_eq!(EventType::parse(event_type.as_str()), Some(event_type));
            assert_eq!(EventType::from_code(event_type.code()), Some(event_type));
        }
        assert_eq!(EventType::from_code(0), None);
        assert_eq!(EventType::from_code(12), None);
        assert_eq!(EventType::parse("logout"), None);
    }
}

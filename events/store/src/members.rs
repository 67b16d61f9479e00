//! The member dictionary as everybody but its store sees it.

use lastseen_event::{MemberOrdinal, MemberRef, PersonOrdinal, TenantId, TenantOrdinal, UserId};

/// Every tenant, person and member that a store has: names to ordinals and back.
pub trait MemberDictionary {
    /// Number of members.
    fn len(&self) -> usize;

    /// True if there are no members.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tenant of this name.
    fn tenant(&self, tenant_id: &str) -> Option<TenantOrdinal>;

    /// The person with this `user_id`.
    fn find_person(&self, user_id: &str) -> Option<PersonOrdinal>;

    /// The member with these names.
    fn find(&self, tenant_id: &str, user_id: &str) -> Option<MemberRef>;

    /// The tenant and the person of a member.
    fn member_ref(&self, member: MemberOrdinal) -> Option<MemberRef>;

    /// The name of a tenant.
    ///
    /// # Panics
    /// If the ordinal is not from this dictionary.
    fn tenant_id(&self, tenant: TenantOrdinal) -> TenantId<'_>;

    /// The `user_id` of a person.
    ///
    /// # Panics
    /// If the ordinal is not from this dictionary.
    fn user_id(&self, person: PersonOrdinal) -> UserId<'_>;
}

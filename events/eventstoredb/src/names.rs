//! Names of streams. A name has a fixed length and nothing to escape, whatever tenants and users are called.

use lastseen_event::{BatchName, TenantId, UserId};
use uuid::{Uuid, uuid};

/// Streams with this prefix are Lastseen's history: one a member, one a batch that was taken back.
pub(crate) const PREFIX: &str = "user_activity-";

/// The stream whose first event says which history this is.
pub(crate) const FOUNDING: &str = "lastseen-log";

/// Of names of streams.
const NAMESPACE: Uuid = uuid!("3f2b9c57-6a4e-5a0d-9f3c-52b1f1a4f0c6");

/// The stream of a member: a `UUIDv5` over the compact JSON array `[tenant, user]`.
pub(crate) fn of_member(tenant_id: TenantId<'_>, user_id: UserId<'_>) -> String {
    named(serde_json::to_vec(&(tenant_id.as_str(), user_id.as_str())))
}

/// The stream of the retraction of a batch: a `UUIDv5` over the compact JSON array `[batch]`.
pub(crate) fn of_retraction(batch: BatchName<'_>) -> String {
    named(serde_json::to_vec(&[batch.as_str()]))
}

fn named(json: serde_json::Result<Vec<u8>>) -> String {
    let json = json.unwrap_or_else(|_| unreachable!("strings are JSON"));
    format!("{PREFIX}{}", Uuid::new_v5(&NAMESPACE, &json).as_hyphenated())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tenant: &str, user: &str) -> String {
        of_member(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
    }

    #[test]
    fn names_of_streams_never_change() {
        // As Python's uuid.uuid5 and json.dumps(..., separators=(",", ":"), ensure_ascii=False) make them.
        assert_eq!(of("acme", "ada"), "user_activity-5e198793-59e6-54c3-9696-e9c0911ebda0");
        assert_eq!(of("ac\"me", "Zoë"), "user_activity-6ffb5ecf-b6e1-5dc5-91ad-6e546ecdb16f");
        let retraction = of_retraction(BatchName::new("users 2026").unwrap());
        assert_eq!(retraction, "user_activity-6b94fc03-e723-5489-a821-b7fbe596c9f5");
    }

    #[test]
    fn members_whose_names_together_are_equal_have_streams_of_their_own() {
        assert_ne!(of("a", "bc"), of("ab", "c"));
        assert_ne!(of("a\",\"b", "c"), of("a", "b\",\"c"));
        assert_eq!(of("a", "b").len(), 50);
    }
}

//! Names of streams. A name has a fixed length and nothing to escape, whatever tenants and users are called.

use lastseen_event::{BatchName, TenantId, UserId};
use uuid::{Uuid, uuid};

/// Of names of streams.
const NAMESPACE: Uuid = uuid!("3f2b9c57-6a4e-5a0d-9f3c-52b1f1a4f0c6");

/// The names of the streams of one installation.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Streams with this prefix are Lastseen's history: one a member, one a batch that was taken back.
    pub(crate) prefix: String,
    /// The stream whose first event says which history this is.
    pub(crate) founding: String,
}

impl Default for Names {
    fn default() -> Self {
        Self { prefix: "user_activity-".to_owned(), founding: "lastseen-log".to_owned() }
    }
}

impl Names {
    /// Those of one installation among several on a cluster. `None`: its name has characters besides small letters, digits and `_`,
    /// or more than 32. No prefix is the beginning of another one: each ends with the only hyphen in it.
    pub(crate) fn of_installation(name: &str) -> Option<Self> {
        const LEN_MAX: usize = 32;
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = (1..=LEN_MAX).contains(&name.len()) && name.bytes().all(is_plain);
        is_name.then(|| Self {
            prefix: format!("user_activity_{name}-"),
            founding: format!("lastseen_{name}-log"),
        })
    }

    /// The stream of a member: a `UUIDv5` over the compact JSON array `[tenant, user]`.
    pub(crate) fn of_member(&self, tenant_id: TenantId<'_>, user_id: UserId<'_>) -> String {
        self.named(serde_json::to_vec(&(tenant_id.as_str(), user_id.as_str())))
    }

    /// The stream of the retraction of a batch: a `UUIDv5` over the compact JSON array `[batch]`.
    pub(crate) fn of_retraction(&self, batch: BatchName<'_>) -> String {
        self.named(serde_json::to_vec(&[batch.as_str()]))
    }

    fn named(&self, json: serde_json::Result<Vec<u8>>) -> String {
        let json = json.unwrap_or_else(|_| unreachable!("strings are JSON"));
        format!("{}{}", self.prefix, Uuid::new_v5(&NAMESPACE, &json).as_hyphenated())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tenant: &str, user: &str) -> String {
        Names::default().of_member(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
    }

    #[test]
    fn names_of_streams_never_change() {
        // As Python's uuid.uuid5 and json.dumps(..., separators=(",", ":"), ensure_ascii=False) make them.
        assert_eq!(of("acme", "ada"), "user_activity-5e198793-59e6-54c3-9696-e9c0911ebda0");
        assert_eq!(of("ac\"me", "Zoë"), "user_activity-6ffb5ecf-b6e1-5dc5-91ad-6e546ecdb16f");
        let retraction = Names::default().of_retraction(BatchName::new("users 2026").unwrap());
        assert_eq!(retraction, "user_activity-6b94fc03-e723-5489-a821-b7fbe596c9f5");
    }

    #[test]
    fn members_whose_names_together_are_equal_have_streams_of_their_own() {
        assert_ne!(of("a", "bc"), of("ab", "c"));
        assert_ne!(of("a\",\"b", "c"), of("a", "b\",\"c"));
        assert_eq!(of("a", "b").len(), 50);
    }

    #[test]
    fn installations_have_streams_of_their_own() {
        let (one, other) = (Names::of_installation("a").unwrap(), Names::of_installation("a_b").unwrap());
        assert_eq!((one.prefix.as_str(), one.founding.as_str()), ("user_activity_a-", "lastseen_a-log"));
        let all = [Names::default(), one, other];
        for name in &all {
            let begin_with_it = all.iter().filter(|other| other.prefix.starts_with(&name.prefix)).count();
            assert_eq!(begin_with_it, 1, "{}", name.prefix);
        }
        for bad in ["", "a-b", "A", "\u{e9}", "$", &"n".repeat(33)] {
            assert!(Names::of_installation(bad).is_none(), "{bad}");
        }
    }
}

//! Sets of users that grow as long as a table is: 16 bytes a user.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_128;

/// A set of users, known by the hashes of their names, of 128 bits.
#[derive(Default)]
pub(super) struct Users {
    hashes: HashSet<u128>,
    name: Vec<u8>,
}

impl Users {
    /// Adds a user. Returns true if the user was not there.
    pub(super) fn insert(&mut self, member: (&str, &str)) -> bool {
        let hash = self.hash(member);
        self.hashes.insert(hash)
    }

    pub(super) fn contains(&mut self, member: (&str, &str)) -> bool {
        let hash = self.hash(member);
        self.hashes.contains(&hash)
    }

    fn hash(&mut self, (tenant_id, user_id): (&str, &str)) -> u128 {
        self.name.clear();
        self.name.extend_from_slice(tenant_id.as_bytes());
        // It is in no name.
        self.name.push(0);
        self.name.extend_from_slice(user_id.as_bytes());
        xxh3_128(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_tenant_and_a_name() {
        let mut users = Users::default();
        assert!(users.insert(("a", "bc")));
        assert!(!users.insert(("a", "bc")));
        assert!(users.contains(("a", "bc")) && !users.contains(("ab", "c")));
        assert!(users.insert(("ab", "c")));
    }
}

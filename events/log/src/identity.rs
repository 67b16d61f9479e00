//! The identity of an event in the log: its id within its tenant, under a secret of the log.
//!
//! Nobody who does not know the secret can choose ids whose hashes meet, so no choice of ids makes a look-up slower, and
//! no tenant can meet the id of another. `SipHash` is made for that (Aumasson and Bernstein, 2012); 1-3 is the variant
//! that hash tables use.

use lastseen_event::limits::STORED_NAME_BYTES_MAX;
use lastseen_event::{EventId, MemberOrdinal};
use siphasher::sip128::SipHasher13;

use crate::record::{Record, StoredRetraction};

/// The secret of a log: drawn when the log is made, kept in its manifest, the same for copies of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdKey(pub(crate) [u8; 16]);

impl std::fmt::Debug for IdKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdKey(..)")
    }
}

impl IdKey {
    /// Draws the secret of a log that is being made.
    pub(crate) fn draw() -> Self {
        Self(uuid::Uuid::new_v4().into_bytes())
    }

    /// The id of an event within its tenant.
    pub(crate) fn of_event(&self, tenant_id: &str, id: EventId) -> OwnId {
        let mut bytes = [0; 16 + STORED_NAME_BYTES_MAX];
        let (head, name) = bytes.split_at_mut(16);
        head.copy_from_slice(id.as_uuid().as_bytes());
        let len = tenant_id.len().min(name.len());
        name[..len].copy_from_slice(&tenant_id.as_bytes()[..len]);
        OwnId(SipHasher13::new_with_key(&self.0).hash(&bytes[..16 + len]).into())
    }

    /// The id of a retraction: of the empty tenant, which no event has.
    pub(crate) fn of_retraction(&self, retraction: &StoredRetraction<'_>) -> OwnId {
        self.of_event("", retraction.id())
    }

    /// The id of a record, given the name of each member's tenant; `None` if its member has none.
    pub(crate) fn of_record<'a>(
        &self,
        record: &Record<'_>,
        tenant_of: impl FnOnce(MemberOrdinal) -> Option<&'a str>,
    ) -> Option<OwnId> {
        match record {
            Record::Event(event) => Some(self.of_event(tenant_of(event.member)?, event.id)),
            Record::Retraction(retraction) => Some(self.of_retraction(retraction)),
        }
    }
}

/// An event's id within its tenant, as a hash of 128 bits. Two different ones meet with probability 2^-128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnId(u128);

impl OwnId {
    /// Bits that are spread evenly, for a place in a table.
    #[expect(clippy::cast_possible_truncation, reason = "takes a part of the hash")]
    pub(crate) fn bits(self) -> u64 {
        self.0 as u64
    }

    /// The digest of an event with this id and a content.
    pub(crate) fn digest(self, fingerprint: u64) -> Digest {
        /// Odd, so that different fingerprints give different products.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let mixed = self.0 ^ u128::from(fingerprint).wrapping_mul(SPREAD);
        let [_, _, _, _, digest @ ..] = mixed.to_le_bytes();
        Digest::from_bytes(digest)
    }
}

/// Id within the tenant, and content, of an event: 96 bits of a keyed hash, spread evenly. What is kept of an event for
/// ever, so that sending it again adds nothing. Two different events meet with probability 2^-96.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest {
    pub(crate) high: u64,
    pub(crate) low: u32,
}

impl Digest {
    /// Bytes on disk.
    pub(crate) const LEN: usize = 12;

    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [a, b, c, d, high @ ..] = bytes;
        Self { high: u64::from_le_bytes(high), low: u32::from_le_bytes([a, b, c, d]) }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (low, high) = bytes.split_at_mut(4);
        low.copy_from_slice(&self.low.to_le_bytes());
        high.copy_from_slice(&self.high.to_le_bytes());
        bytes
    }
}

/// The sum of a hash of each of some digests, in any order: tells what is a run of them from what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DigestSum(u128);

impl DigestSum {
    pub(crate) fn add(&mut self, digest: Digest) {
        self.0 = self.0.wrapping_add(xxhash_rust::xxh3::xxh3_128(&digest.to_bytes()));
    }

    /// The sum over these digests and those of another.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

#[cfg(test)]
mod tests {
    use lastseen_event::BatchName;
    use lastseen_event::UtcInstant;

    use super::*;

    /// Of a Python program by the rules in FORMAT.md: these stand in every log.
    #[test]
    fn identities_stay_as_they_are() {
        let key = IdKey(*b"0123456789abcdef");
        let id = EventId::parse("0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b").unwrap();
        let long = "x".repeat(255);
        let pinned: [(&str, u64, u128, [u8; Digest::LEN]); 5] = [
            (
                "8127",
                0,
                0x86f2_b1cd_701b_2c8b_c6a4_c633_978a_cb11,
                [0x33, 0xc6, 0xa4, 0xc6, 0x8b, 0x2c, 0x1b, 0x70, 0xcd, 0xb1, 0xf2, 0x86],
            ),
            (
                "8127",
                1,
                0x86f2_b1cd_701b_2c8b_c6a4_c633_978a_cb11,
                [0x53, 0x06, 0x38, 0x35, 0x9e, 0x50, 0x51, 0x0f, 0x74, 0xc8, 0xc5, 0x18],
            ),
            (
                "Zoë",
                0xe56c_4f8a_1411_19a3,
                0x1db0_56cd_db0e_33a0_da5b_133e_623d_b161,
                [0x50, 0xfe, 0xc9, 0xcb, 0x9c, 0xdf, 0xa3, 0x8f, 0xa5, 0xda, 0xa8, 0x4f],
            ),
            (
                "",
                7,
                0x50aa_cea2_6458_bbdb_e091_889a_ddfd_245f,
                [0x38, 0xca, 0xd8, 0x49, 0x42, 0xdf, 0x51, 0x1f, 0xb0, 0x9a, 0x2e, 0x03],
            ),
            (
                &long,
                u64::MAX,
                0x552c_50f3_4b8e_3348_dc77_d803_56e1_fab6,
                [0x9c, 0xe7, 0x14, 0xd0, 0x57, 0x7f, 0x2d, 0x96, 0x55, 0x16, 0x49, 0x00],
            ),
        ];
        for (tenant_id, fingerprint, own, digest) in pinned {
            let found = key.of_event(tenant_id, id);
            assert_eq!(found.0, own, "{tenant_id}");
            assert_eq!(found.digest(fingerprint).to_bytes(), digest, "{tenant_id}");
            assert_eq!(Digest::from_bytes(digest), found.digest(fingerprint));
        }
    }

    #[test]
    fn tenants_and_retractions_have_ids_of_their_own() {
        let key = IdKey::draw();
        let batch = BatchName::new("users").unwrap();
        let retraction = StoredRetraction { occurred_at: UtcInstant::from_micros(0), batch };
        let published = ["users", "a", "b"].map(|tenant| key.of_event(tenant, retraction.id()));
        assert!(published.iter().all(|own| *own != key.of_retraction(&retraction)));
        assert!(published[0] != published[1] && published[1] != published[2]);
        assert_ne!(published[0], IdKey::draw().of_event("users", retraction.id()));
    }
}

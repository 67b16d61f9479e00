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
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct IdKey {
    secret: [u8; 16],
    /// True if an id stands for one event of its tenant for ever, whatever its content: in a log that follows another one.
    by_id_alone: bool,
}

impl std::fmt::Debug for IdKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdKey(..)")
    }
}

impl IdKey {
    /// Draws the secret of a log that is being made.
    pub(crate) fn draw() -> Self {
        Self::from_bytes(uuid::Uuid::new_v4().into_bytes())
    }

    pub(crate) const fn from_bytes(secret: [u8; 16]) -> Self {
        Self { secret, by_id_alone: false }
    }

    /// The same, by which an id stands for one event of its tenant, whatever its content.
    pub(crate) const fn by_id_alone(self) -> Self {
        Self { by_id_alone: true, ..self }
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.secret
    }

    /// True if the content of an event has no part in its digest.
    pub(crate) fn is_by_id_alone(&self) -> bool {
        self.by_id_alone
    }

    /// The digest of an event, by which it is found again.
    pub(crate) fn digest(&self, own: OwnId, fingerprint: u64) -> Digest {
        own.digest(if self.by_id_alone { 0 } else { fingerprint })
    }

    /// The mask of a tenant, to be kept: it costs more than the rest.
    pub(crate) fn mask(&self, tenant_id: &str) -> TenantMask {
        /// In front of the name, so that it is longer than what else is hashed under the secret.
        const HEAD: [u8; 16] = [0; 16];
        let mut bytes = [0; HEAD.len() + STORED_NAME_BYTES_MAX];
        let name = &mut bytes[HEAD.len()..];
        let len = tenant_id.len().min(name.len());
        name[..len].copy_from_slice(&tenant_id.as_bytes()[..len]);
        TenantMask(self.hash(&bytes[..HEAD.len() + len]))
    }

    /// The id of an event within the tenant of a mask.
    pub(crate) fn own(&self, mask: TenantMask, id: EventId) -> OwnId {
        let masked = u128::from_le_bytes(*id.as_uuid().as_bytes()) ^ mask.0;
        OwnId::from_hash(self.hash(&masked.to_le_bytes()))
    }

    /// The id of a retraction: of the empty tenant, which no event has.
    pub(crate) fn of_retraction(&self, retraction: &StoredRetraction<'_>) -> OwnId {
        self.own(self.mask(""), retraction.id())
    }

    /// The id of a record, given the mask of each member's tenant; `None` if its member has none.
    pub(crate) fn of_record(
        &self,
        record: &Record<'_>,
        mask_of: impl FnOnce(MemberOrdinal) -> Option<TenantMask>,
    ) -> Option<OwnId> {
        match record {
            Record::Event(event) => Some(self.own(mask_of(event.member)?, event.id)),
            Record::Retraction(retraction) => Some(self.of_retraction(retraction)),
        }
    }

    fn hash(&self, bytes: &[u8]) -> u128 {
        SipHasher13::new_with_key(&self.secret).hash(bytes).into()
    }
}

/// Laid over the ids of a tenant's events: the hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TenantMask(u128);

/// An event's id within its tenant, as a hash of 128 bits. Two different ones meet with probability 2^-128. In halves, so that
/// many of them beside other numbers have no gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnId {
    low: u64,
    high: u64,
}

impl OwnId {
    #[expect(clippy::cast_possible_truncation, reason = "takes the hash apart")]
    fn from_hash(hash: u128) -> Self {
        Self { low: hash as u64, high: (hash >> 64) as u64 }
    }

    fn hash(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    /// Bits that are spread evenly, for a place in a table.
    pub(crate) fn bits(self) -> u64 {
        self.low
    }

    /// The digest of an event with this id and a content.
    pub(crate) fn digest(self, fingerprint: u64) -> Digest {
        /// Odd, so that different fingerprints give different products.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let mixed = self.hash() ^ u128::from(fingerprint).wrapping_mul(SPREAD);
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
        let key = IdKey::from_bytes(*b"0123456789abcdef");
        let id = EventId::parse("0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b").unwrap();
        let long = "x".repeat(255);
        let pinned: [(&str, u64, u128, [u8; Digest::LEN]); 5] = [
            (
                "8127",
                0,
                0xcb73_cb41_b9a6_3533_5b40_a586_5681_7933,
                [0x86, 0xa5, 0x40, 0x5b, 0x33, 0x35, 0xa6, 0xb9, 0x41, 0xcb, 0x73, 0xcb],
            ),
            (
                "8127",
                1,
                0xcb73_cb41_b9a6_3533_5b40_a586_5681_7933,
                [0xe6, 0x65, 0xdc, 0xa8, 0x26, 0x49, 0xec, 0xc6, 0xf8, 0xb2, 0x44, 0x55],
            ),
            (
                "Zoë",
                0xe56c_4f8a_1411_19a3,
                0x89c7_19ed_215e_6316_d4bc_89a9_d78a_e75e,
                [0xc7, 0x64, 0x2e, 0xc5, 0x2a, 0x8f, 0xf3, 0x75, 0x85, 0x95, 0xdf, 0xdb],
            ),
            (
                "",
                7,
                0x5f06_792a_287e_9887_d009_e0cc_4f12_2547,
                [0x6e, 0xa2, 0x40, 0x79, 0x1e, 0xfc, 0x77, 0x53, 0x38, 0x2d, 0x82, 0x0c],
            ),
            (
                &long,
                u64::MAX,
                0x8929_d6ad_36c5_d34e_9018_48f7_318d_7876,
                [0x68, 0x77, 0x7b, 0x9c, 0x51, 0x9f, 0x66, 0xeb, 0x0b, 0x90, 0x4c, 0xdc],
            ),
        ];
        for (tenant_id, fingerprint, own, digest) in pinned {
            let found = key.own(key.mask(tenant_id), id);
            assert_eq!(found.hash(), own, "{tenant_id}");
            assert_eq!(found.digest(fingerprint).to_bytes(), digest, "{tenant_id}");
            assert_eq!(Digest::from_bytes(digest), found.digest(fingerprint));
        }
    }

    #[test]
    fn tenants_and_retractions_have_ids_of_their_own() {
        let key = IdKey::draw();
        let batch = BatchName::new("users").unwrap();
        let retraction = StoredRetraction { occurred_at: UtcInstant::from_micros(0), batch };
        let published = ["users", "a", "b"].map(|tenant| key.own(key.mask(tenant), retraction.id()));
        assert!(published.iter().all(|own| *own != key.of_retraction(&retraction)));
        assert!(published[0] != published[1] && published[1] != published[2]);
        let other = IdKey::draw();
        assert_ne!(published[0], other.own(other.mask("users"), retraction.id()));
    }
}

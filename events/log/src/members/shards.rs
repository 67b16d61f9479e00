//! Hash tables of numbers, and the hashes they are found by: the same for the same seed, so a table can be written in the
//! order it stands in memory and read back without touching a name.

use hashbrown::HashTable;
use lastseen_event::{PersonOrdinal, TenantOrdinal};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Drawn at random for each dictionary, so that nobody can choose names that collide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(pub(crate) u64);

impl Default for Seed {
    fn default() -> Self {
        Self(uuid::Uuid::new_v4().as_u64_pair().0)
    }
}

impl Seed {
    pub(super) fn of_name(self, name: &str) -> u64 {
        xxh3_64_with_seed(name.as_bytes(), self.0)
    }

    pub(super) fn of_pair(self, (person, tenant): (PersonOrdinal, TenantOrdinal)) -> u64 {
        let pair = u64::from(person.get()) << 32 | u64::from(tenant.get());
        xxh3_64_with_seed(&pair.to_le_bytes(), self.0)
    }
}

/// Numbers by hash, split so that growing one part stalls the writer briefly. Half of each hash is kept, so growing never
/// reads what was hashed.
pub(super) struct Shards([HashTable<(u32, u32)>; SHARDS]);

pub(super) const SHARDS: usize = 64;

impl Default for Shards {
    fn default() -> Self {
        Self(std::array::from_fn(|_| HashTable::new()))
    }
}

impl Shards {
    #[expect(clippy::cast_possible_truncation, reason = "takes part of a hash")]
    fn split(hash: u64) -> (usize, u32) {
        ((hash as usize) % SHARDS, (hash >> 32) as u32)
    }

    /// Spreads the kept part of a hash over the bits a table looks at.
    fn spread(kept: u32) -> u64 {
        u64::from(kept) | u64::from(kept) << 32
    }

    pub(super) fn find(&self, hash: u64, mut eq: impl FnMut(u32) -> bool) -> Option<u32> {
        let (shard, kept) = Self::split(hash);
        self.0[shard].find(Self::spread(kept), |entry| entry.0 == kept && eq(entry.1)).map(|entry| entry.1)
    }

    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        let (shard, kept) = Self::split(hash);
        self.put(shard, (kept, number));
    }

    /// Numbers in all shards.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(HashTable::len).sum()
    }

    /// The entries of a shard, in the order in which they stand in memory.
    pub(super) fn shard(&self, shard: usize) -> impl Iterator<Item = (u32, u32)> {
        self.0[shard].iter().copied()
    }

    /// Puts back what [`Shards::shard`] gave, into a shard that is empty.
    pub(super) fn restore(&mut self, shard: usize, entries: impl ExactSizeIterator<Item = (u32, u32)>) {
        self.0[shard].reserve(entries.len(), |entry| Self::spread(entry.0));
        entries.for_each(|entry| self.put(shard, entry));
    }

    fn put(&mut self, shard: usize, (kept, number): (u32, u32)) {
        self.0[shard].insert_unique(Self::spread(kept), (kept, number), |entry| Self::spread(entry.0));
    }
}

//! The recent window: the ids of the last N kept events with a fingerprint of their content. First in, first
//! out, so every node with the same N and the same log has the same window.

use std::hash::BuildHasher;
use std::hint::black_box;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use lastseen_event::EventId;

/// The last `capacity` ids. About 40 bytes an id once it is full.
pub(crate) struct RecentIds {
    hasher: DefaultHashBuilder,
    capacity: usize,
    /// A ring: the oldest entry is at `next` once it is full.
    ids: Vec<(EventId, u64)>,
    next: usize,
    slots: HashTable<u32>,
}

impl RecentIds {
    /// An empty window for `capacity` ids, which is at least 1.
    pub(crate) fn new(capacity: usize) -> Self {
        // Reserved at once: growing would stall the writer for as long as it takes to hash all ids again.
        Self {
            hasher: DefaultHashBuilder::default(),
            capacity,
            ids: Vec::new(),
            next: 0,
            slots: HashTable::with_capacity(capacity),
        }
    }

    /// The fingerprint of the event with this id, if it is in the window.
    pub(crate) fn get(&self, id: EventId) -> Option<u64> {
        let hash = self.hasher.hash_one(id);
        let slot = self.slots.find(hash, |slot| self.ids[*slot as usize].0 == id)?;
        Some(self.ids[*slot as usize].1)
    }

    /// Adds ids in order, as [`RecentIds::insert`] adds one. What a few of them will read lies all over memory and is
    /// read first for all of these, so that the processor waits for it once.
    pub(crate) fn insert_all(&mut self, mut new: impl Iterator<Item = (EventId, u64)>) {
        const AT_ONCE: usize = 64;
        let mut chunk = Vec::with_capacity(AT_ONCE);
        loop {
            chunk.clear();
            chunk.extend(new.by_ref().take(AT_ONCE));
            if chunk.is_empty() {
                return;
            }
            black_box(self.touch(&chunk));
            for (id, fingerprint) in &chunk {
                self.insert(*id, *fingerprint);
            }
        }
    }

    /// Reads the places of these ids and of those that will leave for them; the result only keeps it from being
    /// left out.
    fn touch(&self, new: &[(EventId, u64)]) -> usize {
        let found =
            |id: EventId| self.slots.find(self.hasher.hash_one(id), |slot| *slot == u32::MAX).is_some();
        let leaving = (self.next..).map(|slot| slot % self.capacity).take(new.len());
        let oldest = leaving.filter_map(|slot| self.ids.get(slot)).filter(|(id, _)| found(*id)).count();
        oldest + new.iter().filter(|(id, _)| found(*id)).count()
    }

    /// Adds an id; the oldest leaves if the window is full. The writer adds only ids that are not in it. Recovery may
    /// have a larger window than the writer had: then the latest event with this id is the one that counts.
    pub(crate) fn insert(&mut self, id: EventId, fingerprint: u64) {
        let Self { hasher, ids, slots, next, capacity } = self;
        let slot = u32::try_from(*next).expect("the window is far below 2^32 ids");
        let hash_of = |slot: &u32| hasher.hash_one(ids[*slot as usize].0);
        if let Some((oldest, _)) = ids.get(*next)
            && let Ok(entry) = slots.find_entry(hasher.hash_one(oldest), |found| *found == slot)
        {
            entry.remove();
        }
        match slots.entry(hasher.hash_one(id), |found| ids[*found as usize].0 == id, hash_of) {
            Entry::Occupied(mut known) => *known.get_mut() = slot,
            Entry::Vacant(new) => drop(new.insert(slot)),
        }
        match ids.get_mut(*next) {
            Some(oldest) => *oldest = (id, fingerprint),
            None => ids.push((id, fingerprint)),
        }
        *next = (*next + 1) % *capacity;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use lastseen_store::contract::event_id;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_exactly_the_last_ids(capacity in 1_usize..20, numbers in prop::collection::vec(0_u64..40, 0..200)) {
            let mut window = RecentIds::new(capacity);
            let mut model: VecDeque<(u64, u64)> = VecDeque::new();
            for (at, number) in numbers.into_iter().enumerate() {
                window.insert_all([(event_id(number), at as u64)].into_iter());
                model.push_back((number, at as u64));
                if model.len() > capacity {
                    model.pop_front();
                }
                for number in 0..40 {
                    let latest = model.iter().rfind(|entry| entry.0 == number).map(|entry| entry.1);
                    prop_assert_eq!(window.get(event_id(number)), latest);
                }
            }
        }
    }
}

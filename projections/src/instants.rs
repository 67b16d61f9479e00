//! A multiset of instants that counts from any instant on, exactly to the microsecond, without a pass over
//! what it holds. It knows instants only, never whose they are.
//!
//! A radix tree: instants are grouped into eras of 2^40 us (12.7 days), and an era with more than a leaf's
//! worth is divided by 16 until its parts fit into leaves. Memory follows the content both ways.

mod node;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound::{Excluded, Unbounded};

use lastseen_event::UtcInstant;

use self::node::{Branch, Node};

/// The low bits of an instant that its era leaves open.
const ERA_BITS: u32 = 40;

/// More eras than this, 2,200 years, are not told apart by counting.
const ERAS_MAX: u64 = 1 << 16;

/// Instants, each as often as it was inserted.
#[derive(Debug, Default)]
pub(crate) struct InstantCounts {
    /// By the high bits of their instants; none is empty.
    eras: BTreeMap<u64, Branch>,
}

impl InstantCounts {
    /// Adds one instant.
    pub(crate) fn insert(&mut self, at: UtcInstant) {
        let key = key_of(at);
        let era = self.eras.entry(key >> ERA_BITS).or_insert_with(|| Branch::empty(ERA_BITS));
        era.count += 1;
        era.node.insert(key, ERA_BITS);
    }

    /// The multiset of these instants, in any order. Faster than inserting them: each is moved a few times in
    /// order instead of being looked a place for all over memory.
    pub(crate) fn of(instants: impl IntoIterator<Item = UtcInstant>) -> Self {
        let mut keys: Vec<u64> = instants.into_iter().map(key_of).collect();
        let eras = || keys.iter().map(|key| key >> ERA_BITS);
        let (Some(first), Some(last)) = (eras().min(), eras().max()) else { return Self::default() };
        if last - first >= ERAS_MAX {
            let mut one_by_one = Self::default();
            for key in keys {
                one_by_one.insert(instant_of(key));
            }
            return one_by_one;
        }
        let place_of = |era: u64| usize::try_from(era - first).expect("below the bound");
        let mut counts = vec![0; place_of(last) + 1];
        for era in eras() {
            counts[place_of(era)] += 1;
        }
        let mut places = Vec::with_capacity(counts.len());
        let mut end = 0;
        for count in &counts {
            places.push(end);
            end += count;
        }
        let mut scattered = vec![0; keys.len()];
        for &key in &keys {
            let place = &mut places[place_of(key >> ERA_BITS)];
            scattered[*place] = key;
            *place += 1;
        }
        let mut eras = BTreeMap::new();
        for ((era, count), end) in (first..).zip(counts).zip(places).filter(|((_, count), _)| *count > 0) {
            let part = end - count..end;
            let node = Node::of(&mut scattered[part.clone()], &mut keys[part], ERA_BITS);
            eras.insert(era, Branch { count: count as u64, node });
        }
        Self { eras }
    }

    /// Takes out one instant.
    ///
    /// # Panics
    /// If it is not there as often as it was taken out.
    pub(crate) fn remove(&mut self, at: UtcInstant) {
        let key = key_of(at);
        let Entry::Occupied(mut era) = self.eras.entry(key >> ERA_BITS) else {
            panic!("only what was inserted is removed");
        };
        let Branch { count, node } = era.get_mut();
        node.remove(key, ERA_BITS, *count);
        *count -= 1;
        if *count == 0 {
            era.remove();
        }
    }

    /// Counts those that are `since` or later.
    pub(crate) fn count_from(&self, since: UtcInstant) -> u64 {
        let key = key_of(since);
        let era = key >> ERA_BITS;
        let later: u64 = self.eras.range((Excluded(era), Unbounded)).map(|(_, later)| later.count).sum();
        later + self.eras.get(&era).map_or(0, |era| era.node.count_from(key, ERA_BITS))
    }

    /// Reads the memory that removing this instant will need; the number means nothing.
    pub(crate) fn touch(&self, at: UtcInstant) -> u64 {
        let key = key_of(at);
        self.eras.get(&(key >> ERA_BITS)).map_or(0, |era| era.node.touch(key, ERA_BITS))
    }

    /// The greatest.
    pub(crate) fn max(&self) -> Option<UtcInstant> {
        let (&era, Branch { node, .. }) = self.eras.last_key_value()?;
        Some(instant_of(node.max(era << ERA_BITS, ERA_BITS)))
    }
}

const SIGN: u64 = 1 << 63;

/// An instant as an unsigned number of the same order.
fn key_of(at: UtcInstant) -> u64 {
    at.as_micros().cast_unsigned() ^ SIGN
}

fn instant_of(key: u64) -> UtcInstant {
    UtcInstant::from_micros((key ^ SIGN).cast_signed())
}

#[cfg(test)]
mod tests;

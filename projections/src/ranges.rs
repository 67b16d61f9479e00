//! The members of one tenant: few ranges of ordinals, since a store hands them out in blocks per tenant.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use lastseen_event::MemberOrdinal;

/// A set of ordinals as maximal ranges, so a pass over them reads memory in order.
#[derive(Debug, Default)]
pub(crate) struct OrdinalRanges {
    /// First to last ordinal, both inclusive; no two ranges touch.
    lasts: BTreeMap<u32, u32>,
}

impl OrdinalRanges {
    /// Adds an ordinal that is not in the set. Any order works.
    pub(crate) fn insert(&mut self, member: MemberOrdinal) {
        let ordinal = member.get();
        let after = ordinal.checked_add(1).and_then(|next| self.lasts.remove(&next));
        let last = after.unwrap_or(ordinal);
        match self.lasts.range_mut(..ordinal).next_back() {
            Some((_, before)) if before.checked_add(1) == Some(ordinal) => *before = last,
            Some(_) | None => {
                self.lasts.insert(ordinal, last);
            }
        }
    }

    /// Adds ordinals that are all above those in the set.
    pub(crate) fn append(&mut self, range: RangeInclusive<u32>) {
        match self.lasts.last_entry() {
            Some(mut before) if before.get().checked_add(1) == Some(*range.start()) => {
                before.insert(*range.end());
            }
            Some(_) | None => {
                self.lasts.insert(*range.start(), *range.end());
            }
        }
    }

    /// True if the set has no ordinals.
    pub(crate) fn is_empty(&self) -> bool {
        self.lasts.is_empty()
    }

    /// First to last ordinal of each range, ascending, without the ordinals below `first`.
    pub(crate) fn ranges_from(&self, first: u32) -> impl Iterator<Item = RangeInclusive<u32>> {
        let cut = self.lasts.range(..first).next_back().filter(|(_, last)| **last >= first);
        let cut = cut.map(|(_, &last)| first..=last);
        cut.into_iter().chain(self.lasts.range(first..).map(|(&first, &last)| first..=last))
    }

    /// Every ordinal, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = MemberOrdinal> {
        self.lasts.iter().flat_map(|(&first, &last)| (first..=last).map(MemberOrdinal::new))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_order_gives_the_same_maximal_ranges(
            order in prop::collection::vec(prop_oneof![0..40_u32, u32::MAX - 3..=u32::MAX], 0..60),
        ) {
            let (mut ranges, mut set) = (OrdinalRanges::default(), BTreeSet::new());
            for ordinal in order {
                if set.insert(ordinal) {
                    ranges.insert(MemberOrdinal::new(ordinal));
                }
            }
            prop_assert!(ranges.iter().map(MemberOrdinal::get).eq(set.iter().copied()));
            prop_assert_eq!(ranges.is_empty(), set.is_empty());
            for first in [0, 1, 17, 39, 40, u32::MAX - 2, u32::MAX] {
                prop_assert!(ranges.ranges_from(first).flatten().eq(set.range(first..).copied()));
            }
            let gaps = set.iter().filter(|&&at| at == 0 || !set.contains(&(at - 1))).count();
            prop_assert_eq!(ranges.lasts.len(), gaps);
        }
    }
}

//! A set of ordinals, a bit each: fast to fill in any order, and no larger however often an ordinal comes.

use std::ops::RangeInclusive;

use roaring::RoaringBitmap;

/// Bits in a word.
const WORD: u32 = u64::BITS;

/// Ordinals up to the greatest that was inserted.
#[derive(Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn insert(&mut self, ordinal: u32) {
        let word = (ordinal / WORD) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (ordinal % WORD);
    }

    pub(crate) fn contains(&self, ordinal: u32) -> bool {
        self.0.get((ordinal / WORD) as usize).is_some_and(|word| word >> (ordinal % WORD) & 1 != 0)
    }

    /// True if one of these ordinals is in the set. Looks at 64 of them at once.
    pub(crate) fn contains_any(&self, ordinals: &RangeInclusive<u32>) -> bool {
        let (first, last) = (*ordinals.start(), *ordinals.end());
        if first > last {
            return false;
        }
        let [first_word, last_word] = [first, last].map(|ordinal| (ordinal / WORD) as usize);
        let words = self.0.iter().enumerate().take(last_word.saturating_add(1)).skip(first_word);
        words.into_iter().any(|(word, bits)| {
            let mut bits = *bits;
            if word == first_word {
                bits &= u64::MAX << (first % WORD);
            }
            if word == last_word {
                bits &= u64::MAX >> (WORD - 1 - last % WORD);
            }
            bits != 0
        })
    }

    /// The same set as a bitmap.
    pub(crate) fn to_bitmap(&self) -> RoaringBitmap {
        let in_word = |(word, bits): (u32, &u64)| {
            let mut left = *bits;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(word * WORD + bit)
            })
        };
        let ordinals = (0..).zip(&self.0).flat_map(in_word);
        RoaringBitmap::from_sorted_iter(ordinals).expect("words and bits are in order")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_of_what_was_inserted(
            ordinals in prop::collection::vec(prop_oneof![0..300_u32, 5_000..5_003_u32], 0..40),
            first in 0..5_100_u32,
            length in 0..400_u32,
        ) {
            let mut bits = Bits::default();
            for ordinal in &ordinals {
                bits.insert(*ordinal);
            }
            let set: BTreeSet<u32> = ordinals.into_iter().collect();
            prop_assert!(bits.to_bitmap().iter().eq(set.iter().copied()));
            for first in [first, first % 310] {
                let range = first..=first + length;
                prop_assert_eq!(bits.contains(first), set.contains(&first));
                prop_assert_eq!(bits.contains_any(&range), set.range(range).next().is_some());
            }
        }
    }
}

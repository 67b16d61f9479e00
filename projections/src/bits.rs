//! A set of ordinals, a bit each: fast to fill in any order, and no larger however often an ordinal comes.

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
        ) {
            let mut bits = Bits::default();
            for ordinal in &ordinals {
                bits.insert(*ordinal);
            }
            let set: BTreeSet<u32> = ordinals.into_iter().collect();
            prop_assert!(bits.to_bitmap().iter().eq(set.iter().copied()));
        }
    }
}

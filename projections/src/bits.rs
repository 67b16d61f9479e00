//! A set of ordinals, a bit each: fast to fill in any order, and no larger however often an ordinal comes.

use roaring::RoaringBitmap;

/// The bits of one container of a bitmap: so many are added at a time.
const CONTAINER_BITS: usize = 1 << 16;

/// Ordinals up to the greatest that was inserted: eight a byte, the least first.
#[derive(Debug, Default)]
pub(crate) struct Bits(Vec<u8>);

impl Bits {
    pub(crate) fn insert(&mut self, ordinal: u32) {
        let index = ordinal as usize;
        if index / 8 >= self.0.len() {
            self.0.resize((index / CONTAINER_BITS + 1) * (CONTAINER_BITS / 8), 0);
        }
        self.0[index / 8] |= 1 << (index % 8);
    }

    /// The same set as a bitmap.
    pub(crate) fn to_bitmap(&self) -> RoaringBitmap {
        RoaringBitmap::from_lsb0_bytes(0, &self.0)
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
            ordinals in prop::collection::vec(prop_oneof![0..300_u32, 65_530..65_540_u32, 400_000..400_003_u32], 0..40),
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

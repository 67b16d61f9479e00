//! A set of ordinals, a bit each: fast to fill in any order, and no larger however often an ordinal comes.

use roaring::RoaringBitmap;

/// The bits of one container of a bitmap: so many are added at a time.
const CONTAINER_BITS: usize = 1 << 16;

/// Ordinals up to the greatest that was inserted: eight a byte, the least first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Vec<u8>);

impl Bits {
    /// None yet, and room for those up to `greatest`.
    pub(crate) fn up_to(greatest: u32) -> Self {
        Self(vec![0; bytes_up_to(greatest)])
    }

    /// Adds an ordinal. `false`: it was there.
    #[inline]
    pub(crate) fn insert(&mut self, ordinal: u32) -> bool {
        let index = ordinal as usize;
        if index / 8 >= self.0.len() {
            self.0.resize(bytes_up_to(ordinal), 0);
        }
        let (byte, bit) = (&mut self.0[index / 8], 1 << (index % 8));
        let is_new = *byte & bit == 0;
        *byte |= bit;
        is_new
    }

    /// Takes an ordinal out, if it is there.
    #[inline]
    pub(crate) fn remove(&mut self, ordinal: u32) {
        if let Some(byte) = self.0.get_mut(ordinal as usize / 8) {
            *byte &= !(1 << (ordinal % 8));
        }
    }

    /// Adds all of these ordinals.
    pub(crate) fn insert_all(&mut self, ordinals: &RoaringBitmap) {
        let Some(greatest) = ordinals.max() else { return };
        self.0.resize(self.0.len().max(bytes_up_to(greatest)), 0);
        let mut left = ordinals.iter();
        while let Some(range) = left.next_range() {
            let (first, last) = (*range.start() as usize, *range.end() as usize);
            // The bits from the first on, and up to the last, of the bytes that these are in.
            let (from, to) = (u8::MAX << (first % 8), u8::MAX >> (7 - last % 8));
            if first / 8 == last / 8 {
                self.0[first / 8] |= from & to;
                continue;
            }
            self.0[first / 8] |= from;
            self.0[first / 8 + 1..last / 8].fill(u8::MAX);
            self.0[last / 8] |= to;
        }
    }

    pub(crate) fn contains(&self, ordinal: u32) -> bool {
        self.0.get(ordinal as usize / 8).is_some_and(|byte| byte & 1 << (ordinal % 8) != 0)
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity()
    }

    /// The same set as a bitmap.
    pub(crate) fn to_bitmap(&self) -> RoaringBitmap {
        RoaringBitmap::from_lsb0_bytes(0, &self.0)
    }
}

/// The bytes of the containers of all ordinals up to this one.
fn bytes_up_to(greatest: u32) -> usize {
    (greatest as usize / CONTAINER_BITS + 1) * (CONTAINER_BITS / 8)
}

impl From<&RoaringBitmap> for Bits {
    fn from(ordinals: &RoaringBitmap) -> Self {
        let mut bits = Self::default();
        bits.insert_all(ordinals);
        bits
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
            removed in prop::collection::vec(prop_oneof![0..300_u32, 65_530..65_540_u32, 500_000..500_003_u32], 0..40),
        ) {
            let mut bits = Bits::default();
            let mut set = BTreeSet::new();
            for ordinal in ordinals {
                prop_assert_eq!(bits.contains(ordinal), set.contains(&ordinal));
                prop_assert_eq!(bits.insert(ordinal), set.insert(ordinal));
            }
            prop_assert!(bits.to_bitmap().iter().eq(set.iter().copied()));
            prop_assert!(Bits::from(&bits.to_bitmap()).to_bitmap() == bits.to_bitmap());
            for ordinal in removed {
                bits.remove(ordinal);
                set.remove(&ordinal);
            }
            prop_assert!(bits.to_bitmap().iter().eq(set.iter().copied()));
        }
    }
}

//! A filter: tells of most numbers that were not put in that they were not, and of every other that it may have been.
//!
//! A split block Bloom filter (Putze, Sanders and Singler, 2007; the one of Parquet): a number has a block of 32 bytes and
//! one bit in each of its eight words, so that a look reads one place in memory, or one page of a file. Numbers are hashes
//! already, under a secret of the log: nobody can choose numbers that fill one block.

use lastseen_store::ReadError;

use crate::pages::{CONTENT_LEN, PAGE_LEN, Pages};
use crate::touch::touch;

/// Bytes of a block.
pub(crate) const BLOCK_LEN: usize = 32;

/// Blocks of a page.
const PAGE_BLOCKS: u64 = (CONTENT_LEN / BLOCK_LEN) as u64;

/// Bits for each number that is put in: one false hit in some 250 looks.
const BITS: u64 = 12;

/// Odd numbers, one a word; those of Parquet.
const SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

pub(crate) type Block = [u32; 8];

/// The shape of a filter: its number of blocks, which is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) blocks: u32,
}

impl Shape {
    /// The filter for so many numbers.
    pub(crate) fn for_numbers(numbers: u64) -> Self {
        let blocks = (numbers * BITS).div_ceil(8 * BLOCK_LEN as u64).max(1);
        Self { blocks: u32::try_from(blocks).unwrap_or(u32::MAX) }
    }

    /// Pages that it takes in a file.
    pub(crate) fn pages(self) -> u64 {
        u64::from(self.blocks).div_ceil(PAGE_BLOCKS)
    }

    /// Bytes that it takes in memory.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.blocks) * BLOCK_LEN as u64
    }

    /// The block of a number: by its upper half, so that ascending numbers have ascending blocks.
    pub(crate) fn block_of(self, number: u64) -> u32 {
        u32::try_from(((number >> 32) * u64::from(self.blocks)) >> 32).unwrap_or(0)
    }
}

/// The bits of a number in its block: by its lower half.
pub(crate) fn mask(number: u64) -> Block {
    let low = u32::try_from(number & 0xffff_ffff).unwrap_or(0);
    SALTS.map(|salt| 1 << (low.wrapping_mul(salt) >> 27))
}

/// True if every bit of a mask is set in a block.
pub(crate) fn has_all(block: &Block, mask: &Block) -> bool {
    block.iter().zip(mask).fold(0, |missing, (word, bit)| missing | (bit & !word)) == 0
}

/// A filter in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    shape: Shape,
    blocks: Vec<InOneLine>,
}

/// A block that lies in one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(32))]
struct InOneLine(Block);

impl Filter {
    /// An empty filter for so many numbers.
    pub(crate) fn for_numbers(numbers: u64) -> Self {
        let shape = Shape::for_numbers(numbers);
        Self { shape, blocks: vec![InOneLine::default(); shape.blocks as usize] }
    }

    pub(crate) fn insert(&mut self, number: u64) {
        let InOneLine(block) = &mut self.blocks[self.shape.block_of(number) as usize];
        block.iter_mut().zip(mask(number)).for_each(|(word, bit)| *word |= bit);
    }

    pub(crate) fn may_have(&self, number: u64) -> bool {
        self.blocks
            .get(self.shape.block_of(number) as usize)
            .is_some_and(|InOneLine(block)| has_all(block, &mask(number)))
    }

    /// Reads what asking for these numbers will read.
    pub(crate) fn touch(&self, numbers: impl Iterator<Item = u64>) {
        let word =
            |number| self.blocks.get(self.shape.block_of(number) as usize).map_or(0, |block| block.0[0]);
        touch(numbers.map(|number| word(number).into()));
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Its blocks as they stand in a file.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = [u8; BLOCK_LEN]> {
        self.blocks.iter().map(|InOneLine(block)| to_bytes(block))
    }

    /// Reads a filter of this shape whose first page has number `first`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn read(shape: Shape, pages: &Pages, first: u64) -> Result<Self, ReadError> {
        let mut blocks = Vec::with_capacity(shape.blocks as usize);
        pages.read_all(first..first + shape.pages(), |content| {
            let left = shape.blocks as usize - blocks.len();
            blocks.extend(content.as_chunks().0.iter().take(left).map(|bytes| InOneLine(from_bytes(bytes))));
        })?;
        Ok(Self { shape, blocks })
    }
}

/// Looks into a filter of this shape in a file, whose first page has number `first`: reads one page.
///
/// # Errors
/// [`ReadError`].
pub(crate) fn may_have_on_disk(
    shape: Shape,
    pages: &Pages,
    first: u64,
    number: u64,
) -> Result<bool, ReadError> {
    let block = u64::from(shape.block_of(number));
    let mut page = [0; PAGE_LEN];
    let content = pages.read(first + block / PAGE_BLOCKS, &mut page)?;
    let at = usize::try_from(block % PAGE_BLOCKS).unwrap_or(0);
    let found = content.as_chunks::<BLOCK_LEN>().0.get(at);
    Ok(found.is_none_or(|block| has_all(&from_bytes(block), &mask(number))))
}

/// A block as it stands in a file.
pub(crate) fn to_bytes(block: &Block) -> [u8; BLOCK_LEN] {
    let mut bytes = [0; BLOCK_LEN];
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(block) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

fn from_bytes(bytes: &[u8; BLOCK_LEN]) -> Block {
    let mut block = [0; 8];
    for (word, bytes) in block.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of counters, as ids are under a key.
    fn numbers(range: std::ops::Range<u64>) -> impl Iterator<Item = u64> {
        range.map(|number| xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes()))
    }

    #[test]
    fn what_was_put_in_is_found_and_little_else() {
        for count in [1, 20, 1_000, 100_000] {
            let mut filter = Filter::for_numbers(count);
            numbers(0..count).for_each(|number| filter.insert(number));
            assert!(numbers(0..count).all(|number| filter.may_have(number)));
            let others = 100_000;
            let hits = numbers(count..count + others).filter(|number| filter.may_have(*number)).count();
            assert!(hits < 1_000, "{hits} false hits of {others} with {count} numbers");
        }
    }
}

//! Reading ahead: what a batch of look-ups will need lies all over memory.

use std::hint::black_box;

/// Makes these reads, which do not depend on each other, so that the processor waits for many of them at once. The result only
/// keeps them from being left out.
pub(crate) fn touch(reads: impl Iterator<Item = u64>) {
    black_box(reads.fold(0, u64::wrapping_add));
}

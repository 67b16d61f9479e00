//! Damage in the words of the log: one constructor of reports, and one error of decoders.

use lastseen_store::Corruption;

/// Damage in `file` at `offset`, in bytes: what was expected there, and what was found.
pub(crate) fn corruption(
    file: impl Into<String>,
    offset: u64,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Corruption {
    Corruption { file: file.into(), offset, expected: expected.into(), found: found.into() }
}

/// Bytes whose checksum is right, or rows of a checked file, that are not what the log writes. Whoever knows the
/// file and the offset makes a [`corruption`] of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

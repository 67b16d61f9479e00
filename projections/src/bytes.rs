//! The codec beneath the parts of a snapshot: little-endian numbers, every length checked before it is used.
//!
//! Each view encodes and decodes its own part with it; `snapshot` only composes the parts. Nothing here knows
//! a view.

use std::ops::Range;

/// Bytes that are not a part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of a snapshot that breaks its format")]
pub struct BadPart;

/// The unread rest of a part.
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Begins to read these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], BadPart> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(BadPart)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BadPart> {
        self.take().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BadPart> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, BadPart> {
        self.take().map(i32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, BadPart> {
        self.take().map(i64::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, BadPart> {
        self.take().map(u64::from_le_bytes)
    }

    /// The unread bytes, for a reader that advances them itself.
    pub(crate) fn rest(&mut self) -> &mut &'a [u8] {
        &mut self.0
    }

    /// Ends the part.
    ///
    /// # Errors
    /// [`BadPart`] if bytes are left.
    pub(crate) fn end(self) -> Result<(), BadPart> {
        if self.0.is_empty() { Ok(()) } else { Err(BadPart) }
    }
}

/// Returns the `count` slots that begin with `first`.
///
/// # Errors
/// [`BadPart`] if they reach beyond 32 bits.
pub(crate) fn slots_of(first: u32, count: u32) -> Result<Range<usize>, BadPart> {
    let end = first.checked_add(count).ok_or(BadPart)?;
    Ok(first as usize..end as usize)
}

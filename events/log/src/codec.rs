//! Little-endian integers out of untrusted bytes: every read is checked, nothing panics.

use crate::damage::Malformed;

/// Reads forward through a slice; [`Malformed`] at its end.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.slice(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_le_bytes)
    }

    /// UTF-8 after its length in one byte.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let len = self.u8()?;
        std::str::from_utf8(self.slice(usize::from(len))?).map_err(|_| Malformed)
    }
}

/// Appends `text` after its length in one byte.
///
/// # Panics
/// If it is longer than 255 bytes; stored names are not.
pub(crate) fn put_text(buffer: &mut Vec<u8>, text: &str) {
    buffer.push(u8::try_from(text.len()).expect("a stored name has at most 255 bytes"));
    buffer.extend_from_slice(text.as_bytes());
}

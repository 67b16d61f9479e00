//! Request bodies: bounded in size, in time, and in the memory that all of them take together.

pub(super) mod cloud_event;
pub(super) mod decompress;
pub(super) mod unread;

use axum::body::{Body, HttpBody};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Version};
use http_body_util::BodyExt;

use super::App;
use super::body_fault::{BodyFault, body_fault};
use super::connections::STREAMS_MAX;
use super::problem::Problem;
use crate::memory::Reserved;

/// The first bytes of each body are not counted in the budget: the cap on connections bounds them.
const UNCOUNTED_BYTES: usize = 16 * 1024;
/// The same with HTTP/2, where a connection has many bodies at once.
const UNCOUNTED_BYTES_HTTP2: usize = UNCOUNTED_BYTES / STREAMS_MAX as usize;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Bytes of a piece of a body.
const PIECE_BYTES: usize = 64 * 1024;

/// A body that has arrived, and its share of the memory budget.
///
/// It stands in pieces. A vector that grows by doubling would leave as much garbage as it holds, and one that reserves
/// room for the largest body gets huge pages that are mostly empty.
#[derive(Debug)]
pub(super) struct ReadBody {
    /// All are full but the last.
    pieces: Vec<Vec<u8>>,
    len: usize,
    /// Bytes that are not counted.
    uncounted: usize,
    memory: Reserved,
}

impl ReadBody {
    fn new(memory: Reserved, version: Version) -> Self {
        let uncounted = if version == Version::HTTP_2 { UNCOUNTED_BYTES_HTTP2 } else { UNCOUNTED_BYTES };
        Self { pieces: Vec::new(), len: 0, uncounted, memory }
    }

    /// Adds bytes, which are counted first.
    ///
    /// # Errors
    /// `body_too_large`, `overloaded`.
    fn push(&mut self, mut bytes: &[u8], bytes_max: usize) -> Result<(), Problem> {
        let len = self.len + bytes.len();
        if len > bytes_max {
            return Err(Problem::body_too_large(bytes_max));
        }
        self.count(len)?;
        self.len = len;
        while !bytes.is_empty() {
            let piece = match self.pieces.last_mut() {
                Some(piece) if piece.len() < PIECE_BYTES => piece,
                // The first piece grows: most bodies are small.
                Some(_) => self.pieces.push_mut(Vec::with_capacity(PIECE_BYTES)),
                None => self.pieces.push_mut(Vec::new()),
            };
            let (fits, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES - piece.len()));
            piece.extend_from_slice(fits);
            bytes = rest;
        }
        Ok(())
    }

    /// Counts that `bytes` are taken.
    fn count(&mut self, bytes: usize) -> Result<(), Problem> {
        let fits = self.memory.grow_to(bytes.saturating_sub(self.uncounted));
        if fits { Ok(()) } else { Err(Problem::no_memory()) }
    }

    /// Bytes of the body.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the body in one piece, without a byte order mark, which some programs put before text. While it is copied it takes
    /// twice its memory.
    ///
    /// # Errors
    /// `overloaded`.
    pub(super) fn into_text(mut self) -> Result<(Vec<u8>, Reserved), Problem> {
        let mut text = if self.pieces.len() < 2 {
            self.pieces.pop().unwrap_or_default()
        } else {
            self.count(2 * self.len)?;
            let text = self.pieces.concat();
            self.pieces.clear();
            self.memory.shrink_to(self.len);
            text
        };
        if text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len());
        }
        Ok((text, self.memory))
    }
}

/// The `Content-Type` as it was sent, and the media type in it: lower case, without parameters.
pub(super) fn content_type(headers: &HeaderMap) -> (Option<&str>, String) {
    let found = headers.get(CONTENT_TYPE).map(|found| found.to_str().unwrap_or("?"));
    let essence = found.and_then(|found| found.split(';').next()).unwrap_or_default();
    (found, essence.trim().to_ascii_lowercase())
}

/// Reads a body of at most `bytes_max` bytes. Takes memory as bytes come, whatever `Content-Length` says.
///
/// # Errors
/// `body_too_large`, `invalid_body`, `interrupted_body`, `request_timeout`, `overloaded`.
pub(super) async fn read(
    (body, version): (Body, Version),
    bytes_max: usize,
    app: &App,
) -> Result<ReadBody, Problem> {
    let patience = app.limits.body_timeout;
    let collected = tokio::time::timeout(
        patience,
        collect(body, bytes_max, ReadBody::new(app.memory.for_body(), version)),
    )
    .await;
    collected.unwrap_or_else(|_| Err(Problem::request_timeout(patience)))
}

async fn collect(mut body: Body, bytes_max: usize, mut read: ReadBody) -> Result<ReadBody, Problem> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(Problem::body_too_large(bytes_max));
    }
    // No more than was declared, where it was.
    let declared = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    let bytes_max = declared.map_or(bytes_max, |declared| declared.min(bytes_max));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match body_fault(&error) {
            BodyFault::Malformed => Problem::malformed_chunk(),
            BodyFault::Interrupted => Problem::interrupted_body(),
        })?;
        if let Some(data) = frame.data_ref() {
            read.push(data, bytes_max)?;
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Memory;

    const MIB: usize = 1 << 20;

    fn filled(memory: &Memory, bytes: usize) -> ReadBody {
        let mut body = ReadBody::new(memory.for_body(), Version::HTTP_11);
        body.push(&vec![7; bytes], usize::MAX).unwrap();
        body
    }

    proptest! {
        #[test]
        fn a_body_is_what_came_however_it_came(
            lens in proptest::collection::vec(0_usize..200_000, 0..8),
            seed: u8,
        ) {
            let sent: Vec<u8> = (0..=250_u8).cycle().map(|byte| byte ^ seed).take(lens.iter().sum()).collect();
            let memory = Memory::new(16 * MIB);
            let (mut body, mut rest) = (ReadBody::new(memory.for_body(), Version::HTTP_11), sent.as_slice());
            for len in lens {
                let (bytes, later) = rest.split_at(len);
                body.push(bytes, sent.len()).unwrap();
                rest = later;
            }
            prop_assert_eq!(body.len(), sent.len());
            prop_assert!(body.push(b"x", sent.len()).is_err(), "one byte more than is allowed");
            let (text, reserved) = body.into_text().unwrap();
            prop_assert!(text == sent);
            drop(reserved);
            prop_assert_eq!(memory.free_bytes(), 16 * MIB);
        }
    }

    #[test]
    fn a_byte_order_mark_is_left_out() {
        let memory = Memory::new(MIB);
        for (sent, text) in [("\u{feff}{}", "{}"), ("{}\u{feff}", "{}\u{feff}"), ("\u{feff}", "")] {
            let mut body = ReadBody::new(memory.for_body(), Version::HTTP_11);
            body.push(sent.as_bytes(), MIB).unwrap();
            assert_eq!(body.into_text().unwrap().0, text.as_bytes());
        }
    }

    #[test]
    fn a_body_takes_its_memory_and_twice_of_it_while_it_is_put_together() {
        let memory = Memory::new(4 * MIB);
        let (text, reserved) = filled(&memory, 2 * MIB).into_text().unwrap();
        assert_eq!((text.len(), memory.free_bytes()), (2 * MIB, 2 * MIB));
        assert!(filled(&memory, MIB + MIB / 2).into_text().is_err(), "there is no room for the copy");
        drop((text, reserved));
        assert!(
            ReadBody::new(memory.for_body(), Version::HTTP_11).push(&vec![7; 5 * MIB], usize::MAX).is_err()
        );
        assert_eq!(memory.free_bytes(), 4 * MIB);
    }
}

//! Compressed bodies, with the limit on what comes out of them.

use std::io::{self, Read};

use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, Version};
use flate2::read::MultiGzDecoder;
use lastseen_event::limits::REQUEST_BYTES_MAX;

use super::{PIECE_BYTES, ReadBody};
use crate::http::problem::Problem;
use crate::memory::Reserved;

/// A content coding of RFC 9110.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// Reads the `Content-Encoding` header.
    ///
    /// # Errors
    /// `unsupported_content_encoding`.
    pub(in crate::http) fn of_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        Self::of(headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?")))
    }

    /// From the `Content-Encoding` header.
    ///
    /// # Errors
    /// `unsupported_content_encoding` for others, and for more than one.
    fn of(header: Option<&str>) -> Result<Self, Problem> {
        let Some(header) = header else { return Ok(Self::Identity) };
        match header.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Problem::unsupported_content_encoding(header)),
        }
    }

    pub(in crate::http) fn is_compressed(self) -> bool {
        self != Self::Identity
    }

    /// The text of a body, at most `bytes_max` bytes, in one piece; memory is taken as text comes out.
    ///
    /// # Errors
    /// `invalid_encoding`, `body_too_large`, `overloaded`.
    pub(in crate::http) fn text(
        self,
        body: ReadBody,
        bytes_max: usize,
    ) -> Result<(Vec<u8>, Reserved), Problem> {
        let (bytes, memory) = body.into_text()?;
        let decoded = match self {
            Self::Identity => return Ok((bytes, memory)),
            Self::Gzip => read_limited(MultiGzDecoder::new(bytes.as_slice()), "gzip", (bytes_max, memory)),
            Self::Zstd => {
                let decoder = zstd(&bytes).map_err(|error| Problem::invalid_encoding("zstd", &error))?;
                read_limited(decoder, "zstd", (bytes_max, memory))
            }
        };
        drop(bytes);
        decoded?.into_text()
    }
}

/// A decoder that refuses to reserve more memory than the largest body could need.
fn zstd(body: &[u8]) -> io::Result<impl Read + '_> {
    const WINDOW_LOG_MAX: u32 = 24;
    const _: () = assert!(1 << WINDOW_LOG_MAX >= REQUEST_BYTES_MAX);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}

fn read_limited(
    mut decoder: impl Read,
    encoding: &str,
    (bytes_max, memory): (usize, Reserved),
) -> Result<ReadBody, Problem> {
    let (mut piece, mut body) = (vec![0; PIECE_BYTES], ReadBody::new(memory, Version::HTTP_11));
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return Ok(body),
            Ok(bytes) => body.push(&piece[..bytes], bytes_max)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Problem::invalid_encoding(encoding, &error)),
        }
    }
}

//! Compressed bodies, with the limit on what comes out of them.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use lastseen_event::limits::REQUEST_BYTES_MAX;

use crate::problem::Problem;

/// A content coding of RFC 9110.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// From the `Content-Encoding` header.
    ///
    /// # Errors
    /// `unsupported_content_encoding` for others, and for more than one.
    pub(super) fn of(header: Option<&str>) -> Result<Self, Problem> {
        let Some(header) = header else { return Ok(Self::Identity) };
        match header.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Problem::unsupported_content_encoding(header)),
        }
    }

    pub(super) fn is_compressed(self) -> bool {
        self != Self::Identity
    }

    /// The body without its coding.
    ///
    /// # Errors
    /// `invalid_encoding`, `body_too_large`.
    pub(super) fn decode(self, body: Vec<u8>) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => read_limited(MultiGzDecoder::new(body.as_slice()), "gzip"),
            Self::Zstd => zstd(&body).map_or_else(
                |error| Err(Problem::invalid_encoding("zstd", &error)),
                |decoder| read_limited(decoder, "zstd"),
            ),
        }
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

fn read_limited(decoder: impl Read, encoding: &str) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    let read = decoder.take(REQUEST_BYTES_MAX as u64 + 1).read_to_end(&mut body);
    read.map_err(|error| Problem::invalid_encoding(encoding, &error))?;
    if body.len() > REQUEST_BYTES_MAX { Err(Problem::body_too_large(REQUEST_BYTES_MAX)) } else { Ok(body) }
}

//! Content codings of answers: gzip and zstd, as the request accepts them.

use std::io::{self, Write};

use axum::http::HeaderValue;
use flate2::write::GzEncoder;

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Encoding {
    Gzip,
    Zstd,
}

/// Levels that compress about as fast as answers are made. Level 1 of zlib-rs is twice as fast as level 2 and leaves half as much
/// again: lists of users would no longer be a third of themselves.
const GZIP_LEVEL: u32 = 2;
const ZSTD_LEVEL: i32 = 1;

impl Encoding {
    /// The coding to use for these `Accept-Encoding` headers: zstd before gzip among equals. `None`: no coding.
    pub(in crate::http) fn accepted<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>) -> Option<Self> {
        let lists = headers.into_iter().filter_map(|header| header.to_str().ok());
        let weighed = lists.flat_map(|list| list.split(',')).filter_map(weigh);
        let (mut gzip, mut zstd, mut any) = (None, None, None);
        for (name, weight) in weighed {
            match name.as_str() {
                "gzip" | "x-gzip" => gzip = Some(weight),
                "zstd" => zstd = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
        let [zstd, gzip] = [zstd, gzip].map(|named| named.or(any).unwrap_or(0));
        match (zstd, gzip) {
            (0, 0) => None,
            (zstd, gzip) if zstd >= gzip => Some(Self::Zstd),
            _ => Some(Self::Gzip),
        }
    }

    /// The name in `Content-Encoding`.
    pub(in crate::http) fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Compresses a whole body.
    pub(in crate::http) fn compress(self, body: &[u8]) -> Vec<u8> {
        let compressed = Compressor::new(self).and_then(|mut compressor| {
            let mut text = compressor.piece(body)?;
            text.extend(compressor.finish()?);
            Ok(text)
        });
        compressed.expect("writing to memory does not fail")
    }
}

/// A coding and its weight in thousandths. `None`: the text is not an element of the header.
fn weigh(element: &str) -> Option<(String, u16)> {
    let (name, weight) = element.split_once(';').unwrap_or((element, "q=1"));
    let weight: f32 = weight.trim().strip_prefix("q=").or(weight.trim().strip_prefix("Q="))?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
    let weight = (weight.clamp(0.0, 1.0) * 1_000.0) as u16;
    Some((name.trim().to_ascii_lowercase(), weight))
}

/// Compresses a body piece by piece.
pub(super) enum Compressor {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    pub(super) fn new(encoding: Encoding) -> io::Result<Self> {
        Ok(match encoding {
            Encoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
            Encoding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// Compresses the next piece, so that its reader can decode all of it.
    pub(super) fn piece(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => {
                encoder.write_all(piece)?;
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.write_all(piece)?;
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    /// The end of the body.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn accepted(header: &'static str) -> Option<Encoding> {
        Encoding::accepted([&HeaderValue::from_static(header)])
    }

    #[test]
    fn the_request_says_which_codings_it_takes() {
        for (header, expected) in [
            ("", None),
            ("identity", None),
            ("br", None),
            ("gzip", Some(Encoding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("GZIP;q=1.0, zstd;q=0.5", Some(Encoding::Gzip)),
            ("zstd;q=0, *", Some(Encoding::Gzip)),
            ("*;q=0", None),
            ("gzip;q=0", None),
            ("gzip;x", None),
        ] {
            assert_eq!(accepted(header), expected, "{header}");
        }
        assert_eq!(Encoding::accepted([]), None);
    }

    #[test]
    fn what_is_compressed_in_pieces_is_read_as_a_whole() {
        let pieces: Vec<Vec<u8>> = (0..5_u8).map(|piece| vec![piece; 70_000]).collect();
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let mut compressor = Compressor::new(encoding).unwrap();
            let mut sent = Vec::new();
            for piece in &pieces {
                sent.extend(compressor.piece(piece).unwrap());
            }
            sent.extend(compressor.finish().unwrap());
            let mut read = Vec::new();
            match encoding {
                Encoding::Gzip => flate2::read::GzDecoder::new(&sent[..]).read_to_end(&mut read).unwrap(),
                Encoding::Zstd => {
                    zstd::stream::read::Decoder::new(&sent[..]).unwrap().read_to_end(&mut read).unwrap()
                }
            };
            assert_eq!(read, pieces.concat(), "{encoding:?}");
            assert!(sent.len() < read.len() / 10, "{encoding:?}: {}", sent.len());
        }
    }
}

//! Why a request's body could not be read to its end.

use std::error::Error;
use std::io;

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// Its chunks or trailers are not what HTTP says.
    Malformed,
    /// The connection ended before it did, or broke.
    Interrupted,
}

/// Returns the kind of `error`, which came from a body of hyper's.
///
/// Hyper wraps what its decoder says (proto/h1/decode.rs): `InvalidInput` and `InvalidData` are about the
/// bytes, `UnexpectedEof` is the end of the connection; any other error is the transport's.
pub(crate) fn body_fault(error: &axum::Error) -> BodyFault {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => BodyFault::Malformed,
                _ => BodyFault::Interrupted,
            };
        }
        cause = error.source();
    }
    BodyFault::Interrupted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoder_of_chunks_is_heard_through_its_wrappers() {
        for (kind, fault) in [
            (io::ErrorKind::InvalidInput, BodyFault::Malformed),
            (io::ErrorKind::InvalidData, BodyFault::Malformed),
            (io::ErrorKind::UnexpectedEof, BodyFault::Interrupted),
            (io::ErrorKind::ConnectionReset, BodyFault::Interrupted),
        ] {
            let wrapped = axum::Error::new(axum::Error::new(io::Error::from(kind)));
            assert_eq!(body_fault(&wrapped), fault, "{kind}");
        }
        assert_eq!(body_fault(&axum::Error::new(std::fmt::Error)), BodyFault::Interrupted);
    }
}

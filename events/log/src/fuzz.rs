//! The decoders of bytes from disk, for fuzz targets: whatever the bytes are, they end without a panic and
//! without an allocation that the bytes do not pay for.

use crate::wal::frame::{FileHeader, FrameHeader, LogId};
use crate::wal::payload::Payload;
use crate::wal::walk::{Frames, header_behind, used_len};

/// Reads `bytes` as a file header and as frames of a log.
///
/// # Panics
/// If the walk over them is wrong.
pub fn frame(bytes: &[u8]) {
    let log_id = FileHeader::decode(bytes).map_or(LogId([0; 16]), |header| header.log_id);
    if let Some((header, payload)) = FrameHeader::decode_frame(bytes, log_id) {
        assert!(header.frame_len() <= bytes.len());
        assert_eq!(payload.len(), header.payload_len);
    }
    let frames = Frames::walk(bytes, log_id);
    assert!(frames.events == 0 || frames.end <= bytes.len());
    let rest = bytes.get(frames.end..).unwrap_or_default();
    assert!(used_len(rest) <= rest.len());
    assert!(header_behind(rest, log_id).is_none_or(|at| at < rest.len()));
}

/// Reads `bytes` as the payload of a frame whose checksum was right.
///
/// # Panics
/// If more is read than there is.
pub fn payload(bytes: &[u8]) {
    let Some(payload) = Payload::new(bytes) else { return };
    let mut members = 0;
    let whole = payload.for_each_member(|_| {
        members += 1;
        Some(())
    });
    assert!(whole.is_none() || members * 8 <= bytes.len(), "a member takes at least eight bytes");
    let mut events = 0;
    let count = payload.for_each_event(|_| {
        events += 1;
        Some(())
    });
    assert!(count.is_none_or(|count| count == events));
    assert!(events as usize * 38 <= bytes.len(), "an event takes at least 38 bytes");
}

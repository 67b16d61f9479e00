//! The decoders of bytes from disk, for fuzz targets: whatever the bytes are, they end without a panic and
//! without an allocation that the bytes do not pay for.

use crate::damage::Malformed;
use crate::format::Version;
use crate::log_id::LogId;
use crate::wal::frame::{FileHeader, FrameHeader, FrameKind};
use crate::wal::payload::{Layout, Payload};
use crate::wal::settled::{Extent, next_header, used_len};

/// Reads `bytes` as a file header and as frames of a log.
///
/// # Panics
/// If the walk over them is wrong.
pub fn frame(bytes: &[u8]) {
    let header = FileHeader::decode(bytes).unwrap_or(FileHeader {
        version: Version::NEWEST,
        number: 1,
        first_position: lastseen_event::Position::new(1),
        log_id: LogId([0; 16]),
        capacity: 0,
    });
    let log_id = header.log_id;
    if let Some((header, payload)) = FrameHeader::decode_frame(bytes, log_id) {
        assert!(header.frame_len() <= bytes.len());
        assert_eq!(payload.len(), header.payload_len);
    }
    let extent = Extent::of(bytes, &header);
    assert!(extent.records == 0 || extent.end <= bytes.len());
    let rest = bytes.get(extent.end..).unwrap_or_default();
    assert!(used_len(rest) <= rest.len());
    assert!(next_header(rest, log_id).is_none_or(|at| at < rest.len()));
}

/// Reads `bytes` as the payload of a frame whose checksum was right, of every version and kind.
///
/// # Panics
/// If more is read than there is.
pub fn payload(bytes: &[u8]) {
    for version in [Version::V1, Version::V2] {
        for kind in [FrameKind::Events, FrameKind::Retraction] {
            payload_of(Layout { version, kind }, bytes);
        }
    }
}

fn payload_of(layout: Layout, bytes: &[u8]) {
    let Ok(payload) = Payload::new(layout, bytes) else { return };
    let mut members = 0;
    let whole = payload.for_each_member(|_| {
        members += 1;
        Ok(())
    });
    assert!(whole == Err(Malformed) || members * 8 <= bytes.len(), "a member takes at least eight bytes");
    let records = payload.records().flatten().count();
    assert!(records * 10 <= bytes.len(), "a record takes at least ten bytes");
}

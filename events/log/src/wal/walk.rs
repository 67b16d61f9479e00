//! Walking over the frames of a file, also of one that is being written by another process.

use std::io;

use lastseen_event::{Position, UtcInstant};

use super::frame::{FILE_HEADER_LEN, FRAME_ALIGN, FileHeader, FrameHeader, FrameKind, LogId};
use crate::disk::{DiskFile, read_all};

/// The sum of the valid frames from the start of a file on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    /// Behind the last of them.
    pub(crate) end: usize,
    /// True if the last of them is an end frame.
    pub(crate) ended: bool,
    /// The position that the first of them says.
    pub(crate) first_position: Option<Position>,
    pub(crate) events: u64,
    /// `recorded_at` of the last of them, if there is one.
    pub(crate) recorded_at: Option<UtcInstant>,
}

impl Frames {
    /// Frames whose positions go on without a gap; the walk ends at the first that is not valid.
    pub(crate) fn walk(bytes: &[u8], log_id: LogId) -> Self {
        let mut frames =
            Self { end: FILE_HEADER_LEN, ended: false, first_position: None, events: 0, recorded_at: None };
        while !frames.ended
            && let Some((frame, _)) =
                FrameHeader::decode_frame(bytes.get(frames.end..).unwrap_or_default(), log_id)
        {
            let first = *frames.first_position.get_or_insert(frame.first_position);
            if frame.first_position.get() != first.get() + frames.events {
                break;
            }
            frames.end += frame.frame_len();
            frames.events += u64::from(frame.events);
            frames.recorded_at = Some(frame.recorded_at);
            frames.ended = frame.kind == FrameKind::End;
        }
        frames
    }
}

/// Number of bytes up to the last that is not zero.
pub(crate) fn used_len(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    // Whole pieces are compared at once: what was reserved and never written is most of a file.
    let zeros = |piece: &[u8]| *piece == ZEROS[..piece.len()];
    let zero_pieces = bytes.rchunks(ZEROS.len()).take_while(|piece| zeros(piece)).map(<[u8]>::len);
    let rest = &bytes[..bytes.len() - zero_pieces.sum::<usize>()];
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Returns the offset in `rest` of the next valid frame, behind the first byte.
pub(crate) fn frame_behind(rest: &[u8], log_id: LogId) -> Option<usize> {
    (FRAME_ALIGN..used_len(rest))
        .step_by(FRAME_ALIGN)
        .find(|at| FrameHeader::decode_frame(rest.get(*at..).unwrap_or_default(), log_id).is_some())
}

/// Returns the offset in `rest` of the next frame header, behind the first byte, even if its frame is not
/// valid. A frame is written only once the one before it is durable, so nothing that a crash leaves has a
/// header behind it.
pub(crate) fn header_behind(rest: &[u8], log_id: LogId) -> Option<usize> {
    (FRAME_ALIGN..used_len(rest))
        .step_by(FRAME_ALIGN)
        .find(|at| FrameHeader::decode(rest.get(*at..).unwrap_or_default(), log_id).is_some())
}

/// True if `rest` may stand behind the end frame of a file of this length. It may be empty. If a crash undid
/// the cut, it may be the bytes that stood there before: zeros, or the rest of a frame that was refused or
/// torn.
pub(crate) fn may_follow_end(rest: &[u8], file_len: usize, file: &FileHeader) -> bool {
    rest.is_empty() || file_len as u64 == file.capacity && header_behind(rest, file.log_id).is_none()
}

/// Reads a file that may be growing. One read may see the header of a frame and not all of the frame before it, if both
/// are written while it is under way; by then the one before is durable, so what is read again has it, or it is damaged.
/// Likewise a read may see a file shorter than it was and not yet the end frame: then it is ended by now.
pub(crate) fn read_settled(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let bytes = read_growing(file)?;
    let was_cut = FileHeader::decode(&bytes).is_ok_and(|header| {
        (bytes.len() as u64) < header.capacity && !Frames::walk(&bytes, header.log_id).ended
    });
    if was_cut { read_growing(file) } else { Ok(bytes) }
}

fn read_growing(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = read_all(file)?;
    let Ok(header) = FileHeader::decode(&bytes) else { return Ok(bytes) };
    let mut end = Frames::walk(&bytes, header.log_id).end;
    while header_behind(bytes.get(end..).unwrap_or_default(), header.log_id).is_some() {
        let read = file.read_at(bytes.get_mut(end..).unwrap_or_default(), end as u64)?;
        bytes.truncate(end + read);
        let settled = Frames::walk(&bytes, header.log_id).end;
        if settled == end {
            break;
        }
        end = settled;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_are_not_used() {
        for len in [0, 1, 4095, 4096, 4097, 10_000] {
            let mut bytes = vec![0; len];
            assert_eq!(used_len(&bytes), 0);
            for at in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|at| *at < len) {
                bytes[at] = 1;
                assert_eq!(used_len(&bytes), at + 1);
            }
        }
    }
}

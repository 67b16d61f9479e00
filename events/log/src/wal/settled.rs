//! The end of a file that may be growing, or that a crash left: how far its frames reach, and what stands after them.

use std::io;

use lastseen_event::UtcInstant;

use super::frame::{FILE_HEADER_LEN, FRAME_ALIGN, FileHeader, FrameHeader};
use super::frames::{End, Frames};
use crate::disk::{DiskFile, read_all};
use crate::place::Place;
use lastseen_store::LogId;

/// The sum of the valid frames from the start of a file on, as far as their positions go on without a gap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The end of the last of them, in bytes.
    pub(crate) end: usize,
    /// True if an end frame is the last of them.
    pub(crate) ended: bool,
    /// The place that the first of them says.
    pub(crate) first_place: Option<Place>,
    pub(crate) records: u64,
    /// The offset of the last of them that has records, in bytes.
    pub(crate) last: Option<usize>,
    /// `recorded_at` of the last of them, if there is one.
    pub(crate) recorded_at: Option<UtcInstant>,
}

impl Extent {
    /// The extent of a file that is in memory.
    pub(crate) fn of(bytes: &[u8], file: &FileHeader) -> Self {
        let mut extent = Self {
            end: FILE_HEADER_LEN,
            ended: false,
            first_place: None,
            records: 0,
            last: None,
            recorded_at: None,
        };
        let mut frames = Frames::new(bytes, file);
        for frame in frames.by_ref() {
            if !extent.goes_on_with(&frame.header) {
                return extent;
            }
            extent.records += u64::from(frame.header.records);
            extent.end = frame.end();
            if frame.header.records > 0 {
                extent.last = Some(frame.offset);
            }
        }
        if let (end, End::EndFrame(header)) = frames.end()
            && extent.goes_on_with(&header)
        {
            (extent.end, extent.ended) = (end, true);
        }
        extent
    }

    /// Takes in the place and the instant of the next frame. Returns whether it is the next.
    fn goes_on_with(&mut self, frame: &FrameHeader) -> bool {
        let first = *self.first_place.get_or_insert(frame.first_place);
        let is_next = frame.first_place.get() == first.get() + self.records;
        if is_next {
            self.recorded_at = Some(frame.recorded_at);
        }
        is_next
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

/// Returns the offset in `rest` of the next valid frame, after the first byte.
pub(crate) fn next_frame(rest: &[u8], log_id: LogId) -> Option<usize> {
    (FRAME_ALIGN..used_len(rest))
        .step_by(FRAME_ALIGN)
        .find(|at| FrameHeader::decode_frame(rest.get(*at..).unwrap_or_default(), log_id).is_some())
}

/// Returns the offset in `rest` of the next frame header, after the first byte, even if its frame is not
/// valid. A frame is written only once the one before it is durable, so nothing that a crash leaves has a
/// header after it.
pub(crate) fn next_header(rest: &[u8], log_id: LogId) -> Option<usize> {
    (FRAME_ALIGN..used_len(rest))
        .step_by(FRAME_ALIGN)
        .find(|at| FrameHeader::decode(rest.get(*at..).unwrap_or_default(), log_id).is_some())
}

/// True if `rest` may stand after the end frame of a file of this length. It may be empty. If a crash undid
/// the cut, it may be the bytes that stood there before: zeros, or the rest of a frame that was refused or
/// torn.
pub(crate) fn may_follow_end(rest: &[u8], file_len: usize, file: &FileHeader) -> bool {
    rest.is_empty() || file_len as u64 == file.capacity && next_header(rest, file.log_id).is_none()
}

/// Reads a file that may be growing. One read may see the header of a frame and not all of the frame before it, if both
/// are written while it is under way; by then the one before is durable, so what is read again has it, or it is damaged.
/// Likewise a read may see a file shorter than it was and not yet the end frame: then it is ended by now.
pub(crate) fn read_settled(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let bytes = read_growing(file)?;
    let was_cut = FileHeader::decode(&bytes)
        .is_ok_and(|header| (bytes.len() as u64) < header.capacity && !Extent::of(&bytes, &header).ended);
    if was_cut { read_growing(file) } else { Ok(bytes) }
}

fn read_growing(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = read_all(file)?;
    let Ok(header) = FileHeader::decode(&bytes) else { return Ok(bytes) };
    let mut end = Extent::of(&bytes, &header).end;
    while next_header(bytes.get(end..).unwrap_or_default(), header.log_id).is_some() {
        let read = file.read_at(bytes.get_mut(end..).unwrap_or_default(), end as u64)?;
        bytes.truncate(end + read);
        let settled = Extent::of(&bytes, &header).end;
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

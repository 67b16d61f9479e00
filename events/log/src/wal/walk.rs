//! Walking over the frames of a file, also of one that is being written by another process.

use std::io;

use lastseen_event::{Position, UtcInstant};

use super::frame::{FILE_HEADER_LEN, FRAME_ALIGN, FileHeader, FrameHeader, FrameKind, LogId};
use crate::disk::DiskFile;

/// What the valid frames from the start of a file on add up to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    /// Behind the last of them.
    pub(crate) end: usize,
    /// Whether that is an end frame.
    pub(crate) ended: bool,
    /// The position that the first of them says.
    pub(crate) first_position: Option<Position>,
    pub(crate) events: u64,
    /// `recorded_at` of the last of them.
    pub(crate) recorded_at: UtcInstant,
}

impl Frames {
    /// Frames whose positions go on without a gap; the walk ends at the first that is not valid.
    pub(crate) fn walk(bytes: &[u8], log_id: LogId) -> Self {
        let mut frames = Self {
            end: FILE_HEADER_LEN,
            ended: false,
            first_position: None,
            events: 0,
            recorded_at: UtcInstant::EARLIEST,
        };
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
            frames.recorded_at = frame.recorded_at;
            frames.ended = frame.kind == FrameKind::End;
        }
        frames
    }
}

/// Whether a valid frame begins anywhere behind the first byte of `rest`, which is where a frame should begin.
pub(crate) fn has_frame_behind(rest: &[u8], log_id: LogId) -> bool {
    frame_behind(rest, log_id).is_some()
}

/// Where behind the first byte of `rest` the next valid frame begins.
pub(crate) fn frame_behind(rest: &[u8], log_id: LogId) -> Option<usize> {
    (FRAME_ALIGN..rest.len())
        .step_by(FRAME_ALIGN)
        .find(|at| FrameHeader::decode_frame(rest.get(*at..).unwrap_or_default(), log_id).is_some())
}

/// Reads a file that may be growing. One read may see a frame and not the one before it, if both are written while it
/// is under way; so what stands behind the valid frames is read again until two reads in a row see no more of them.
pub(crate) fn read_settled(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = crate::recovery::read_all(file)?;
    let Ok(header) = FileHeader::decode(&bytes) else { return Ok(bytes) };
    let mut end = Frames::walk(&bytes, header.log_id).end;
    let mut unchanged = 0;
    while unchanged < 2 {
        let size = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        bytes.resize(size.max(end), 0);
        let read = file.read_at(bytes.get_mut(end..).unwrap_or_default(), end as u64)?;
        bytes.truncate(end + read);
        let settled = Frames::walk(&bytes, header.log_id).end;
        unchanged = if settled == end { unchanged + 1 } else { 0 };
        end = settled;
    }
    Ok(bytes)
}

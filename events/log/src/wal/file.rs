//! One WAL file while it is written: made aside and renamed when it is whole, filled frame by frame, ended.

use std::io;

use lastseen_event::UtcInstant;

use super::frame::{FILE_HEADER_LEN, FRAME_ALIGN, FRAME_HEADER_LEN, FileHeader, FrameHeader, FrameKind};
use super::{DIR, path};
use crate::disk::aside::Aside;
use crate::disk::{Disk, DiskFile, StepError, SyncSite};
use crate::place::Place;
use lastseen_store::LogId;

/// The file that takes the frames.
pub(crate) struct WalFile {
    file: Box<dyn DiskFile>,
    header: FileHeader,
    /// Offset of the next frame.
    end: u64,
    /// Up to here the file was written before, so that syncing a small frame has no allocation to make durable.
    written_until: u64,
}

impl WalFile {
    /// Makes a file that survives a power cut: its content first, then its name. A leftover of an attempt that
    /// failed is replaced.
    ///
    /// # Errors
    /// [`StepError`]; a file that is left behind has no frame.
    pub(crate) fn create(disk: &dyn Disk, header: FileHeader) -> Result<Self, StepError> {
        let path = path(header.number);
        // Held before the file has its name: a folder that cannot be opened is no sync that failed.
        let folder = disk.folder(DIR).map_err(StepError::Refused)?;
        let aside = Aside::make(disk, &path, SyncSite::NewFile, |file| {
            file.allocate(header.capacity)?;
            file.write_all_at(&header.encode(), 0)
        })?;
        let file = aside.put().map_err(StepError::Refused)?;
        folder.sync(SyncSite::NewFileName).map_err(StepError::Unsettled)?;
        let end = FILE_HEADER_LEN as u64;
        Ok(Self { file, header, end, written_until: end })
    }

    /// A file that recovery found, to be ended.
    pub(crate) fn found(file: Box<dyn DiskFile>, header: FileHeader, end: u64) -> Self {
        Self { file, header, end, written_until: end }
    }

    /// The place of the first record that was or will be written to it.
    pub(crate) fn first_place(&self) -> Place {
        self.header.first_place
    }

    /// True if a frame of this length fits, the end frame behind it, and at least one byte more. So a file
    /// that is as long as its end frame says was cut, and the cut is done only after that frame is durable.
    pub(crate) fn fits(&self, frame_len: usize) -> bool {
        self.header.capacity > self.end + (frame_len + FRAME_HEADER_LEN) as u64
    }

    /// The shortest file that has room for one frame of this length.
    pub(crate) fn capacity_for(frame_len: usize) -> u64 {
        (FILE_HEADER_LEN + frame_len + FRAME_HEADER_LEN + FRAME_ALIGN) as u64
    }

    /// Writes zeros ahead of small frames, behind where one of this length goes.
    ///
    /// # Errors
    /// The disk's answer; nothing of a frame is written.
    pub(crate) fn write_ahead(&mut self, frame_len: usize) -> io::Result<()> {
        const SMALL_FRAME: usize = 256 * 1024;
        let frame_end = self.end + frame_len as u64;
        if frame_end > self.written_until && frame_len < SMALL_FRAME {
            let ahead_until = (frame_end + ZEROS.len() as u64).min(self.header.capacity);
            self.file.write_all_at(&ZEROS[..index(ahead_until - frame_end)], frame_end)?;
            self.written_until = ahead_until;
        }
        Ok(())
    }

    /// Writes the frame, not yet durable. After an error nothing of it counts: the next frame goes to the
    /// same place.
    ///
    /// # Errors
    /// The disk's error.
    pub(crate) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.file.write_all_at(frame, self.end)?;
        self.written_until = self.written_until.max(self.end + frame.len() as u64);
        Ok(())
    }

    /// Makes the frame that was just written durable. Returns where it begins, in bytes.
    ///
    /// # Errors
    /// The disk's error. The frame may or may not be durable; the file must not be written again.
    pub(crate) fn sync(&mut self, frame_len: usize) -> io::Result<u64> {
        self.file.sync_data(SyncSite::Frame)?;
        let offset = self.end;
        self.end += frame_len as u64;
        Ok(offset)
    }

    /// Writes the end frame, not yet durable. After an error nothing of it counts: it, or another frame, goes to the
    /// same place.
    ///
    /// # Errors
    /// The disk's error.
    pub(crate) fn write_end(&mut self, next_place: Place, recorded_at: UtcInstant) -> io::Result<()> {
        self.file.write_all_at(&end_frame(self.header.log_id, next_place, recorded_at), self.end)
    }

    /// Makes the end frame durable and cuts the file behind it, in an order that a power cut cannot turn round: a
    /// file shorter than its capacity always has its end frame.
    ///
    /// # Errors
    /// The disk's error.
    pub(crate) fn cut(self) -> io::Result<()> {
        self.file.sync_data(SyncSite::EndFrame)?;
        self.file.set_len(self.end + FRAME_HEADER_LEN as u64)?;
        self.file.sync_all(SyncSite::Cut)
    }

    /// Ends the file: [`WalFile::write_end`], [`WalFile::cut`].
    ///
    /// # Errors
    /// The disk's error.
    pub(crate) fn finish(mut self, next_place: Place, recorded_at: UtcInstant) -> io::Result<()> {
        self.write_end(next_place, recorded_at)?;
        self.cut()
    }
}

/// The zeros that are written ahead of small frames.
static ZEROS: [u8; 1024 * 1024] = [0; 1024 * 1024];

#[expect(clippy::cast_possible_truncation, reason = "at most the length of ZEROS")]
fn index(len: u64) -> usize {
    len as usize
}

/// The last frame of a file.
pub(crate) fn end_frame(log_id: LogId, next_place: Place, recorded_at: UtcInstant) -> [u8; FRAME_HEADER_LEN] {
    let mut frame = [0; FRAME_HEADER_LEN];
    let header = FrameHeader {
        kind: FrameKind::End,
        payload_len: 0,
        first_place: next_place,
        records: 0,
        recorded_at,
        stamped: false,
    };
    header.seal(log_id, &mut frame);
    frame
}

//! The one way over the frames of a file that is in memory: an iterator that says why it ended.

use super::frame::{FILE_HEADER_LEN, FileHeader, FrameHeader, FrameKind};
use super::payload::{Layout, Payload};
use crate::damage::Malformed;

/// A valid frame that is no end frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Its offset in the file, in bytes.
    pub(crate) offset: usize,
    pub(crate) header: FrameHeader,
    layout: Layout,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The offset of the next frame in the file, in bytes.
    pub(crate) fn end(&self) -> usize {
        self.offset + self.header.frame_len()
    }

    /// Its content.
    ///
    /// # Errors
    /// [`Malformed`], though its checksum is right.
    pub(crate) fn payload(&self) -> Result<Payload<'a>, Malformed> {
        Payload::new(self.layout, self.payload)
    }
}

/// Why there are no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The file was ended on purpose, by this frame.
    EndFrame(FrameHeader),
    /// The next bytes are no valid frame.
    NoFrame,
}

/// Iterates over the valid frames of a file in order, whatever positions they say. Tells afterwards where and why it ended.
#[derive(Clone, Debug)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    file: FileHeader,
    /// The offset of the next frame.
    offset: usize,
    end: Option<End>,
}

impl<'a> Frames<'a> {
    /// Over all frames of the file that `bytes` are, with their header.
    pub(crate) fn new(bytes: &'a [u8], file: &FileHeader) -> Self {
        Self::from(bytes, file, FILE_HEADER_LEN)
    }

    /// Over the frames from `offset` on, in bytes from the start of the file.
    pub(crate) fn from(bytes: &'a [u8], file: &FileHeader, offset: usize) -> Self {
        Self { bytes, file: *file, offset, end: None }
    }

    /// After the last frame: where it ends in the file, the end frame included, and why there is none after it.
    pub(crate) fn end(&self) -> (usize, End) {
        (self.offset, self.end.unwrap_or(End::NoFrame))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.end.is_some() {
            return None;
        }
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let Some((header, payload)) = FrameHeader::decode_frame(rest, self.file.log_id) else {
            self.end = Some(End::NoFrame);
            return None;
        };
        let offset = self.offset;
        self.offset += header.frame_len();
        if header.kind == FrameKind::End {
            self.end = Some(End::EndFrame(header));
            return None;
        }
        let layout = Layout::of(self.file.version, &header);
        Some(Frame { offset, header, layout, payload })
    }
}

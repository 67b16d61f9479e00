//! The part of the cursor in a WAL file: one frame in memory, decoded a batch at a time.

use std::io;

use lastseen_store::{ReadError, Scan};

use crate::damage::{Malformed, corruption};
use crate::disk::{Access, DiskFile, read_exact_at};
use crate::history::History;
use crate::history::places::FilePlace;
use crate::place::{Place, following};
use crate::wal;
use crate::wal::cursor::{Decoded, FrameCursor};
use crate::wal::frame::{FILE_HEADER_LEN, FRAME_HEADER_LEN, FileHeader, FrameHeader, FrameKind};

/// A WAL file and where the cursor is in it.
pub(super) struct OpenFile {
    file: Box<dyn DiskFile>,
    header: FileHeader,
    number: u64,
    path: String,
    /// Offset of the next frame, or of the one in the buffer.
    offset: u64,
    /// The place it begins with.
    place: Place,
    buffer: Vec<u8>,
    /// The frame in the buffer, where some of its records are left.
    frame: Option<FrameCursor>,
}

impl OpenFile {
    /// Opens a WAL file to read it from a place on, which is in it, or the next that will be.
    pub(super) fn new(history: &History, held: &FilePlace, from: Place) -> Result<Self, ReadError> {
        let path = wal::path(held.number);
        let io = |error: io::Error| ReadError::Io { file: path.clone(), source: error.into() };
        let file = history.disk.open(&path, Access::Read).map_err(io)?;
        let mut header = [0; FILE_HEADER_LEN];
        file.read_at(&mut header, 0).map_err(io)?;
        let header = FileHeader::decode(&header).map_err(|_| {
            corruption(
                &*path,
                0,
                "a file header with its checksum",
                "none, though it was there when the log was opened",
            )
        })?;
        let start = (held.first_place, FILE_HEADER_LEN as u64);
        let mark = held.frames.before(from).map(|mark| (mark.first_place, mark.offset));
        let (first_place, offset) = mark.unwrap_or(start);
        Ok(Self {
            file,
            header,
            number: held.number,
            path,
            offset,
            place: first_place,
            buffer: Vec::new(),
            frame: None,
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next events that are above `reached`, which is below `end`. `None`: the file ends here.
    pub(super) fn next(
        &mut self,
        history: &History,
        scan: &Scan,
        (reached, end): (Place, Place),
    ) -> Result<Option<Decoded>, ReadError> {
        let Some(mut frame) = self.frame(reached)? else { return Ok(None) };
        let decoded = frame.decode(&self.buffer, (history.names(), scan), (reached, end));
        let decoded = decoded.map_err(|Malformed| self.damaged("a payload that matches its checksum"))?;
        if frame.is_at_end() {
            self.leave(frame.header());
        } else {
            self.frame = Some(frame);
        }
        Ok(Some(decoded))
    }

    /// Takes the frame of the event behind `reached`; its bytes are in the buffer. `None`: the file ends here.
    fn frame(&mut self, reached: Place) -> Result<Option<FrameCursor>, ReadError> {
        if let Some(frame) = self.frame.take() {
            return Ok(Some(frame));
        }
        loop {
            let header = self.read_header()?;
            if header.kind == FrameKind::End {
                // The next file begins with the place this one ends before.
                let ends = self.place == following(reached);
                return if ends { Ok(None) } else { Err(self.damaged("events up to the tail")) };
            }
            if header.end() > following(reached) {
                self.read_payload(&header)?;
                return Ok(Some(FrameCursor::new(header, self.header.version)));
            }
            self.leave(&header);
        }
    }

    /// Moves the cursor to the end of a frame.
    fn leave(&mut self, header: &FrameHeader) {
        self.offset += header.frame_len() as u64;
        self.place = header.end();
    }

    /// Reads the header at the cursor; what stands there is durable, so it is valid or damaged. Its checksum is that of
    /// the whole frame, which is not read where it is not wanted: positions without a gap show that no more was passed
    /// over than should be.
    fn read_header(&mut self) -> Result<FrameHeader, ReadError> {
        self.buffer.resize(FRAME_HEADER_LEN, 0);
        let whole = read_exact_at(self.file.as_ref(), &mut self.buffer, self.offset);
        let whole = whole.map_err(|error| self.io(error))?;
        let header = FrameHeader::decode(&self.buffer, self.header.log_id).filter(|_| whole);
        let header = header.map(|(header, _)| header).filter(|header| header.first_place == self.place);
        header.ok_or_else(|| self.damaged("a frame header"))
    }

    /// Reads and checks the payload behind the header in the buffer.
    fn read_payload(&mut self, header: &FrameHeader) -> Result<(), ReadError> {
        self.buffer.resize(header.frame_len(), 0);
        let at = self.offset + FRAME_HEADER_LEN as u64;
        let payload = self.buffer.get_mut(FRAME_HEADER_LEN..).unwrap_or_default();
        let whole = read_exact_at(self.file.as_ref(), payload, at).map_err(|error| self.io(error))?;
        let valid = whole && FrameHeader::decode_frame(&self.buffer, self.header.log_id).is_some();
        if valid { Ok(()) } else { Err(self.damaged("a frame with its checksum")) }
    }

    fn io(&self, error: io::Error) -> ReadError {
        ReadError::Io { file: self.path.clone(), source: error.into() }
    }

    pub(super) fn damaged(&self, expected: &str) -> ReadError {
        let found = "something else, though it was valid when the log was opened";
        corruption(&*self.path, self.offset, expected, found).into()
    }
}

//! A cursor over durable history: one frame at a time, straight from the files, up to the tail.

use std::io;
use std::sync::Arc;

use lastseen_event::{Event, Fact, Position};
use lastseen_store::{Corruption, Detail, EventReader, ReadError, RecordedBatch};
use tokio::sync::watch;

use crate::disk::{Access, DiskFile, read_exact_at};
use crate::members::Members;
use crate::recovery::FilePlace;
use crate::wal;
use crate::wal::frame::{FILE_HEADER_LEN, FRAME_HEADER_LEN, FrameHeader, FrameKind};
use crate::wal::payload::{Payload, StoredEvent};
use crate::writer::{Shared, next};

/// Reads the log from a position on; see [`EventReader`].
pub struct LogReader {
    shared: Arc<Shared>,
    tail: watch::Receiver<Position>,
    detail: Detail,
    /// The last position that was returned, or that was not wanted.
    reached: Position,
    open: Option<OpenFile>,
    buffer: Vec<u8>,
}

struct OpenFile {
    file: Box<dyn DiskFile>,
    number: u64,
    path: String,
    /// Where the next frame begins.
    offset: u64,
    /// The position it begins with.
    position: Position,
}

impl LogReader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        tail: watch::Receiver<Position>,
        after: Position,
        detail: Detail,
    ) -> Self {
        Self { shared, tail, detail, reached: after, open: None, buffer: Vec::new() }
    }

    /// Opens the file that holds the event above `reached`, which is durable.
    fn open_file(&mut self) -> Result<OpenFile, ReadError> {
        let FilePlace { number, first_position } = {
            let files = self.shared.files.read();
            let behind = files.partition_point(|place| place.first_position <= next(self.reached));
            files[behind - 1]
        };
        let path = wal::path(number);
        let file = self.shared.disk.open(&path, Access::Read).map_err(io_error(&path))?;
        Ok(OpenFile { file, number, path, offset: FILE_HEADER_LEN as u64, position: first_position })
    }

    /// Reads the header at the cursor; what stands there is durable, so it is valid or damaged. Its checksum is that of
    /// the whole frame, which is not read where it is not wanted: positions without a gap show that no more was passed
    /// over than should be.
    fn read_header(&mut self, open: &OpenFile) -> Result<FrameHeader, ReadError> {
        self.buffer.resize(FRAME_HEADER_LEN, 0);
        let whole =
            read_exact_at(open.file.as_ref(), &mut self.buffer, open.offset).map_err(io_error(&open.path))?;
        let header = FrameHeader::decode(&self.buffer, self.shared.log_id).filter(|_| whole);
        let header = header.map(|(header, _)| header).filter(|header| header.first_position == open.position);
        header.ok_or_else(|| damaged(open, "a frame header"))
    }

    /// Reads and checks the payload behind the header in the buffer.
    fn read_payload(&mut self, open: &OpenFile, header: &FrameHeader) -> Result<(), ReadError> {
        self.buffer.resize(header.frame_len(), 0);
        let payload = self.buffer.get_mut(FRAME_HEADER_LEN..).unwrap_or_default();
        let at = open.offset + FRAME_HEADER_LEN as u64;
        let whole = read_exact_at(open.file.as_ref(), payload, at).map_err(io_error(&open.path))?;
        let valid = whole && FrameHeader::decode_frame(&self.buffer, self.shared.log_id).is_some();
        if valid { Ok(()) } else { Err(damaged(open, "a frame with its checksum")) }
    }

    /// The events of the frame in the buffer that are above `reached`.
    fn decode(&self, header: &FrameHeader) -> Option<RecordedBatch> {
        let payload = Payload::new(self.buffer.get(FRAME_HEADER_LEN..header.frame_len())?)?;
        let mut batch = RecordedBatch::default();
        batch.facts.reserve(header.events as usize);
        let members = self.shared.members.read();
        let mut position = header.first_position;
        payload.for_each_event(|stored| {
            if position > self.reached {
                batch.facts.push(fact(position, header, &stored, &members)?);
                if self.detail == Detail::Events {
                    batch.events.push(&event(&stored, &members)?).ok()?;
                }
            }
            position = next(position);
            Some(())
        })?;
        Some(batch)
    }
}

impl EventReader for LogReader {
    fn next_batch(&mut self) -> Result<Option<RecordedBatch>, ReadError> {
        while self.reached < *self.tail.borrow() {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.open_file()?,
            };
            let header = self.read_header(&open)?;
            if header.kind == FrameKind::End {
                // The next file begins with the position this one ends before.
                self.open = self.open_file().map(|next| (next.number != open.number).then_some(next))?;
                if self.open.is_none() {
                    return Err(damaged(&open, "events up to the tail"));
                }
                continue;
            }
            let behind = Position::new(open.position.get() + u64::from(header.events));
            let batch = if behind > next(self.reached) {
                self.read_payload(&open, &header)?;
                Some(
                    self.decode(&header)
                        .ok_or_else(|| damaged(&open, "a payload that matches its checksum"))?,
                )
            } else {
                None
            };
            open.offset += header.frame_len() as u64;
            open.position = behind;
            self.open = Some(open);
            if let Some(batch) = batch {
                self.reached = Position::new(behind.get() - 1);
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

fn fact(
    position: Position,
    header: &FrameHeader,
    stored: &StoredEvent<'_>,
    members: &Members,
) -> Option<Fact> {
    Some(Fact {
        position,
        id: stored.id,
        occurred_at: stored.occurred_at,
        recorded_at: header.recorded_at,
        member: members.member_ref(stored.member)?,
        event_type: stored.event_type,
        created_confirmed: stored.confirmed == Some(true),
    })
}

fn event<'a>(stored: &StoredEvent<'a>, members: &'a Members) -> Option<Event<'a>> {
    let member = members.member_ref(stored.member)?;
    let names = (members.tenant_id(member.tenant), members.user_id(member.person));
    Some(Event {
        session_id: stored.session_id,
        from_tenant_id: stored.from_tenant_id,
        confirmed: stored.confirmed,
        batch: stored.batch,
        ..Event::new(stored.id, stored.event_type, names, stored.occurred_at)
    })
}

fn io_error(path: &str) -> impl FnOnce(io::Error) -> ReadError + '_ {
    move |error| ReadError::Io { file: path.to_owned(), source: error.into() }
}

fn damaged(open: &OpenFile, expected: &str) -> ReadError {
    ReadError::Corrupt(Corruption {
        file: open.path.clone(),
        offset: open.offset,
        expected: expected.to_owned(),
        found: "something else, though it was valid when the log was opened".to_owned(),
    })
}

//! The part of the cursor in a WAL file: one frame at a time.

use std::io;

use lastseen_event::{Event, Fact, Position, Retraction};
use lastseen_store::{Batches, Detail, ReadError, RecordedBatch, Scan};

use crate::disk::{Access, Disk, DiskFile, read_exact_at};
use crate::members::Members;
use crate::places::FilePlace;
use crate::segment::file::damaged;
use crate::wal;
use crate::wal::frame::{FILE_HEADER_LEN, FRAME_HEADER_LEN, FrameHeader, FrameKind};
use crate::wal::payload::{Payload, StoredEvent};
use crate::writer::{Shared, next};

/// A WAL file and where the cursor is in it.
pub(super) struct OpenFile {
    file: Box<dyn DiskFile>,
    number: u64,
    path: String,
    /// Offset of the next frame.
    offset: u64,
    /// The position it begins with.
    position: Position,
    buffer: Vec<u8>,
}

impl OpenFile {
    pub(super) fn new(disk: &dyn Disk, place: FilePlace) -> Result<Self, (String, io::Error)> {
        let path = wal::path(place.number);
        match disk.open(&path, Access::Read) {
            Ok(file) => Ok(Self {
                file,
                number: place.number,
                path,
                offset: FILE_HEADER_LEN as u64,
                position: place.first_position,
                buffer: Vec::new(),
            }),
            Err(error) => Err((path, error)),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The events of the next frame that are above `reached`, which is below `end`. `None`: the file ends here.
    pub(super) fn next(
        &mut self,
        shared: &Shared,
        scan: &Scan,
        (reached, end): (Position, Position),
    ) -> Result<Option<RecordedBatch>, ReadError> {
        loop {
            let header = self.read_header(shared)?;
            if header.kind == FrameKind::End {
                // The next file begins with the position this one ends before.
                return if self.position == next(reached) {
                    Ok(None)
                } else {
                    Err(self.damaged("events up to the tail"))
                };
            }
            let behind = Position::new(self.position.get() + u64::from(header.events));
            let batch = if behind > next(reached) {
                self.read_payload(shared, &header)?;
                let batch = self.decode((shared, scan), &header, (reached, end));
                Some(batch.ok_or_else(|| self.damaged("a payload that matches its checksum"))?)
            } else {
                None
            };
            if batch.as_ref().is_none_or(|batch| batch.reached == Position::new(behind.get() - 1)) {
                self.offset += header.frame_len() as u64;
                self.position = behind;
            }
            if batch.is_some() {
                return Ok(batch);
            }
        }
    }

    /// Reads the header at the cursor; what stands there is durable, so it is valid or damaged. Its checksum is that of
    /// the whole frame, which is not read where it is not wanted: positions without a gap show that no more was passed
    /// over than should be.
    fn read_header(&mut self, shared: &Shared) -> Result<FrameHeader, ReadError> {
        self.buffer.resize(FRAME_HEADER_LEN, 0);
        let whole = read_exact_at(self.file.as_ref(), &mut self.buffer, self.offset);
        let whole = whole.map_err(|error| self.io(error))?;
        let header = FrameHeader::decode(&self.buffer, shared.log_id).filter(|_| whole);
        let header = header.map(|(header, _)| header).filter(|header| header.first_position == self.position);
        header.ok_or_else(|| self.damaged("a frame header"))
    }

    /// Reads and checks the payload behind the header in the buffer.
    fn read_payload(&mut self, shared: &Shared, header: &FrameHeader) -> Result<(), ReadError> {
        self.buffer.resize(header.frame_len(), 0);
        let at = self.offset + FRAME_HEADER_LEN as u64;
        let payload = self.buffer.get_mut(FRAME_HEADER_LEN..).unwrap_or_default();
        let whole = read_exact_at(self.file.as_ref(), payload, at).map_err(|error| self.io(error))?;
        let valid = whole && FrameHeader::decode_frame(&self.buffer, shared.log_id).is_some();
        if valid { Ok(()) } else { Err(self.damaged("a frame with its checksum")) }
    }

    /// The events of the frame in the buffer that are above `reached`, not above `end`, and wanted.
    fn decode(
        &self,
        (shared, scan): (&Shared, &Scan),
        header: &FrameHeader,
        (reached, end): (Position, Position),
    ) -> Option<RecordedBatch> {
        let payload = Payload::new(self.buffer.get(FRAME_HEADER_LEN..header.frame_len())?)?;
        let last = Position::new(header.first_position.get() + u64::from(header.events) - 1);
        let mut batch = RecordedBatch { reached: last.min(end), ..RecordedBatch::default() };
        batch.facts.reserve(header.events as usize);
        let (members, batches) = (shared.members.read(), shared.batches.read());
        let mut position = header.first_position;
        payload.for_each_event(|stored| {
            if position > reached && position <= end {
                if !stored.is_of_member()? {
                    let retraction = retraction(position, header, &stored, &batches)?;
                    batch.retractions.extend(Some(retraction).filter(|it| scan.filter.keeps_retraction(it)));
                    position = next(position);
                    return Some(());
                }
                let fact = fact((position, header), &stored, (&members, &batches))?;
                if scan.filter.keeps(&fact) {
                    batch.facts.push(fact);
                    if scan.detail == Detail::Events {
                        batch.events.push(&event(&stored, &members)?);
                    }
                }
            }
            position = next(position);
            Some(())
        })?;
        Some(batch)
    }

    fn io(&self, error: io::Error) -> ReadError {
        ReadError::Io { file: self.path.clone(), source: error.into() }
    }

    pub(super) fn damaged(&self, expected: &str) -> ReadError {
        let found = "something else, though it was valid when the log was opened";
        damaged(&self.path, self.offset, expected, found)
    }
}

fn retraction(
    position: Position,
    header: &FrameHeader,
    stored: &StoredEvent<'_>,
    batches: &Batches,
) -> Option<Retraction> {
    Some(Retraction {
        position,
        id: stored.id,
        occurred_at: stored.occurred_at,
        recorded_at: header.recorded_at,
        batch: batches.find(stored.batch?.as_str())?,
    })
}

fn fact(
    (position, header): (Position, &FrameHeader),
    stored: &StoredEvent<'_>,
    (members, batches): (&Members, &Batches),
) -> Option<Fact> {
    let batch = match stored.batch {
        Some(name) => Some(batches.find(name.as_str())?),
        None => None,
    };
    Some(Fact {
        position,
        id: stored.id,
        occurred_at: stored.occurred_at,
        recorded_at: header.recorded_at,
        member: members.member_ref(stored.member)?,
        event_type: stored.event_type,
        created_confirmed: stored.confirmed == Some(true),
        batch,
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

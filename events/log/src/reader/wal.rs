//! The part of the cursor in a WAL file: one frame in memory, decoded a batch at a time.

use std::io;

use lastseen_event::{Event, Fact, Position, Retraction, Sighting};
use lastseen_store::{Batches, Detail, ReadError, RecordedBatch, Scan};

use crate::disk::{Access, Disk, DiskFile, read_exact_at};
use crate::members::Members;
use crate::places::FilePlace;
use crate::segment::file::damaged;
use crate::wal;
use crate::wal::frame::{FILE_HEADER_LEN, FRAME_HEADER_LEN, FrameHeader, FrameKind};
use crate::wal::payload::{Payload, StoredEvent};
use crate::writer::{Shared, next};

/// Events decoded at once. The dictionary's lock is held meanwhile, and the writer may wait for it.
const BATCH_EVENTS: u64 = 1_024;

/// A WAL file and where the cursor is in it.
pub(super) struct OpenFile {
    file: Box<dyn DiskFile>,
    number: u64,
    path: String,
    /// Offset of the next frame, or of the one in the buffer.
    offset: u64,
    /// The position it begins with.
    position: Position,
    buffer: Vec<u8>,
    /// The frame in the buffer, where some of its events are left.
    frame: Option<OpenFrame>,
}

/// A frame in the buffer and where the cursor is in it.
struct OpenFrame {
    header: FrameHeader,
    /// Bytes up to the next event, from the first one.
    read: usize,
    /// The position of the next event.
    position: Position,
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
                frame: None,
            }),
            Err(error) => Err((path, error)),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next events that are above `reached`, which is below `end`. `None`: the file ends here.
    pub(super) fn next(
        &mut self,
        shared: &Shared,
        scan: &Scan,
        (reached, end): (Position, Position),
    ) -> Result<Option<RecordedBatch>, ReadError> {
        let Some(mut frame) = self.frame(shared, reached)? else { return Ok(None) };
        let batch = self.decode((shared, scan), &mut frame, (reached, end));
        let batch = batch.ok_or_else(|| self.damaged("a payload that matches its checksum"))?;
        if frame.position == frame.header.behind() {
            self.leave(&frame.header);
        } else {
            self.frame = Some(frame);
        }
        Ok(Some(batch))
    }

    /// Takes the frame of the event behind `reached`; its bytes are in the buffer. `None`: the file ends here.
    fn frame(&mut self, shared: &Shared, reached: Position) -> Result<Option<OpenFrame>, ReadError> {
        if let Some(frame) = self.frame.take() {
            return Ok(Some(frame));
        }
        loop {
            let header = self.read_header(shared)?;
            if header.kind == FrameKind::End {
                // The next file begins with the position this one ends before.
                let ends = self.position == next(reached);
                return if ends { Ok(None) } else { Err(self.damaged("events up to the tail")) };
            }
            if header.behind() > next(reached) {
                self.read_payload(shared, &header)?;
                return Ok(Some(OpenFrame { position: header.first_position, header, read: 0 }));
            }
            self.leave(&header);
        }
    }

    /// Moves the cursor behind a frame.
    fn leave(&mut self, header: &FrameHeader) {
        self.offset += header.frame_len() as u64;
        self.position = header.behind();
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

    /// The next events of the frame in the buffer that are above `reached`, not above `end`, and wanted; at most a
    /// batch of them is looked at.
    fn decode(
        &self,
        (shared, scan): (&Shared, &Scan),
        frame: &mut OpenFrame,
        (reached, end): (Position, Position),
    ) -> Option<RecordedBatch> {
        let OpenFrame { header, read, position } = frame;
        let payload = Payload::new(self.buffer.get(FRAME_HEADER_LEN..header.frame_len())?)?;
        let mut stored_events = payload.events_from(*read)?;
        while *position <= reached {
            stored_events.next()??;
            *position = next(*position);
        }
        let until = end
            .min(Position::new(header.behind().get() - 1))
            .min(Position::new(reached.get() + BATCH_EVENTS));
        let mut batch = RecordedBatch { reached: until, ..RecordedBatch::default() };
        if scan.detail != Detail::Sightings {
            batch.facts.reserve(usize::try_from(until.get() + 1 - position.get()).ok()?);
        }
        let (members, batches) = (shared.members.read(), shared.batches.read());
        while *position <= until {
            let stored = stored_events.next()??;
            let at = std::mem::replace(position, next(*position));
            if !stored.is_of_member()? {
                let retraction = retraction(at, header, &stored, &batches)?;
                let is_wanted = scan.detail != Detail::Sightings && scan.filter.keeps_retraction(&retraction);
                batch.retractions.extend(is_wanted.then_some(retraction));
                continue;
            }
            let fact = fact((at, header), &stored, (&members, &batches))?;
            if !scan.filter.keeps(&fact) {
                continue;
            }
            match scan.detail {
                Detail::Sightings => batch.sightings.extend(Sighting::of(&fact)),
                Detail::Facts => batch.facts.push(fact),
                Detail::Events => {
                    batch.facts.push(fact);
                    batch.events.push(&event(&stored, &members)?);
                }
            }
        }
        *read = stored_events.offset();
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
        counts: stored.counts,
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
        counts: stored.counts,
        batch: stored.batch,
        ..Event::new(stored.id, stored.event_type, names, stored.occurred_at)
    })
}

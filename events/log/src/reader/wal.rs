//! The part of the cursor in a WAL file: one frame in memory, decoded a batch at a time.

use std::io;

use lastseen_event::{Event, Fact, Position, Retraction, Sighting};
use lastseen_store::{Batches, Detail, ReadError, RecordedBatch, Scan};

use crate::damage::{Malformed, corruption};
use crate::disk::{Access, DiskFile, read_exact_at};
use crate::history::History;
use crate::history::places::FilePlace;
use crate::members::Members;
use crate::position::{following, preceding};
use crate::record::{Record, StoredEvent, StoredRetraction};
use crate::wal;
use crate::wal::frame::{FILE_HEADER_LEN, FRAME_HEADER_LEN, FileHeader, FrameHeader, FrameKind};
use crate::wal::index::Mark;
use crate::wal::payload::{Layout, Payload};

/// Records decoded at once. The dictionary's lock is held meanwhile, and the writer may wait for it.
const BATCH_RECORDS: u64 = 1_024;

/// A WAL file and where the cursor is in it.
pub(super) struct OpenFile {
    file: Box<dyn DiskFile>,
    header: FileHeader,
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
    /// Opens a WAL file to read it from a position on, which is in it, or the next that will be.
    pub(super) fn new(history: &History, place: &FilePlace, position: Position) -> Result<Self, ReadError> {
        let path = wal::path(place.number);
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
        let start = Mark { first_position: place.first_position, offset: FILE_HEADER_LEN as u64 };
        let Mark { first_position, offset } = place.frames.before(position).unwrap_or(start);
        Ok(Self {
            file,
            header,
            number: place.number,
            path,
            offset,
            position: first_position,
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
        (reached, end): (Position, Position),
    ) -> Result<Option<RecordedBatch>, ReadError> {
        let Some(mut frame) = self.frame(reached)? else { return Ok(None) };
        let batch = self.decode((history, scan), &mut frame, (reached, end));
        let batch = batch.map_err(|Malformed| self.damaged("a payload that matches its checksum"))?;
        if frame.position == frame.header.end() {
            self.leave(&frame.header);
        } else {
            self.frame = Some(frame);
        }
        Ok(Some(batch))
    }

    /// Takes the frame of the event behind `reached`; its bytes are in the buffer. `None`: the file ends here.
    fn frame(&mut self, reached: Position) -> Result<Option<OpenFrame>, ReadError> {
        if let Some(frame) = self.frame.take() {
            return Ok(Some(frame));
        }
        loop {
            let header = self.read_header()?;
            if header.kind == FrameKind::End {
                // The next file begins with the position this one ends before.
                let ends = self.position == following(reached);
                return if ends { Ok(None) } else { Err(self.damaged("events up to the tail")) };
            }
            if header.end() > following(reached) {
                self.read_payload(&header)?;
                return Ok(Some(OpenFrame { position: header.first_position, header, read: 0 }));
            }
            self.leave(&header);
        }
    }

    /// Moves the cursor to the end of a frame.
    fn leave(&mut self, header: &FrameHeader) {
        self.offset += header.frame_len() as u64;
        self.position = header.end();
    }

    /// Reads the header at the cursor; what stands there is durable, so it is valid or damaged. Its checksum is that of
    /// the whole frame, which is not read where it is not wanted: positions without a gap show that no more was passed
    /// over than should be.
    fn read_header(&mut self) -> Result<FrameHeader, ReadError> {
        self.buffer.resize(FRAME_HEADER_LEN, 0);
        let whole = read_exact_at(self.file.as_ref(), &mut self.buffer, self.offset);
        let whole = whole.map_err(|error| self.io(error))?;
        let header = FrameHeader::decode(&self.buffer, self.header.log_id).filter(|_| whole);
        let header = header.map(|(header, _)| header).filter(|header| header.first_position == self.position);
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

    /// The next records of the frame in the buffer that are above `reached`, not above `end`, and wanted; at most a
    /// batch of them is looked at.
    fn decode(
        &self,
        (history, scan): (&History, &Scan),
        frame: &mut OpenFrame,
        (reached, end): (Position, Position),
    ) -> Result<RecordedBatch, Malformed> {
        let OpenFrame { header, read, position } = frame;
        let layout = Layout { version: self.header.version, kind: header.kind };
        let payload = self.buffer.get(FRAME_HEADER_LEN..header.frame_len()).ok_or(Malformed)?;
        let mut records = Payload::new(layout, payload)?.records_from(*read)?;
        while *position <= reached {
            records.next().ok_or(Malformed)??;
            *position = following(*position);
        }
        let last = preceding(header.end());
        let until = end.min(last).min(Position::new(reached.get() + BATCH_RECORDS));
        let mut batch = RecordedBatch { reached: until, ..RecordedBatch::default() };
        if scan.detail != Detail::Sightings {
            let count = (until.get() + 1).saturating_sub(position.get());
            batch.facts.reserve(usize::try_from(count).unwrap_or(0));
        }
        let (members, batches) = (history.members.read(), history.batches.read());
        while *position <= until {
            let record = records.next().ok_or(Malformed)??;
            let at = std::mem::replace(position, following(*position));
            let stored = match record {
                Record::Event(stored) => stored,
                Record::Retraction(stored) => {
                    let retraction = retraction(at, header, &stored, &batches)?;
                    let is_wanted =
                        scan.detail != Detail::Sightings && scan.filter.keeps_retraction(&retraction);
                    batch.retractions.extend(is_wanted.then_some(retraction));
                    continue;
                }
            };
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
        *read = records.offset();
        Ok(batch)
    }

    fn io(&self, error: io::Error) -> ReadError {
        ReadError::Io { file: self.path.clone(), source: error.into() }
    }

    pub(super) fn damaged(&self, expected: &str) -> ReadError {
        let found = "something else, though it was valid when the log was opened";
        corruption(&*self.path, self.offset, expected, found).into()
    }
}

fn retraction(
    position: Position,
    header: &FrameHeader,
    stored: &StoredRetraction<'_>,
    batches: &Batches,
) -> Result<Retraction, Malformed> {
    Ok(Retraction {
        position,
        id: stored.id(),
        occurred_at: stored.occurred_at,
        recorded_at: header.recorded_at,
        batch: batches.find(stored.batch.as_str()).ok_or(Malformed)?,
    })
}

fn fact(
    (position, header): (Position, &FrameHeader),
    stored: &StoredEvent<'_>,
    (members, batches): (&Members, &Batches),
) -> Result<Fact, Malformed> {
    let batch = match stored.batch {
        Some(name) => Some(batches.find(name.as_str()).ok_or(Malformed)?),
        None => None,
    };
    Ok(Fact {
        position,
        id: stored.id,
        occurred_at: stored.occurred_at,
        recorded_at: header.recorded_at,
        member: members.member_ref(stored.member).ok_or(Malformed)?,
        event_type: stored.event_type,
        created_confirmed: stored.confirmed == Some(true),
        counts: stored.counts,
        batch,
    })
}

fn event<'a>(stored: &StoredEvent<'a>, members: &'a Members) -> Result<Event<'a>, Malformed> {
    let member = members.member_ref(stored.member).ok_or(Malformed)?;
    let names = (members.tenant_id(member.tenant), members.user_id(member.person));
    Ok(Event {
        session_id: stored.session_id,
        from_tenant_id: stored.from_tenant_id,
        confirmed: stored.confirmed,
        counts: stored.counts,
        batch: stored.batch,
        ..Event::new(stored.id, stored.event_type, names, stored.occurred_at)
    })
}

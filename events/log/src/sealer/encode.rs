//! From the WAL files that are due to the bytes of a segment, in memory, and what reading it back has to give.

use lastseen_event::MemberRef;
use lastseen_store::{Corruption, MemberDictionary};
use parquet::errors::ParquetError;

use super::Due;
use super::error::{SealError, failed};
use crate::damage::{Malformed, corruption};
use crate::disk::{Access, read_all};
use crate::history::History;
use crate::identity::Digest;
use crate::members::Members;
use crate::origin::{Stamp, StampSum};
use crate::place::{Place, preceding};
use crate::record::Record;
use crate::segment::members::MembersFile;
use crate::segment::schema::NO_MEMBER;
use crate::segment::write::{Encoded, SegmentWriter};
use crate::thread::yield_now;
use crate::wal;
use crate::wal::cursor::stamp_of;
use crate::wal::frame::FileHeader;
use crate::wal::frames::{End, Frame, Frames};

/// A record as it has to be read back, but for its stamp: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    high: u64,
    low: u32,
    member: u32,
}

impl Expected {
    /// `None`: a retraction, which is about no member.
    pub(super) fn new(digest: Digest, member: Option<lastseen_event::MemberOrdinal>) -> Self {
        Self { high: digest.high, low: digest.low, member: member.unwrap_or(NO_MEMBER).get() }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest { high: self.high, low: self.low }
    }
}

/// The segment of the files that are due.
pub(super) struct Segment {
    pub(super) encoded: Encoded,
    /// The bytes of the file of the members they define.
    pub(super) members: Vec<u8>,
    /// By row.
    pub(super) expected: Vec<Expected>,
    /// Of all rows.
    pub(super) stamps: StampSum,
    /// The digests by which records are found again, in any order. `None`: those that are expected.
    pub(super) digests: Option<Vec<Digest>>,
}

/// Encodes the records of the files that are due, from `first` on.
///
/// # Errors
/// [`SealError`].
pub(super) fn encode(history: &History, first: Place, due: &Due) -> Result<Segment, SealError> {
    let rows = due.end.get() - first.get();
    let mut encoding = Encoding {
        history,
        records: SegmentWriter::new(first, rows).map_err(SealError::Encode)?,
        members: MembersFile::new(first, history.lineage().log_id()),
        expected: Vec::with_capacity(usize::try_from(rows).unwrap_or(0)),
        stamps: StampSum::default(),
        digests: history.ids.key.is_by_id_alone().then(Vec::new),
        place: first,
    };
    for file in &due.files {
        encoding.file(&wal::path(file.number))?;
    }
    let Encoding { records, members, expected, stamps, digests, place, .. } = encoding;
    let encoded = records.finish().map_err(SealError::Encode)?;
    if let (Some(encoded), true) = (encoded, place == due.end) {
        let recorded_at = encoded.recorded.bounds().1;
        return Ok(Segment { encoded, members: members.finish(recorded_at), expected, stamps, digests });
    }
    let file = due.files.last().map(|file| wal::path(file.number)).unwrap_or_default();
    let expected = format!("records up to position {}", preceding(due.end).get());
    Err(corruption(file, 0, expected, format!("up to {}", preceding(place).get())).into())
}

/// A segment that is being made.
struct Encoding<'a> {
    history: &'a History,
    records: SegmentWriter,
    members: MembersFile,
    expected: Vec<Expected>,
    stamps: StampSum,
    digests: Option<Vec<Digest>>,
    /// The place of the next record.
    place: Place,
}

/// Why a frame was not added.
enum FrameError {
    Malformed,
    Encode(ParquetError),
}

impl From<Malformed> for FrameError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl Encoding<'_> {
    /// Adds the records of a WAL file that was ended.
    fn file(&mut self, path: &str) -> Result<(), SealError> {
        let open = self.history.disk.open(path, Access::Read).map_err(failed("open", path))?;
        let bytes = read_all(open.as_ref()).map_err(failed("read", path))?;
        let damaged = |offset: usize| -> Corruption {
            corruption(path, offset as u64, "a frame as it was written", "something else")
        };
        let header = FileHeader::decode(&bytes).map_err(|_| damaged(0))?;
        let mut frames = Frames::new(&bytes, &header);
        for frame in frames.by_ref() {
            self.frame(&frame).map_err(|error| match error {
                FrameError::Malformed => SealError::from(damaged(frame.offset)),
                FrameError::Encode(error) => SealError::Encode(error),
            })?;
        }
        match frames.end() {
            (_, End::EndFrame(end)) if end.first_place == self.place => Ok(()),
            (offset, _) => Err(damaged(offset).into()),
        }
    }

    /// Adds the records of a frame.
    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), FrameError> {
        /// Records whose members are looked up under one hold of the dictionary's lock: the writer may wait for it, and
        /// readers wait for the writer. So nothing is encoded meanwhile.
        const LOCKED_RECORDS: usize = 256;
        let payload = frame.payload()?;
        payload.for_each_member(|new| {
            self.members.push(new);
            Ok(())
        })?;
        let mut records: Vec<Record<'_>> = Vec::with_capacity(frame.header.records as usize);
        for record in payload.records() {
            records.push(record?);
        }
        if records.len() != frame.header.records as usize || frame.header.first_place != self.place {
            return Err(FrameError::Malformed);
        }
        let (mut rest, mut members) = (&records[..], Vec::with_capacity(LOCKED_RECORDS));
        while !rest.is_empty() {
            if self.records.room() == 0 {
                self.records.end_row_group().map_err(FrameError::Encode)?;
            }
            let (turn, later) = rest.split_at(rest.len().min(LOCKED_RECORDS).min(self.records.room()));
            let place = Place::new(frame.header.end().get() - rest.len() as u64);
            {
                let known = self.history.members.read();
                // In steps over all of them: members lie all over memory, and the processor waits for many at once.
                members.clear();
                members.extend(turn.iter().map(|record| match record {
                    Record::Event(event) => known.member_ref(event.member),
                    Record::Retraction(_) => None,
                }));
                for ((record, member), place) in turn.iter().zip(&members).zip(place.get()..) {
                    let stamp = stamp_of(&frame.header, &payload, Place::new(place))?;
                    self.record(record, stamp, (*member, &known))?;
                }
            }
            yield_now();
            rest = later;
        }
        self.place = frame.header.end();
        Ok(())
    }

    /// Adds a record.
    fn record(
        &mut self,
        record: &Record<'_>,
        stamp: Stamp,
        (member, members): (Option<MemberRef>, &Members),
    ) -> Result<(), Malformed> {
        let key = &self.history.ids.key;
        self.stamps.add(stamp);
        match record {
            Record::Event(event) => {
                let member = member.ok_or(Malformed)?;
                let own = key.own(members.mask(member.tenant), event.id);
                self.expected.push(Expected::new(own.digest(event.fingerprint), Some(event.member)));
                self.digests.iter_mut().for_each(|all| all.push(key.digest(own, event.fingerprint)));
                self.records.push(event, stamp, (member, members));
            }
            Record::Retraction(retraction) => {
                let own = key.of_retraction(retraction);
                self.expected.push(Expected::new(own.digest(retraction.fingerprint()), None));
                self.digests.iter_mut().for_each(|all| all.push(key.digest(own, retraction.fingerprint())));
                self.records.push_retraction(*retraction, stamp);
            }
        }
        Ok(())
    }
}

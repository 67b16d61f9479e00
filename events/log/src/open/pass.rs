//! The pass over the WAL files in order: frame by frame into dictionary, batches and recent window.

use std::ops::Range;
use std::sync::Arc;

use lastseen_event::{EventId, MemberOrdinal, Position, UtcInstant};
use lastseen_store::{Batches, Corruption, Lineage, MemberDictionary};

use super::torn::{FileEnd, TornTail, expect_place, keep_aside};
use crate::OpenError;
use crate::batches::Tally;
use crate::damage::{Malformed, corruption};
pub(super) use crate::disk::Access;
use crate::disk::{Disk, DiskFile, read_all};
use crate::format::Version;
use crate::history::places::FilePlace;
use crate::identity::{IdKey, OwnId, TenantMask};
use crate::ids::recent::RecentIds;
use crate::manifest::Manifest;
use crate::members::Members;
use crate::origin::Stamp;
use crate::place::{Place, following};
use crate::record::Record;
use crate::wal;
use crate::wal::cursor::stamp_of;
use crate::wal::file::WalFile;
use crate::wal::frame::{BadFileHeader, FILE_HEADER_LEN, FileHeader};
use crate::wal::frames::{End, Frame, Frames};
use crate::wal::index::{FrameIndex, Mark};
use crate::wal::settled::read_settled;

/// The state after the files read so far.
pub(super) struct Pass {
    lineage: Lineage,
    key: IdKey,
    pub(super) files: Vec<FilePlace>,
    pub(super) members: Members,
    pub(super) batches: Batches,
    /// Those of one frame; kept for its memory.
    tally: Tally,
    /// `None` where nothing will be appended.
    pub(super) recent: Option<RecentIds>,
    // Of one frame; kept for their memory.
    records: Vec<Seen>,
    masks: Vec<TenantMask>,
    ids: Vec<(OwnId, u64)>,
    /// The first place that is not sealed.
    unsealed: Place,
    pub(super) last_place: Place,
    /// The position that the last record shows.
    pub(super) last_shown: Position,
    is_replica: bool,
    pub(super) last_recorded_at: UtcInstant,
}

/// A record as the recent window sees it.
struct Seen {
    id: EventId,
    fingerprint: u64,
    /// `None`: a retraction.
    member: Option<MemberOrdinal>,
}

/// A file as it was found.
pub(super) struct ScannedFile {
    file: Box<dyn DiskFile>,
    bytes: Vec<u8>,
    header: FileHeader,
    /// The last frame with records; empty if there is none.
    last_frame: Range<usize>,
    end: usize,
    why: End,
    torn: Option<TornTail>,
}

impl Pass {
    /// Begins after what is sealed.
    pub(super) fn new(
        manifest: &Manifest,
        members: Members,
        batches: Batches,
        recent: Option<RecentIds>,
    ) -> Self {
        Self {
            lineage: manifest.lineage.clone(),
            key: manifest.id_key,
            files: Vec::new(),
            members,
            batches,
            tally: Tally::default(),
            recent,
            records: Vec::new(),
            masks: Vec::new(),
            ids: Vec::new(),
            unsealed: following(manifest.last()),
            last_place: manifest.last(),
            last_shown: manifest.last_shown(),
            is_replica: manifest.is_replica,
            last_recorded_at: manifest.last_recorded_at(),
        }
    }

    /// Takes in the file with this number, which is the last of them or not.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn file(
        &mut self,
        disk: &dyn Disk,
        number: u64,
        (access, is_last): (Access, bool),
    ) -> Result<ScannedFile, OpenError> {
        let path = wal::path(number);
        let file = disk.open(&path, access).map_err(OpenError::io("open", &path))?;
        let settled = is_last && access == Access::Read;
        let bytes = if settled { read_settled(file.as_ref()) } else { read_all(file.as_ref()) };
        let bytes = bytes.map_err(OpenError::io("read", &path))?;
        let header = decode_header(&path, &bytes)?;
        self.check_header(&path, &header, number).map_err(OpenError::Corrupt)?;
        let index = FrameIndex::default();
        let mut last_frame = FILE_HEADER_LEN..FILE_HEADER_LEN;
        let mut frames = Frames::new(&bytes, &header);
        for frame in frames.by_ref() {
            let shown = self.frame(&path, &frame)?;
            let first_place = frame.header.first_place;
            index.add(Mark { first_place, shown, offset: frame.offset as u64 });
            last_frame = frame.offset..frame.end();
        }
        let (end, why) = frames.end();
        if let End::EndFrame(header) = why {
            let offset = end - header.frame_len();
            expect_place((&path, offset as u64), following(self.last_place), header.first_place)?;
            self.check_recorded((&path, offset), header.recorded_at)?;
        }
        self.check_log(&path, &header, following(self.last_place))?;
        let file_end = FileEnd { path: &path, bytes: &bytes, header: &header, end, why };
        let torn = if is_last {
            file_end.torn_tail()?
        } else {
            file_end.must_be_ended()?;
            None
        };
        let ended_at = (!is_last).then(|| following(self.last_place));
        let frames = Arc::new(index);
        self.files.push(FilePlace { number, first_place: header.first_place, ended_at, frames });
        Ok(ScannedFile { file, bytes, header, last_frame, end, why, torn })
    }

    /// A file belongs where it stands: its own number, the log of its positions, the next position.
    fn check_header(&self, path: &str, header: &FileHeader, number: u64) -> Result<(), Corruption> {
        if header.number != number {
            let found = format!("that of file {}", header.number);
            return Err(corruption(path, 0, format!("the header of file {number}"), found));
        }
        expect_place((path, 0), following(self.last_place), header.first_place)?;
        self.check_log(path, header, header.first_place)
    }

    /// Checks that the log that wrote the header may have written records up to `end`, exclusive.
    fn check_log(&self, path: &str, header: &FileHeader, end: Place) -> Result<(), Corruption> {
        if self.lineage.may_hold(header.log_id, header.first_place.own_position(), end.own_position()) {
            return Ok(());
        }
        let expected = format!("a file of log {}", self.lineage.of(header.first_place.own_position()));
        Err(corruption(path, 0, expected, format!("one of {}", header.log_id)))
    }

    fn check_recorded(&self, (path, offset): (&str, usize), at: UtcInstant) -> Result<(), Corruption> {
        if at >= self.last_recorded_at {
            return Ok(());
        }
        let expected = format!("a frame recorded at {} or later", self.last_recorded_at);
        Err(corruption(path, offset as u64, expected, format!("one recorded at {at}")))
    }

    /// Takes in a frame; the position that its first record shows.
    fn frame(&mut self, path: &str, frame: &Frame<'_>) -> Result<Position, Corruption> {
        let (offset, header) = (frame.offset, &frame.header);
        let next = following(self.last_place);
        if header.first_place != next {
            let found = format!("one for position {}", header.first_place.get());
            return Err(corruption(
                path,
                offset as u64,
                format!("a frame for position {}", next.get()),
                found,
            ));
        }
        self.check_recorded((path, offset), header.recorded_at)?;
        self.take(frame).map_err(|Malformed| {
            let expected = "a payload that matches its checksum and its header";
            corruption(path, offset as u64, expected, "one that does not")
        })
    }

    fn take(&mut self, frame: &Frame<'_>) -> Result<Position, Malformed> {
        let (header, before) = (&frame.header, self.last_shown);
        if !header.is_stamped_as(self.is_replica) {
            return Err(Malformed);
        }
        let payload = frame.payload()?;
        payload.for_each_member(|new| {
            let resolved = self.members.resolve(new.tenant_id, new.user_id);
            match resolved {
                Ok((found, true)) if found.member == new.member => Ok(()),
                _ => Err(Malformed),
            }
        })?;
        let Self { members, records, tally, last_place, .. } = self;
        records.clear();
        tally.clear();
        let (mut place, mut first) = (*last_place, None);
        let mut last = Stamp { position: before, recorded_at: self.last_recorded_at };
        for record in payload.records() {
            let record = record?;
            place = following(place);
            let stamp = stamp_of(header, &payload, place)?;
            if !stamp.may_follow(last, header.recorded_at) {
                return Err(Malformed);
            }
            last = stamp;
            first.get_or_insert(stamp.position);
            tally.count_record(&record, stamp.position);
            let (id, fingerprint) = record.identity();
            let member = match &record {
                Record::Event(event) => Some(event.member),
                Record::Retraction(_) => None,
            };
            records.push(Seen { id, fingerprint, member });
        }
        // In steps over all records: the members lie all over memory, and the processor waits for many at once.
        let mask_of = |seen: &Seen| match seen.member {
            Some(member) => Ok(members.mask(members.member_ref(member).ok_or(Malformed)?.tenant)),
            None => Ok(self.key.mask("")),
        };
        self.masks.clear();
        for seen in records.iter() {
            self.masks.push(mask_of(seen)?);
        }
        if place.get() - last_place.get() != u64::from(frame.header.records) {
            return Err(Malformed);
        }
        self.tally.add_to(&mut self.batches);
        if let Some(recent) = &mut self.recent {
            let own = |(seen, mask): (&Seen, &TenantMask)| (self.key.own(*mask, seen.id), seen.fingerprint);
            self.ids.clear();
            self.ids.extend(self.records.iter().zip(&self.masks).map(own));
            recent.take(&self.ids, self.unsealed);
        }
        (self.last_place, self.last_shown) = (place, last.position);
        self.last_recorded_at = frame.header.recorded_at;
        // What comes behind a frame without records is above this.
        Ok(first.unwrap_or(Position::new(before.get() + 1)))
    }
}

/// The header of the WAL file with this number.
///
/// # Errors
/// [`OpenError`].
pub(super) fn read_header(disk: &dyn Disk, number: u64) -> Result<FileHeader, OpenError> {
    let path = wal::path(number);
    let file = disk.open(&path, Access::Read).map_err(OpenError::io("open", &path))?;
    let mut header = [0; FILE_HEADER_LEN];
    let read = file.read_at(&mut header, 0).map_err(OpenError::io("read", &path))?;
    decode_header(&path, header.get(..read).unwrap_or_default())
}

fn decode_header(path: &str, bytes: &[u8]) -> Result<FileHeader, OpenError> {
    FileHeader::decode(bytes).map_err(|error| match error {
        BadFileHeader::Version(found) => {
            OpenError::Version { file: path.to_owned(), found, known: Version::NEWEST.in_wal() }
        }
        BadFileHeader::Damaged => {
            let found = format!("{} bytes that are none", bytes.len());
            corruption(path, 0, "a file header with its checksum", found).into()
        }
    })
}

impl ScannedFile {
    /// Ends the file, if that was not done. After a crash: what is torn is kept aside, then the end frame is written over its
    /// start; each step is durable before the next, so a crash in between is recovered from in the same way.
    ///
    /// # Errors
    /// The disk's answer.
    pub(super) fn end(
        self,
        disk: &dyn Disk,
        (next, recorded_at): (Place, UtcInstant),
    ) -> Result<Option<TornTail>, OpenError> {
        let Self { file, bytes, header, last_frame, end, why, torn } = self;
        let path = wal::path(header.number);
        if let Some(torn) = &torn {
            keep_aside(disk, torn, &bytes).map_err(OpenError::io("write", &torn.kept_as))?;
        }
        let file_end = FileEnd { path: &path, bytes: &bytes, header: &header, end, why };
        if !file_end.is_cut() {
            // Written once more: if its sync failed, it may stand in the system's memory only, and the system takes
            // it for written. A sync makes durable only what was written since.
            let end = file_end.of_records() as u64;
            file.write_all_at(&bytes[last_frame.clone()], last_frame.start as u64)
                .and_then(|()| WalFile::found(file, header, end).finish(next, recorded_at))
                .map_err(OpenError::io("write", &path))?;
        }
        Ok(torn)
    }
}

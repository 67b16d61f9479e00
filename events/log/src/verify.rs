//! Checking a log without changing it: every frame, every checksum, the order of positions, ids that stand
//! twice. Unlike recovery it goes on behind damage, so one run names all of it.

mod ids;
mod segments;

use std::io;
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::{Corruption, Lineage, MemberDictionary, StoreFault};

use self::ids::IdCheck;
use crate::damage::{Malformed, corruption};
use crate::disk::{Access, Disk, read_all};
use crate::format::Version;
use crate::identity::{DigestSum, IdKey};
use crate::manifest::listing::Listing;
use crate::members::Members;
use crate::origin::Stamp;
use crate::place::{Place, following, preceding};
use crate::wal::cursor::stamp_of;
use crate::wal::frame::{BadFileHeader, FileHeader, FrameHeader};
use crate::wal::frames::{End, Frame, Frames};
use crate::wal::settled::{may_follow_end, next_frame, next_header, read_settled, used_len};
use crate::{segment, wal};

/// The result of a check. The log is sound if `findings` is empty.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// WAL files read.
    pub files: u64,
    /// Segments read.
    pub segments: u64,
    /// The length of all of them in bytes.
    pub bytes: u64,
    /// Valid event frames in WAL files.
    pub frames: u64,
    /// Events in segments and frames.
    pub events: u64,
    /// Members defined by them.
    pub members: usize,
    /// The position that the last event shows, [`Position::START`] if there is none.
    pub last_position: Position,
    /// Bytes at the end that no valid frame covers and that the next opening will keep aside: a frame that a
    /// crash cut short, or one that is being written now. Nobody was told that it is stored.
    pub unfinished_bytes: u64,
    /// Everything that is wrong, in the order of files and offsets; ids that stand twice last.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of fault.
    pub kind: FindingKind,
    /// Its place, what was expected and what was found.
    pub place: Corruption,
}

/// The faults that a log can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// The manifest of the segments is damaged, of another format, or lacks a segment.
    Manifest,
    /// A segment, or the file of its members, is missing or not what the manifest says, or its events are not what the log
    /// writes.
    Segment,
    /// The dictionary beside the segments is not what the members files say. It is worth only time: opening does without it.
    Dictionary,
    /// The ids are not those of the records in the segments. Opening does without those that are damaged, and they are made
    /// again; ids that are another record's are not noticed then.
    Ids,
    /// Something says that the history was longer than it is.
    Lost,
    /// A file's header is damaged, of another format, or not that of this file in this log.
    FileHeader,
    /// Bytes that should be a valid frame are none.
    Frame,
    /// Positions do not go on where they should: events are missing or stand twice.
    Position,
    /// A frame says that it was recorded before the one in front of it.
    RecordedAt,
    /// A frame is valid, and what it says does not fit together.
    Payload,
    /// A file does not end as it should.
    FileEnd,
    /// An id stands twice within the recent window, where the writer would have noticed.
    DuplicateId,
}

impl FindingKind {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Segment => "segment",
            Self::Dictionary => "dictionary",
            Self::Ids => "ids",
            Self::Lost => "lost",
            Self::FileHeader => "file_header",
            Self::Frame => "frame",
            Self::Position => "position",
            Self::RecordedAt => "recorded_at",
            Self::Payload => "payload",
            Self::FileEnd => "file_end",
            Self::DuplicateId => "duplicate_id",
        }
    }
}

/// Why a log could not be checked to the end.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {file}")]
pub struct VerifyError {
    /// The file or folder, relative to the directory.
    pub file: String,
    /// The operating system's answer.
    #[source]
    pub source: StoreFault,
}

/// Reads all of the log on `disk`, which may be in use by a running server. `recent_ids` is the length of the
/// window in which an id may stand once. `progress` is told bytes read and bytes in all. Writes nothing.
///
/// # Errors
/// [`VerifyError`] where a file cannot be read; damage is a finding.
pub fn verify(
    disk: &Arc<dyn Disk>,
    recent_ids: usize,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let segment_names = names(disk.as_ref(), segment::DIR)?;
    let run_names = names(disk.as_ref(), crate::ids::run::DIR)?;
    let mut check = Check::new(recent_ids);
    let (mut done, mut total) = (0, 0);
    // A server may seal WAL files meanwhile: then what they held is in a segment more, and the manifest says so.
    loop {
        let Listing { manifest, mut unsealed } = Listing::read(disk.as_ref()).map_err(failed(wal::DIR))?;
        let segments = check.manifest(disk.as_ref(), manifest, unsealed.first().copied())?;
        unsealed.retain(|number| *number >= check.next_number);
        let numbers = unsealed;
        for entry in &segments {
            total += entry.bytes_of_all();
        }
        for number in &numbers {
            total +=
                size(disk.as_ref(), &wal::path(*number)).map_err(failed(&wal::path(*number)))?.unwrap_or(0);
        }
        for entry in &segments {
            check.segment(disk.as_ref(), entry)?;
            done += entry.bytes_of_all();
            progress(done, total);
        }
        let mut vanished = false;
        for (at, number) in numbers.iter().enumerate() {
            let path = wal::path(*number);
            let is_last = at + 1 == numbers.len();
            let read = disk
                .open(&path, Access::Read)
                .and_then(|file| if is_last { read_settled(file.as_ref()) } else { read_all(file.as_ref()) });
            match read {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    vanished = true;
                    break;
                }
                read => {
                    let bytes = read.map_err(failed(&path))?;
                    check.file(&path, *number, &bytes, is_last);
                    check.next_number = number + 1;
                    done += bytes.len() as u64;
                    progress(done, total);
                }
            }
        }
        if !vanished || !check.manifest_changed(disk.as_ref())? {
            break;
        }
    }
    check.ids_on_disk(disk.as_ref())?;
    check.dictionary(disk.as_ref())?;
    check.lost(disk.as_ref(), (&segment_names, &run_names))?;
    check.verified.members = check.members.len();
    check.verified.last_position =
        if check.key.is_by_id_alone() { check.shown } else { check.last.own_position() };
    check.verified.findings.append(&mut check.ids.into_findings());
    Ok(check.verified)
}

fn failed(file: &str) -> impl FnOnce(io::Error) -> VerifyError {
    let file = file.to_owned();
    move |error| VerifyError { file, source: error.into() }
}

/// The names in a folder; none if it is not there.
fn names(disk: &dyn Disk, dir: &str) -> Result<Vec<String>, VerifyError> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(failed(dir)),
    }
}

/// The length of a file; `None` if it is not there.
fn size(disk: &dyn Disk, path: &str) -> io::Result<Option<u64>> {
    match disk.open(path, Access::Read).and_then(|file| file.size()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        size => size.map(Some),
    }
}

/// The state between two frames.
struct Check {
    verified: Verified,
    members: Members,
    ids: IdCheck,
    /// `None` until a manifest was read, or a WAL file of a log of version 1 that has none.
    lineage: Option<Lineage>,
    key: IdKey,
    /// The first and the last place of each segment that was read without a finding, and the sum of its digests.
    digests: Vec<([u64; 2], DigestSum)>,
    recorded_at: UtcInstant,
    /// The place of the last record that was checked, or that something in front of it says was there.
    last: Place,
    /// The greatest position of a stamp.
    shown: Position,
    /// Segments checked.
    sealed: usize,
    /// The WAL file to check next, at least.
    next_number: u64,
    /// True if frames were lost, and with them perhaps the definition of a member.
    lost: bool,
}

/// The file that is being checked.
struct Checked<'a> {
    path: &'a str,
    bytes: &'a [u8],
    header: FileHeader,
}

impl Check {
    fn new(recent_ids: usize) -> Self {
        let (verified, members) = (Verified::default(), Members::default());
        Self {
            verified,
            members,
            ids: IdCheck::new(recent_ids),
            lineage: None,
            key: IdKey::draw(),
            digests: Vec::new(),
            recorded_at: UtcInstant::EARLIEST,
            last: Place::START,
            shown: Position::START,
            sealed: 0,
            next_number: 0,
            lost: false,
        }
    }

    fn found(&mut self, kind: FindingKind, path: &str, offset: usize, (expected, found): (String, String)) {
        self.lost |= matches!(
            kind,
            FindingKind::Manifest
                | FindingKind::Segment
                | FindingKind::FileHeader
                | FindingKind::Frame
                | FindingKind::Position
        );
        let place = corruption(path, offset as u64, expected, found);
        self.verified.findings.push(Finding { kind, place });
    }

    fn file(&mut self, path: &str, number: u64, bytes: &[u8], is_last: bool) {
        self.verified.files += 1;
        self.verified.bytes += bytes.len() as u64;
        let Some(header) = self.header(path, number, bytes) else { return };
        let is_of_log = self.check_log(path, &header, header.first_place);
        self.frames(path, bytes, header, is_last);
        if is_of_log {
            self.check_log(path, &header, following(self.last));
        }
    }

    /// Checks that the log that wrote the header may have written records up to `end`, exclusive. Returns whether it may.
    fn check_log(&mut self, path: &str, header: &FileHeader, end: Place) -> bool {
        let lineage = self.lineage.get_or_insert(Lineage::new(header.log_id));
        let is_so = lineage.may_hold(header.log_id, header.first_place.own_position(), end.own_position());
        if !is_so {
            let expected = format!("a file of log {}", lineage.of(header.first_place.own_position()));
            let words = (expected, format!("one of log {}", header.log_id));
            self.found(FindingKind::FileHeader, path, 0, words);
        }
        is_so
    }

    fn frames(&mut self, path: &str, bytes: &[u8], header: FileHeader, is_last: bool) {
        let file = Checked { path, bytes, header };
        let mut frames = Frames::new(bytes, &header);
        loop {
            for frame in frames.by_ref() {
                self.frame(path, &frame);
            }
            let (at, why) = frames.end();
            if let End::EndFrame(end) = why {
                self.place_of((path, at - end.frame_len()), &end);
                return self.after_end(&file, at);
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(skipped) = next_frame(rest, header.log_id) else {
                return self.after_frames(&file, at, is_last);
            };
            let expected = "a frame with its checksum".to_owned();
            self.found(FindingKind::Frame, path, at, (expected, format!("{skipped} bytes that are none")));
            frames = Frames::from(bytes, &header, at + skipped);
        }
    }

    /// The file's header if the frames after it can be read.
    fn header(&mut self, path: &str, number: u64, bytes: &[u8]) -> Option<FileHeader> {
        let header = match FileHeader::decode(bytes) {
            Ok(header) => header,
            Err(error) => {
                let found = match error {
                    BadFileHeader::Damaged => "bytes that are none".to_owned(),
                    BadFileHeader::Version(version) => format!("format version {version}"),
                };
                let expected =
                    format!("a file header of format version {} at most", Version::NEWEST.in_wal());
                self.found(FindingKind::FileHeader, path, 0, (expected, found));
                return None;
            }
        };
        if header.number != number {
            let words = (format!("the header of file {number}"), format!("that of file {}", header.number));
            self.found(FindingKind::FileHeader, path, 0, words);
        }
        self.expect_place(path, 0, header.first_place);
        Some(header)
    }

    /// Places go on without a gap; after a finding they go on from what was found.
    fn expect_place(&mut self, path: &str, offset: usize, found: Place) {
        let expected = following(self.last);
        if found != expected {
            let words = (format!("position {}", expected.get()), format!("position {}", found.get()));
            self.found(FindingKind::Position, path, offset, words);
            self.last = preceding(found);
        }
    }

    /// Checks the place and the instant of a frame.
    fn place_of(&mut self, (path, offset): (&str, usize), frame: &FrameHeader) {
        self.expect_place(path, offset, frame.first_place);
        if frame.recorded_at < self.recorded_at {
            let words = (format!("{} or later", self.recorded_at), frame.recorded_at.to_string());
            self.found(FindingKind::RecordedAt, path, offset, words);
        }
        self.recorded_at = self.recorded_at.max(frame.recorded_at);
    }

    fn frame(&mut self, path: &str, frame: &Frame<'_>) {
        let (offset, header) = (frame.offset, &frame.header);
        self.place_of((path, offset), header);
        self.verified.frames += 1;
        if self.records(path, frame) != Ok(header.records) {
            let words = (format!("{} records of known members", header.records), "something else".to_owned());
            self.found(FindingKind::Payload, path, offset, words);
        }
        self.verified.events += u64::from(header.records);
        self.last = preceding(header.end());
    }

    /// Takes in the content of a frame. Returns the number of its records.
    fn records(&mut self, path: &str, frame: &Frame<'_>) -> Result<u32, Malformed> {
        let Self { members, ids, key, lost, shown, .. } = self;
        let payload = frame.payload()?;
        payload.for_each_member(|new| match members.resolve(new.tenant_id, new.user_id) {
            Ok((found, is_new)) if *lost || is_new && found.member == new.member => Ok(()),
            _ => Err(Malformed),
        })?;
        let (mut place, mut count) = (frame.header.first_place, 0);
        if !frame.header.is_stamped_as(key.is_by_id_alone()) {
            return Err(Malformed);
        }
        let mut last = Stamp { position: *shown, recorded_at: UtcInstant::EARLIEST };
        for record in payload.records() {
            let record = record?;
            if frame.header.stamped {
                let stamp = stamp_of(&frame.header, &payload, place)?;
                if !stamp.may_follow(last, frame.header.recorded_at) {
                    return Err(Malformed);
                }
                (*shown, last) = (stamp.position, stamp);
            }
            let mask_of = |member| Some(members.mask(members.member_ref(member)?.tenant));
            match key.of_record(&record, mask_of) {
                Some(own) => ids.see(own, (record.identity().0, place), (path, frame.offset)),
                // Of a tenant that is lost, nobody can say which ids are its own.
                None if *lost => {}
                None => return Err(Malformed),
            }
            place = following(place);
            count += 1;
        }
        Ok(count)
    }

    /// After an end frame the file ends, or has what was there before a cut that a crash undid.
    fn after_end(&mut self, file: &Checked<'_>, at: usize) {
        let rest = file.bytes.get(at..).unwrap_or_default();
        if !may_follow_end(rest, file.bytes.len(), &file.header) {
            let words = ("nothing after the end frame".to_owned(), format!("{} bytes", rest.len()));
            self.found(FindingKind::FileEnd, file.path, at, words);
        }
    }

    /// After the last valid frame of a file that was not ended.
    fn after_frames(&mut self, file: &Checked<'_>, at: usize, is_last: bool) {
        let rest = file.bytes.get(at..).unwrap_or_default();
        let unfinished = used_len(rest);
        if !is_last {
            let words = ("an end frame".to_owned(), format!("{unfinished} bytes that are none"));
            self.found(FindingKind::FileEnd, file.path, at, words);
        } else if let Some(next) = next_header(rest, file.header.log_id) {
            let words = ("a frame with its checksum".to_owned(), format!("{next} bytes that are none"));
            self.found(FindingKind::Frame, file.path, at, words);
        } else if file.bytes.len() as u64 != file.header.capacity {
            let words =
                (format!("{} bytes or an end frame", file.header.capacity), "the end of the file".to_owned());
            self.found(FindingKind::FileEnd, file.path, file.bytes.len(), words);
        } else {
            self.verified.unfinished_bytes = unfinished as u64;
        }
    }
}

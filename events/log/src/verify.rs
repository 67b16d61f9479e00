//! Checking a log without changing it: every frame, every checksum, the order of positions, ids that stand
//! twice. Unlike recovery it goes on behind damage, so one run names all of it.

mod ids;
mod segments;

use std::io;
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::{Corruption, StoreFault};

use self::ids::IdCheck;
use crate::disk::{Access, Disk, read_all};
use crate::manifest::Listing;
use crate::members::Members;
use crate::wal;
use crate::wal::frame::{
    BadFileHeader, FILE_HEADER_LEN, FORMAT_VERSION, FileHeader, FrameHeader, FrameKind, LogId,
};
use crate::wal::payload::Payload;
use crate::wal::walk::{frame_behind, header_behind, may_follow_end, read_settled, used_len};
use crate::writer::next;

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
    /// The position of the last event, [`Position::START`] if there is none.
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
    let mut check = Check::new(recent_ids);
    let (mut done, mut total) = (0, 0);
    // A server may seal WAL files meanwhile: then what they held is in a segment more, and the manifest says so.
    loop {
        let Listing { manifest, mut unsealed } = Listing::read(disk.as_ref()).map_err(failed(wal::DIR))?;
        let segments = check.manifest(disk.as_ref(), manifest, unsealed.is_empty())?;
        unsealed.retain(|number| *number >= check.next_number);
        let numbers = unsealed;
        for entry in &segments {
            total += entry.bytes();
        }
        for number in &numbers {
            total +=
                size(disk.as_ref(), &wal::path(*number)).map_err(failed(&wal::path(*number)))?.unwrap_or(0);
        }
        for entry in &segments {
            check.segment(disk.as_ref(), entry)?;
            done += entry.bytes();
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
    check.dictionary(disk.as_ref())?;
    check.verified.members = check.members.len();
    check.verified.findings.append(&mut check.ids.into_findings());
    Ok(check.verified)
}

fn failed(file: &str) -> impl FnOnce(io::Error) -> VerifyError {
    let file = file.to_owned();
    move |error| VerifyError { file, source: error.into() }
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
    log_id: Option<LogId>,
    recorded_at: UtcInstant,
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
            log_id: None,
            recorded_at: UtcInstant::EARLIEST,
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
        let place = Corruption { file: path.to_owned(), offset: offset as u64, expected, found };
        self.verified.findings.push(Finding { kind, place });
    }

    fn file(&mut self, path: &str, number: u64, bytes: &[u8], is_last: bool) {
        self.verified.files += 1;
        self.verified.bytes += bytes.len() as u64;
        let Some(header) = self.header(path, number, bytes) else { return };
        let file = Checked { path, bytes, header };
        let mut at = FILE_HEADER_LEN;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if let Some((frame, payload)) = FrameHeader::decode_frame(rest, header.log_id) {
                self.frame(path, at, &frame, payload);
                at += frame.frame_len();
                if frame.kind == FrameKind::End {
                    return self.behind_end(&file, at);
                }
                continue;
            }
            let Some(skipped) = frame_behind(rest, header.log_id) else {
                return self.behind_frames(&file, at, is_last);
            };
            let expected = "a frame with its checksum".to_owned();
            self.found(FindingKind::Frame, path, at, (expected, format!("{skipped} bytes that are none")));
            at += skipped;
        }
    }

    /// The file's header if the frames behind it can be read.
    fn header(&mut self, path: &str, number: u64, bytes: &[u8]) -> Option<FileHeader> {
        let header = match FileHeader::decode(bytes) {
            Ok(header) => header,
            Err(error) => {
                let found = match error {
                    BadFileHeader::Damaged => "bytes that are none".to_owned(),
                    BadFileHeader::Version(version) => format!("format version {version}"),
                };
                let expected = format!("a file header of format version {FORMAT_VERSION}");
                self.found(FindingKind::FileHeader, path, 0, (expected, found));
                return None;
            }
        };
        if header.number != number {
            let words = (format!("the header of file {number}"), format!("that of file {}", header.number));
            self.found(FindingKind::FileHeader, path, 0, words);
        }
        if *self.log_id.get_or_insert(header.log_id) != header.log_id {
            let words = ("a file of the same log".to_owned(), "one of another log".to_owned());
            self.found(FindingKind::FileHeader, path, 0, words);
        }
        self.expect_position(path, 0, header.first_position);
        Some(header)
    }

    /// Positions go on without a gap; after a finding they go on from what was found.
    fn expect_position(&mut self, path: &str, offset: usize, found: Position) {
        let expected = next(self.verified.last_position);
        if found != expected {
            let words = (format!("position {}", expected.get()), format!("position {}", found.get()));
            self.found(FindingKind::Position, path, offset, words);
            self.verified.last_position = Position::new(found.get().saturating_sub(1));
        }
    }

    fn frame(&mut self, path: &str, offset: usize, frame: &FrameHeader, payload: &[u8]) {
        self.expect_position(path, offset, frame.first_position);
        if frame.recorded_at < self.recorded_at {
            let words = (format!("{} or later", self.recorded_at), frame.recorded_at.to_string());
            self.found(FindingKind::RecordedAt, path, offset, words);
        }
        self.recorded_at = self.recorded_at.max(frame.recorded_at);
        if frame.kind == FrameKind::End {
            return;
        }
        self.verified.frames += 1;
        let Self { members, ids, lost, .. } = self;
        let mut position = frame.first_position;
        let count = Payload::new(payload).and_then(|payload| {
            payload.for_each_member(|new| {
                let (found, is_new) = members.resolve(new.tenant_id, new.user_id);
                (*lost || is_new && found.member == new.member).then_some(())
            })?;
            payload.for_each_event(|event| {
                let member = event.is_of_member()?.then(|| members.member_ref(event.member));
                match member {
                    Some(Some(member)) => {
                        let tenant_id = members.tenant_id(member.tenant).as_str();
                        ids.see((tenant_id, event.id), position, (path, offset));
                    }
                    // Of a tenant that is lost, nobody can say which ids are its own.
                    Some(None) => lost.then_some(())?,
                    None => ids.see(("", event.id), position, (path, offset)),
                }
                position = next(position);
                Some(())
            })
        });
        if count != Some(frame.events) {
            let words = (format!("{} events of known members", frame.events), "something else".to_owned());
            self.found(FindingKind::Payload, path, offset, words);
        }
        self.verified.events += u64::from(frame.events);
        self.verified.last_position = Position::new(frame.behind().get().saturating_sub(1));
    }

    /// Behind an end frame the file ends, or has what was there before a cut that a crash undid.
    fn behind_end(&mut self, file: &Checked<'_>, at: usize) {
        let rest = file.bytes.get(at..).unwrap_or_default();
        if !may_follow_end(rest, file.bytes.len(), &file.header) {
            let words = ("nothing behind the end frame".to_owned(), format!("{} bytes", rest.len()));
            self.found(FindingKind::FileEnd, file.path, at, words);
        }
    }

    /// Behind the last valid frame of a file that was not ended.
    fn behind_frames(&mut self, file: &Checked<'_>, at: usize, is_last: bool) {
        let rest = file.bytes.get(at..).unwrap_or_default();
        let unfinished = used_len(rest);
        if !is_last {
            let words = ("an end frame".to_owned(), format!("{unfinished} bytes that are none"));
            self.found(FindingKind::FileEnd, file.path, at, words);
        } else if file.bytes.len() as u64 != file.header.capacity {
            let words =
                (format!("{} bytes or an end frame", file.header.capacity), "the end of the file".to_owned());
            self.found(FindingKind::FileEnd, file.path, file.bytes.len(), words);
        } else if let Some(behind) = header_behind(rest, file.header.log_id) {
            let words = ("a frame with its checksum".to_owned(), format!("{behind} bytes that are none"));
            self.found(FindingKind::Frame, file.path, at, words);
        } else {
            self.verified.unfinished_bytes = unfinished as u64;
        }
    }
}

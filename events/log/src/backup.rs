//! Copying a log, also while a server writes to it. The copy is a log of its own that holds everything that was
//! durable when the copying of its last file began: a prefix of the original.

use std::io;
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::{Corruption, ReadError, StoreFault};

use crate::disk::{Access, Disk, ROOT, SyncSite, create_anew, read_all};
use crate::manifest::{BadManifest, Listing, Manifest, Piece};
use crate::segment::file::piece_at;
use crate::segment::{self};
use crate::wal::file::{NEW_SUFFIX, end_frame};
use crate::wal::frame::FileHeader;
use crate::wal::walk::{Frames, header_behind, read_settled};
use crate::wal::{self};
use crate::writer::next;

/// The result of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// Segments and WAL files.
    pub files: u64,
    /// Events in them.
    pub events: u64,
    /// Their length in bytes, those that are hard links included.
    pub bytes: u64,
    /// The position of the last event, [`Position::START`] if there is none.
    pub last_position: Position,
}

/// Why a log was not copied. What was copied before opens as a shorter prefix.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory to copy to has a log already.
    #[error("the directory to copy to holds a log already; name one that is empty or does not exist")]
    NotEmpty,
    /// There is no log to copy.
    #[error("there is no log to copy")]
    NoLog,
    /// The log is damaged; see `verify`.
    #[error("the log is damaged")]
    Corrupt(#[source] Corruption),
    /// The segments are of a format that this program does not know. Use a newer program.
    #[error("{file} has format version {found}, this program knows {known}")]
    Version {
        /// The file, relative to its directory.
        file: String,
        /// The version that the file names.
        found: u32,
        /// The version that this program reads.
        known: u32,
    },
    /// The operating system refused.
    #[error("cannot {action} {file}")]
    Io {
        /// The operation that was tried.
        action: &'static str,
        /// On which file or folder, relative to its directory.
        file: String,
        /// The operating system's answer.
        #[source]
        source: StoreFault,
    },
}

fn failed(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> BackupError {
    let file = file.to_owned();
    move |error| BackupError::Io { action, file, source: error.into() }
}

/// Copies the log on `from`, which may be in use, to `to`, which has none. Segments never change: they are hard links
/// where both are on one file system. Each file is whole before it has its name, so a copy that was cut short opens too.
/// `progress` is told files done and files in all.
///
/// # Errors
/// [`BackupError`].
pub fn backup(
    from: &Arc<dyn Disk>,
    to: &Arc<dyn Disk>,
    mut progress: impl FnMut(u64, u64),
) -> Result<BackedUp, BackupError> {
    let mut copy = Copy { from: from.as_ref(), to: to.as_ref(), sealed: None, copied: BackedUp::default() };
    let mut prepared = false;
    loop {
        // What was acknowledged before this moment is in the segments and in these files.
        let Listing { manifest, unsealed: numbers } =
            Listing::read(copy.from).map_err(failed("list", wal::DIR))?;
        let manifest = manifest.map_err(bad_manifest)?;
        if manifest.is_none() && numbers.is_empty() {
            return Err(BackupError::NoLog);
        }
        if !prepared {
            copy.prepare()?;
            prepared = true;
        }
        let segments = manifest.as_ref().map_or(0, |manifest| manifest.segments.len());
        let in_all = (segments + numbers.len()) as u64;
        if let Some(manifest) = manifest {
            copy.segments(manifest, |done| progress(done, in_all))?;
        }
        match copy.wal_files(&numbers, |done| progress(segments as u64 + done, in_all))? {
            Files::Copied => {
                copy.copied.files = in_all;
                return Ok(copy.copied);
            }
            // A server sealed it: it is in a segment now.
            Files::Sealed => {}
        }
    }
}

/// The state of the copy so far.
struct Copy<'a> {
    from: &'a dyn Disk,
    to: &'a dyn Disk,
    /// The manifest of the copy. `None`: it has none yet.
    sealed: Option<Manifest>,
    copied: BackedUp,
}

/// The outcome of copying WAL files.
enum Files {
    Copied,
    Sealed,
}

impl Copy<'_> {
    /// Makes the folders of a log that is not there yet.
    fn prepare(&self) -> Result<(), BackupError> {
        for dir in [wal::DIR, segment::DIR] {
            self.to.create_dir(dir).map_err(failed("create", dir))?;
        }
        self.to.sync_dir(ROOT, SyncSite::Folder).map_err(failed("create", wal::DIR))?;
        let there = !wal::numbers(self.to).map_err(failed("list", wal::DIR))?.is_empty()
            || read_manifest(self.to)?.is_some();
        if there { Err(BackupError::NotEmpty) } else { Ok(()) }
    }

    /// Copies the segments that the copy lacks, then the manifest that names them.
    fn segments(&mut self, manifest: Manifest, mut progress: impl FnMut(u64)) -> Result<(), BackupError> {
        if self.sealed.is_none() {
            // So that a copy that is cut short before its manifest is one of no event, and not one that lost it.
            self.publish(&Manifest::empty(manifest.log_id()))?;
        }
        let there = self.sealed.as_ref().map_or(0, |sealed| sealed.segments.len());
        for (at, entry) in manifest.segments.iter().enumerate().skip(there) {
            let members = [entry.members];
            let (path, members_path) = (segment::path(entry.first()), segment::members_path(entry.first()));
            self.piecewise(&path, &entry.pieces)?;
            self.piecewise(&members_path, &members)?;
            self.copied.bytes += entry.bytes() + entry.members.0;
            progress(at as u64 + 1);
        }
        self.to.sync_dir(segment::DIR, SyncSite::SegmentName).map_err(failed("sync", segment::DIR))?;
        self.publish(&manifest)?;
        self.copied.events = manifest.last().get();
        self.copied.last_position = manifest.last();
        self.sealed = Some(manifest);
        Ok(())
    }

    fn publish(&self, manifest: &Manifest) -> Result<(), BackupError> {
        manifest.write(self.to).map_err(failed("write", crate::manifest::PATH))
    }

    /// Links a file that never changes, or copies it piece by checked piece.
    fn piecewise(&self, path: &str, pieces: &[Piece]) -> Result<(), BackupError> {
        if self.from.link(path, self.to).map_err(failed("link", path))? {
            return Ok(());
        }
        let from = self.from.open(path, Access::Read).map_err(failed("open", path))?;
        let new_path = format!("{path}{NEW_SUFFIX}");
        let file = create_anew(self.to, &new_path).map_err(failed("create", &new_path))?;
        let mut at = 0;
        for piece in pieces {
            let bytes = piece_at(from.as_ref(), (path, pieces), at).map_err(|error| match error {
                ReadError::Corrupt(corruption) => BackupError::Corrupt(corruption),
                ReadError::Io { file, source } => BackupError::Io { action: "read", file, source },
            })?;
            file.write_all_at(&bytes, at).map_err(failed("write", &new_path))?;
            at += piece.0;
        }
        file.sync_all(SyncSite::Segment)
            .and_then(|()| self.to.rename(&new_path, path))
            .map_err(failed("write", &new_path))
    }

    fn wal_files(&mut self, numbers: &[u64], mut progress: impl FnMut(u64)) -> Result<Files, BackupError> {
        let sealed = self.sealed.as_ref();
        let mut recorded_at = sealed.map_or(UtcInstant::EARLIEST, Manifest::last_recorded_at);
        let segments = sealed.map_or(0, |sealed| sealed.segments.len());
        let mut copied = self.copied.clone();
        for (at, number) in numbers.iter().enumerate() {
            let path = wal::path(*number);
            let is_last = at + 1 == numbers.len();
            let whole = match read_whole(self.from, (&path, is_last), &mut copied, &mut recorded_at) {
                Err(BackupError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound
                        && read_manifest(self.from)?.is_some_and(|now| now.segments.len() > segments) =>
                {
                    return Ok(Files::Sealed);
                }
                whole => whole?,
            };
            write_whole(self.to, &path, &whole).map_err(failed("write", &path))?;
            copied.bytes += whole.len() as u64;
            progress(at as u64 + 1);
        }
        self.copied = copied;
        Ok(Files::Copied)
    }
}

fn read_manifest(disk: &dyn Disk) -> Result<Option<Manifest>, BackupError> {
    Manifest::read(disk).map_err(bad_manifest)
}

fn bad_manifest(bad: BadManifest) -> BackupError {
    match bad {
        BadManifest::Corrupt(corruption) => BackupError::Corrupt(corruption),
        BadManifest::Version(found) => BackupError::Version {
            file: crate::manifest::PATH.to_owned(),
            found,
            known: crate::manifest::VERSION,
        },
        BadManifest::Io(error) => failed("read", crate::manifest::PATH)(error),
    }
}

/// A WAL file up to its last durable frame, with an end frame. `copied` counts its events, `recorded_at` follows its
/// frames.
fn read_whole(
    disk: &dyn Disk,
    (path, is_last): (&str, bool),
    copied: &mut BackedUp,
    recorded_at: &mut UtcInstant,
) -> Result<Vec<u8>, BackupError> {
    let file = disk.open(path, Access::Read).map_err(failed("open", path))?;
    let mut bytes = if is_last { read_settled(file.as_ref()) } else { read_all(file.as_ref()) }
        .map_err(failed("read", path))?;
    let corrupt = |offset: usize, expected: &str| {
        let (expected, found) = (expected.to_owned(), "bytes that are none".to_owned());
        BackupError::Corrupt(Corruption { file: path.to_owned(), offset: offset as u64, expected, found })
    };
    let header = FileHeader::decode(&bytes).map_err(|_| corrupt(0, "a file header of this format"))?;
    let frames = Frames::walk(&bytes, header.log_id);
    let expected = next(copied.last_position);
    if header.first_position != expected || frames.first_position.is_some_and(|first| first != expected) {
        return Err(corrupt(0, &format!("events from position {} on", expected.get())));
    }
    *recorded_at = frames.recorded_at.unwrap_or(*recorded_at);
    copied.events += frames.events;
    copied.last_position = Position::new(copied.last_position.get() + frames.events);
    if !frames.ended {
        if !is_last || header_behind(&bytes[frames.end..], header.log_id).is_some() {
            return Err(corrupt(frames.end, "a frame with its checksum"));
        }
        // What was read is durable there before it is anywhere else.
        file.sync_data(SyncSite::Frame).map_err(failed("sync", path))?;
        bytes.truncate(frames.end);
        bytes.extend(end_frame(header.log_id, next(copied.last_position), *recorded_at));
    }
    Ok(bytes)
}

/// Writes a file under another name and gives it its own when it is durable.
fn write_whole(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let new_path = format!("{path}{NEW_SUFFIX}");
    let file = create_anew(disk, &new_path)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all(SyncSite::NewFile)?;
    disk.rename(&new_path, path)?;
    disk.sync_dir(wal::DIR, SyncSite::NewFileName)
}

//! Copying a log, also while a server writes to it. The copy holds everything that was durable when the copying of its last
//! file began: a prefix of the original. It has the id of the original until it is first written to, and is a log of its own
//! then.
//!
//! The manifest of the copy comes last: without it, what is there is not taken for a log.

use std::io;
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::{Corruption, Lineage, ReadError, StoreFault};

use crate::damage::corruption;
use crate::disk::aside::{Aside, write_in_steps};
use crate::disk::{Access, Disk, ROOT, StepError, SyncSite, read_all};
use crate::format::Version;
use crate::manifest::listing::Listing;
use crate::manifest::{BadManifest, Manifest, PATH};
use crate::place::{Place, preceding};
use crate::segment::entry::{Entry, Piece};
use crate::segment::file::piece_at;
use crate::segment::index::Index;
use crate::wal::cursor::stamp_of;
use crate::wal::file::end_frame;
use crate::wal::frame::FileHeader;
use crate::wal::frames::Frames;
use crate::wal::settled::{Extent, next_header, read_settled};
use crate::{ids, segment, wal};

/// The result of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// Segments and WAL files.
    pub files: u64,
    /// Events in them, and retractions.
    pub events: u64,
    /// Their length in bytes, those that are hard links included.
    pub bytes: u64,
    /// The position that the last of them shows, [`Position::START`] if there is none.
    pub last_position: Position,
}

/// Why a log was not copied. What was copied before is no log; remove it before another try.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory to copy to has a log already, or a part of one.
    #[error(
        "the directory to copy to holds a log already, or a part of one; name one that is empty or does not exist"
    )]
    NotEmpty,
    /// There is no log to copy.
    #[error("there is no log to copy")]
    NoLog,
    /// The log is damaged; see `verify`.
    #[error("the log is damaged")]
    Corrupt(#[from] Corruption),
    /// The log has something that this program does not know. Use a newer program.
    #[error("{file} needs a program that knows {feature:?}")]
    Feature {
        /// The file, relative to its directory.
        file: String,
        /// The thing it needs.
        feature: String,
    },
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

impl From<ReadError> for BackupError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt(corruption) => Self::Corrupt(corruption),
            ReadError::Io { file, source } => Self::Io { action: "read", file, source },
        }
    }
}

fn failed(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> BackupError {
    let file = file.to_owned();
    move |error| BackupError::Io { action, file, source: error.into() }
}

/// Copies the log on `from`, which may be in use, to `to`, which has none. Segments never change: they are hard links
/// where both are on one file system. `progress` is told files done and files in all.
///
/// # Errors
/// [`BackupError`].
pub fn backup(
    from: &Arc<dyn Disk>,
    to: &Arc<dyn Disk>,
    mut progress: impl FnMut(u64, u64),
) -> Result<BackedUp, BackupError> {
    let mut copy = Copy {
        from: from.as_ref(),
        to: to.as_ref(),
        segments: 0,
        without_index: Vec::new(),
        copied: BackedUp::default(),
    };
    let mut prepared = false;
    loop {
        // What was acknowledged before this moment is in the segments and in these files.
        let Listing { manifest, unsealed: numbers } =
            Listing::read(copy.from).map_err(failed("list", wal::DIR))?;
        let manifest = match (manifest.map_err(bad_manifest)?, numbers.first()) {
            (Some(manifest), _) => manifest,
            (None, Some(first)) => manifest_of(copy.from, *first)?,
            (None, None) => return Err(BackupError::NoLog),
        };
        if !prepared {
            copy.prepare()?;
            prepared = true;
        }
        let segments = manifest.segments.len();
        let in_all = (segments + numbers.len()) as u64;
        copy.segments(&manifest, |done| progress(done, in_all))?;
        match copy.wal_files(&manifest, &numbers, |done| progress(segments as u64 + done, in_all))? {
            Files::Copied => {
                copy.finish(manifest)?;
                copy.copied.files = in_all;
                return Ok(copy.copied);
            }
            // A server sealed it: it is in a segment now.
            Files::Sealed => {}
        }
    }
}

/// The manifest that a log of version 1 would have in which nothing was ever sealed.
fn manifest_of(disk: &dyn Disk, first: u64) -> Result<Manifest, BackupError> {
    let path = wal::path(first);
    let file = disk.open(&path, Access::Read).map_err(failed("open", &path))?;
    let bytes = read_all(file.as_ref()).map_err(failed("read", &path))?;
    match FileHeader::decode(&bytes) {
        Ok(header) if header.version == Version::V1 => Ok(Manifest::empty(Lineage::new(header.log_id))),
        Ok(header) => {
            let expected = format!("the manifest of log {}", header.log_id);
            Err(corruption(PATH, 0, expected, "no file").into())
        }
        Err(_) => Err(corruption(path, 0, "a file header of this format", "bytes that are none").into()),
    }
}

/// The state of the copy so far.
struct Copy<'a> {
    from: &'a dyn Disk,
    to: &'a dyn Disk,
    /// Segments that it has.
    segments: usize,
    /// The places of those that had no index file when they were copied.
    without_index: Vec<usize>,
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
        let dirs = [wal::DIR, segment::DIR, ids::run::DIR];
        for dir in dirs {
            self.to.create_dir(dir).map_err(failed("create", dir))?;
        }
        self.to.sync_dir(ROOT, SyncSite::Folder).map_err(failed("create", wal::DIR))?;
        for dir in dirs {
            if !self.to.list(dir).map_err(failed("list", dir))?.is_empty() {
                return Err(BackupError::NotEmpty);
            }
        }
        Ok(())
    }

    /// Copies the segments that the copy lacks, and the index files that were made since.
    fn segments(&mut self, manifest: &Manifest, mut progress: impl FnMut(u64)) -> Result<(), BackupError> {
        for at in std::mem::take(&mut self.without_index) {
            match manifest.segments.get(at) {
                Some(entry) if entry.beside.is_some() => self.index(entry)?,
                _ => self.without_index.push(at),
            }
        }
        for (at, entry) in manifest.segments.iter().enumerate().skip(self.segments) {
            self.segment(manifest, entry)?;
            if entry.beside.is_none() {
                self.without_index.push(at);
            }
            self.copied.bytes += entry.bytes_of_all();
            self.segments = at + 1;
            progress(self.segments as u64);
        }
        self.to.sync_dir(segment::DIR, SyncSite::SegmentName).map_err(failed("sync", segment::DIR))?;
        self.copied.events = manifest.last().get();
        self.copied.last_position = manifest.last_shown();
        Ok(())
    }

    fn segment(&self, manifest: &Manifest, entry: &Entry) -> Result<(), BackupError> {
        let first = entry.first();
        let index = Index::read(self.from, entry, |log_id| manifest.lineage.contains(log_id))?;
        self.piecewise(&segment::path(first), &index.pieces)?;
        self.piecewise(&segment::members_path(first), &[entry.members])?;
        self.index(entry)
    }

    /// Copies the index file of a segment, if it has one.
    fn index(&self, entry: &Entry) -> Result<(), BackupError> {
        match entry.beside {
            Some(beside) => self.piecewise(&segment::index_path(entry.first()), &[beside.index]),
            None => Ok(()),
        }
    }

    /// Links a file that never changes, or copies it piece by checked piece.
    fn piecewise(&self, path: &str, pieces: &[Piece]) -> Result<(), BackupError> {
        if self.from.link(path, self.to).map_err(failed("link", path))? {
            return Ok(());
        }
        let from = self.from.open(path, Access::Read).map_err(failed("open", path))?;
        let mut unreadable = None;
        let aside = Aside::make(self.to, path, SyncSite::Segment, |file| {
            let mut at = 0;
            for piece in pieces {
                match piece_at(from.as_ref(), (path, pieces), at) {
                    Ok(bytes) => file.write_all_at(&bytes, at)?,
                    Err(error) => {
                        unreadable = Some(error);
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
                at += piece.0;
            }
            Ok(())
        });
        if let Some(error) = unreadable {
            return Err(error.into());
        }
        let aside = aside.map_err(|error| failed("write", path)(error.into_io()))?;
        aside.put().map(drop).map_err(failed("write", path))
    }

    /// Copies the runs of ids that are still there. One that was merged into another meanwhile is made again by the copy.
    fn runs(&self, manifest: &Manifest) -> Result<Vec<ids::run::RunEntry>, BackupError> {
        let mut copied = Vec::new();
        for run in &manifest.runs {
            let path = run.path();
            let bytes = match self.from.link(&path, self.to) {
                Ok(true) => {
                    copied.push(run.clone());
                    continue;
                }
                Ok(false) => self.from.open(&path, Access::Read).and_then(|file| read_all(file.as_ref())),
                Err(error) => Err(error),
            };
            match bytes {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                bytes => {
                    self.whole(&path, &bytes.map_err(failed("read", &path))?, SyncSite::Ids)?;
                    copied.push(run.clone());
                }
            }
        }
        self.to.sync_dir(ids::run::DIR, SyncSite::IdsName).map_err(failed("sync", ids::run::DIR))?;
        Ok(copied)
    }

    /// Makes a log of what was copied.
    fn finish(&self, manifest: Manifest) -> Result<(), BackupError> {
        let runs = self.runs(&manifest)?;
        // Copied before a server sealed them.
        for number in wal::numbers(self.to).map_err(failed("list", wal::DIR))? {
            if number < manifest.wal_from {
                let path = wal::path(number);
                self.to.remove(&path).map_err(failed("remove", &path))?;
            }
        }
        self.to.sync_dir(wal::DIR, SyncSite::NewFileName).map_err(failed("sync", wal::DIR))?;
        let manifest = Manifest { is_copy: true, runs, ..manifest.upgraded() };
        manifest.write(self.to).map_err(failed("write", PATH))
    }

    fn wal_files(
        &mut self,
        manifest: &Manifest,
        numbers: &[u64],
        mut progress: impl FnMut(u64),
    ) -> Result<Files, BackupError> {
        let mut recorded_at = manifest.last_recorded_at();
        let mut copied = self.copied.clone();
        for (at, number) in numbers.iter().enumerate() {
            let path = wal::path(*number);
            let is_last = at + 1 == numbers.len();
            let whole = match read_whole(self.from, (&path, is_last), &mut copied, &mut recorded_at) {
                Err(BackupError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound
                        && read_manifest(self.from)?.is_some_and(|now| now.wal_from != manifest.wal_from) =>
                {
                    return Ok(Files::Sealed);
                }
                whole => whole?,
            };
            self.whole(&path, &whole, SyncSite::NewFile)?;
            copied.bytes += whole.len() as u64;
            progress(at as u64 + 1);
        }
        self.copied = copied;
        Ok(Files::Copied)
    }

    /// Writes a file that is whole when it has its name.
    fn whole(&self, path: &str, bytes: &[u8], site: SyncSite) -> Result<(), BackupError> {
        let aside = Aside::make(self.to, path, site, |file| write_in_steps(file, bytes));
        let put = aside.map_err(StepError::into_io).and_then(Aside::put);
        put.map(drop).map_err(failed("write", path))
    }
}

fn read_manifest(disk: &dyn Disk) -> Result<Option<Manifest>, BackupError> {
    Manifest::read(disk).map_err(bad_manifest)
}

fn bad_manifest(bad: BadManifest) -> BackupError {
    let file = PATH.to_owned();
    match bad {
        BadManifest::Corrupt(corruption) => BackupError::Corrupt(corruption),
        BadManifest::Version(found) => {
            BackupError::Version { file, found, known: Version::NEWEST.in_manifest() }
        }
        BadManifest::Feature(feature) => BackupError::Feature { file, feature },
        BadManifest::Io(error) => failed("read", PATH)(error),
    }
}

/// A WAL file up to its last durable frame, with an end frame. `copied` counts its records, `recorded_at` follows its
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
        BackupError::from(corruption(path, offset as u64, expected, "bytes that are none"))
    };
    let header = FileHeader::decode(&bytes).map_err(|_| corrupt(0, "a file header of this format"))?;
    let extent = Extent::of(&bytes, &header);
    // Places are dense, from 1.
    let expected = Place::new(copied.events + 1);
    if header.first_place != expected || extent.first_place.is_some_and(|first| first != expected) {
        return Err(corrupt(0, &format!("records from position {} on", expected.get())));
    }
    *recorded_at = extent.recorded_at.unwrap_or(*recorded_at);
    copied.events += extent.records;
    if let Some(at) = extent.last {
        let shown = last_shown(&bytes, &header, at);
        copied.last_position = shown.ok_or_else(|| corrupt(at, "a frame of records"))?;
    }
    if !extent.ended {
        if !is_last || next_header(&bytes[extent.end..], header.log_id).is_some() {
            return Err(corrupt(extent.end, "a frame with its checksum"));
        }
        // What was read is durable there before it is anywhere else.
        file.sync_data(SyncSite::Frame).map_err(failed("sync", path))?;
        bytes.truncate(extent.end);
        bytes.extend(end_frame(header.log_id, Place::new(copied.events + 1), *recorded_at));
    }
    Ok(bytes)
}

/// The position that the last record of the frame at this offset shows. `None`: there is no frame, or it is malformed.
fn last_shown(bytes: &[u8], file: &FileHeader, at: usize) -> Option<Position> {
    let frame = Frames::from(bytes, file, at).next()?;
    let stamp = stamp_of(&frame.header, &frame.payload().ok()?, preceding(frame.header.end()));
    Some(stamp.ok()?.position)
}

//! Opening what is sealed: the manifest, the members that the segments define, and the last ids for the recent window.
//! No event is read but those.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use lastseen_event::Position;
use lastseen_store::{Corruption, ReadError};

use crate::OpenError;
use crate::dictionary;
use crate::disk::{Access, Disk, read_all};
use crate::known::each_event;
use crate::manifest::{BadManifest, Entry, Manifest, PATH, Piece, VERSION};
use crate::members::Members;
use crate::recent::{RecentIds, TenantEventId};
use crate::segment;
use crate::segment::file::SegmentFile;
use crate::segment::members::define;
use crate::writer::next;

/// The manifest on disk, if there is one.
///
/// # Errors
/// [`OpenError`]: damage, a version that is not known, or what the disk says.
pub(crate) fn read_manifest(disk: &dyn Disk) -> Result<Option<Manifest>, OpenError> {
    Manifest::read(disk).map_err(bad_manifest)
}

pub(crate) fn bad_manifest(bad: BadManifest) -> OpenError {
    match bad {
        BadManifest::Corrupt(corruption) => OpenError::Corrupt(corruption),
        BadManifest::Version(found) => OpenError::Version { file: PATH.to_owned(), found, known: VERSION },
        BadManifest::Io(error) => OpenError::io("read", PATH)(error),
    }
}

/// The members of all segments, each of which is there with its length: from the dictionary, as far as it goes, and then
/// from the members files. Also how many the dictionary has.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn members(disk: &dyn Disk, manifest: &Manifest) -> Result<(Members, usize), OpenError> {
    let of_no_use = |why: &dyn std::fmt::Display| {
        let (path, why) = (dictionary::PATH, why.to_string());
        tracing::warn!(path, why, "the dictionary is of no use: reading the members files");
    };
    match dictionary::read(disk, manifest) {
        Ok(None) => {}
        Ok(Some((members, end))) => {
            let kept = members.len();
            match read_members(disk, manifest, Some((members, end))) {
                Err(OpenError::Corrupt(corruption)) => of_no_use(&corruption),
                members => return Ok((members?, kept)),
            }
        }
        Err(fault) => of_no_use(&fault),
    }
    Ok((read_members(disk, manifest, None)?, 0))
}

/// The members of all segments, each of which is there with its length. With those in front of a position, if they are known.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn read_members(
    disk: &dyn Disk,
    manifest: &Manifest,
    known: Option<(Members, Position)>,
) -> Result<Members, OpenError> {
    let (mut members, end) = known.unwrap_or((Members::default(), Position::START));
    // The last of them may define some that are known and some that are not.
    let defined = manifest.segments.partition_point(|entry| next(entry.last()) < end);
    let (defined, segments) = manifest.segments.split_at(defined);
    for entry in defined {
        check_lengths(disk, entry)?;
    }
    let bytes: usize = segments.iter().map(|entry| usize::try_from(entry.members.0).unwrap_or(0)).sum();
    members.reserve(bytes / MEMBER_BYTES, bytes);
    // One is checked while the one before is taken in.
    thread::scope(|scope| {
        let (sender, files) = sync_channel(FILES_AHEAD);
        scope.spawn(move || {
            for entry in segments {
                if sender.send((entry, read_whole(disk, entry))).is_err() {
                    return;
                }
            }
        });
        for (entry, bytes) in files {
            let bytes = bytes?;
            let may_be_known = entry.first() < end;
            if define(&mut members, &bytes, manifest.log_id(), may_be_known).is_none() {
                return Err(bad_members(entry, &bytes));
            }
        }
        Ok(members)
    })
}

/// Bytes of the shortest definitions of members that are common.
const MEMBER_BYTES: usize = 32;

/// Files of members that are read ahead.
const FILES_AHEAD: usize = 2;

/// The members of a segment as bytes that are what was written; the segment is there with its length.
fn read_whole(disk: &dyn Disk, entry: &Entry) -> Result<Vec<u8>, OpenError> {
    check_length(disk, &segment::path(entry.first()), entry.bytes())?;
    let path = segment::members_path(entry.first());
    let bytes = disk.open(&path, Access::Read).and_then(|file| read_all(file.as_ref()));
    let bytes = bytes.map_err(|error| missing_or_io(error, &path))?;
    if Piece::of(&bytes) == entry.members { Ok(bytes) } else { Err(bad_members(entry, &bytes)) }
}

fn bad_members(entry: &Entry, bytes: &[u8]) -> OpenError {
    let expected = format!("{} bytes with checksum {:08x}", entry.members.0, entry.members.1);
    let found = format!("{} bytes with {:08x}", bytes.len(), crc32c::crc32c(bytes));
    OpenError::Corrupt(Corruption { file: segment::members_path(entry.first()), offset: 0, expected, found })
}

fn check_lengths(disk: &dyn Disk, entry: &Entry) -> Result<(), OpenError> {
    check_length(disk, &segment::path(entry.first()), entry.bytes())?;
    check_length(disk, &segment::members_path(entry.first()), entry.members.0)
}

fn check_length(disk: &dyn Disk, path: &str, length: u64) -> Result<(), OpenError> {
    let size = disk.open(path, Access::Read).and_then(|file| file.size());
    let size = size.map_err(|error| missing_or_io(error, path))?;
    if size == length {
        return Ok(());
    }
    let (expected, found) = (format!("{length} bytes"), size.to_string());
    let (file, offset) = (path.to_owned(), size.min(length));
    Err(OpenError::Corrupt(Corruption { file, offset, expected, found }))
}

/// A file that the manifest names and that is not there is damage.
fn missing_or_io(error: io::Error, path: &str) -> OpenError {
    if error.kind() != io::ErrorKind::NotFound {
        return OpenError::io("read", path)(error);
    }
    OpenError::Corrupt(Corruption {
        file: path.to_owned(),
        offset: 0,
        expected: "the file that the manifest names".to_owned(),
        found: "no file".to_owned(),
    })
}

/// Fills an empty window with the ids of the segments from its first position on.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn fill(recent: &mut RecentIds, disk: &dyn Disk, manifest: &Manifest) -> Result<(), OpenError> {
    let first = recent.first();
    let mut ids = Vec::new();
    for entry in manifest.segments.iter().filter(|entry| entry.last() >= first) {
        fill_from((recent, &mut ids), disk, (entry, first)).map_err(|error| match error {
            ReadError::Corrupt(corruption) => OpenError::Corrupt(corruption),
            ReadError::Io { file, source } => OpenError::Io { action: "read", file, source },
        })?;
        recent.take(&ids, next(manifest.last()));
        ids.clear();
    }
    Ok(())
}

fn fill_from(
    (recent, ids): (&RecentIds, &mut Vec<(TenantEventId, u64)>),
    disk: &dyn Disk,
    (entry, first): (&Arc<Entry>, Position),
) -> Result<(), ReadError> {
    let file = SegmentFile::open(disk, entry)?;
    let mut group_first = entry.first().get();
    for group in 0..file.row_groups() {
        let rows = file.rows_of(group) as u64;
        let from = first.get().saturating_sub(group_first).min(rows);
        if from < rows {
            each_event(&file, group, usize::try_from(from).unwrap_or(usize::MAX), |event| {
                ids.push((recent.within(event.names[0], event.id), event.fingerprint()));
            })?;
        }
        group_first += rows;
    }
    Ok(())
}

//! Opening what is sealed: the members that the segments define, the batches they name, the runs of their ids, and the last
//! ids for the recent window. No record is read but those.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use lastseen_store::{Batches, ReadError};

use crate::OpenError;
use crate::damage::{Malformed, corruption};
use crate::dictionary::{self, Fault, Kept};
use crate::disk::{Access, Disk, read_all};
use crate::identity::{IdKey, OwnId};
use crate::ids::Budget;
use crate::ids::recent::RecentIds;
use crate::ids::run::Run;
use crate::manifest::{Manifest, PATH};
use crate::members::Members;
use crate::place::{Place, following};
use crate::segment;
use crate::segment::entry::{Entry, Piece};
use crate::segment::file::SegmentFile;
use crate::segment::identities::each_in_group;
use crate::segment::index::Index;
use crate::segment::members::define;

/// The members of all segments, each of which is there with its length: from the dictionary, as far as it goes, and then
/// from the members files. Also what the dictionary is.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn members(disk: &dyn Disk, manifest: &Manifest) -> Result<(Members, Kept), OpenError> {
    let of_no_use = |why: &dyn std::fmt::Display| {
        let (path, why) = (dictionary::PATH, why.to_string());
        tracing::warn!(path, why, "the dictionary is of no use: reading the members files");
    };
    let mut kept = Kept::Members(0);
    match dictionary::read(disk, manifest) {
        Ok(None) => {}
        Err(Fault::Old) => kept = Kept::Old,
        Ok(Some((members, end, kept))) => match read_members(disk, manifest, Some((members, end))) {
            Err(OpenError::Corrupt(corruption)) => of_no_use(&corruption),
            members => return Ok((members?, kept)),
        },
        Err(Fault::Beyond { end }) => {
            let expected = format!("members up to position {} at most", manifest.last().get());
            let found = format!("those of position {}: what is missing was lost", end.get() - 1);
            return Err(corruption(dictionary::PATH, 0, expected, found).into());
        }
        Err(fault) => of_no_use(&fault),
    }
    Ok((read_members(disk, manifest, None)?, kept))
}

/// The members of all segments, each of which is there with its length. With those in front of a place, if they are known.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn read_members(
    disk: &dyn Disk,
    manifest: &Manifest,
    known: Option<(Members, Place)>,
) -> Result<Members, OpenError> {
    let (mut members, end) = known.unwrap_or_else(|| (Members::new(manifest.id_key), Place::START));
    // The last of them may define some that are known and some that are not.
    let defined = manifest.segments.partition_point(|entry| following(entry.last()) < end);
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
            define(&mut members, &bytes, |log_id| manifest.lineage.contains(log_id), may_be_known)
                .map_err(|Malformed| bad_members(entry, &bytes))?;
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
    corruption(segment::members_path(entry.first()), 0, expected, found).into()
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
    Err(corruption(path, size.min(length), format!("{length} bytes"), size.to_string()).into())
}

/// A file that the manifest names and that is not there is damage.
fn missing_or_io(error: io::Error, path: &str) -> OpenError {
    if error.kind() != io::ErrorKind::NotFound {
        return OpenError::io("read", path)(error);
    }
    corruption(path, 0, "the file that the manifest names", "no file").into()
}

/// The batches that sealed records name, in the order of their numbers. Reads the index file of each segment that names one,
/// and of the others only the length.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn batches(disk: &dyn Disk, manifest: &Manifest) -> Result<Batches, OpenError> {
    let mut batches = Batches::default();
    for entry in &manifest.segments {
        if let Some(beside) = entry.beside.filter(|beside| beside.batches == 0) {
            check_length(disk, &segment::index_path(entry.first()), beside.index.0)?;
            continue;
        }
        let index = Index::read(disk, entry, |log_id| manifest.lineage.contains(log_id))?;
        for batch in &index.batches {
            batch.add_to(&mut batches).map_err(|Malformed| {
                let path = entry.beside.map_or(PATH.to_owned(), |_| segment::index_path(entry.first()));
                OpenError::from(corruption(path, 0, "batches by name and type", "something else"))
            })?;
        }
    }
    Ok(batches)
}

/// The runs of ids that can be used, and the memory of their filters.
pub(crate) struct OpenRuns {
    pub(crate) open: Vec<Arc<Run>>,
    pub(crate) budget: Arc<Budget>,
}

/// Opens the runs of ids. One that is missing or damaged is left out, and made again from its segments: until then,
/// events that may be in those cannot be taken.
///
/// # Errors
/// The disk's answer.
pub(crate) fn runs(
    disk: &dyn Disk,
    manifest: &Manifest,
    budget: &Arc<Budget>,
) -> Result<OpenRuns, OpenError> {
    let mut open = Vec::with_capacity(manifest.runs.len());
    for entry in &manifest.runs {
        let is_of_log = |log_id| manifest.lineage.contains(log_id);
        match Run::open(disk, entry.clone(), is_of_log, budget.clone()) {
            Ok(run) => open.push(Arc::new(run)),
            Err(ReadError::Corrupt(corruption)) => {
                let why = corruption.to_string();
                tracing::warn!(why, "ids are of no use: making them again from their segments");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(OpenRuns { open, budget: budget.clone() })
}

/// Fills an empty window with the ids of the segments from its first place on.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn fill(recent: &mut RecentIds, disk: &dyn Disk, manifest: &Manifest) -> Result<(), OpenError> {
    let first = recent.first();
    let mut ids = Vec::new();
    for entry in manifest.segments.iter().filter(|entry| entry.last() >= first) {
        let file = SegmentFile::open(disk, entry, &manifest.lineage)?;
        ids_from(&file, (entry.first(), first), &manifest.id_key, &mut ids)?;
        recent.take(&ids, following(manifest.last()));
        ids.clear();
    }
    Ok(())
}

/// Adds the ids of a segment that begins with a place, from another place on.
fn ids_from(
    file: &SegmentFile,
    (begins, from): (Place, Place),
    key: &IdKey,
    ids: &mut Vec<(OwnId, u64)>,
) -> Result<(), ReadError> {
    let mut group_first = begins.get();
    for group in 0..file.row_groups() {
        let rows = file.rows_of(group) as u64;
        let skipped = from.get().saturating_sub(group_first).min(rows);
        if skipped < rows {
            let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
            each_in_group(file, (group, skipped), key, |row| ids.push((row.own, row.fingerprint)))?;
        }
        group_first += rows;
    }
    Ok(())
}

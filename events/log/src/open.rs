//! Opening what is on disk: every frame is checked, the dictionary and the recent window are built, a torn tail
//! is cut and kept aside, anything else that is wrong is refused with its place. FORMAT.md "Recovery".
//!
//! `sealed` reads what the manifest names, `pass` goes over the WAL files, `torn` judges the end of the last one. Nothing on
//! disk changes before all of it was read.

mod pass;
mod sealed;
mod torn;

use std::io;
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::{Batches, Lineage, LogId};

use self::pass::{Access, Pass};
pub use self::torn::TornTail;
use crate::damage::corruption;
use crate::dictionary::Due;
use crate::disk::aside::NEW_SUFFIX;
use crate::disk::{Disk, ROOT, SyncSite};
use crate::format::Version;
use crate::history::places::{FilePlace, Places};
use crate::ids::recent::RecentIds;
use crate::ids::runs::Runs;
use crate::ids::{Budget, Ids, SealedIds};
use crate::manifest::listing::Listing;
use crate::manifest::{BadManifest, Manifest, PATH};
use crate::members::Members;
use crate::place::{LastRecord, Place, following};
use crate::wal::frame::FileHeader;
use crate::{LogOptions, OpenError, beyond, ids, segment, wal};

/// Proof from outside of the log that it reached a position once: a snapshot of what was folded from it, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The file that says so, relative to the log's directory.
    pub file: String,
    /// The log it is of.
    pub log_id: LogId,
    /// The position that was durable.
    pub position: Position,
}

/// Everything the writer goes on from.
pub(crate) struct Recovered {
    pub(crate) places: Places,
    pub(crate) last: LastRecord,
    pub(crate) last_recorded_at: UtcInstant,
    pub(crate) members: Members,
    pub(crate) batches: Batches,
    pub(crate) dictionary: Due,
    pub(crate) recent: RecentIds,
    pub(crate) ids: Ids,
    pub(crate) torn: Option<TornTail>,
}

/// Reads the manifest and the WAL files that are not sealed, and ends the last one if a crash left it open. Takes a log of an
/// earlier version to the newest.
///
/// # Errors
/// [`OpenError`]: damage, a version that is not known, or the disk's answer.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    options: &LogOptions,
    (origin, evidence): (Option<LogId>, &[Evidence]),
) -> Result<Recovered, OpenError> {
    for dir in [wal::DIR, segment::DIR, ids::run::DIR] {
        disk.create_dir(dir).map_err(OpenError::io("create", dir))?;
    }
    disk.sync_dir(ROOT, SyncSite::Folder).map_err(OpenError::io("create", wal::DIR))?;
    let names = disk.list(wal::DIR).map_err(OpenError::io("list", wal::DIR))?;
    let segment_names = disk.list(segment::DIR).map_err(OpenError::io("list", segment::DIR))?;
    let run_names = disk.list(ids::run::DIR).map_err(OpenError::io("list", ids::run::DIR))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| wal::number(name)).collect();
    numbers.sort_unstable();
    let Found { manifest, is_written } = found(disk.as_ref(), &numbers, &segment_names)?.follows(origin)?;
    let unsealed = numbers.split_off(numbers.partition_point(|number| *number < manifest.wal_from));

    let (members, kept) = sealed::members(disk.as_ref(), &manifest)?;
    let dictionary = Due::new(options.dictionary_members, kept);
    dictionary.mark(&members, following(manifest.last()));
    let batches = sealed::batches(disk.as_ref(), &manifest)?;
    // The window reaches back from the end; where that is, the last file's header says nearly.
    let sealed_end = following(manifest.last());
    let reaches = unsealed.last().map_or(Ok(None), |last| first_place(disk.as_ref(), *last))?;
    let window_end = reaches.unwrap_or(sealed_end).max(sealed_end);
    let first = window_end.get().saturating_sub(options.recent_ids as u64).clamp(1, sealed_end.get());
    let mut recent = RecentIds::new(options.recent_ids, Place::new(first));
    sealed::fill(&mut recent, disk.as_ref(), &manifest)?;

    let mut pass = Pass::new(&manifest, members, batches, Some(recent));
    let mut last = None;
    for (at, &number) in unsealed.iter().enumerate() {
        let is_last = at + 1 == unsealed.len();
        let file = pass.file(disk.as_ref(), number, (Access::ReadWrite, is_last))?;
        last = Some(file).filter(|_| is_last);
    }
    // What a log that follows another one lacks, it takes in again.
    let evidence = if origin.is_some() { &[] } else { evidence };
    check_evidence(&manifest.lineage, pass.last_shown, evidence)?;
    let sealed_names = (&*segment_names, &*run_names);
    if let Some(corruption) = beyond::find(disk.as_ref(), &manifest, sealed_names, pass.last_place)? {
        return Err(corruption.into());
    }
    let runs = sealed::runs(disk.as_ref(), &manifest, &Budget::new(options.filter_bytes))?;

    // Only now is anything changed: what is refused stays as it was found.
    for (dir, names) in [(wal::DIR, &names), (segment::DIR, &segment_names), (ids::run::DIR, &run_names)] {
        remove_unfinished(disk.as_ref(), dir, names)?;
    }
    if !numbers.is_empty() {
        // The process that gave the manifest its name may have ended before this.
        disk.sync_dir(segment::DIR, SyncSite::ManifestName).map_err(OpenError::io("sync", segment::DIR))?;
    }
    for path in numbers.into_iter().map(wal::path) {
        disk.remove(&path).map_err(OpenError::io("remove", path))?;
    }
    let end = (following(pass.last_place), pass.last_recorded_at);
    let torn = last.map(|last| last.end(disk.as_ref(), end)).transpose()?.flatten();
    let manifest = settle_manifest(disk.as_ref(), manifest, (is_written, &runs), &pass.files)?;
    remove_unnamed_runs(disk.as_ref(), &manifest, &run_names)?;
    Ok(recovered(manifest, (pass, runs), dictionary, torn))
}

fn recovered(
    manifest: Manifest,
    (pass, runs): (Pass, sealed::OpenRuns),
    dictionary: Due,
    torn: Option<TornTail>,
) -> Recovered {
    let Pass { files, members, batches, recent, last_place, last_shown, last_recorded_at, .. } = pass;
    let recent = recent.expect("it was given one");
    let sealed = SealedIds::new(&manifest.segments, Runs::new(runs.open));
    let ids = Ids::new(manifest.id_key, runs.budget, recent.first(), sealed);
    let mut places = Places { manifest: Arc::new(manifest), files };
    places.end_last(following(last_place));
    let last = LastRecord { place: last_place, shown: last_shown };
    Recovered { places, last, last_recorded_at, members, batches, dictionary, recent, ids, torn }
}

/// The manifest of a log, or what stands for one where there is none.
struct Found {
    manifest: Manifest,
    /// True if it is on disk as it is here.
    is_written: bool,
}

impl Found {
    /// The same where the log follows this one, or none. Where there is no log yet, it will.
    fn follows(self, origin: Option<LogId>) -> Result<Self, OpenError> {
        let found = self.manifest.origin();
        match (origin, self.is_written) {
            (Some(origin), false) if self.manifest.version == Version::NEWEST => {
                Ok(Self { manifest: Manifest::following(origin), ..self })
            }
            (origin, _) if origin == found => Ok(self),
            (origin, _) => Err(OpenError::Follows { expected: origin, found }),
        }
    }
}

fn found(disk: &dyn Disk, wal_files: &[u64], segments: &[String]) -> Result<Found, OpenError> {
    if let Some(manifest) = read_manifest(disk)? {
        return Ok(Found { manifest, is_written: true });
    }
    // Without a manifest there is no log, or one of version 1 in which nothing was ever sealed, or it was lost.
    if let Some(name) = segments.iter().find(|name| crate::manifest::is_of_log(name)) {
        return Err(corruption(PATH, 0, format!("a manifest that names {name}"), "no file").into());
    }
    let Some(&first) = wal_files.first() else {
        return Ok(Found { manifest: Manifest::empty(Lineage::new(LogId::draw())), is_written: false });
    };
    let header = pass::read_header(disk, first)?;
    if header.version > Version::V1 {
        let expected = format!("the manifest of log {}", header.log_id);
        return Err(corruption(PATH, 0, expected, "no file").into());
    }
    let empty = Manifest::empty(Lineage::new(header.log_id));
    Ok(Found { manifest: Manifest { version: Version::V1, ..empty }, is_written: false })
}

/// The log that the one on disk follows, if it does.
pub(crate) fn origin_on(disk: &dyn Disk) -> Result<Option<LogId>, OpenError> {
    Ok(read_manifest(disk)?.and_then(|manifest| manifest.origin()))
}

/// The manifest on disk, if there is one.
fn read_manifest(disk: &dyn Disk) -> Result<Option<Manifest>, OpenError> {
    Manifest::read(disk).map_err(bad_manifest)
}

fn bad_manifest(bad: BadManifest) -> OpenError {
    let file = PATH.to_owned();
    match bad {
        BadManifest::Corrupt(corruption) => OpenError::Corrupt(corruption),
        BadManifest::Version(found) => {
            OpenError::Version { file, found, known: Version::NEWEST.in_manifest() }
        }
        BadManifest::Feature(feature) => OpenError::Feature { file, feature },
        BadManifest::Io(error) => OpenError::io("read", PATH)(error),
    }
}

/// The place a WAL file begins with, as far as its header can be read.
fn first_place(disk: &dyn Disk, number: u64) -> Result<Option<Place>, OpenError> {
    match pass::read_header(disk, number) {
        Ok(FileHeader { first_place, .. }) => Ok(Some(first_place)),
        Err(OpenError::Corrupt(_) | OpenError::Version { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses a history that is shorter than something says it was: its positions would be used again for other events.
fn check_evidence(lineage: &Lineage, last: Position, evidence: &[Evidence]) -> Result<(), OpenError> {
    let longer = |proof: &&Evidence| proof.position > last && lineage.shares(proof.log_id, proof.position);
    match evidence.iter().find(longer) {
        None => Ok(()),
        Some(Evidence { file, position, .. }) => {
            let expected =
                format!("a history up to position {}, which this file was made of", position.get());
            let found = format!("one up to position {}: what is missing was lost", last.get());
            Err(corruption(&**file, 0, expected, found).into())
        }
    }
}

/// Writes the manifest where it is not on disk, of an earlier version, or names runs that are not there.
fn settle_manifest(
    disk: &dyn Disk,
    manifest: Manifest,
    (is_written, runs): (bool, &sealed::OpenRuns),
    files: &[FilePlace],
) -> Result<Manifest, OpenError> {
    let named: Vec<_> = runs.open.iter().map(|run| run.entry.clone()).collect();
    let version = manifest.version;
    // Only here does a log without a file say who it is. Also where it was found: the process that wrote it may have ended
    // before its name was durable.
    let is_first = manifest.segments.is_empty() && files.is_empty();
    let is_settled = is_written && version == Version::NEWEST && named == manifest.runs && !is_first;
    let manifest = Manifest { runs: named, ..manifest.upgraded() };
    if is_settled {
        return Ok(manifest);
    }
    manifest.write(disk).map_err(OpenError::io("write", PATH))?;
    if is_written && version < Version::NEWEST {
        let (from, to) = (version.in_wal(), Version::NEWEST.in_wal());
        tracing::info!(from, to, "the log is of the newest version now; earlier programs refuse it");
    }
    Ok(manifest)
}

/// Removes files that were never finished being made.
fn remove_unfinished(disk: &dyn Disk, dir: &str, names: &[String]) -> Result<(), OpenError> {
    for name in names.iter().filter(|name| name.ends_with(NEW_SUFFIX)) {
        let path = format!("{dir}/{name}");
        disk.remove(&path).map_err(OpenError::io("remove", &path))?;
    }
    Ok(())
}

/// Removes runs that were merged into others, or that no manifest names yet.
fn remove_unnamed_runs(disk: &dyn Disk, manifest: &Manifest, names: &[String]) -> Result<(), OpenError> {
    for name in names.iter().filter(|name| !name.ends_with(NEW_SUFFIX)) {
        let path = format!("{}/{name}", ids::run::DIR);
        if manifest.runs.iter().all(|run| run.path() != path) {
            disk.remove(&path).map_err(OpenError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Reads the manifest and the WAL files of a log that is not ours: another process may be writing it. What that has not
/// finished is not there. Nothing is changed.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn look(disk: &Arc<dyn Disk>) -> Result<Looked, OpenError> {
    loop {
        let Listing { manifest, unsealed: numbers } =
            Listing::read(disk.as_ref()).map_err(OpenError::io("list", wal::DIR))?;
        let manifest = if let Some(manifest) = manifest.map_err(bad_manifest)? {
            manifest
        } else {
            let segments = disk.list(segment::DIR).map_err(OpenError::io("list", segment::DIR))?;
            found(disk.as_ref(), &numbers, &segments)?.manifest
        };
        let members = sealed::read_members(disk.as_ref(), &manifest, None)?;
        let batches = sealed::batches(disk.as_ref(), &manifest)?;
        let mut pass = Pass::new(&manifest, members, batches, None);
        let scanned = numbers.iter().enumerate().try_for_each(|(at, &number)| {
            pass.file(disk.as_ref(), number, (Access::Read, at + 1 == numbers.len())).map(drop)
        });
        match scanned {
            // It was sealed meanwhile: then the manifest says so.
            Err(OpenError::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound
                    && read_manifest(disk.as_ref())?.is_some_and(|now| now.wal_from != manifest.wal_from) => {
            }
            scanned => {
                scanned?;
                let Pass { files, members, batches, last_place, last_shown, .. } = pass;
                let places = Places { manifest: Arc::new(manifest), files };
                return Ok(Looked {
                    places,
                    last: LastRecord { place: last_place, shown: last_shown },
                    members,
                    batches,
                });
            }
        }
    }
}

/// The result of [`look`].
pub(crate) struct Looked {
    pub(crate) places: Places,
    pub(crate) last: LastRecord,
    pub(crate) members: Members,
    pub(crate) batches: Batches,
}

//! Opening what is on disk: every frame is checked, the dictionary and the recent window are built, a torn tail
//! is cut and kept aside, anything else that is wrong is refused with its place. FORMAT.md "Recovery".

mod scan;

use std::io;
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::{Batches, Corruption};

pub use self::scan::TornTail;
use self::scan::{FileScan, Scanner};
use crate::dictionary::Due;
use crate::disk::{Access, Disk, DiskFile, ROOT, SyncSite, read_all};
use crate::manifest::{Listing, Manifest};
use crate::members::Members;
use crate::places::{FilePlace, Places};
use crate::recent::RecentIds;
use crate::wal::file::{NEW_SUFFIX, WalFile};
use crate::wal::frame::{BadFileHeader, FILE_HEADER_LEN, FORMAT_VERSION, FileHeader, LogId};
use crate::wal::walk::read_settled;
use crate::wal::{self};
use crate::writer::next;
use crate::{LogOptions, OpenError, sealed, segment};

/// Everything the writer goes on from.
pub(crate) struct Recovered {
    pub(crate) log_id: LogId,
    pub(crate) places: Places,
    pub(crate) last_position: Position,
    pub(crate) last_recorded_at: UtcInstant,
    pub(crate) members: Members,
    pub(crate) batches: Batches,
    pub(crate) dictionary: Due,
    pub(crate) recent: RecentIds,
    pub(crate) torn: Option<TornTail>,
}

/// Reads the manifest and the WAL files that are not sealed, and ends the last one if a crash left it open.
///
/// # Errors
/// [`OpenError`]: damage, a version that is not known, or what the disk says.
pub(crate) fn recover(disk: &Arc<dyn Disk>, options: &LogOptions) -> Result<Recovered, OpenError> {
    disk.create_dir(wal::DIR)
        .and_then(|()| disk.create_dir(segment::DIR))
        .and_then(|()| disk.sync_dir(ROOT, SyncSite::Folder))
        .map_err(OpenError::io("create", wal::DIR))?;
    let names = disk.list(wal::DIR).map_err(OpenError::io("list", wal::DIR))?;
    let segment_names = disk.list(segment::DIR).map_err(OpenError::io("list", segment::DIR))?;
    let manifest = sealed::read_manifest(disk.as_ref())?;
    let wal_from = manifest.as_ref().map_or(0, |manifest| manifest.wal_from);
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| wal::number(name)).collect();
    numbers.sort_unstable();
    let unsealed = numbers.split_off(numbers.partition_point(|number| *number < wal_from));
    if manifest.is_none() && unsealed.is_empty() {
        no_segments(&segment_names)?;
    }
    let log_id = manifest.as_ref().map(Manifest::log_id);
    let manifest = manifest.unwrap_or_else(|| Manifest::empty(LogId([0; 16])));
    let (members, kept) = sealed::members(disk.as_ref(), &manifest)?;
    let dictionary = Due::new(options.dictionary_members, kept);
    dictionary.mark(&members, next(manifest.last()));
    // The window reaches back from the end; where that is, the last file's header says nearly.
    let reaches = unsealed.last().map_or(Ok(None), |last| first_position(disk.as_ref(), *last))?;
    let next_position = reaches.unwrap_or_else(|| next(manifest.last())).max(next(manifest.last()));
    let first =
        next_position.get().saturating_sub(options.recent_ids as u64).clamp(1, next(manifest.last()).get());
    let mut recent = RecentIds::new(options.recent_ids, Position::new(first));
    sealed::fill(&mut recent, disk.as_ref(), &manifest)?;
    let mut pass =
        Pass { scanner: Scanner::new(members, Some(recent), &manifest), log_id, files: Vec::new() };
    let mut last = None;
    for (at, &number) in unsealed.iter().enumerate() {
        let is_last = at + 1 == unsealed.len();
        let file = pass.file(disk.as_ref(), number, (Access::ReadWrite, is_last))?;
        last = Some(file).filter(|_| is_last);
    }
    let Pass { mut scanner, log_id, files } = pass;
    // Only now is anything changed: what is refused stays as it was found.
    remove_unfinished(disk.as_ref(), wal::DIR, &names)?;
    remove_unfinished(disk.as_ref(), segment::DIR, &segment_names)?;
    if !numbers.is_empty() {
        // The process that gave the manifest its name may have ended before this.
        disk.sync_dir(segment::DIR, SyncSite::ManifestName).map_err(OpenError::io("sync", segment::DIR))?;
    }
    for path in numbers.into_iter().map(wal::path) {
        disk.remove(&path).map_err(OpenError::io("remove", path))?;
    }
    let torn = last.map(|last| last.end(disk.as_ref(), &scanner)).transpose()?.flatten();
    let is_empty = manifest.segments.is_empty();
    let manifest = match log_id {
        Some(log_id) if is_empty => Manifest::empty(log_id),
        Some(_) => manifest,
        None => Manifest::empty(LogId::draw()),
    };
    let log_id = manifest.log_id();
    if is_empty && files.is_empty() {
        // Only here does a log without a file say who it is. Also where it was found: the process that wrote
        // it may have ended before its name was durable.
        manifest.write(disk.as_ref()).map_err(OpenError::io("write", crate::manifest::PATH))?;
    }
    let mut places = Places { manifest: Arc::new(manifest), files };
    places.end_last(scanner.next_position());
    Ok(Recovered {
        log_id,
        places,
        last_position: scanner.last_position,
        last_recorded_at: scanner.last_recorded_at,
        members: scanner.members,
        batches: scanner.batches,
        dictionary,
        recent: scanner.recent.take().expect("it was given one"),
        torn,
    })
}

/// Without a manifest and a WAL file there is no log, or it was lost.
fn no_segments(names: &[String]) -> Result<(), OpenError> {
    match names.iter().find(|name| name.ends_with(".parquet")) {
        None => Ok(()),
        Some(name) => Err(OpenError::Corrupt(Corruption {
            file: crate::manifest::PATH.to_owned(),
            offset: 0,
            expected: format!("a manifest that names {name}"),
            found: "no file".to_owned(),
        })),
    }
}

/// The position a WAL file begins with, as far as its header can be read.
fn first_position(disk: &dyn Disk, number: u64) -> Result<Option<Position>, OpenError> {
    let path = wal::path(number);
    let file = disk.open(&path, Access::Read).map_err(OpenError::io("open", &path))?;
    let mut header = [0; FILE_HEADER_LEN];
    file.read_at(&mut header, 0).map_err(OpenError::io("read", &path))?;
    Ok(FileHeader::decode(&header).ok().map(|header| header.first_position))
}

/// The pass over the WAL files.
struct Pass {
    scanner: Scanner,
    log_id: Option<LogId>,
    files: Vec<FilePlace>,
}

impl Pass {
    fn file(
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
        let header = read_header(&path, &bytes)?;
        check_header(&path, &header, number, (self.log_id, self.scanner.next_position()))?;
        self.log_id = Some(header.log_id);
        let scan = self.scanner.scan(&path, &bytes, &header).map_err(OpenError::Corrupt)?;
        let ended_at = (!is_last).then(|| self.scanner.next_position());
        self.files.push(FilePlace { number, first_position: header.first_position, ended_at });
        let torn = if is_last {
            scan.torn_tail(&path, &bytes, &header).map_err(OpenError::Corrupt)?
        } else {
            scan.must_be_ended(&path, &bytes, &header).map_err(OpenError::Corrupt)?;
            None
        };
        Ok(ScannedFile { file, bytes, header, scan, torn })
    }
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
        let manifest = manifest.map_err(sealed::bad_manifest)?;
        if manifest.is_none() && numbers.is_empty() {
            no_segments(&disk.list(segment::DIR).map_err(OpenError::io("list", segment::DIR))?)?;
        }
        let log_id = manifest.as_ref().map(Manifest::log_id);
        let manifest = manifest.unwrap_or_else(|| Manifest::empty(LogId([0; 16])));
        let members = sealed::read_members(disk.as_ref(), &manifest, None)?;
        let mut pass = Pass { scanner: Scanner::new(members, None, &manifest), log_id, files: Vec::new() };
        let scanned = numbers.iter().enumerate().try_for_each(|(at, &number)| {
            pass.file(disk.as_ref(), number, (Access::Read, at + 1 == numbers.len())).map(drop)
        });
        match scanned {
            // It was sealed meanwhile: then the manifest says so.
            Err(OpenError::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound
                    && sealed::read_manifest(disk.as_ref())?.is_some_and(|now| now != manifest) => {}
            scanned => {
                scanned?;
                let Pass { scanner, log_id, files } = pass;
                return Ok(Looked {
                    log_id: log_id.unwrap_or(LogId([0; 16])),
                    places: Places { manifest: Arc::new(manifest), files },
                    last_position: scanner.last_position,
                    members: scanner.members,
                    batches: scanner.batches,
                });
            }
        }
    }
}

/// The result of [`look`].
pub(crate) struct Looked {
    pub(crate) log_id: LogId,
    pub(crate) places: Places,
    pub(crate) last_position: Position,
    pub(crate) members: Members,
    pub(crate) batches: Batches,
}

/// Removes files that were never finished being made.
fn remove_unfinished(disk: &dyn Disk, dir: &str, names: &[String]) -> Result<(), OpenError> {
    for name in names.iter().filter(|name| name.ends_with(NEW_SUFFIX)) {
        let path = format!("{dir}/{name}");
        disk.remove(&path).map_err(OpenError::io("remove", &path))?;
    }
    Ok(())
}

fn read_header(path: &str, bytes: &[u8]) -> Result<FileHeader, OpenError> {
    FileHeader::decode(bytes).map_err(|error| match error {
        BadFileHeader::Version(found) => {
            OpenError::Version { file: path.to_owned(), found, known: FORMAT_VERSION }
        }
        BadFileHeader::Damaged => OpenError::Corrupt(Corruption {
            file: path.to_owned(),
            offset: 0,
            expected: "a file header with its checksum".to_owned(),
            found: format!("{} bytes that are none", bytes.len()),
        }),
    })
}

/// A file belongs where it stands: its own number, the log of the files before it, the next position.
fn check_header(
    path: &str,
    header: &FileHeader,
    number: u64,
    (log_id, next): (Option<LogId>, Position),
) -> Result<(), OpenError> {
    let corrupt = |expected: String, found: String| {
        Err(OpenError::Corrupt(Corruption { file: path.to_owned(), offset: 0, expected, found }))
    };
    if header.number != number {
        return corrupt(format!("the header of file {number}"), format!("that of file {}", header.number));
    }
    if log_id.is_some_and(|log_id| log_id != header.log_id) {
        return corrupt("a file of the same log".to_owned(), "one of another log".to_owned());
    }
    if header.first_position != next {
        return corrupt(
            format!("events from position {} on", next.get()),
            format!("position {}: a file is missing or stands twice", header.first_position.get()),
        );
    }
    Ok(())
}

/// A file as it was found.
struct ScannedFile {
    file: Box<dyn DiskFile>,
    bytes: Vec<u8>,
    header: FileHeader,
    scan: FileScan,
    torn: Option<TornTail>,
}

impl ScannedFile {
    /// Ends the last file, if that was not done. After a crash: what is torn is kept aside, then the end frame is written over
    /// its start; each step is durable before the next, so a crash in between is recovered from in the same way.
    fn end(self, disk: &dyn Disk, scanner: &Scanner) -> Result<Option<TornTail>, OpenError> {
        let Self { file, bytes, header, scan, torn } = self;
        let path = wal::path(header.number);
        if let Some(torn) = &torn {
            keep_aside(disk, torn, &bytes).map_err(OpenError::io("write", &torn.kept_as))?;
        }
        if !scan.is_cut(&bytes) {
            // Written once more: if its sync failed, it may stand in the system's memory only, and the system takes
            // it for written. A sync makes durable only what was written since.
            file.write_all_at(&bytes[scan.last_frame.clone()], scan.last_frame.start as u64)
                .and_then(|()| {
                    WalFile::found(file, header, scan.end_of_events())
                        .finish(scanner.next_position(), scanner.last_recorded_at)
                })
                .map_err(OpenError::io("write", &path))?;
        }
        Ok(torn)
    }
}

/// Saves the torn bytes next to the file, whole or not at all. What an interrupted recovery saved before is kept:
/// it is the fuller one.
fn keep_aside(disk: &dyn Disk, torn: &TornTail, bytes: &[u8]) -> io::Result<()> {
    match disk.open(&torn.kept_as, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let start = usize::try_from(torn.offset).expect("within a file that is in memory");
            let new_path = format!("{}{NEW_SUFFIX}", torn.kept_as);
            let aside = disk.create(&new_path)?;
            aside.write_all_at(&bytes[start..start + torn.len()], 0)?;
            aside.sync_all(SyncSite::Torn)?;
            disk.rename(&new_path, &torn.kept_as)?;
        }
        found => drop(found?),
    }
    // Also where it was found: the process that renamed it may have ended before this.
    disk.sync_dir(wal::DIR, SyncSite::TornName)
}

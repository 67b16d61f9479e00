//! Opening what is on disk: every frame is checked, the dictionary and the recent window are built, a torn tail
//! is cut and kept aside, anything else that is wrong is refused with its place. FORMAT.md "Recovery".

mod scan;

use std::io;
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::Corruption;

pub use self::scan::TornTail;
use self::scan::{FileScan, Scanner};
use crate::disk::{Access, Disk, DiskFile, ROOT, SyncSite, read_all};
use crate::members::Members;
use crate::recent::RecentIds;
use crate::wal::file::{NEW_SUFFIX, WalFile};
use crate::wal::frame::{BadFileHeader, FORMAT_VERSION, FileHeader, LogId};
use crate::wal::{self};
use crate::{LogOptions, OpenError};

/// The place of one WAL file in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FilePlace {
    pub(crate) number: u64,
    /// The position of its first event, or of the next event if it has none.
    pub(crate) first_position: Position,
}

/// Everything the writer goes on from.
pub(crate) struct Recovered {
    pub(crate) log_id: LogId,
    pub(crate) files: Vec<FilePlace>,
    pub(crate) last_position: Position,
    pub(crate) last_recorded_at: UtcInstant,
    pub(crate) members: Members,
    pub(crate) recent: RecentIds,
    pub(crate) torn: Option<TornTail>,
}

/// Reads all WAL files and ends the last one if a crash left it open.
///
/// # Errors
/// [`OpenError`]: damage, a version that is not known, or what the disk says.
pub(crate) fn recover(disk: &Arc<dyn Disk>, options: &LogOptions) -> Result<Recovered, OpenError> {
    disk.create_dir(wal::DIR)
        .and_then(|()| disk.sync_dir(ROOT, SyncSite::Folder))
        .map_err(OpenError::io("create", wal::DIR))?;
    let names = disk.list(wal::DIR).map_err(OpenError::io("list", wal::DIR))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| wal::number(name)).collect();
    numbers.sort_unstable();
    let mut scanner = Scanner::new(RecentIds::new(options.recent_ids.max(1)));
    let mut files = Vec::with_capacity(numbers.len());
    let mut log_id = None;
    let mut last = None;
    for (at, &number) in numbers.iter().enumerate() {
        let path = wal::path(number);
        let open = disk.open(&path, Access::ReadWrite).map_err(OpenError::io("open", &path))?;
        let bytes = read_all(open.as_ref()).map_err(OpenError::io("read", &path))?;
        let header = read_header(&path, &bytes)?;
        check_header(&path, &header, number, (log_id, scanner.next_position()))?;
        log_id = Some(header.log_id);
        files.push(FilePlace { number, first_position: header.first_position });
        let scan = scanner.scan(&path, &bytes, &header).map_err(OpenError::Corrupt)?;
        if at + 1 < numbers.len() {
            scan.must_be_ended(&path, &bytes, &header).map_err(OpenError::Corrupt)?;
        } else {
            let torn = scan.torn_tail(&path, &bytes, &header).map_err(OpenError::Corrupt)?;
            last = Some(LastFile { file: open, bytes, header, scan, torn });
        }
    }
    // Only now is anything changed: what is refused stays as it was found.
    remove_unfinished(disk.as_ref(), &names)?;
    let torn = last.map(|last| last.end(disk.as_ref(), &scanner)).transpose()?.flatten();
    Ok(Recovered {
        log_id: log_id.unwrap_or_else(|| LogId(uuid::Uuid::new_v4().into_bytes())),
        files,
        last_position: scanner.last_position,
        last_recorded_at: scanner.last_recorded_at,
        members: scanner.members,
        recent: scanner.recent,
        torn,
    })
}

/// Removes files that were never finished being made.
fn remove_unfinished(disk: &dyn Disk, names: &[String]) -> Result<(), OpenError> {
    for name in names.iter().filter(|name| name.ends_with(NEW_SUFFIX)) {
        let path = format!("{}/{name}", wal::DIR);
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

/// The last file as it was found.
struct LastFile {
    file: Box<dyn DiskFile>,
    bytes: Vec<u8>,
    header: FileHeader,
    scan: FileScan,
    torn: Option<TornTail>,
}

impl LastFile {
    /// Ends it, if that was not done. After a crash: what is torn is kept aside, then the end frame is written over
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

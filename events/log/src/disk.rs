//! The operations that the log asks of a disk: one directory, named files, and a sync for each kind of thing
//! that can be lost. Everything the log does to storage goes through here, so that tests can take the power
//! away at any step.

pub(crate) mod aside;
#[cfg(feature = "fault")]
mod fault;
mod os;

use std::io;

use crate::thread::yield_now;

#[cfg(feature = "fault")]
pub use fault::{Fault, FaultDisk, Operation};
pub use os::OsDisk;

/// One directory with the files of one log. Names are relative, `/`-separated, one level of folders deep.
pub trait Disk: Send + Sync {
    /// Keeps other processes out for as long as the result lives; `None` if one is in already. Nothing that is done to the names
    /// in the directory lets another in.
    ///
    /// # Errors
    /// The operating system's error.
    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>>;

    /// Makes a folder; no-op if it is there. Durable only after [`Disk::sync_dir`] of [`ROOT`].
    ///
    /// # Errors
    /// The operating system's error.
    fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// The names of the files in `dir`, in no order.
    ///
    /// # Errors
    /// The operating system's error.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// A new, empty file for reading and writing. Its name is durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `AlreadyExists`, or what the operating system says.
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;

    /// An existing file.
    ///
    /// # Errors
    /// `NotFound`, or what the operating system says.
    fn open(&self, path: &str, access: Access) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in place of whatever had it. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The operating system's error.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The operating system's error.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Gives a file that never changes a second name, the same on another disk that does not have it; `false` where that is
    /// not possible and it has to be copied. Durable only after [`Disk::sync_dir`] there.
    ///
    /// # Errors
    /// The operating system's error.
    fn link(&self, path: &str, to: &dyn Disk) -> io::Result<bool> {
        let _ = (path, to);
        Ok(false)
    }

    /// The directory in the operating system's file system, if that is where it is.
    fn os(&self) -> Option<&OsDisk> {
        None
    }

    /// Lets the system forget what it holds of a durable file in memory, where that is possible: so that reading it again reads
    /// the disk.
    ///
    /// # Errors
    /// The operating system's error.
    fn forget(&self, path: &str) -> io::Result<()> {
        let _ = path;
        Ok(())
    }

    /// Looks at the directory and the disk it is on.
    ///
    /// # Errors
    /// The operating system's error.
    fn state(&self) -> io::Result<DiskState> {
        Ok(DiskState { is_in_place: true, free: None })
    }

    /// The folder `dir`, held to make its names durable later; [`ROOT`] is the directory itself.
    ///
    /// # Errors
    /// `NotFound`, or what the operating system says; nothing was changed.
    fn folder(&self, dir: &str) -> io::Result<Box<dyn Folder>>;

    /// Makes the names in `dir` durable; [`ROOT`] is the directory itself.
    ///
    /// # Errors
    /// The ones of [`Disk::folder`] and [`Folder::sync`].
    fn sync_dir(&self, dir: &str, site: SyncSite) -> io::Result<()> {
        self.folder(dir)?.sync(site)
    }
}

/// The state of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskState {
    /// False if the directory was moved or removed since it was opened: another process that opens its path finds another one,
    /// or none.
    pub is_in_place: bool,
    /// Bytes that are free for this process; `None` where that is not known.
    pub free: Option<u64>,
}

/// A folder that is held open. Whoever holds it before a name changes there has nothing but the sync left to
/// fail behind.
pub trait Folder: Send + Sync {
    /// Makes the names in it durable.
    ///
    /// # Errors
    /// The operating system's answer; the names may or may not be durable then.
    fn sync(&self, site: SyncSite) -> io::Result<()>;
}

/// The directory itself, for [`Disk::folder`].
pub const ROOT: &str = "";

/// Everything the log waits for the disk for. Each is there because a power cut would lose something without it;
/// the tests leave out one at a time and see it lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncSite {
    /// The folders of the WAL files, the segments and the ids in the directory, before there is a file in them.
    Folder,
    /// The length and the header of a new WAL file, before it gets its name.
    NewFile,
    /// The name of a new WAL file, before a frame is written to it.
    NewFileName,
    /// A frame, before its events are acknowledged.
    Frame,
    /// The end frame, before the file is cut behind it.
    EndFrame,
    /// The length of a file that was ended.
    Cut,
    /// A copy of torn bytes, before it gets its name.
    Torn,
    /// The name of that copy, before the torn bytes are written over.
    TornName,
    /// A segment, before it gets its name.
    Segment,
    /// The file of the members it defines, before it gets its name.
    SegmentMembers,
    /// The index file beside it, before it gets its name.
    SegmentIndex,
    /// The names of all three, before the manifest has them.
    SegmentName,
    /// A run of ids, before it gets its name.
    Ids,
    /// The name of it, before the manifest has it.
    IdsName,
    /// A manifest, before it takes the place of the one before.
    Manifest,
    /// The name of the manifest, before the WAL files it covers are removed.
    ManifestName,
    /// The dictionary, before it takes the place of the one before.
    Dictionary,
}

impl SyncSite {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Folder,
        Self::NewFile,
        Self::NewFileName,
        Self::Frame,
        Self::EndFrame,
        Self::Cut,
        Self::Torn,
        Self::TornName,
        Self::Segment,
        Self::SegmentMembers,
        Self::SegmentIndex,
        Self::SegmentName,
        Self::Ids,
        Self::IdsName,
        Self::Manifest,
        Self::ManifestName,
        Self::Dictionary,
    ];
}

/// The use of an opened file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// A file. Writes are durable only after [`DiskFile::sync_data`] or [`DiskFile::sync_all`].
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The operating system's error.
    fn size(&self) -> io::Result<u64>;

    /// Reads into `buffer` from `offset` and returns how much; less than asked for only at the end of the file.
    ///
    /// # Errors
    /// The operating system's error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The operating system's error. Any part of `bytes` may have been written then.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves `len` bytes, read as zeros, so that later writes below need no space.
    ///
    /// # Errors
    /// `StorageFull`, or what the operating system says.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file or extends it with zeros.
    ///
    /// # Errors
    /// The operating system's error.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes what was written within the file's length durable (`fdatasync`).
    ///
    /// # Errors
    /// The operating system's error. Bytes that were written before may be lost then; never retried.
    fn sync_data(&self, site: SyncSite) -> io::Result<()>;

    /// Makes content and length durable (`fsync`).
    ///
    /// # Errors
    /// The same as for [`DiskFile::sync_data`].
    fn sync_all(&self, site: SyncSite) -> io::Result<()>;
}

/// Why a step was not done, by what comes next.
#[derive(Debug)]
pub(crate) enum StepError {
    /// Nothing of it counts: it may be tried again.
    Refused(io::Error),
    /// A sync failed, or it is open which names there are. Another try could succeed without making anything
    /// durable.
    Unsettled(io::Error),
}

impl StepError {
    pub(crate) fn into_io(self) -> io::Error {
        let (Self::Refused(error) | Self::Unsettled(error)) = self;
        error
    }
}

/// True if the error is lack of space.
pub(crate) fn is_no_space(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Fills `buffer` from `offset`; `false` if the file ends before.
pub(crate) fn read_exact_at(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    Ok(file.read_at(buffer, offset)? == buffer.len())
}

/// All of a file, in steps: others get a turn on this core in between.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    const STEP: usize = 1024 * 1024;
    let len = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    let mut end = 0;
    for step in bytes.chunks_mut(STEP) {
        let read = file.read_at(step, end as u64)?;
        end += read;
        if read < step.len() {
            break;
        }
        yield_now();
    }
    bytes.truncate(end);
    Ok(bytes)
}

//! The operating system's file system, below one directory.
//!
//! The directory is opened once, and every name is looked up from there. So whatever happens to its own name, all files of
//! a log stay together, and the lock, which is on the directory itself, cannot be removed.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};

use super::{Access, Disk, DiskFile, DiskState, Folder, ROOT, SyncSite};

/// A directory of the operating system's.
#[derive(Debug)]
pub struct OsDisk {
    /// Its name when it was opened.
    root: PathBuf,
    directory: File,
}

/// Programs of version 1 locked this file.
const LOCK_FILE: &str = "lock";

impl OsDisk {
    /// The directory `root`, made with all above it if it is not there.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn new(root: &Path) -> io::Result<Self> {
        // One that is there but empty may be the work of an earlier start that ended before the sync.
        let mut unsettled: Vec<&Path> = root
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && is_missing_or_empty(dir))
            .collect();
        while let Some(dir) = unsettled.pop() {
            let found = dir.exists();
            if !found {
                std::fs::create_dir(dir)?;
            }
            // Before there is anything in it: a directory that is not empty has a durable name.
            let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            match File::open(above) {
                // Made by somebody who may do more than we may.
                Err(error) if found && error.kind() == io::ErrorKind::PermissionDenied => {}
                above => above?.sync_all()?,
            }
        }
        Self::existing(root)
    }

    /// The directory `root`, which must be there.
    ///
    /// # Errors
    /// `NotADirectory`, or what the operating system says.
    pub fn existing(root: &Path) -> io::Result<Self> {
        let directory = File::open(root)?;
        if directory.metadata()?.is_dir() {
            Ok(Self { root: root.to_owned(), directory })
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    fn open_file(&self, path: &str, flags: OFlags) -> io::Result<File> {
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        Ok(rustix::fs::openat(&self.directory, path, flags | OFlags::CLOEXEC, mode)?.into())
    }

    fn open_folder(&self, dir: &str) -> io::Result<OwnedFd> {
        let path = if dir == ROOT { "." } else { dir };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.directory, path, flags, Mode::empty())?)
    }
}

fn is_missing_or_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir)
        .map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |mut entries| entries.next().is_none())
}

/// Held while other processes are kept out: the directory, and the file that programs of version 1 look at.
struct Locked {
    _directory: Option<File>,
    _file: File,
}

/// Locks a file, if nobody else has.
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Disk for OsDisk {
    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        // Opened for this alone: a lock belongs to the opening.
        let directory = File::from(self.open_folder(ROOT)?);
        let directory = match try_lock(&directory) {
            Ok(true) => Some(directory),
            Ok(false) => return Ok(None),
            // Some network file systems lock files only.
            Err(error) => {
                let (error, file) = (&error as &dyn std::error::Error, LOCK_FILE);
                tracing::warn!(error, file, "the directory cannot be locked: do not remove the lock file");
                None
            }
        };
        let file = self.open_file(LOCK_FILE, OFlags::RDWR | OFlags::CREATE)?;
        Ok(try_lock(&file)?
            .then(|| -> Box<dyn Send + Sync> { Box::new(Locked { _directory: directory, _file: file }) }))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.directory, dir, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
            Err(rustix::io::Errno::EXIST) => Ok(()),
            made => Ok(made?),
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.open_folder(dir)?)? {
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.open_file(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        Ok(Box::new(self.open_file(path, flags)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.directory, from, &self.directory, to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.directory, path, AtFlags::empty())?)
    }

    fn link(&self, path: &str, to: &dyn Disk) -> io::Result<bool> {
        let Some(to) = to.os() else { return Ok(false) };
        match rustix::fs::linkat(&self.directory, path, &to.directory, path, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(error @ (rustix::io::Errno::EXIST | rustix::io::Errno::NOENT)) => Err(error.into()),
            // Another file system, one without hard links, or one where we may not make them.
            Err(_) => Ok(false),
        }
    }

    fn os(&self) -> Option<&OsDisk> {
        Some(self)
    }

    fn forget(&self, path: &str) -> io::Result<()> {
        let file = self.open_file(path, OFlags::RDONLY)?;
        // Where the file system keeps everything in memory, this does nothing.
        Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    fn state(&self) -> io::Result<DiskState> {
        let here = self.directory.metadata()?;
        let is_in_place = std::fs::metadata(&self.root)
            .is_ok_and(|found| (found.dev(), found.ino()) == (here.dev(), here.ino()));
        let disk = rustix::fs::fstatvfs(&self.directory)?;
        Ok(DiskState { is_in_place, free: Some(disk.f_bavail.saturating_mul(disk.f_frsize)) })
    }

    fn folder(&self, dir: &str) -> io::Result<Box<dyn Folder>> {
        Ok(Box::new(OsFolder(self.open_folder(dir)?.into())))
    }
}

struct OsFolder(File);

impl Folder for OsFolder {
    fn sync(&self, _site: SyncSite) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, len) {
            // Not every file system can reserve; growing is the next best.
            Err(rustix::io::Errno::OPNOTSUPP) => File::set_len(self, len),
            result => Ok(result?),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync_data(&self, _site: SyncSite) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self, _site: SyncSite) -> io::Result<()> {
        File::sync_all(self)
    }
}

//! The operating system's file system, below one directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Access, Disk, DiskFile, Folder, SyncSite};

/// A directory of the operating system's.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
}

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
        Ok(Self { root: root.to_owned() })
    }

    /// The directory `root`, which must be there.
    ///
    /// # Errors
    /// `NotADirectory`, or what the operating system says.
    pub fn existing(root: &Path) -> io::Result<Self> {
        if std::fs::metadata(root)?.is_dir() {
            Ok(Self { root: root.to_owned() })
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }
}

fn is_missing_or_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir)
        .map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |mut entries| entries.next().is_none())
}

impl Disk for OsDisk {
    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        match std::fs::create_dir(self.path(dir)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path(dir))? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.path(path))?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(self.path(path))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(path))
    }

    fn link(&self, path: &str, to: &dyn Disk) -> io::Result<bool> {
        let Some(root) = to.os_root() else { return Ok(false) };
        match std::fs::hard_link(self.path(path), root.join(path)) {
            Ok(()) => Ok(true),
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    || error.kind() == io::ErrorKind::NotFound =>
            {
                Err(error)
            }
            // Another file system, one without hard links, or one where we may not make them.
            Err(_) => Ok(false),
        }
    }

    fn os_root(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn folder(&self, dir: &str) -> io::Result<Box<dyn Folder>> {
        Ok(Box::new(OsFolder(File::open(self.path(dir))?)))
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

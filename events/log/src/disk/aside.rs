//! Making a file that is whole before it has its name: written aside, synced, then named.

use std::io;

use super::{Disk, DiskFile, StepError, SyncSite, is_no_space};
use crate::thread::yield_now;

/// Ends the name of every file that is being made. Opening a log removes those that were never finished.
pub(crate) const NEW_SUFFIX: &str = ".new";

/// A file whose content is durable, under a name that does not count.
#[must_use = "a file counts once it has its name"]
pub(crate) struct Aside<'a> {
    disk: &'a dyn Disk,
    path: &'a str,
    /// The file, for who goes on writing to it.
    pub(crate) file: Box<dyn DiskFile>,
}

impl<'a> Aside<'a> {
    /// Makes the file that is to have this path and syncs it. What an attempt that failed left there is replaced; what
    /// this one leaves when it fails is removed.
    ///
    /// # Errors
    /// [`StepError::Unsettled`] if the sync failed, though not for lack of space: where a disk cannot reserve, a sync is
    /// the first to tell.
    pub(crate) fn make(
        disk: &'a dyn Disk,
        path: &'a str,
        site: SyncSite,
        fill: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
    ) -> Result<Self, StepError> {
        let new_path = format!("{path}{NEW_SUFFIX}");
        let begun = create_anew(disk, &new_path).and_then(|file| fill(file.as_ref()).map(|()| file));
        let made = begun.map_err(StepError::Refused).and_then(|file| match file.sync_all(site) {
            Ok(()) => Ok(file),
            Err(error) if is_no_space(error.kind()) => Err(StepError::Refused(error)),
            Err(error) => Err(StepError::Unsettled(error)),
        });
        match made {
            Ok(whole) => Ok(Self { disk, path, file: whole }),
            Err(error) => {
                // Gives back what was taken; what stays is removed when the log is opened.
                let _ = disk.remove(&new_path);
                Err(error)
            }
        }
    }

    /// Gives the file its name, in place of whatever had it. Durable only after a sync of its folder.
    ///
    /// # Errors
    /// The disk's answer; the file is removed then, as far as that goes.
    pub(crate) fn put(self) -> io::Result<Box<dyn DiskFile>> {
        let new_path = format!("{}{NEW_SUFFIX}", self.path);
        match self.disk.rename(&new_path, self.path) {
            Ok(()) => Ok(self.file),
            Err(error) => {
                let _ = self.disk.remove(&new_path);
                Err(error)
            }
        }
    }
}

/// Writes `bytes` from the start of a file on, in steps: the page cache is filled step by step, beside the log's own writes.
pub(crate) fn write_in_steps(file: &dyn DiskFile, bytes: &[u8]) -> io::Result<()> {
    const STEP: usize = 1024 * 1024;
    for (number, step) in bytes.chunks(STEP).enumerate() {
        file.write_all_at(step, (number * STEP) as u64)?;
        yield_now();
    }
    Ok(())
}

/// A new, empty file in place of what an attempt that failed may have left under this name.
fn create_anew(disk: &dyn Disk, path: &str) -> io::Result<Box<dyn DiskFile>> {
    match disk.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(path)?;
            disk.create(path)
        }
        file => file,
    }
}

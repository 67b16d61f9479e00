//! The files of a log that another process may be sealing.

use std::io;

use super::{BadManifest, Manifest};
use crate::disk::Disk;
use crate::wal;

/// The manifest, and the numbers of the WAL files it does not cover.
pub(crate) struct Listing {
    pub(crate) manifest: Result<Option<Manifest>, BadManifest>,
    pub(crate) unsealed: Vec<u64>,
}

impl Listing {
    /// # Errors
    /// The disk's error about the folder of the WAL files.
    pub(crate) fn read(disk: &dyn Disk) -> io::Result<Self> {
        let mut manifest = Manifest::read(disk);
        loop {
            let mut unsealed = wal::numbers(disk)?;
            let again = Manifest::read(disk);
            // WAL files go only after the manifest that covers them is there: where it is the same before and after,
            // none is missing from the list.
            if let (Ok(before), Ok(after)) = (&manifest, &again)
                && wal_from(before.as_ref()) != wal_from(after.as_ref())
            {
                manifest = again;
                continue;
            }
            // The later one: a file of the list may be of the log that a copy became meanwhile.
            let sealed = again.as_ref().map_or(0, |manifest| wal_from(manifest.as_ref()));
            unsealed.retain(|number| *number >= sealed);
            return Ok(Self { manifest: again, unsealed });
        }
    }
}

fn wal_from(manifest: Option<&Manifest>) -> u64 {
    manifest.map_or(0, |manifest| manifest.wal_from)
}

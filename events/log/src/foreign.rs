//! A log that is only read: that of a running server, or a backup. Fixed at the moment it was opened.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lastseen_event::Position;
use lastseen_store::{Batches, Scan};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::watch;

use crate::OpenError;
use crate::dictionary::Due;
use crate::disk::Disk;
use crate::members::Members;
use crate::reader::LogReader;
use crate::recovery::{Looked, look};
use crate::writer::Shared;

/// The history of a log up to the moment it was opened. Takes no lock and changes nothing.
pub struct ReadOnlyLog {
    shared: Arc<Shared>,
    tail: watch::Receiver<Position>,
}

impl ReadOnlyLog {
    /// Reads the manifest, the members and the WAL files of the log on `disk`.
    ///
    /// # Errors
    /// [`OpenError`]; damage is refused with its place.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let Looked { log_id, places, last_position, members, batches } = look(&disk)?;
        let shared = Shared {
            disk,
            log_id,
            members: RwLock::new(members),
            batches: RwLock::new(batches),
            places: RwLock::new(places),
            dictionary: Due::new(usize::MAX, 0),
            recent_from: AtomicU64::new(0),
            is_foreign: true,
        };
        Ok(Self { shared: Arc::new(shared), tail: watch::channel(last_position).1 })
    }

    /// The position of the last event, [`Position::START`] if there is none.
    pub fn last_position(&self) -> Position {
        *self.tail.borrow()
    }

    /// The member dictionary.
    pub fn members(&self) -> RwLockReadGuard<'_, Members> {
        self.shared.members.read()
    }

    /// The backfill batches.
    pub fn batches(&self) -> RwLockReadGuard<'_, Batches> {
        self.shared.batches.read()
    }

    /// A cursor over what `scan` chooses.
    pub fn scan(&self, scan: Scan) -> LogReader {
        LogReader::new(self.shared.clone(), self.tail.clone(), scan)
    }
}

//! A log that is only read: that of a running server, or a backup. Fixed at the moment it was opened.

use std::sync::Arc;

use lastseen_event::Position;
use lastseen_store::{Batches, Guard, Lineage, MemberDictionary, Scan};
use parking_lot::RwLockReadGuard;
use tokio::sync::watch;

use crate::OpenError;
use crate::dictionary::{Due, Kept};
use crate::disk::Disk;
use crate::history::History;
use crate::history::ring::Ring;
use crate::ids::{Budget, Ids, SealedIds};
use crate::open::{Looked, look};
use crate::place::Place;
use crate::reader::LogReader;

/// The history of a log up to the moment it was opened. Takes no lock and changes nothing.
pub struct ReadOnlyLog {
    history: Arc<History>,
}

impl ReadOnlyLog {
    /// Reads the manifest, the members and the WAL files of the log on `disk`.
    ///
    /// # Errors
    /// [`OpenError`]; damage is refused with its place.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let Looked { places, last, members, batches } = look(&disk)?;
        // Nothing is appended, so nothing is looked up.
        let ids = Ids::new(places.manifest.id_key, Budget::new(0), Place::START, SealedIds::default());
        let due = (Due::new(usize::MAX, Kept::Members(0)), Ring::new(0), true);
        let shown = watch::channel(last.shown).1;
        let history =
            Arc::new(History::new(disk, (members, batches), (places, ids), due, (last.place, shown)));
        Ok(Self { history })
    }

    /// The id of the log, and those that it continues.
    pub fn lineage(&self) -> Arc<Lineage> {
        self.history.lineage()
    }

    /// The position of the last event, [`Position::START`] if there is none.
    pub fn last_position(&self) -> Position {
        *self.history.shown.borrow()
    }

    /// The number of records above `position`, exclusive, or more; see
    /// [`EventStore::records_after`](lastseen_store::EventStore::records_after).
    pub fn records_after(&self, position: Position) -> u64 {
        self.history.records_after(position)
    }

    /// The member dictionary.
    pub fn members(&self) -> Guard<'_, dyn MemberDictionary> {
        RwLockReadGuard::map(self.history.members.read(), |members| members as &dyn MemberDictionary)
    }

    /// The backfill batches.
    pub fn batches(&self) -> RwLockReadGuard<'_, Batches> {
        self.history.batches.read()
    }

    /// A cursor over what `scan` chooses.
    pub fn scan(&self, scan: Scan) -> LogReader {
        LogReader::new(self.history.clone(), scan)
    }
}

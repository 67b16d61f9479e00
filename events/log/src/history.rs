//! The state that the readers of a log share with its writer and its sealer. Each field says who changes it.

pub(crate) mod places;
pub(crate) mod ring;

use std::sync::Arc;

use lastseen_event::Position;
use lastseen_store::{Batches, Lineage, ReadError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use self::places::Places;
use self::ring::Ring;
use crate::dictionary::Due;
use crate::disk::{Disk, Folder, StepError};
use crate::ids::Ids;
use crate::manifest::{BadManifest, Manifest};
use crate::members::Members;
use crate::place::{Place, Tail};
use crate::wal::cursor::Names;

/// Everything that is known of a log, beside its files.
pub(crate) struct History {
    pub(crate) disk: Arc<dyn Disk>,
    /// The log's id and those it continues. The writer changes it, once, where a copy is written to first.
    pub(crate) lineage: RwLock<Arc<Lineage>>,
    /// The writer adds members.
    pub(crate) members: RwLock<Members>,
    /// The batches up to the tail at least. The writer adds to them.
    pub(crate) batches: RwLock<Batches>,
    /// The writer adds WAL files, the sealer puts segments in the place of them.
    pub(crate) places: RwLock<Places>,
    /// Held by whoever changes the manifest: the sealer, and the writer once, where a copy is written to first.
    manifest_owner: Mutex<()>,
    /// The writer adds the last groups.
    pub(crate) ring: Ring,
    pub(crate) dictionary: Due,
    /// The sealer changes the runs, the writer says what leaves the window.
    pub(crate) ids: Ids,
    /// True if another process may seal the files that are read here.
    pub(crate) is_foreign: bool,
    /// True if the log follows another one: positions are those of that one, and places are dense.
    pub(crate) is_replica: bool,
    /// Of a log that follows another one: the writer moves it on, before it tells `shown`.
    pub(crate) tail: Tail,
    /// The position that the last durable record shows, or one above that the log stands on.
    pub(crate) shown: watch::Receiver<Position>,
}

impl History {
    /// The history of an open log.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        (members, batches): (Members, Batches),
        (places, ids): (Places, Ids),
        (dictionary, ring, is_foreign): (Due, Ring, bool),
        (tail, shown): (Place, watch::Receiver<Position>),
    ) -> Self {
        Self {
            disk,
            lineage: RwLock::new(Arc::new(places.manifest.lineage.clone())),
            is_replica: places.manifest.is_replica,
            members: RwLock::new(members),
            batches: RwLock::new(batches),
            places: RwLock::new(places),
            manifest_owner: Mutex::new(()),
            ring,
            dictionary,
            ids,
            is_foreign,
            tail: Tail::new(tail),
            shown,
        }
    }

    /// The place of the last durable record. In a log of its own it follows from the position that is told, so that no reader is
    /// ahead of that one.
    pub(crate) fn last_place(&self) -> Place {
        if self.is_replica { self.tail.get() } else { Place::of_own(*self.shown.borrow()) }
    }

    /// A place in front of the first record above a position, and not far from it.
    pub(crate) fn place_before(&self, position: Position) -> Place {
        if self.is_replica { self.places.read().before_shown(position) } else { Place::of_own(position) }
    }

    /// The number of durable records above a position: exact in a log of its own, at the end of a segment, and at the
    /// tail. Elsewhere some in front of it count as well: those of its segment, or from a frame on that is known.
    pub(crate) fn records_after(&self, position: Position) -> u64 {
        // In this order: what is shown was counted by the tail before.
        let shown = *self.shown.borrow();
        let last = self.last_place().get();
        if self.is_replica && position >= shown {
            0
        } else {
            last.saturating_sub(self.place_before(position).get())
        }
    }

    /// Puts a manifest made of the present one in its place, on disk and here. `before` is called once it is durable, before
    /// the places go by it. `folder` is that of the segments, held before any name in it changed.
    ///
    /// # Errors
    /// [`StepError`]; refused, nothing changed.
    pub(crate) fn change_manifest(
        &self,
        folder: &dyn Folder,
        change: impl FnOnce(&Manifest) -> Manifest,
        before: impl FnOnce(&Manifest),
    ) -> Result<(), StepError> {
        let _owner = self.manifest_owner.lock();
        let manifest = change(&self.places.read().manifest.clone());
        manifest.replace(self.disk.as_ref(), folder)?;
        before(&manifest);
        *self.lineage.write() = Arc::new(manifest.lineage.clone());
        self.places.write().seal(manifest);
        Ok(())
    }

    /// The names that records have by their numbers.
    pub(crate) fn names(&self) -> Names<'_> {
        Names { members: &self.members, batches: &self.batches }
    }

    pub(crate) fn lineage(&self) -> Arc<Lineage> {
        self.lineage.read().clone()
    }

    /// True if the durable record at a place is in a segment. Reads the manifest where another process may have sealed it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn is_sealed(&self, place: Place) -> Result<bool, ReadError> {
        if self.places.read().sealed_until() >= place {
            return Ok(true);
        }
        if !self.is_foreign {
            return Ok(false);
        }
        let Some(manifest) = Manifest::read(self.disk.as_ref()).map_err(BadManifest::into_read_error)? else {
            return Ok(false);
        };
        let sealed = manifest.last() >= place;
        self.places.write().seal(manifest);
        Ok(sealed)
    }
}

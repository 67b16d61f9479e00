//! The event store that a server stands on: the one place that knows which it is. Everything else sees
//! [`EventStore`].

use std::path::Path;
use std::sync::Arc;

use lastseen_log::{Disk, Evidence, LockedDisk, Log, LogOptions, OpenError, OsDisk, WrittenGroup};
use lastseen_store::{Clock, EventStore, StoreFault};

use crate::metrics::Metrics;

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory cannot be made or entered.
    #[error("cannot use the data directory")]
    Directory(#[source] StoreFault),
    /// The log refuses.
    #[error("cannot open the log")]
    Open(#[source] OpenError),
}

/// A store from which other processes are kept out, and which is not open yet.
pub(crate) struct LockedStore(LockedDisk);

impl LockedStore {
    /// Makes the directory if it is not there, and keeps other processes out of it. Reads nothing.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Open`] if another process is in.
    pub(crate) fn lock(data: &Path) -> Result<Self, StoreError> {
        let disk = OsDisk::new(data).map_err(|error| StoreError::Directory(error.into()))?;
        Self::on(Arc::new(disk))
    }

    /// The same for a disk of any kind.
    ///
    /// # Errors
    /// [`StoreError::Open`] if another process is in.
    pub(crate) fn on(disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        LockedDisk::lock(disk).map(Self).map_err(StoreError::Open)
    }

    /// Opens the store. A history that is shorter than the evidence says it was is refused. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Open`]; nothing was changed but what recovery mends.
    pub(crate) fn open(
        self,
        options: LogOptions,
        (clock, evidence): (Arc<dyn Clock>, &[Evidence]),
        metrics: Arc<Metrics>,
    ) -> Result<Arc<dyn EventStore>, StoreError> {
        let on_group = move |group: WrittenGroup| metrics.group(group.events, group.synced);
        let log = Log::open_locked(self.0, options, (clock, evidence), on_group).map_err(StoreError::Open)?;
        if let Some(torn) = log.torn_tail() {
            tracing::warn!(file = torn.file, offset = torn.offset, bytes = torn.bytes, "{torn}");
        }
        Ok(Arc::new(log))
    }
}

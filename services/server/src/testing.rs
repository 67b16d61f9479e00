//! A small read model over a disk in memory, for the tests of the layers above it.

use std::fmt::Write as _;
use std::sync::Arc;

use lastseen_event::wire::{Accept, FaultsKept, decode_ndjson};
use lastseen_event::{EventBatch, UtcInstant};
use lastseen_log::{FaultDisk, LogOptions};
use lastseen_projections::Persons;
use lastseen_store::{AppendError, Appended, Clock, EventStore, ManualClock, OnRefused};
use tempfile::TempDir;

use crate::metrics::Metrics;
use crate::publishing::Publishing;
use crate::read_model::definitions::DefinitionLimits;
use crate::read_model::{ReadModel, ReadModelOptions};
use crate::store::{Choice, LockedStore, StoreError};

/// "Now" of the tests.
pub(crate) const NOW: &str = "2026-01-10T12:00:00Z";

/// A read model, and everything that must outlive it.
pub(crate) struct Model {
    pub(crate) inner: Arc<ReadModel>,
    pub(crate) disk: FaultDisk,
    _data: TempDir,
}

pub(crate) fn instant(text: &str) -> UtcInstant {
    UtcInstant::parse(text).unwrap()
}

impl Model {
    /// A model of no event.
    pub(crate) fn new() -> Self {
        Self::with(LogOptions::default())
    }

    /// The same over a log with other settings.
    pub(crate) fn with(log: LogOptions) -> Self {
        Self::over(|disk, clock| {
            let locked = LockedStore::on(Arc::new(disk.clone()))?;
            locked.open(&Choice::Log, log, (clock, &[]), Arc::new(Metrics::new()))
        })
    }

    /// The same over the store that `open` opens, on this disk if it needs one.
    pub(crate) fn over(
        open: impl FnOnce(&FaultDisk, Arc<dyn Clock>) -> Result<Arc<dyn EventStore>, StoreError>,
    ) -> Self {
        let (disk, data) = (FaultDisk::default(), TempDir::new().unwrap());
        let clock = Arc::new(ManualClock::new(instant(NOW)));
        let open = || open(&disk, clock.clone());
        let options = ReadModelOptions {
            snapshot_events: 1_000_000,
            persons: Persons::UserId,
            metrics: Arc::new(Metrics::new()),
            definitions: DefinitionLimits { number: 16, bytes: None },
        };
        let (model, _) = ReadModel::open((data.path(), open), options, clock.clone(), |_| {}).unwrap();
        Self { inner: Arc::new(model), disk, _data: data }
    }

    /// Appends events that are written as `type tenant user instant`, and waits until the views have them.
    pub(crate) async fn append(&self, events: &[&str]) -> Result<Appended, AppendError> {
        Publishing::new(self.inner.clone()).append(batch(events), OnRefused::RefuseBatch).await
    }
}

/// Events that are written as `type tenant user instant`, each with an id of its own.
pub(crate) fn batch(events: &[&str]) -> EventBatch {
    let mut body = String::new();
    for event in events {
        let [event_type, tenant, user, at] = event.split(' ').collect::<Vec<_>>()[..] else {
            panic!("four words: {event}");
        };
        let id = uuid::Uuid::new_v4();
        let _ = writeln!(
            body,
            "{{\"id\":\"{id}\",\"type\":\"{event_type}\",\"tenant_id\":\"{tenant}\",\"user_id\":\"{user}\",\
             \"occurred_at\":\"{at}\"}}"
        );
    }
    let decoded = decode_ndjson(body.as_bytes(), Accept::all(instant(NOW), FaultsKept::All), || ()).unwrap();
    assert_eq!(decoded.faults, []);
    decoded.batch
}

impl Drop for Model {
    fn drop(&mut self) {
        self.inner.close();
    }
}

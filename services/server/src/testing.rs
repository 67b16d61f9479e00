//! A small read model over a disk in memory, for the tests of the layers above it.

use std::fmt::Write as _;
use std::sync::Arc;

use lastseen_event::wire::{Accept, FaultsKept, decode_ndjson};
use lastseen_event::{EventBatch, Position, UtcInstant};
use lastseen_log::{FaultDisk, Followed, LockedDisk, Log, LogOptions, Sealing, Stamp};
use lastseen_projections::Persons;
use lastseen_store::{AppendError, Appended, Clock, EventStore, LogId, ManualClock, OnRefused};
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

/// A log that follows another one: its positions have gaps, however many events there are.
#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) log: Arc<Log>,
}

impl Replica {
    /// The gap in front of each event, unless a test has others.
    pub(crate) const GAP: u64 = 100_000;

    /// An empty one, which is sealed when it is asked to be.
    pub(crate) fn new(disk: &FaultDisk) -> Self {
        let options = LogOptions {
            sealing: Sealing::OnDemand,
            ring_bytes: 0,
            wal_file_bytes: 1 << 16,
            ..LogOptions::default()
        };
        let locked = LockedDisk::lock(Arc::new(disk.clone())).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(instant(NOW)));
        let log = Log::open_following(locked, options, LogId::from_bytes([7; 16]), (clock, &[]), |_| ());
        Self { log: Arc::new(log.unwrap()) }
    }

    /// Takes in so many logins, each of a user of its own, and each so far behind the one in front of it. Returns the tail.
    pub(crate) async fn take_in(&self, events: u64, gap: u64) -> Position {
        let from = self.log.tail().position().get();
        let login = |at: u64| format!("login acme user{at} 2026-01-09T00:00:00Z");
        let logins: Vec<_> = (1..=events).map(|event| login(from + event * gap)).collect();
        let logins: Vec<_> = logins.iter().map(String::as_str).collect();
        let stamp = |event| Stamp { position: Position::new(from + event * gap), recorded_at: instant(NOW) };
        let records = Followed::Events(batch(&logins), (1..=events).map(stamp).collect());
        assert_eq!(self.log.follow(records).await.unwrap().kept as u64, events);
        self.log.tail().position()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.inner.close();
    }
}

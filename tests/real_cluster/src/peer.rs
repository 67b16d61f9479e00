//! A node of Lastseen: a directory and the store over it, which is opened and closed.

use std::sync::Arc;

use lastseen_event::{EventBatch, EventRows, Fact, Position, Retraction};
use lastseen_eventstoredb::{ClusterSettings, ClusterStore, OpenStoreError};
use lastseen_log::{Disk, LockedDisk, LogOptions, OsDisk};
use lastseen_store::{AppendError, Appended, Detail, EventReader, EventStore, OnRefused, Scan, SystemClock};
use tempfile::TempDir;

use crate::waiting::{until, wait};

/// One node.
pub(crate) struct Peer {
    dir: TempDir,
    pub(crate) settings: ClusterSettings,
    options: LogOptions,
    store: Option<Arc<ClusterStore>>,
}

/// Everything that a node has.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) facts: Vec<Fact>,
    pub(crate) events: EventRows,
    pub(crate) retractions: Vec<Retraction>,
    /// The names of batches, and the position at which each was taken back.
    pub(crate) batches: Vec<(String, Option<Position>, u64)>,
}

impl Peer {
    /// A node that is not open, with an empty directory.
    pub(crate) fn new(settings: ClusterSettings) -> Self {
        let options = LogOptions { recent_ids: 1_000, ..LogOptions::default() };
        Self { dir: TempDir::new().unwrap(), settings, options, store: None }
    }

    /// One that is open.
    pub(crate) fn open(settings: ClusterSettings) -> Self {
        let mut peer = Self::new(settings);
        peer.start().unwrap();
        peer
    }

    /// Segments are made of so many events.
    pub(crate) fn with_segments_of(mut self, events: u64) -> Self {
        self.options.segment_events = events;
        self
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(OsDisk::new(self.dir.path()).unwrap())
    }

    /// Opens the store.
    pub(crate) fn start(&mut self) -> Result<(), OpenStoreError> {
        let locked = LockedDisk::lock(self.disk()).unwrap();
        let clock = Arc::new(SystemClock);
        let store = ClusterStore::open(locked, self.options.clone(), &self.settings, (clock, &[]), |_| ())?;
        self.store = Some(Arc::new(store));
        Ok(())
    }

    /// Closes the store; what is asked of it later is refused.
    pub(crate) fn stop(&mut self) {
        if let Some(store) = self.store.take() {
            store.close();
        }
    }

    /// Removes all files of a node that is closed.
    pub(crate) fn delete(&mut self) {
        assert!(self.store.is_none(), "it is closed");
        self.dir = TempDir::new().unwrap();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.store.is_some()
    }

    pub(crate) fn store(&self) -> &Arc<ClusterStore> {
        self.store.as_ref().expect("it is open")
    }

    pub(crate) fn append(&self, batch: EventBatch) -> Result<Appended, AppendError> {
        wait(self.store().append(batch, OnRefused::RefuseBatch))
    }

    /// Waits until the node has everything up to a position.
    #[track_caller]
    pub(crate) fn reach(&self, position: u64) {
        let tail = self.store().tail();
        until(&format!("a node takes in position {position}"), || tail.position().get() >= position);
    }

    pub(crate) fn history(&self) -> History {
        History::of(self.store().as_ref())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl History {
    pub(crate) fn of(store: &dyn EventStore) -> Self {
        let mut history = Self::default();
        let mut reader = store.scan(Scan::after(Position::START, Detail::Events));
        while let Some(batch) = reader.next_batch().unwrap() {
            history.facts.extend(batch.facts);
            history.retractions.extend(batch.retractions);
            for event in batch.events.iter() {
                history.events.push(&event);
            }
        }
        assert_eq!(history.facts.len(), history.events.len());
        let batches = store.batches();
        history.batches = batches
            .iter()
            .map(|(_, batch)| (batch.name().to_owned(), batch.retracted, batch.events.total()))
            .collect();
        history
    }

    /// Both nodes have the same: events, positions, instants, ordinals, retractions, batches.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Self) {
        let differ = self.facts.iter().zip(&other.facts).find(|(one, other)| one != other);
        assert!(differ.is_none(), "the nodes differ: {differ:?}");
        assert_eq!(self.facts.len(), other.facts.len(), "one node has more events");
        let differ = self.events.iter().zip(other.events.iter()).find(|(one, other)| one != other);
        assert!(differ.is_none(), "the nodes differ: {differ:?}");
        assert_eq!(self.retractions, other.retractions);
        assert_eq!(self.batches, other.batches);
        let bytes = |history: &Self| {
            let mut bytes = Vec::new();
            for event in history.events.iter() {
                lastseen_event::wire::encode_published(&event, &mut bytes);
            }
            bytes
        };
        assert!(bytes(self) == bytes(other), "a scan gives other bytes on each node");
    }
}

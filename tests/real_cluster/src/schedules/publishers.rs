//! Publishers at two nodes: each sends batches, one after the other, to whichever store its node has at the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lastseen_event::{BatchName, EventBatch};
use lastseen_eventstoredb::ClusterStore;
use lastseen_store::contract::Source;
use lastseen_store::{EventStore, OnRefused, RetractOutcome};
use lastseen_tests::Seeded;
use parking_lot::{Condvar, Mutex};

use super::recovery::{Attempt, Recoveries};
use crate::journal::Journal;
use crate::peer::{History, Peer};
use crate::waiting::wait;

/// A node that publishers send to, while a script closes and opens it.
pub(crate) struct Site {
    peer: Mutex<Peer>,
    /// The store, for publishers: appends go on while the script holds the peer.
    store: Mutex<Option<Arc<ClusterStore>>>,
    opened: Condvar,
}

impl Site {
    pub(crate) fn new(peer: Peer) -> Self {
        let store = Mutex::new(Some(peer.store().clone()));
        Self { peer: Mutex::new(peer), store, opened: Condvar::new() }
    }

    /// The store, if it is open.
    pub(crate) fn store(&self) -> Option<Arc<ClusterStore>> {
        self.store.lock().clone()
    }

    /// Waits a moment for the store, if it is closed at present.
    fn store_soon(&self) -> Option<Arc<ClusterStore>> {
        let mut store = self.store.lock();
        if store.is_none() {
            self.opened.wait_for(&mut store, Duration::from_millis(100));
        }
        store.clone()
    }

    /// Does something to the node, which may close and open it.
    pub(crate) fn with(&self, act: impl FnOnce(&mut Peer)) {
        let mut peer = self.peer.lock();
        *self.store.lock() = None;
        act(&mut peer);
        *self.store.lock() = peer.is_open().then(|| peer.store().clone());
        self.opened.notify_all();
    }

    pub(crate) fn history(&self) -> History {
        self.peer.lock().history()
    }
}

/// Publishers that run until they are stopped.
pub(crate) struct Publishers {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    sites: [Arc<Site>; 2],
    journal: Mutex<Journal>,
    stopped: AtomicBool,
    /// Batches that have an answer.
    answered: AtomicU64,
    recoveries: Arc<Recoveries>,
    source: Source,
}

/// Numbers that publishers of both nodes use.
const COMMON: u64 = 1_000_000;
/// Names of tenants.
const TENANTS: [&str; 3] = ["acme", "globex", "übung"];
const PUBLISHERS: usize = 4;

impl Publishers {
    pub(crate) fn start(sites: &[Arc<Site>; 2], seed: u64, recoveries: &Arc<Recoveries>) -> Self {
        let shared = Arc::new(Shared {
            sites: sites.clone(),
            journal: Mutex::default(),
            stopped: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            recoveries: recoveries.clone(),
            source: Source { series: u32::try_from(seed % 1_000_000).unwrap() },
        });
        let threads = (0..PUBLISHERS).map(|number| {
            let (shared, numbers) = (shared.clone(), Seeded::new(seed ^ (number as u64) << 40));
            std::thread::spawn(move || shared.publish(number, numbers))
        });
        Self { threads: threads.collect(), shared }
    }

    /// Batches that have an answer.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// Notes an accident after which the time to the next success counts.
    pub(crate) fn accident(&self, kind: &'static str) {
        self.shared.recoveries.begin(kind);
    }

    /// Ends them; returns what they were told.
    pub(crate) fn stop(self) -> Journal {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("a publisher is told what it expects");
        }
        std::mem::take(&mut self.shared.journal.lock())
    }
}

impl Shared {
    fn publish(&self, publisher: usize, mut numbers: Seeded) {
        let site = &self.sites[publisher % 2];
        let mut next = publisher as u64 * 100_000;
        while !self.stopped.load(Ordering::SeqCst) {
            let Some(store) = site.store_soon() else { continue };
            if numbers.below(25) == 0 {
                self.retract(&store, &mut numbers, next);
                continue;
            }
            let batch = self.batch(publisher, &mut next, &mut numbers);
            let on_refused = *numbers.pick(&[OnRefused::RefuseBatch, OnRefused::Skip]);
            let attempt = Attempt::begin();
            let answer = wait(store.append(batch.clone(), on_refused));
            if answer.as_ref().is_ok_and(|appended| appended.stored > 0) {
                self.recoveries.succeeded(attempt);
            }
            self.journal.lock().note(&batch, on_refused, &answer);
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// New events, events that were sent before, and now and then an id with other content.
    fn batch(&self, publisher: usize, next: &mut u64, numbers: &mut Seeded) -> EventBatch {
        let mut batch = EventBatch::default();
        let first = publisher as u64 * 100_000;
        let events_max = *numbers.pick(&[1, 12, 60]);
        for _ in 0..=numbers.below(events_max) {
            let number = match numbers.below(20) {
                0 | 1 => COMMON + numbers.below(200),
                2 | 3 if *next > first => first + numbers.below(*next - first),
                _ => {
                    *next += 1;
                    *next - 1
                }
            };
            // An event keeps its tenant; some ids are in two.
            let mut tenant = TENANTS[usize::try_from(number % 3).unwrap()];
            if numbers.below(50) == 0 {
                tenant = TENANTS[usize::try_from((number + 1) % 3).unwrap()];
            }
            let shift_us = i64::from(numbers.below(60) == 0);
            self.source.push_of(&mut batch, tenant, (number, shift_us));
        }
        batch
    }

    fn retract(&self, store: &ClusterStore, numbers: &mut Seeded, next: u64) {
        let name = format!("run {}", next.saturating_sub(numbers.below(100)));
        let outcome = wait(store.retract(BatchName::new(&name).unwrap(), None));
        if matches!(outcome, Ok(RetractOutcome::Retracted(_))) {
            self.journal.lock().retracted.push(name);
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
    }
}

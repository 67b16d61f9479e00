//! The fold thread: applies each durable group to the live views, then acknowledges it. The only writer of the views, and
//! the one who puts rebuilt ones in their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use lastseen_event::{Fact, Position};
use lastseen_log::{Commit, Log};
use lastseen_projections::Views;
use lastseen_store::{Detail, EventReader, EventStore, ReadError, Scan};
use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::watch;

use crate::live::Live;

/// Groups that may wait for the fold thread; then the writer waits.
pub(crate) const QUEUE_GROUPS: usize = 4;

/// Facts applied before queries get a turn.
const LOCKED_FACTS_MAX: usize = 256;

/// What the fold thread is asked to do.
pub(crate) enum Work {
    Commit(Commit),
    /// Puts these in the place of the live views once they are as far.
    Replace(Rebuilt),
}

/// Views that were built beside the live ones.
pub(crate) struct Rebuilt {
    pub(crate) views: Box<Views>,
    /// Up to here the log was folded into them.
    pub(crate) reached: Position,
    /// Told once they are in place.
    pub(crate) replaced: Sender<Result<(), ReadError>>,
}

/// What the thread works on.
pub(crate) struct Fold {
    pub(crate) log: Arc<Log>,
    pub(crate) live: Arc<Live>,
    pub(crate) folded: watch::Sender<Position>,
    pub(crate) folded_events: Arc<AtomicU64>,
}

impl Fold {
    /// Does what arrives until nobody is left to ask for anything.
    pub(crate) fn run(self, work: &Receiver<Work>) {
        while let Ok(work) = work.recv() {
            match work {
                Work::Commit(commit) => self.commit(commit),
                Work::Replace(Rebuilt { views, reached, replaced }) => {
                    // Who is not there any more needs no answer.
                    let _ = replaced.send(self.replace(*views, reached));
                }
            }
        }
    }

    fn commit(&self, commit: Commit) {
        if commit.retracted {
            // Nothing is left to be folded up to there, though the batch is in the views until they are rebuilt.
            self.live.get().write().reach(commit.position);
        } else if !commit.facts.is_empty() {
            apply(&self.live.get(), &commit.facts);
            self.folded_events.fetch_add(commit.facts.len() as u64, Ordering::Release);
        }
        self.reached(commit.position);
        commit.acknowledge();
    }

    /// Folds what was committed since the rebuilt views were handed over, little as it is, and puts them in place.
    fn replace(&self, mut views: Views, reached: Position) -> Result<(), ReadError> {
        let folded = (*self.folded.borrow()).max(reached);
        let scan = Scan { until: Some(folded), ..Scan::after(reached, Detail::Facts) };
        let mut reader = self.log.scan(scan);
        while let Some(batch) = reader.next_batch()? {
            views.apply_all(&batch.facts);
        }
        views.reach(folded);
        self.live.replace(Arc::new(RwLock::new(views)));
        self.reached(folded);
        Ok(())
    }

    /// Says how far the views are. Rebuilt ones may be ahead of what is folded next.
    fn reached(&self, position: Position) {
        self.folded.send_if_modified(|folded| {
            let is_ahead = position > *folded;
            *folded = position.max(*folded);
            is_ahead
        });
    }
}

fn apply(views: &RwLock<Views>, facts: &[Fact]) {
    let mut live = views.write();
    for (turn, facts) in facts.chunks(LOCKED_FACTS_MAX).enumerate() {
        if turn > 0 {
            RwLockWriteGuard::bump(&mut live);
        }
        live.apply_all(facts);
    }
}

//! The fold thread: applies each durable group to the live views, then acknowledges it. Only this thread changes the
//! views, and puts rebuilt ones in their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use lastseen_event::Position;
use lastseen_log::{Commit, Log};
use lastseen_projections::{Subject, Unfollowed, Views};
use lastseen_store::{EventReader, EventStore, ReadError};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::definitions::{NewDays, facts_between, few_facts};
use super::live::{self, Live};
use crate::metrics::Metrics;

/// Groups that may wait for the fold thread; then the writer waits.
pub(super) const QUEUE_GROUPS: usize = 4;

/// A request to the fold thread.
pub(super) enum Work {
    Commit(Commit),
    /// Lets the live views follow new days from now on.
    Follow(Follow),
    /// Lets the live views follow some days no longer, which are sent back to be freed.
    Unfollow(Subject, Sender<Unfollowed>),
    /// Puts these views in the place of the live ones once they have folded as much.
    Replace(Rebuilt),
}

/// Days that were made beside the live views.
pub(super) struct Follow {
    pub(super) days: NewDays,
    /// Last position of the log that is in them.
    pub(super) reached: Position,
    /// Receives the rest of them, to be freed, and whether the live views follow them.
    pub(super) done: Sender<(NewDays, Result<bool, ReadError>)>,
}

/// Views that were built beside the live ones.
pub(super) struct Rebuilt {
    pub(super) views: Box<Views>,
    /// Last position of the log that is folded into them.
    pub(super) reached: Position,
    /// Receives the outcome once they are in place.
    pub(super) replaced: Sender<Result<(), ReadError>>,
}

/// State of the thread.
pub(super) struct Fold {
    pub(super) log: Arc<Log>,
    pub(super) live: Arc<Live>,
    pub(super) folded: watch::Sender<Position>,
    pub(super) folded_events: Arc<AtomicU64>,
    pub(super) metrics: Arc<Metrics>,
}

impl Fold {
    /// Does what arrives until every sender is gone.
    pub(super) fn run(self, work: &Receiver<Work>) {
        while let Ok(work) = work.recv() {
            match work {
                Work::Commit(commit) => self.commit(commit),
                Work::Follow(Follow { mut days, reached, done }) => {
                    let follows = self.follow(&mut days, reached);
                    // Whoever asked may be gone.
                    let _ = done.send((days, follows));
                }
                Work::Unfollow(subject, done) => {
                    let unfollowed = self.live.get().write().unfollow(subject);
                    let _ = done.send(unfollowed);
                }
                Work::Replace(Rebuilt { views, reached, replaced }) => {
                    // A rebuild that was given up has dropped its receiver.
                    let _ = replaced.send(self.replace(*views, reached));
                }
            }
        }
    }

    fn commit(&self, commit: Commit) {
        self.metrics.group(&commit.facts, commit.synced);
        if commit.retracted {
            // A retraction has no fact to fold; the views hold its batch until they are rebuilt.
            self.live.get().write().reach(commit.position);
        } else if !commit.facts.is_empty() {
            live::fold(&self.live.get(), &commit.facts);
            self.folded_events.fetch_add(commit.facts.len() as u64, Ordering::Release);
        }
        self.reached(commit.position);
        commit.acknowledge();
    }

    /// Folds the few events that were committed since days were handed over into them.
    fn follow(&self, days: &mut NewDays, reached: Position) -> Result<bool, ReadError> {
        let folded = *self.folded.borrow();
        let since = few_facts(self.log.scan(facts_between(reached, folded)))?;
        Ok(days.follow(&mut self.live.get().write(), &since))
    }

    /// Folds the few events that were committed since the rebuilt views were handed over, and puts them in place.
    fn replace(&self, mut views: Views, reached: Position) -> Result<(), ReadError> {
        let folded = (*self.folded.borrow()).max(reached);
        let mut reader = self.log.scan(facts_between(reached, folded));
        while let Some(batch) = reader.next_batch()? {
            views.apply_all(&batch.facts);
        }
        views.reach(folded);
        self.live.replace(Arc::new(RwLock::new(views)));
        self.reached(folded);
        Ok(())
    }

    /// Publishes the position of the views. Rebuilt views may be ahead of the next commit, so it never goes back.
    fn reached(&self, position: Position) {
        self.folded.send_if_modified(|folded| {
            let is_ahead = position > *folded;
            *folded = position.max(*folded);
            is_ahead
        });
    }
}

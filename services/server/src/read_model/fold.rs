//! The fold thread: follows the log and applies what is durable to the live views. Only this thread changes the views, and
//! puts rebuilt ones in their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, SyncSender};
use std::time::Duration;

use lastseen_event::Position;
use lastseen_projections::{Subject, Unfollowed, Views};
use lastseen_store::{Detail, EventReader, EventStore, ReadError, RecordedBatch, Subscription, error_chain};
use parking_lot::RwLock;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use super::definitions::{NewDays, facts_between, few_facts};
use super::health::Health;
use super::live::{self, Live};
use crate::metrics::Metrics;

/// Requests that may wait for the fold thread.
pub(super) const QUEUE: usize = 4;

/// Pause after the log could not be read.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The name of this part in health.
pub(super) const PART: &str = "fold";

/// A request to the fold thread.
pub(super) enum Work {
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
    pub(super) log: Arc<dyn EventStore>,
    pub(super) live: Arc<Live>,
    pub(super) folded: watch::Sender<Position>,
    pub(super) folded_events: Arc<AtomicU64>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Health,
    /// Told that a batch was retracted.
    pub(super) retracted: SyncSender<()>,
}

impl Fold {
    /// Follows the log, and does what arrives between two steps, until the log is closed and all of it is folded.
    pub(super) fn run(self, runtime: &Runtime, mut work: mpsc::Receiver<Work>) {
        let after = *self.folded.borrow();
        runtime.block_on(async {
            let mut events = Subscription::new(self.log.as_ref(), after, Detail::Facts);
            let mut is_failing = false;
            loop {
                tokio::select! {
                    Some(work) = work.recv() => self.work(work),
                    is_open = self.follow_on(&mut events, &mut is_failing) => if !is_open {
                        break;
                    },
                }
            }
            // Who waits for an answer is told that there will be none.
            work.close();
            while work.recv().await.is_some() {}
        });
    }

    /// Folds the next events; waits for them. False once there will be no more. May be dropped while it waits.
    async fn follow_on(&self, events: &mut Subscription, is_failing: &mut bool) -> bool {
        match events.next().await {
            Ok(Some(batch)) => {
                if std::mem::take(is_failing) {
                    self.health.clear(PART);
                }
                self.fold(&batch);
            }
            Ok(None) => return false,
            Err(error) => {
                let cause = format!("the log cannot be read: {}", error_chain(&error));
                tracing::error!(cause, "events are stored and not in the numbers");
                self.health.failed(PART, cause);
                *is_failing = true;
                if self.health.is_closing() {
                    return false;
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
        true
    }

    fn fold(&self, batch: &RecordedBatch) {
        self.metrics.events(&batch.facts);
        if batch.facts.is_empty() && batch.retractions.is_empty() {
            // Views stand on events, so that a snapshot can name the one it is of.
            return self.reached(batch.reached);
        }
        // Rebuilt views may have the first of them already.
        let folded = *self.folded.borrow();
        let new = batch.facts.partition_point(|fact| fact.position <= folded);
        live::fold(&self.live.get(), &batch.facts[new..]);
        self.folded_events.fetch_add(batch.facts.len() as u64, Ordering::Release);
        if !batch.retractions.is_empty() {
            // A retraction has no fact to fold; the views hold its batch until they are rebuilt.
            self.live.get().write().reach(batch.reached.max(folded));
            // A full channel holds a nudge already.
            let _ = self.retracted.try_send(());
        }
        self.reached(batch.reached);
    }

    fn work(&self, work: Work) {
        match work {
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

    /// Publishes the position of the views. Rebuilt views may be ahead of the next events, so it never goes back.
    fn reached(&self, position: Position) {
        self.folded.send_if_modified(|folded| {
            let is_ahead = position > *folded;
            *folded = position.max(*folded);
            is_ahead
        });
    }
}

#[cfg(test)]
mod tests {
    use lastseen_projections::{Persons, Retracted, Scope, Selection, ViewsBuilder};
    use lastseen_store::{ManualClock, MemoryStore, OnRefused};

    use super::*;
    use crate::testing::{NOW, batch, instant};

    #[tokio::test]
    async fn events_that_rebuilt_views_have_already_are_not_folded_again() {
        let clock = Arc::new(ManualClock::new(instant(NOW)));
        let log: Arc<dyn EventStore> = Arc::new(MemoryStore::new(clock.clone()));
        let builder = || ViewsBuilder::new(Selection::default(), Retracted::default(), Persons::Off);
        let fold = Fold {
            log: log.clone(),
            live: Arc::new(Live::new(builder().finish())),
            folded: watch::channel(Position::START).0,
            folded_events: Arc::default(),
            metrics: Arc::new(Metrics::new()),
            health: Health::new(clock),
            retracted: std::sync::mpsc::sync_channel(1).0,
        };
        let events = ["login acme ada 2026-01-09T00:00:00Z", "login acme ada 2026-01-09T00:00:01Z"];
        log.append(batch(&events), OnRefused::RefuseBatch).await.unwrap();
        let of_all = log.read(Position::START, Detail::Facts).next_batch().unwrap().unwrap();
        // The fold is behind, and views were rebuilt from the first of two events, then from both.
        for rebuilt in 1..=2 {
            let mut views = builder();
            views.apply_all(&of_all.facts[..rebuilt]);
            fold.replace(views.finish(), of_all.facts[rebuilt - 1].position).unwrap();
        }
        fold.fold(&of_all);
        let views = fold.live.get();
        let member = of_all.facts[0].member.member;
        assert_eq!(views.read().member(member).unwrap().events, 2);
        assert_eq!(views.read().summary(Scope::All, instant(NOW)).total_users, 1);
        assert_eq!((views.read().position(), *fold.folded.borrow()), (of_all.reached, of_all.reached));
    }
}

//! The store and the views folded from it: opened once, read by every question, closed in order.
//!
//! 1. [`restore`] makes the views of all of the log, from the snapshot and the events after it;
//! 2. the fold thread ([`fold`]) follows the log and applies what is durable to the live views ([`live`]);
//! 3. [`ReadModel::reading`] gives a question the views, and the position and the instant that they hold for;
//! 4. [`rebuild`] makes new views without a retracted batch, [`snapshotting`] writes snapshots, both on threads
//!    of their own; [`health`] names each thread that stands still.
//!
//! This layer knows neither HTTP nor questions.

pub(crate) mod definitions;
mod fold;
pub(crate) mod halves;
pub(crate) mod health;
mod live;
mod reading;
mod rebuild;
mod remembered;
mod restore;
pub(crate) mod snapshot;
mod snapshotting;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::Persons;
use lastseen_store::{Clock, EventStore, Part, ReadError, StoreFault};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use self::definitions::{Asked, DefinitionLimits};
use self::fold::{Fold, Work};
use self::health::{Health, Standstill};
use self::live::Live;
pub(crate) use self::reading::Reading;
use self::rebuild::Rebuilds;
use self::remembered::Remembered;
use self::snapshot::Snapshot;
pub(crate) use self::snapshot::evidence;
use self::snapshotting::Snapshotting;
use crate::metrics::Metrics;
use crate::store::StoreError;
use crate::tasks;

/// A running store with its views.
pub(crate) struct ReadModel {
    log: Arc<dyn EventStore>,
    live: Arc<Live>,
    /// The last position that the views reflect.
    folded: watch::Receiver<Position>,
    /// Events that were folded since the model was opened, and before from the snapshot on.
    folded_events: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
    health: Health,
    /// When the last snapshot was taken, or the model was opened.
    snapshot_at: Arc<Mutex<Instant>>,
    threads: Mutex<Option<Threads>>,
    /// The way to the fold thread; `None` once the model is closed.
    fold: Mutex<Option<mpsc::Sender<Work>>>,
    asked: Asked,
    definition_limits: DefinitionLimits,
    remembered: Remembered,
}

/// The threads beside the log's own, and the sender that keeps the snapshot thread running.
struct Threads {
    fold: JoinHandle<()>,
    rebuild: JoinHandle<()>,
    snapshot: (Sender<()>, JoinHandle<()>),
}

/// Settings of a read model.
#[derive(Clone)]
pub(crate) struct ReadModelOptions {
    /// Events that make a snapshot due.
    pub(crate) snapshot_events: u64,
    /// The meaning of a `user_id` across tenants.
    pub(crate) persons: Persons,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) definitions: DefinitionLimits,
}

/// Resolves when a thread ends that the views cannot follow the log without.
pub(crate) struct Ended([oneshot::Receiver<()>; 2]);

impl Ended {
    /// Waits for the first of the threads to end.
    pub(crate) async fn wait(self) {
        let [fold, rebuild] = self.0;
        tokio::select! {
            _ = fold => {}
            _ = rebuild => {}
        }
    }
}

/// The store could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no store to read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// History cannot be read.
    #[error("cannot read the log")]
    Read(#[source] ReadError),
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] StoreFault),
}

impl ReadModel {
    /// Opens the log and folds its history; the snapshot of the views is in the directory `data`. `progress` is told how many
    /// events were folded. Blocks.
    ///
    /// # Errors
    /// [`StartError`]; nothing was changed but what recovery mends.
    pub(crate) fn open(
        (data, open): (&Path, impl FnOnce() -> Result<Arc<dyn EventStore>, StoreError>),
        options: ReadModelOptions,
        clock: Arc<dyn Clock>,
        progress: impl Fn(u64),
    ) -> Result<(Self, Ended), StartError> {
        let started = Instant::now();
        let (replacing, work) = mpsc::channel(fold::QUEUE);
        let following = replacing.clone();
        let (nudge, nudges) = sync_channel(1);
        // The views of the snapshot may hold a batch that was retracted just before the last stop.
        let _ = nudge.try_send(());
        let (snapshot, log) = tasks::join(|| Snapshot::read(data), open);
        let log = log?;
        let (views, events) =
            restore::views(snapshot, log.as_ref(), options.persons, progress).map_err(StartError::Read)?;
        let (folded_sender, folded) = watch::channel(views.position());
        let live = Arc::new(Live::new(views));
        let health = Health::new(clock.clone());
        // Events folded after the last snapshot make the next one due as well.
        let folded_events = Arc::new(AtomicU64::new(events));
        let fold = Fold {
            log: log.clone(),
            live: live.clone(),
            folded: folded_sender,
            folded_events: folded_events.clone(),
            metrics: options.metrics,
            health: health.clone(),
            // With the fold thread ends the rebuild thread.
            retracted: nudge,
        };
        let snapshot_at = Arc::new(Mutex::new(Instant::now()));
        let thread_error = |error: std::io::Error| StartError::Thread(error.into());
        let runtime = tasks::runtime_of_one_thread().map_err(thread_error)?;
        let (fold, fold_ended) =
            health.thread(fold::PART, move || fold.run(&runtime, work)).map_err(thread_error)?;
        let snapshotting = Snapshotting {
            data: data.to_owned(),
            log: log.clone(),
            live: live.clone(),
            folded: folded_events.clone(),
            every: options.snapshot_events,
            kept: 0,
            taken_at: snapshot_at.clone(),
        };
        let (stop, stopped) = channel();
        let (snapshot, _) =
            health.thread("snapshots", move || snapshotting.run(&stopped)).map_err(thread_error)?;
        let rebuilds =
            Rebuilds { log: log.clone(), live: live.clone(), fold: replacing, health: health.clone() };
        let (rebuild, rebuild_ended) =
            health.thread("rebuilds", move || rebuilds.run(&nudges)).map_err(thread_error)?;
        let (members, seconds) = (log.members().len(), started.elapsed().as_secs_f64());
        tracing::info!(events, members, seconds, "ready");
        let threads = Mutex::new(Some(Threads { fold, rebuild, snapshot: (stop, snapshot) }));
        Ok((
            Self {
                log,
                live,
                folded,
                folded_events,
                clock,
                health,
                snapshot_at,
                threads,
                fold: Mutex::new(Some(following)),
                asked: Asked::default(),
                definition_limits: options.definitions,
                remembered: Remembered::in_directory(data),
            },
            Ended([fold_ended, rebuild_ended]),
        ))
    }

    /// The event store.
    pub(crate) fn log(&self) -> &dyn EventStore {
        self.log.as_ref()
    }

    /// The same, to keep.
    pub(crate) fn shared_log(&self) -> Arc<dyn EventStore> {
        self.log.clone()
    }

    /// The present instant.
    pub(crate) fn now(&self) -> UtcInstant {
        self.clock.now()
    }

    /// The live views, and the position and instant they hold for.
    pub(crate) fn reading(&self) -> Reading {
        Reading::of(self.live.get(), self.log.lineage().log_id(), self.clock.now())
    }

    /// The last position that the views reflect.
    pub(crate) fn position(&self) -> Position {
        *self.folded.borrow()
    }

    /// The number of events that were folded so far: of use as a difference. The views may have some more already.
    pub(crate) fn folded_events(&self) -> u64 {
        self.folded_events.load(Ordering::Acquire)
    }

    /// The number of durable records that the views do not reflect yet, or more; see
    /// [`records_after`](EventStore::records_after).
    pub(crate) fn lag(&self) -> u64 {
        self.log.records_after(self.position())
    }

    /// Waits until the views reflect `position`, for at most `patience`. Returns whether they do.
    pub(crate) async fn reach(&self, position: Position, patience: Duration) -> bool {
        let mut folded = self.folded.clone();
        let reached = folded.wait_for(|folded| *folded >= position);
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }

    /// Waits until the views reflect a position after this one.
    pub(crate) async fn passes(&self, position: Position) {
        // An error: nothing is folded any more.
        if self.folded.clone().wait_for(|folded| *folded > position).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Time since the last snapshot, or since the start.
    pub(crate) fn snapshot_age(&self) -> Duration {
        self.snapshot_at.lock().elapsed()
    }

    /// Every part that stands still, of the log and of the threads beside it; empty: all is well.
    pub(crate) fn standstills(&self) -> Vec<Standstill> {
        let of_log = self.log.health().standstills.into_iter().map(|it| Standstill {
            part: it.part.as_str(),
            since: it.since,
            cause: it.cause,
            is_final: it.is_final,
        });
        of_log.chain(self.health.standstills()).collect()
    }

    /// The part for which there are no more events until the store is opened again, and the cause. `None`: there may be more.
    pub(crate) fn closed(&self) -> Option<(Part, String)> {
        let mut standstills = self.log.health().standstills.into_iter();
        let ends = |part| matches!(part, Part::Writer | Part::Cluster);
        standstills.find(|it| ends(it.part) && it.is_final).map(|it| (it.part, it.cause))
    }

    /// Takes no more events, makes durable and folds those that wait, ends the log. Blocks.
    pub(crate) fn close(&self) {
        self.health.closing();
        drop(self.fold.lock().take());
        self.log.close();
        let Some(Threads { fold, rebuild, snapshot: (stop, snapshot) }) = self.threads.lock().take() else {
            return;
        };
        for (name, thread) in [("fold", fold), ("rebuild", rebuild)] {
            if thread.join().is_err() {
                tracing::error!("the {name} thread panicked");
            }
        }
        // The last snapshot is of all that was folded.
        drop(stop);
        if snapshot.join().is_err() {
            tracing::error!("the snapshot thread panicked");
        }
    }
}

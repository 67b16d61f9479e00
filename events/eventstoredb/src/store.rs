//! The store that a server holds: appends go to the cluster, everything else is this node's copy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use lastseen_event::{BatchName, EventBatch, Position};
use lastseen_log::{Evidence, LockedDisk, Log, LogOptions, OpenError, ToldApart, WrittenGroup};
use lastseen_store::{
    AppendError, Appended, Batches, Clock, EventReader, EventStore, Gauges, Guard, Health, Lineage, LogId,
    MemberDictionary, OnRefused, Part, Pending, ReadError, RetractOutcome, Scan, Standstills, StoreFault,
    Tail,
};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::claims::Claims;
use crate::identity::{self, Held};
use crate::lag::Distance;
use crate::reader::{Reader, Told};
use crate::session::{Sessions, UNIT, units};
use crate::supervisor::{Fault, Supervisor};
use crate::under_way::UnderWay;
use crate::writer::{WriteError, Writer};
use crate::{ClusterSettings, Timing};

/// A cluster could not be made use of.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The cluster refuses, or has another history.
    #[error("cannot use the cluster {hosts}")]
    Cluster {
        /// Its hosts.
        hosts: String,
        /// The cause.
        #[source]
        source: Fault,
    },
    /// The cluster cannot be followed.
    #[error("cannot follow the cluster: {0}")]
    Stopped(String),
    /// This node's copy refuses.
    #[error("cannot open the copy of the cluster's history")]
    Copy(#[source] OpenError),
    /// The copy cannot be read.
    #[error("cannot read the copy of the cluster's history")]
    Unreadable(#[source] ReadError),
    /// Threads cannot be started.
    #[error("cannot start threads")]
    Threads(#[source] StoreFault),
}

/// An event store in a cluster of EventStoreDB or KurrentDB, with a copy of it in a log of this node.
///
/// Of the promises of the port, these are weaker than those of the embedded log:
///
/// - an append is written in one piece for each member, of those events of the member that stand one behind the other; once
///   something was sent, there is only success, or [`AppendError::PartlyUnknown`] with the events that have no answer;
/// - the cluster knows an id for minutes only. Every copy leaves out an event whose id it has kept before, so that views are right; but
///   two nodes that are given one id at the same time may both say that they stored it, and of two contents one is left out;
/// - the number that a retraction expects is compared with this node's copy.
pub struct ClusterStore {
    shared: Arc<Shared>,
    runtime: Mutex<Option<Runtime>>,
    reading: Mutex<Option<JoinHandle<()>>>,
    threads: Handle,
}

/// Everything that appends use.
struct Shared {
    log: Arc<Log>,
    writer: Writer,
    claims: Claims,
    distance: Arc<Distance>,
    standstills: Arc<Standstills>,
    clock: Arc<dyn Clock>,
    timing: Timing,
    /// Bytes of batches that may wait, in units of [`UNIT`].
    bytes: Semaphore,
    under_way: Arc<UnderWay>,
    /// True if the last append that went to the cluster failed.
    has_failed: AtomicBool,
}

/// Batches that may be under way, in units of [`UNIT`]: 256 MiB. The largest one fits.
const UNITS_MAX: u32 = (256 << 20) / 1024;
const _: () = assert!(UNIT == 1024);
/// An append waits this long for room before it is told to come back.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
/// Threads for the cluster: one reads while the other writes.
const THREADS: usize = 2;

impl ClusterStore {
    /// This node's copy of the history.
    pub fn copy(&self) -> &Log {
        &self.shared.log
    }

    /// Opens this node's copy and follows the cluster: returns once the copy has caught up. Where there is a copy and the cluster
    /// does not answer, returns after [`Timing::contact`] and goes on trying; where there is none, waits for the cluster. Blocks.
    /// `on_group` is called for each group of events that the copy has taken in.
    ///
    /// # Errors
    /// [`OpenStoreError`].
    pub fn open(
        locked: LockedDisk,
        options: LogOptions,
        settings: &ClusterSettings,
        (clock, evidence): (Arc<dyn Clock>, &[Evidence]),
        on_group: impl FnMut(WrittenGroup) + Send + 'static,
    ) -> Result<Self, OpenStoreError> {
        let known = locked.origin().map_err(OpenStoreError::Copy)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("cluster")
            .enable_all()
            .build()
            .map_err(|error| OpenStoreError::Threads(error.into()))?;
        let threads = runtime.handle().clone();
        let contact = Contact { settings: settings.clone(), known };
        let stopped = || OpenStoreError::Threads(std::io::Error::other("they have ended").into());
        let origin = wait_for(&threads, contact.origin()).ok_or_else(stopped)??;
        let log = Log::open_following(locked, options, origin, (clock.clone(), evidence), on_group);
        let log = Arc::new(log.map_err(OpenStoreError::Copy)?);
        let timing = settings.timing;
        let standstills = Arc::new(Standstills::new(clock.clone()));
        let distance = Arc::new(Distance::new(clock.clone(), log.tail().position()));
        let (caught_up, is_caught_up) = watch::channel(false);
        let under_way = Arc::new(UnderWay::default());
        let reader = Reader {
            supervisor: Arc::new(Supervisor::new(settings.clone())),
            log: log.clone(),
            origin,
            held: Held::of(&log).map_err(OpenStoreError::Unreadable)?,
            distance: distance.clone(),
            standstills: standstills.clone(),
            caught_up,
            under_way: under_way.clone(),
            told: Told::default(),
        };
        let reading = threads.spawn(reader.run());
        let writer = Writer::new(Sessions::new(Supervisor::new(settings.clone())));
        let shared = Shared {
            log,
            writer,
            claims: Claims::default(),
            distance,
            standstills,
            clock,
            timing,
            bytes: Semaphore::new(UNITS_MAX as usize),
            under_way,
            has_failed: AtomicBool::new(false),
        };
        let store = Self {
            shared: Arc::new(shared),
            runtime: Mutex::new(Some(runtime)),
            reading: Mutex::new(Some(reading)),
            threads,
        };
        store.catch_up(&is_caught_up, known.is_some())?;
        Ok(store)
    }

    /// Waits until the copy has caught up, and says how far it is.
    fn catch_up(&self, is_caught_up: &watch::Receiver<bool>, has_copy: bool) -> Result<(), OpenStoreError> {
        /// Time between two lines in the log.
        const TELL_EVERY: Duration = Duration::from_secs(5);
        let Shared { distance, standstills, timing, .. } = &*self.shared;
        let begun = std::time::Instant::now();
        loop {
            let (mut caught_up, within) = (is_caught_up.clone(), TELL_EVERY.min(timing.contact));
            let waiting =
                async move { timeout(within, caught_up.wait_for(|it| *it)).await.is_ok_and(|it| it.is_ok()) };
            if wait_for(&self.threads, waiting) == Some(true) {
                return Ok(());
            }
            if let Some(still) = standstills.all().into_iter().find(|it| it.is_final) {
                self.close();
                return Err(OpenStoreError::Stopped(still.cause));
            }
            let lag = distance.lag();
            // Servers before 23.10 do not say that all was told.
            if lag.positions == Some(0) {
                return Ok(());
            }
            let has_answered = lag.is_connected || distance.is_doubted();
            if has_copy && !has_answered && begun.elapsed() >= timing.contact {
                tracing::warn!(
                    "the cluster does not answer: going on with this node's copy, which may be behind"
                );
                return Ok(());
            }
            let (position, behind) = (distance.reached().get(), lag.positions);
            tracing::info!(position, behind, "this node's copy catches up with the cluster");
        }
    }
}

/// Waits for a future that the cluster's threads run: this thread may be one of another runtime. `None`: the threads have ended.
fn wait_for<T: Send + 'static>(
    threads: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = sync_channel(1);
    threads.spawn(async move {
        // Nobody waits any more.
        let _ = sender.send(future.await);
    });
    receiver.recv().ok()
}

/// The first contact with a cluster.
struct Contact {
    settings: ClusterSettings,
    /// The log that the copy is of, if there is one.
    known: Option<LogId>,
}

impl Contact {
    /// The id of the cluster's log: as it says, or as the copy says if the cluster does not answer.
    async fn origin(self) -> Result<LogId, OpenStoreError> {
        let supervisor = Supervisor::new(self.settings.clone());
        let deadline = Instant::now() + self.settings.timing.contact;
        let mut told: Option<String> = None;
        loop {
            let fault = match Self::ask(&supervisor).await {
                Ok(found) => match self.known {
                    Some(known) if known != found => Fault::OtherLog(format!(
                        "it has the log {found}, and the directory has a copy of the log {known}: use another directory, or another cluster"
                    )),
                    _ => return Ok(found),
                },
                Err(fault) => fault,
            };
            if !matches!(fault, Fault::Unreachable(_)) {
                return Err(OpenStoreError::Cluster { hosts: self.settings.to_string(), source: fault });
            }
            if let Some(known) = self.known.filter(|_| Instant::now() >= deadline) {
                return Ok(known);
            }
            let fault = fault.to_string();
            if told.as_ref() != Some(&fault) {
                tracing::warn!(cluster = %self.settings, "{fault}; trying again");
                told = Some(fault);
            }
        }
    }

    async fn ask(supervisor: &Supervisor) -> Result<LogId, Fault> {
        let lease = supervisor.lease().await?;
        let asked = async {
            // Whoever may not read all of it finds out before anything is founded.
            identity::head(supervisor, &lease).await?;
            identity::founded(supervisor, &lease).await
        };
        let answer = asked.await;
        if answer.is_err() {
            supervisor.failed(&lease).await;
        }
        answer
    }
}

impl Shared {
    async fn append(&self, batch: EventBatch, on_refused: OnRefused) -> Result<Appended, AppendError> {
        let units = units(batch.bytes(), UNITS_MAX);
        let Ok(room) = timeout(ROOM_WITHIN, self.bytes.acquire_many(units)).await else {
            return Err(AppendError::Overloaded);
        };
        let _room = room.map_err(|_| AppendError::Closed)?;
        let _claim = self.claims.claim(&batch).await;
        let ToldApart { batch, new, refused, reached } = self.log.tell_apart(batch).await?;
        if on_refused.refuses(&refused) {
            return Err(AppendError::Refused(refused));
        }
        let duplicates = batch.len() - new.len() - refused.len();
        // Duplicates may be such that the copy is just writing down.
        let mut position = reached;
        if !new.is_empty() {
            let written = self.writer.append(&batch, &new).await.map_err(|error| self.unsent(error))?;
            position = position.max(written);
            self.wrote();
        }
        self.visible(position).await;
        Ok(Appended { stored: new.len(), duplicates, refused, position })
    }

    async fn retract(&self, name: &str, events: Option<u64>) -> Result<RetractOutcome, AppendError> {
        let found = |log: &Log| {
            let batches = log.batches();
            batches.find(name).and_then(|batch| batches.get(batch).cloned())
        };
        let Some(batch) = found(&self.log) else { return Ok(RetractOutcome::Unknown) };
        let found_events = batch.events.total();
        if events.is_some_and(|events| events != found_events) {
            return Ok(RetractOutcome::CountChanged { events: found_events });
        }
        if let Some(position) = batch.retracted {
            return Ok(RetractOutcome::Retracted(position));
        }
        let Some(name) = BatchName::stored(name) else { return Ok(RetractOutcome::Unknown) };
        let retracted = self.writer.retract(name, self.clock.now()).await;
        let position = retracted.map_err(|error| match self.unsent(error) {
            // It is one record.
            AppendError::PartlyUnknown { source, .. } => AppendError::Indeterminate(source),
            error => error,
        })?;
        self.wrote();
        self.visible(position).await;
        // Another node's may be the first.
        let first = found(&self.log).and_then(|batch| batch.retracted);
        Ok(RetractOutcome::Retracted(first.unwrap_or(position)))
    }

    /// Waits until this node's copy has a position, for some time: it is durable in any case.
    async fn visible(&self, position: Position) {
        if let Some(before) = position.get().checked_sub(1) {
            let mut tail = self.log.tail();
            let _ = timeout(self.timing.visible, tail.wait_past(Position::new(before))).await;
        }
    }

    /// Takes back that the cluster stands still, if an append said so.
    fn wrote(&self) {
        if self.has_failed.swap(false, Relaxed) {
            self.standstills.works(Part::Cluster);
        }
    }

    fn unsent(&self, error: WriteError) -> AppendError {
        let (fault, rows) = match error {
            WriteError::NothingSent(fault) => (fault, None),
            WriteError::Unknown { rows, fault } => (fault, Some(rows)),
        };
        tracing::warn!(events = rows.as_ref().map(Vec::len), "an append has no answer: {fault}");
        self.standstills.failed(Part::Cluster, fault.to_string());
        self.has_failed.store(true, Relaxed);
        let source = StoreFault::from(std::io::Error::other(fault));
        match rows {
            None => AppendError::Unavailable(source),
            Some(rows) => AppendError::PartlyUnknown {
                unknown: rows.into_iter().map(|row| row as usize).collect(),
                source,
            },
        }
    }
}

/// Ends its count however it ends.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.under_way.end();
    }
}

impl EventStore for ClusterStore {
    fn append(&self, batch: EventBatch, on_refused: OnRefused) -> Pending<'_, Appended> {
        if !self.shared.under_way.begin() {
            return Box::pin(std::future::ready(Err(AppendError::Closed)));
        }
        let counted = Counted(self.shared.clone());
        let append = self.threads.spawn(async move { counted.0.append(batch, on_refused).await });
        Box::pin(async move { append.await.unwrap_or_else(|lost| Err(ended(&lost))) })
    }

    fn retract<'a>(&'a self, batch: BatchName<'a>, events: Option<u64>) -> Pending<'a, RetractOutcome> {
        if !self.shared.under_way.begin() {
            return Box::pin(std::future::ready(Err(AppendError::Closed)));
        }
        let (counted, name) = (Counted(self.shared.clone()), batch.as_str().to_owned());
        let retract = self.threads.spawn(async move { counted.0.retract(&name, events).await });
        Box::pin(async move { retract.await.unwrap_or_else(|lost| Err(ended(&lost))) })
    }

    fn batches(&self) -> Guard<'_, Batches> {
        self.shared.log.batches()
    }

    fn members(&self) -> Guard<'_, dyn MemberDictionary> {
        self.shared.log.members()
    }

    fn scan(&self, scan: Scan) -> Box<dyn EventReader> {
        self.shared.log.scan(scan)
    }

    fn parts(&self) -> Vec<Position> {
        self.shared.log.parts()
    }

    fn records_after(&self, position: Position) -> u64 {
        self.shared.log.records_after(position)
    }

    fn tail(&self) -> Tail {
        self.shared.log.tail()
    }

    fn lineage(&self) -> Arc<Lineage> {
        self.shared.log.lineage()
    }

    fn health(&self) -> Health {
        let mut health = self.shared.log.health();
        health.standstills.extend(self.shared.standstills.all());
        health
    }

    fn gauges(&self) -> Gauges {
        let of_copy = self.shared.log.gauges();
        let waiting_appends = self.shared.under_way.count();
        Gauges { waiting_appends, lag: Some(self.shared.distance.lag()), ..of_copy }
    }

    fn close(&self) {
        let Some(runtime) = self.runtime.lock().take() else { return };
        self.shared.under_way.close(self.shared.timing.outcome + self.shared.timing.visible);
        if let Some(reading) = self.reading.lock().take() {
            reading.abort();
        }
        self.shared.log.close();
        // Their connections end with them.
        runtime.shutdown_background();
    }
}

impl Drop for ClusterStore {
    fn drop(&mut self) {
        self.close();
    }
}

fn ended(lost: &tokio::task::JoinError) -> AppendError {
    let cause = format!("the append ended before it had an answer: {lost}");
    AppendError::Indeterminate(std::io::Error::other(cause).into())
}

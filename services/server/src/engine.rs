//! The log and the live views behind the routes: opened once, shared by all requests, closed in order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lastseen_event::{Position, UtcInstant};
use lastseen_log::{Commit, LockedDisk, Log, LogOptions, OpenError, OsDisk};
use lastseen_projections::{Selection, Views, ViewsBuilder};
use lastseen_store::{Clock, Detail, EventReader, EventStore, ReadError, RecordedBatch, StoreFault};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::fold::{self, Fold, Work};
use crate::live::{Live, SharedViews};
use crate::query::span::Calendars;
use crate::rebuilds::{Rebuilds, retracted_in};
use crate::replay::{REPLAYS_MAX, Replays};
use crate::rows::KeptRows;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::snapshots::Snapshots;
use crate::tasks;

/// A running store with its views.
pub(crate) struct Engine {
    pub(crate) log: Arc<Log>,
    live: Arc<Live>,
    /// The last position that the views reflect.
    pub(crate) folded: watch::Receiver<Position>,
    pub(crate) clock: Arc<dyn Clock>,
    /// One permit a scan of history: each takes a core and the memory of its own views.
    pub(crate) scans: Arc<Semaphore>,
    /// One permit a series or cohorts being counted.
    pub(crate) counts: Arc<Semaphore>,
    /// Rows of series that were counted before.
    pub(crate) rows: KeptRows,
    pub(crate) calendars: Calendars,
    /// One permit a replay.
    pub(crate) replays: Replays,
    /// One permit a large body being decoded.
    pub(crate) decodes: Arc<Semaphore>,
    fold_thread: Mutex<Option<JoinHandle<()>>>,
    /// The thread that takes snapshots, and what it runs for.
    snapshots: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
    /// The thread that rebuilds the views without batches that were taken back; it is nudged, and ends when nobody can.
    rebuilds: Mutex<Option<JoinHandle<()>>>,
}

/// Why the store could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The data directory cannot be made or entered.
    #[error("cannot use the data directory")]
    Directory(#[source] StoreFault),
    /// The log refuses.
    #[error("cannot open the log")]
    Open(#[source] OpenError),
    /// History cannot be read.
    #[error("cannot read the log")]
    Read(#[source] ReadError),
    /// The fold thread could not be started.
    #[error("cannot start the fold thread")]
    Thread(#[source] StoreFault),
}

/// While history is folded at the start, how far it is is logged this often.
const SAY_EVERY: Duration = Duration::from_secs(2);

const SCANS_MAX: usize = 1;
const COUNTS_MAX: usize = 2;
const DECODES_MAX: usize = 8;

impl Engine {
    /// Makes the directory `data` if it is not there, and keeps other processes out of it. Reads nothing.
    ///
    /// # Errors
    /// [`EngineError::Directory`]; [`EngineError::Open`] if another process is in.
    pub(crate) fn lock(data: &Path) -> Result<LockedDisk, EngineError> {
        let disk = OsDisk::new(data).map_err(|error| EngineError::Directory(error.into()))?;
        LockedDisk::lock(Arc::new(disk)).map_err(EngineError::Open)
    }

    /// Opens the log in `data`, which `disk` is, and folds its history. `progress` is told how many events
    /// were folded. The receivers resolve when the fold thread and that of rebuilds end. Blocks.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(crate) fn open(
        (data, disk): (&Path, LockedDisk),
        (options, snapshot_events): (LogOptions, u64),
        clock: Arc<dyn Clock>,
        progress: impl Fn(u64),
    ) -> Result<(Self, [oneshot::Receiver<()>; 2]), EngineError> {
        let started = Instant::now();
        let (sender, work) = sync_channel(fold::QUEUE_GROUPS);
        let replacing = sender.clone();
        let (nudge, nudges) = sync_channel(1);
        // What was taken back before the last stop may still be in the views.
        let _ = nudge.try_send(());
        // The writer alone can ask for anything: when it ends, the other threads do.
        let on_commit = move |commit: Commit| {
            if commit.retracted {
                // One that waits already will do.
                let _ = nudge.try_send(());
            }
            // Refused only when the fold thread is gone: the appends then learn that their outcome is unknown.
            let _ = sender.send(Work::Commit(commit));
        };
        // The snapshot is read while the log is opened: neither needs the other until both are there.
        let open = || Log::open_locked(disk, options, clock.clone(), on_commit);
        let (snapshot, log) = tasks::side_by_side(|| Snapshot::read(data), open);
        let log = log.map_err(EngineError::Open)?;
        if let Some(torn) = log.torn_tail() {
            tracing::warn!(file = torn.file, offset = torn.offset, bytes = torn.bytes, "{torn}");
        }
        let (views, events) = fold_history(snapshot, &log, progress).map_err(EngineError::Read)?;
        let (folded_sender, folded) = watch::channel(log.tail().position());
        let (log, live) = (Arc::new(log), Arc::new(Live::new(views)));
        // What was folded behind the last snapshot makes the next one due as well.
        let folded_events = Arc::new(AtomicU64::new(events));
        let counted = folded_events.clone();
        let thread_error = |error: std::io::Error| EngineError::Thread(error.into());
        let fold =
            Fold { log: log.clone(), live: live.clone(), folded: folded_sender, folded_events: counted };
        let fold = move || fold.run(&work);
        let (fold_thread, ended) = tasks::thread("fold", fold).map_err(thread_error)?;
        let snapshots = Snapshots {
            data: data.to_owned(),
            log: log.clone(),
            live: live.clone(),
            folded: folded_events,
            every: snapshot_events,
            kept: 0,
        };
        let (stop, stopped) = channel();
        let (snapshot_thread, _) =
            tasks::thread("snapshots", move || snapshots.run(&stopped)).map_err(thread_error)?;
        let rebuilds = Rebuilds { log: log.clone(), live: live.clone(), fold: replacing };
        let (rebuild_thread, rebuilds_ended) =
            tasks::thread("rebuilds", move || rebuilds.run(&nudges)).map_err(thread_error)?;
        tracing::info!(
            events,
            members = log.members().len(),
            seconds = started.elapsed().as_secs_f64(),
            "ready"
        );
        let engine = Self {
            log,
            live,
            folded,
            clock,
            scans: Arc::new(Semaphore::new(SCANS_MAX)),
            counts: Arc::new(Semaphore::new(COUNTS_MAX)),
            rows: KeptRows::default(),
            calendars: Calendars::default(),
            replays: Arc::new(Semaphore::new(REPLAYS_MAX)),
            decodes: Arc::new(Semaphore::new(DECODES_MAX)),
            fold_thread: Mutex::new(Some(fold_thread)),
            snapshots: Mutex::new(Some((stop, snapshot_thread))),
            rebuilds: Mutex::new(Some(rebuild_thread)),
        };
        Ok((engine, [ended, rebuilds_ended]))
    }

    /// The present instant.
    pub(crate) fn now(&self) -> UtcInstant {
        self.clock.now()
    }

    /// The views of now.
    pub(crate) fn live(&self) -> SharedViews {
        self.live.get()
    }

    /// The last position that the views reflect.
    pub(crate) fn position(&self) -> Position {
        *self.folded.borrow()
    }

    /// Waits until the views reflect `position`, for at most `patience`; whether they do.
    pub(crate) async fn reach(&self, position: Position, patience: Duration) -> bool {
        let mut folded = self.folded.clone();
        let reached = folded.wait_for(|folded| *folded >= position);
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }

    /// Takes no more events, makes durable and folds what waits, ends the log. Blocks.
    pub(crate) fn close(&self) {
        self.log.close();
        // It lets go of the fold thread, which ends with the last who may send to it.
        if let Some(thread) = self.rebuilds.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that rebuilds the views panicked");
        }
        if let Some(thread) = self.fold_thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the fold thread panicked");
        }
        // The last snapshot is of all that was folded.
        if let Some((stop, thread)) = self.snapshots.lock().take() {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the snapshot thread panicked");
            }
        }
    }
}

/// The views of all of the log: from the snapshot and what came after it, or from the beginning. Also how many events had
/// to be folded.
fn fold_history(
    snapshot: Result<Option<Snapshot>, SnapshotError>,
    log: &Log,
    progress: impl Fn(u64),
) -> Result<(Views, u64), ReadError> {
    let restored = snapshot.and_then(|snapshot| {
        let members = log.members();
        let whose = |member| members.member_ref(member);
        snapshot.map(|snapshot| snapshot.views(|scan| log.scan(scan), whose)).transpose()
    });
    let (mut builder, checkpoint) = match restored {
        Ok(Some(restored)) => restored,
        Ok(None) => (ViewsBuilder::new(Selection::default(), retracted_in(log)), Position::START),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the snapshot of the views is of no use: rebuilding them from the log");
            (ViewsBuilder::new(Selection::default(), retracted_in(log)), Position::START)
        }
    };
    let mut reader = log.read(checkpoint, Detail::Facts);
    let (mut events, mut said) = (0, Instant::now());
    let tail = log.tail().position().get();
    let fold = |batch: RecordedBatch| {
        builder.apply_all(&batch.facts);
        events += batch.facts.len() as u64;
        progress(events);
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            tracing::info!(events, position = batch.reached.get(), tail, "folding");
        }
    };
    tasks::gathered([|| reader.next_batch()], fold)?;
    tracing::info!(checkpoint = checkpoint.get(), events, "views");
    let mut views = builder.finish();
    // The last event may be that a batch was taken back.
    views.reach(log.tail().position());
    Ok((views, events))
}

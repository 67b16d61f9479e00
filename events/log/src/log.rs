//! The log as its users hold it: opened once, appended to from any task, read from any thread, closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use lastseen_event::limits::REQUEST_EVENTS_MAX;
use lastseen_event::{BatchName, EventBatch, MemberRef, Position};
use lastseen_store::{
    AppendError, Appended, Batches, Clock, EventStore, OnRefused, ReadError, RetractOutcome, Scan,
    StoreFault, Tail,
};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::{mpsc, oneshot, watch};

use crate::disk::Disk;
use crate::health::{Health, Standstills};
use crate::known::{Known, Suspects};
use crate::members::Members;
use crate::reader::LogReader;
use crate::recovery::{TornTail, recover};
use crate::seal::{Requests, Sealer};
use crate::thread::{Builder, JoinHandle, yield_now};
use crate::writer::{Answer, Commit, EndError, Message, Request, Retract, Shared, Writer};
use crate::{LogId, LogOptions, OpenError, SealError, Sealing};

/// The embedded event store over one directory. Positions are dense, from 1.
pub struct Log {
    shared: Arc<Shared>,
    standstills: Arc<Standstills>,
    /// `None` once the log is closed.
    requests: Requests,
    tail: watch::Receiver<Position>,
    torn: Option<TornTail>,
    known: Arc<Known>,
    sealer: Arc<Mutex<Sealer>>,
    /// Wakes the thread that seals; without it that thread ends.
    nudge: Mutex<Option<SyncSender<()>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held to keep other processes out while the writer may write.
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

/// A disk from which other processes are kept out, with a log that is not open yet.
///
/// Opening recovers, which may take minutes. Who wants to know at once whether the log is free takes this
/// first. Dropping it lets others in.
pub struct LockedDisk {
    disk: Arc<dyn Disk>,
    lock: Box<dyn Send + Sync>,
}

impl LockedDisk {
    /// Locks `disk`. Reads nothing.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another process is in; [`OpenError::Io`] if locking fails.
    pub fn lock(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let lock = disk.lock().map_err(OpenError::io("lock", "lock"))?.ok_or(OpenError::Locked)?;
        Ok(Self { disk, lock })
    }
}

impl Log {
    /// Locks `disk`, then [opens](Log::open_locked) the log on it.
    ///
    /// # Errors
    /// [`OpenError`]; damage is refused with its place.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        clock: Arc<dyn Clock>,
        on_commit: impl FnMut(Commit) + Send + 'static,
    ) -> Result<Self, OpenError> {
        Self::open_locked(LockedDisk::lock(disk)?, options, clock, on_commit)
    }

    /// Recovers what is on `disk` and starts the writer. The lock is held until the log is closed.
    ///
    /// `on_commit` is called on the writer's thread with each durable group in order; appends succeed once it
    /// has been [acknowledged](Commit::acknowledge). A slow `on_commit` slows the writer, and so all
    /// publishers.
    ///
    /// # Errors
    /// [`OpenError`]; damage is refused with its place. The lock is given back.
    pub fn open_locked(
        LockedDisk { disk, lock }: LockedDisk,
        mut options: LogOptions,
        clock: Arc<dyn Clock>,
        on_commit: impl FnMut(Commit) + Send + 'static,
    ) -> Result<Self, OpenError> {
        options.segment_events = options.segment_events.clamp(1, LogOptions::SEGMENT_EVENTS_MAX);
        let recovered = recover(&disk, &options)?;
        let shared = Arc::new(Shared {
            disk,
            log_id: recovered.log_id,
            members: RwLock::new(recovered.members),
            batches: RwLock::new(recovered.batches),
            places: RwLock::new(recovered.places),
            dictionary: recovered.dictionary,
            recent_from: AtomicU64::new(recovered.recent.first().get()),
            is_foreign: false,
        });
        let standstills = Arc::new(Standstills::new(clock.clone()));
        let (tail_sender, tail) = watch::channel(recovered.last_position);
        let (requests, receiver) = mpsc::channel(options.queue_requests.max(1));
        let requests = Arc::new(RwLock::new(Some(requests)));
        let (nudge, nudges) = sync_channel(1);
        let sealer = Arc::new(Mutex::new(Sealer {
            shared: shared.clone(),
            standstills: standstills.clone(),
            options: options.clone(),
            clock: clock.clone(),
            tail: tail.clone(),
            stopped: false,
        }));
        let background = options.sealing == Sealing::Background;
        let writer = Writer {
            shared: shared.clone(),
            standstills: standstills.clone(),
            options,
            clock,
            recent: recovered.recent,
            tail: tail_sender,
            last_recorded_at: recovered.last_recorded_at,
            on_commit: Box::new(on_commit),
            on_file_end: Box::new({
                let nudge = nudge.clone();
                // One that waits already will do.
                move || {
                    let _ = nudge.try_send(());
                }
            }),
            file: None,
            undefined: Vec::new(),
            payload: crate::wal::payload::PayloadBuffer::default(),
            numbering: crate::batches::Numbering::default(),
            failed: false,
            synced: Duration::ZERO,
        };
        let spawned =
            |result: std::io::Result<_>| result.map_err(|error| OpenError::Thread(StoreFault::from(error)));
        let run = move || writer.run(receiver);
        let mut threads = vec![spawned(Builder::new().name("log-writer".to_owned()).spawn(run))?];
        if background {
            let (sealer, requests) = (sealer.clone(), requests.clone());
            let run = move || Sealer::run(&sealer, &nudges, &requests);
            threads.push(spawned(Builder::new().name("log-sealer".to_owned()).spawn(run))?);
            // What was ended before may be enough.
            let _ = nudge.try_send(());
        }
        Ok(Self {
            shared,
            standstills,
            requests,
            tail,
            torn: recovered.torn,
            known: Arc::default(),
            sealer,
            nudge: Mutex::new(Some(nudge)),
            threads: Mutex::new(threads),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Seals everything up to the present tail: ends the file that is being written and makes segments of what is not in
    /// one. Sealing goes on in the background as well; this is for who wants it now. Blocks.
    ///
    /// # Errors
    /// [`SealError`]; the events stay where they are.
    pub fn seal(&self) -> Result<(), SealError> {
        let requests = self.requests.read().clone().ok_or(SealError::Stopped)?;
        let (reply, ended) = oneshot::channel();
        requests.blocking_send(Message::EndFile(reply)).map_err(|_| SealError::Stopped)?;
        drop(requests);
        match ended.blocking_recv() {
            Ok(Ok(())) => {}
            Ok(Err(EndError::Refused(source))) => {
                return Err(SealError::Io { action: "end", file: "the last WAL file".to_owned(), source });
            }
            Ok(Err(EndError::Closed)) | Err(_) => return Err(SealError::Stopped),
        }
        let mut sealer = self.sealer.lock();
        while sealer.seal_next(true)? {}
        Ok(())
    }

    /// The member dictionary. Hold the guard briefly: the writer waits for it.
    pub fn members(&self) -> RwLockReadGuard<'_, Members> {
        self.shared.members.read()
    }

    /// The parts that history is kept in, ascending: each begins above its position and ends where the next begins, the last
    /// at the tail. Who looks for the latest of something reads them from the last on.
    pub fn parts(&self) -> Vec<Position> {
        let places = self.shared.places.read();
        let sealed = places.manifest.segments.iter().map(|entry| Position::new(entry.first().get() - 1));
        sealed.chain([places.sealed_until()]).collect()
    }

    /// Identity of the log, the same for as long as it exists. A copy of it has the same.
    pub fn id(&self) -> LogId {
        self.shared.log_id
    }

    /// The parts that stand still at present, since when and why, and how much is not sealed. Does no I/O and
    /// never waits for any, so async code may call it.
    pub fn health(&self) -> Health {
        // In this order: what is sealed was durable before.
        let sealed = self.shared.places.read().sealed_until();
        let tail = *self.tail.borrow();
        let unsealed_events = tail.get().saturating_sub(sealed.get());
        Health { standstills: self.standstills.all(), unsealed_events }
    }

    /// Number of appends that wait for the writer. 0 once the log is closed.
    pub fn waiting_appends(&self) -> usize {
        self.requests.read().as_ref().map_or(0, |requests| requests.max_capacity() - requests.capacity())
    }

    /// The tail that opening cut off the last file, if a power cut had torn it.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }

    /// Stops taking appends, writes those that wait, ends the file, lets other processes in. Blocks until done.
    /// Later appends are refused with [`AppendError::Closed`]; reading goes on.
    ///
    /// # Panics
    /// If one of the log's threads did.
    pub fn close(&self) {
        drop(self.requests.write().take());
        drop(self.nudge.lock().take());
        for thread in self.threads.lock().drain(..) {
            thread.join().expect("the log's threads do not panic");
        }
        self.sealer.lock().stopped = true;
        drop(self.lock.lock().take());
    }
}

impl Log {
    /// Looks up what is known of a batch: here if that is little work, else on a thread for such work. Async code is
    /// never kept for long.
    async fn look_up(&self, batch: EventBatch) -> Result<LookedUp, AppendError> {
        /// Rows that are looked up here: in about a tenth of a millisecond.
        const FEW_ROWS: usize = 256;
        let (shared, known) = (self.shared.clone(), self.known.clone());
        let found = if batch.len() <= FEW_ROWS {
            let (looked_up, suspects) = LookedUp::in_memory(batch, &shared);
            if suspects.is_empty() {
                return Ok(looked_up);
            }
            tokio::task::spawn_blocking(move || looked_up.in_segments(&suspects, &shared, &known)).await
        } else {
            let look_up = move || {
                let (looked_up, suspects) = LookedUp::in_memory(batch, &shared);
                looked_up.in_segments(&suspects, &shared, &known)
            };
            tokio::task::spawn_blocking(look_up).await
        };
        found.map_err(|_| AppendError::Closed)?.map_err(AppendError::Unreadable)
    }
}

/// A batch with what was known of it when it was looked up: by many callers at once, so that the one writer has
/// little left to do.
struct LookedUp {
    batch: EventBatch,
    /// The members that are known already, one a row. A member keeps its number, so these stay right.
    members: Vec<Option<MemberRef>>,
    /// The rows that stand in segments at positions below `recent_from`; empty for none.
    known: Vec<bool>,
    recent_from: Position,
}

impl LookedUp {
    /// Looks up the members. Returns also the rows that may stand in segments.
    fn in_memory(batch: EventBatch, shared: &Shared) -> (Self, Suspects) {
        // In this order: events below this position have members that are found next, and are in the segments that
        // are taken last.
        let recent_from = Position::new(shared.recent_from.load(Ordering::Acquire));
        let members = find_members(&batch, shared);
        let manifest = shared.places.read().manifest.clone();
        let suspects = Suspects::of(&batch, &members, &manifest, recent_from);
        (Self { batch, members, known: Vec::new(), recent_from }, suspects)
    }

    /// Looks for the suspects in segments. Blocks on I/O.
    fn in_segments(self, suspects: &Suspects, shared: &Shared, known: &Known) -> Result<Self, ReadError> {
        if suspects.is_empty() {
            return Ok(self);
        }
        let known = known.find(shared.disk.as_ref(), &self.batch, suspects)?;
        Ok(Self { known, ..self })
    }
}

/// The members of a batch that are known already, one a row.
fn find_members(batch: &EventBatch, shared: &Shared) -> Vec<Option<MemberRef>> {
    /// Enough to wait for memory once for many, few for one hold of the lock.
    const FOUND_AT_ONCE: usize = 64;
    /// Looked up before others get a turn on this core: in a quarter of a millisecond.
    const STEP_ROWS: usize = 512;
    let mut found = Vec::with_capacity(batch.len());
    let (mut names, mut chunk) = (Vec::new(), Vec::new());
    for start in (0..batch.len()).step_by(FOUND_AT_ONCE) {
        if start > 0 && start.is_multiple_of(STEP_ROWS) {
            yield_now();
        }
        names.clear();
        names.extend((start..batch.len().min(start + FOUND_AT_ONCE)).map(|row| batch.names(row)));
        shared.members.read().find_all(&names, &mut chunk);
        found.append(&mut chunk);
    }
    found
}

impl Drop for Log {
    /// Ends the writer thread; [`Log::close`] is the orderly way.
    fn drop(&mut self) {
        self.close();
    }
}

/// Puts a message into the writer's queue.
async fn queue(requests: mpsc::Sender<Message>, message: Message) -> Result<(), AppendError> {
    /// A request waits this long for room in the queue before it is told to come back.
    const QUEUE_WAIT: Duration = Duration::from_secs(5);
    match tokio::time::timeout(QUEUE_WAIT, requests.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(AppendError::Closed),
        Err(_) => Err(AppendError::Overloaded),
    }
}

fn lost() -> AppendError {
    let lost = std::io::Error::other("the group was dropped before it was acknowledged");
    AppendError::Indeterminate(lost.into())
}

impl EventStore for Log {
    type Reader = LogReader;

    async fn append(&self, batch: EventBatch, on_refused: OnRefused) -> Result<Appended, AppendError> {
        assert!(batch.len() <= REQUEST_EVENTS_MAX, "the port's bound on a batch, which bounds a frame");
        let mut batch = batch;
        loop {
            let requests = self.requests.read().clone().ok_or(AppendError::Closed)?;
            let (reply, answer) = oneshot::channel();
            let LookedUp { batch: looked_up, members, known, recent_from } = self.look_up(batch).await?;
            let request =
                Request { batch: looked_up, members, on_refused, known, looked_up_until: recent_from, reply };
            queue(requests, Message::Append(request)).await?;
            match answer.await {
                Ok(Answer::Done(result)) => return result,
                Ok(Answer::LookAgain(same)) => batch = same,
                Err(_) => return Err(lost()),
            }
        }
    }

    async fn retract(
        &self,
        batch: BatchName<'_>,
        events: Option<u64>,
    ) -> Result<RetractOutcome, AppendError> {
        let requests = self.requests.read().clone().ok_or(AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        queue(requests, Message::Retract(Retract { batch: batch.as_str().into(), events, reply })).await?;
        answer.await.map_err(|_| lost())?
    }

    fn with_batches<T>(&self, look: impl FnOnce(&Batches) -> T) -> T {
        look(&self.shared.batches.read())
    }

    fn scan(&self, scan: Scan) -> LogReader {
        LogReader::new(self.shared.clone(), self.tail.clone(), scan)
    }

    fn tail(&self) -> Tail {
        Tail::new(self.tail.clone())
    }
}

//! The log as its users hold it: opened once, appended to from any task, read from any thread, closed.

use std::sync::Arc;
use std::time::Duration;

use lastseen_event::limits::REQUEST_EVENTS_MAX;
use lastseen_event::{EventBatch, MemberRef, Position};
use lastseen_store::{AppendError, Appended, Clock, Detail, EventStore, OnConflict, StoreFault, Tail};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::{mpsc, oneshot, watch};

use crate::disk::Disk;
use crate::members::Members;
use crate::reader::LogReader;
use crate::recovery::{TornTail, recover};
use crate::thread::{Builder, JoinHandle};
use crate::writer::{Commit, Request, Shared, Writer};
use crate::{LogOptions, OpenError};

/// The embedded event store over one directory. Positions are dense, from 1.
pub struct Log {
    shared: Arc<Shared>,
    requests: RwLock<Option<mpsc::Sender<Request>>>,
    tail: watch::Receiver<Position>,
    torn: Option<TornTail>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held to keep other processes out while the writer may write.
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl Log {
    /// Recovers what is on `disk` and starts the writer.
    ///
    /// `on_commit` is called on the writer's thread with each durable group in order; appends succeed once it
    /// has been [acknowledged](Commit::acknowledge). A slow `on_commit` slows the writer, and so all publishers.
    ///
    /// # Errors
    /// [`OpenError`]; damage is refused with its place.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        clock: Arc<dyn Clock>,
        on_commit: impl FnMut(Commit) + Send + 'static,
    ) -> Result<Self, OpenError> {
        let lock = disk.lock().map_err(OpenError::io("lock", "lock"))?.ok_or(OpenError::Locked)?;
        let recovered = recover(&disk, &options)?;
        let shared = Arc::new(Shared {
            disk,
            log_id: recovered.log_id,
            members: RwLock::new(recovered.members),
            files: RwLock::new(recovered.files),
        });
        let (tail_sender, tail) = watch::channel(recovered.last_position);
        let (requests, receiver) = mpsc::channel(options.queue_requests.max(1));
        let writer = Writer {
            shared: shared.clone(),
            options,
            clock,
            recent: recovered.recent,
            tail: tail_sender,
            last_recorded_at: recovered.last_recorded_at,
            on_commit: Box::new(on_commit),
            file: None,
            undefined: Vec::new(),
            payload: crate::wal::payload::PayloadBuffer::default(),
            staged: crate::writer::IdLookup::default(),
            failed: false,
        };
        let thread = Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|error| OpenError::Thread(StoreFault::from(error)))?;
        Ok(Self {
            shared,
            requests: RwLock::new(Some(requests)),
            tail,
            torn: recovered.torn,
            thread: Mutex::new(Some(thread)),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// The member dictionary. Hold the guard briefly: the writer waits for it.
    pub fn members(&self) -> RwLockReadGuard<'_, Members> {
        self.shared.members.read()
    }

    /// What opening cut off the last file, if a power cut had torn it.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }

    /// Stops taking appends, writes those that wait, ends the file, lets other processes in. Blocks until done.
    /// Later appends are refused with [`AppendError::Closed`]; reading goes on.
    ///
    /// # Panics
    /// If the writer thread did.
    pub fn close(&self) {
        drop(self.requests.write().take());
        if let Some(thread) = self.thread.lock().take() {
            thread.join().expect("the writer thread does not panic");
        }
        drop(self.lock.lock().take());
    }
}

impl Log {
    /// The members of a batch that are known already, one a row: looked up here, by many callers at once, so that
    /// the one writer has only the new ones to add. A member keeps its number, so what is found stays right.
    async fn find_members(&self, batch: &EventBatch) -> Vec<Option<MemberRef>> {
        /// Enough to wait for memory once for many, few for one hold of the lock.
        const FOUND_AT_ONCE: usize = 64;
        /// Then others get a turn on this thread.
        const FOUND_A_TURN: usize = 1_024;
        let mut found = Vec::with_capacity(batch.len());
        let (mut names, mut chunk) = (Vec::new(), Vec::new());
        for start in (0..batch.len()).step_by(FOUND_AT_ONCE) {
            if start > 0 && start.is_multiple_of(FOUND_A_TURN) {
                tokio::task::yield_now().await;
            }
            names.clear();
            names.extend((start..batch.len().min(start + FOUND_AT_ONCE)).map(|row| batch.names(row)));
            self.shared.members.read().find_all(&names, &mut chunk);
            found.append(&mut chunk);
        }
        found
    }
}

impl Drop for Log {
    /// Ends the writer thread; [`Log::close`] is the orderly way.
    fn drop(&mut self) {
        self.close();
    }
}

impl EventStore for Log {
    type Reader = LogReader;

    async fn append(&self, batch: EventBatch, on_conflict: OnConflict) -> Result<Appended, AppendError> {
        /// A request waits this long for room in the queue before it is told to come back.
        const QUEUE_WAIT: Duration = Duration::from_secs(5);
        assert!(batch.len() <= REQUEST_EVENTS_MAX, "the port's bound on a batch, which bounds a frame");
        let requests = self.requests.read().clone().ok_or(AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let members = self.find_members(&batch).await;
        let request = Request { batch, members, on_conflict, reply };
        match tokio::time::timeout(QUEUE_WAIT, requests.send(request)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(AppendError::Closed),
            Err(_) => return Err(AppendError::Overloaded),
        }
        drop(requests);
        let lost = || std::io::Error::other("the group was dropped before it was acknowledged");
        answer.await.unwrap_or_else(|_| Err(AppendError::Indeterminate(lost().into())))
    }

    fn read(&self, after: Position, detail: Detail) -> LogReader {
        LogReader::new(self.shared.clone(), self.tail.clone(), after, detail)
    }

    fn tail(&self) -> Tail {
        Tail::new(self.tail.clone())
    }
}

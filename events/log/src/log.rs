//! The log as its users hold it: opened once, appended to from any task, read from any thread, closed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use lastseen_event::limits::REQUEST_EVENTS_MAX;
use lastseen_event::{BatchName, EventBatch, MemberRef, Position, UtcInstant};
use lastseen_store::{
    AppendError, Appended, Batches, Clock, EventReader, EventStore, Gauges, Guard, Health, Lineage, LogId,
    MemberDictionary, OnRefused, Pending, RetractOutcome, Scan, Standstills, Tail,
};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::clock_watch::ClockWatch;
use crate::common::Common;
use crate::disk::Disk;
use crate::history::History;
use crate::history::ring::Ring;
use crate::identity::TenantMask;
use crate::ids::{LookUp, Suspects};
use crate::open::{Evidence, Recovered, TornTail, origin_on, recover};
use crate::origin::{Followed, Kept, Stamp};
use crate::reader::LogReader;
use crate::sealer::{Requests, Sealer};
use crate::thread::{Builder, JoinHandle, yield_now};
use crate::writer::Writer;
use crate::writer::message::{
    Answer, EndError, Message, Overtaken, Purpose, Request, Retract, ToldApart, WrittenGroup,
};
use crate::{LogOptions, OpenError, SealError, Sealing};

/// The embedded event store over one directory. Positions are dense, from 1, or those of the log that it follows.
pub struct Log {
    history: Arc<History>,
    standstills: Arc<Standstills>,
    /// `None` once the log is closed.
    requests: Requests,
    /// The bytes of requests that may wait, in units of [`BYTES_UNIT`].
    queue_bytes: Arc<Semaphore>,
    queue_bytes_max: u32,
    unsealed_events_max: u64,
    tail: watch::Receiver<Position>,
    /// Held while records of the log that is followed are taken in: they are in its order.
    following: tokio::sync::Mutex<()>,
    sealed: watch::Receiver<Position>,
    torn: Option<TornTail>,
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

    /// The log that the one on the disk follows. `None`: there is no log, or it follows none.
    ///
    /// # Errors
    /// [`OpenError`] if its manifest cannot be read.
    pub fn origin(&self) -> Result<Option<LogId>, OpenError> {
        origin_on(self.disk.as_ref())
    }
}

impl Log {
    /// Locks `disk`, then [opens](Log::open_locked) the log on it.
    ///
    /// # Errors
    /// [`OpenError`]; damage is refused with its place.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Self::open_locked(LockedDisk::lock(disk)?, options, (clock, &[]), |_| ())
    }

    /// Recovers what is on `disk` and starts the writer. The lock is held until the log is closed. A history that is shorter
    /// than the evidence says it was is refused.
    ///
    /// `on_group` is called on the writer's thread once a group of events is durable, before its appends succeed: for counting.
    /// Events are read by a subscription.
    ///
    /// # Errors
    /// [`OpenError`]; damage is refused with its place. The lock is given back.
    pub fn open_locked(
        disk: LockedDisk,
        options: LogOptions,
        clock: (Arc<dyn Clock>, &[Evidence]),
        on_group: impl FnMut(WrittenGroup) + Send + 'static,
    ) -> Result<Self, OpenError> {
        Self::open_any(disk, options, None, clock, on_group)
    }

    /// The same for a log that follows the one with this id: it takes in that one's records by [`follow`](Self::follow), shows
    /// their positions and instants, and has its id. It takes no appends. A directory that is empty becomes one.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Follows`] if the directory has a log that follows another one, or none.
    pub fn open_following(
        disk: LockedDisk,
        options: LogOptions,
        origin: LogId,
        clock: (Arc<dyn Clock>, &[Evidence]),
        on_group: impl FnMut(WrittenGroup) + Send + 'static,
    ) -> Result<Self, OpenError> {
        Self::open_any(disk, options, Some(origin), clock, on_group)
    }

    fn open_any(
        LockedDisk { disk, lock }: LockedDisk,
        mut options: LogOptions,
        origin: Option<LogId>,
        (clock, evidence): (Arc<dyn Clock>, &[Evidence]),
        on_group: impl FnMut(WrittenGroup) + Send + 'static,
    ) -> Result<Self, OpenError> {
        options.segment_events = options.segment_events.clamp(1, LogOptions::SEGMENT_EVENTS_MAX);
        let Recovered { places, last, last_recorded_at, mut members, batches, dictionary, recent, ids, torn } =
            recover(&disk, &options, (origin, evidence))?;
        members.limit(options.members);
        let sealed = places.sealed_until();
        let standstills = Arc::new(Standstills::new(clock.clone()));
        // Another log's clock is not this one's to watch.
        let watched = if origin.is_some() { UtcInstant::EARLIEST } else { last_recorded_at };
        let watch = Arc::new(ClockWatch::new(clock.clone(), watched));
        watch.look(&standstills);
        let ((tail_sender, tail), (sealed_sender, sealed_until)) =
            (watch::channel(last.place), watch::channel(sealed));
        let followed = origin.map(|_| watch::channel(last.shown));
        let (shown_sender, shown) =
            followed.map_or((None, tail.clone()), |(sender, shown)| (Some(sender), shown));
        let history = Arc::new(History::new(
            disk,
            (members, batches),
            (places, ids),
            (dictionary, Ring::new(options.ring_bytes), false),
            shown,
        ));
        let common = Common { history, standstills, watch, options };
        let sealing = Sealer::new(common.clone(), clock, tail.clone(), sealed_sender);
        let (nudge, nudges) = sync_channel(1);
        let on_file_end = {
            let nudge = nudge.clone();
            // One that waits already will do.
            move || {
                let _ = nudge.try_send(());
            }
        };
        let writer = Writer::new(
            common.clone(),
            (recent, last_recorded_at),
            (tail_sender, shown_sender),
            on_group,
            on_file_end,
        );
        let sealing = (Arc::new(Mutex::new(sealing)), nudge);
        let (requests, threads) = Self::start(&common.options, writer, &sealing, nudges)?;
        let Common { history, standstills, options, .. } = common;
        let queue_bytes_max = units_of(options.queue_bytes).max(1);
        Ok(Self {
            history,
            standstills,
            requests,
            queue_bytes: Arc::new(Semaphore::new(queue_bytes_max as usize)),
            queue_bytes_max,
            unsealed_events_max: options.unsealed_events_max.max(options.segment_events * 2),
            tail,
            following: tokio::sync::Mutex::new(()),
            sealed: sealed_until,
            torn,
            sealer: sealing.0,
            nudge: Mutex::new(Some(sealing.1)),
            threads: Mutex::new(threads),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Starts the threads of a log.
    fn start(
        options: &LogOptions,
        writer: Writer,
        (sealer, nudge): &(Arc<Mutex<Sealer>>, SyncSender<()>),
        nudges: Receiver<()>,
    ) -> Result<(Requests, Vec<JoinHandle<()>>), OpenError> {
        let (requests, receiver) = mpsc::channel(options.queue_requests.max(1));
        let requests = Arc::new(RwLock::new(Some(requests)));
        let started = |result: std::io::Result<_>| result.map_err(|error| OpenError::Thread(error.into()));
        let run = move || writer.run(receiver);
        let mut threads = vec![started(Builder::new().name("log-writer".to_owned()).spawn(run))?];
        if options.sealing == Sealing::Background {
            let (sealer, requests) = (sealer.clone(), requests.clone());
            let run = move || Sealer::run(&sealer, &nudges, &requests);
            threads.push(started(Builder::new().name("log-sealer".to_owned()).spawn(run))?);
            // What was ended before may be enough.
            let _ = nudge.try_send(());
        }
        Ok((requests, threads))
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
        while sealer.index_next()? {}
        Ok(())
    }

    /// The tail that opening cut off the last file, if a power cut had torn it.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }
}

/// Bytes of the queue are counted in this.
const BYTES_UNIT: usize = 1024;

/// Units that so many bytes take.
fn units_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(BYTES_UNIT)).unwrap_or(u32::MAX).min(u32::MAX / 8)
}

/// A request waits this long for room in the queue before it is told to come back.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

impl Log {
    /// Refuses appends to a log that follows another one: they are for that one.
    fn check_own(&self) -> Result<(), AppendError> {
        if self.history.is_replica { Err(AppendError::Closed) } else { Ok(()) }
    }

    /// Takes in records of the log that is followed, in its order. Those that were taken in before are left out, and so is an
    /// event whose id was kept before in its tenant, whatever its content. What is kept follows from the records alone: every
    /// log that follows the same one keeps the same. Calls go one after the other. After an error, or a call that was dropped,
    /// go on from the tail: whatever is in front of the tail counts as taken in.
    ///
    /// # Errors
    /// [`AppendError`]; the same records can be taken in again.
    ///
    /// # Panics
    /// If the log follows no other, if stamps are not as many as events or do not increase, and as with
    /// [`append`](EventStore::append).
    pub async fn follow(&self, records: Followed) -> Result<Kept, AppendError> {
        assert!(self.history.is_replica, "only a log that was opened for it follows another one");
        let _turn = self.following.lock().await;
        match records {
            Followed::Events(batch, stamps) => {
                let increase = |pair: &[Stamp]| pair[0].position < pair[1].position;
                assert!(stamps.len() == batch.len() && stamps.windows(2).all(increase), "one stamp an event");
                let appended = self.append_batch((batch, stamps), OnRefused::Skip).await?;
                let Appended { stored, duplicates, refused, .. } = appended;
                let (conflicts, dead) = (refused.conflicts.len(), refused.retracted.len());
                Ok(Kept { kept: stored, repeats: duplicates + conflicts, conflicts, dead })
            }
            Followed::Retraction { stamp, .. } if stamp.position <= *self.history.shown.borrow() => {
                Ok(Kept { repeats: 1, ..Kept::default() })
            }
            Followed::Retraction { batch, occurred_at, stamp } => {
                Ok(match self.retract_batch(batch, None, Some((occurred_at, stamp))).await? {
                    RetractOutcome::Retracted(position) if position == stamp.position => {
                        Kept { kept: 1, ..Kept::default() }
                    }
                    RetractOutcome::Retracted(_) => Kept { repeats: 1, ..Kept::default() },
                    _ => Kept { dead: 1, ..Kept::default() },
                })
            }
        }
    }

    /// Notes that everything up to a position of the log that is followed was taken in, so that the tail stands there: its last
    /// records may be such that are not kept. It is forgotten when the log is closed.
    ///
    /// # Errors
    /// [`AppendError::Closed`], [`AppendError::Overloaded`].
    pub async fn taken_in(&self, until: Position) -> Result<(), AppendError> {
        let _turn = self.following.lock().await;
        let requests = self.requests.read().clone().ok_or(AppendError::Closed)?;
        queue(requests, Message::TakenIn(until)).await
    }

    /// Tells the rows of a batch apart by what the log has of them, in the order of everything that was taken in before. Nothing is
    /// written.
    ///
    /// # Errors
    /// [`AppendError`], but not that events are refused.
    ///
    /// # Panics
    /// Just as [`append`](EventStore::append).
    pub async fn tell_apart(&self, batch: EventBatch) -> Result<ToldApart, AppendError> {
        match self.ask((batch, Vec::new()), Purpose::TellApart).await? {
            Answer::ToldApart(told) => Ok(*told),
            Answer::Done(_) | Answer::LookAgain(_) => Err(lost()),
        }
    }

    async fn append_batch(
        &self,
        (batch, stamps): (EventBatch, Vec<Stamp>),
        on_refused: OnRefused,
    ) -> Result<Appended, AppendError> {
        self.wait_for_sealing().await?;
        match self.ask((batch, stamps), Purpose::Append(on_refused)).await? {
            Answer::Done(result) => result,
            Answer::ToldApart(_) | Answer::LookAgain(_) => Err(lost()),
        }
    }

    /// Sends a batch to the writer; its answer, which is not to look again.
    async fn ask(
        &self,
        (batch, stamps): (EventBatch, Vec<Stamp>),
        purpose: Purpose,
    ) -> Result<Answer, AppendError> {
        assert!(batch.len() <= REQUEST_EVENTS_MAX, "the port's bound on a batch, which bounds a frame");
        // A request that is larger than what may wait goes when nothing else does.
        let units = units_of(batch.bytes()).min(self.queue_bytes_max);
        let room = self.queue_bytes.clone().acquire_many_owned(units);
        let Ok(bytes) = tokio::time::timeout(QUEUE_WAIT, room).await else {
            return Err(AppendError::Overloaded);
        };
        let mut bytes = Some(bytes.map_err(|_| AppendError::Closed)?);
        let mut looking = Overtaken { batch, stamps, look_up: LookUp::default() };
        loop {
            let requests = self.requests.read().clone().ok_or(AppendError::Closed)?;
            let (reply, answer) = oneshot::channel();
            let LookedUp { batch, stamps, members, look_up } = self.look_up(looking).await?;
            let request = Request { batch, members, purpose, stamps, look_up, reply, bytes: bytes.take() };
            queue(requests, Message::Append(request)).await?;
            match answer.await {
                Ok(Answer::LookAgain(overtaken)) => looking = *overtaken,
                Ok(answer) => return Ok(answer),
                Err(_) => return Err(lost()),
            }
        }
    }

    async fn retract_batch(
        &self,
        batch: Box<str>,
        events: Option<u64>,
        stamp: Option<(UtcInstant, Stamp)>,
    ) -> Result<RetractOutcome, AppendError> {
        let requests = self.requests.read().clone().ok_or(AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        queue(requests, Message::Retract(Retract { batch, events, stamp, reply })).await?;
        answer.await.map_err(|_| lost())?
    }

    /// Looks up what is known of a batch: here if that is little work, else on a thread for such work. Async code is
    /// never kept for long.
    async fn look_up(&self, looking: Overtaken) -> Result<LookedUp, AppendError> {
        /// Rows that are looked up here: in about a tenth of a millisecond.
        const FEW_ROWS: usize = 256;
        let history = self.history.clone();
        let found = if looking.batch.len() <= FEW_ROWS {
            let (looked_up, suspects) = look_in_memory(looking, &history);
            if suspects.is_empty() {
                return Ok(looked_up);
            }
            tokio::task::spawn_blocking(move || look_on_disk(looked_up, suspects, &history)).await
        } else {
            let look_up = move || {
                let (looked_up, suspects) = look_in_memory(looking, &history);
                look_on_disk(looked_up, suspects, &history)
            };
            tokio::task::spawn_blocking(look_up).await
        };
        found.map_err(|_| AppendError::Closed)?
    }

    /// Waits while too many events are in no segment: a sealer that is slower than appends slows them, one that stands still
    /// has them refused.
    async fn wait_for_sealing(&self) -> Result<(), AppendError> {
        let max = self.unsealed_events_max;
        let tail = self.tail.clone();
        let is_near = |sealed: &Position| tail.borrow().get().saturating_sub(sealed.get()) <= max;
        let mut sealed = self.sealed.clone();
        if is_near(&sealed.borrow()) {
            return Ok(());
        }
        match tokio::time::timeout(QUEUE_WAIT, sealed.wait_for(is_near)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(AppendError::Closed),
            Err(_) => {
                let cause =
                    format!("more than {max} events are in no segment: sealing stands still or is slow");
                Err(AppendError::Unavailable(std::io::Error::other(cause).into()))
            }
        }
    }
}

/// A batch, and what is known of its rows before the writer sees it.
struct LookedUp {
    batch: EventBatch,
    stamps: Vec<Stamp>,
    /// Those that are known, one a row.
    members: Vec<Option<MemberRef>>,
    look_up: LookUp,
}

/// Looks up members and ids. Returns also the rows that may stand in sealed history.
fn look_in_memory(looking: Overtaken, history: &History) -> (LookedUp, Suspects) {
    // In this order: records below this position have members that are found next, and are in the runs that are looked
    // into last.
    let until = history.ids.recent_from();
    let Overtaken { batch, stamps, mut look_up } = looking;
    // Also once more where it was overtaken: a member may have come meanwhile, and with it what is looked for.
    let (members, masks) = find_members(&batch, history);
    if look_up.own.is_empty() {
        let key = &history.ids.key;
        let own = |(row, mask): (usize, &Option<TenantMask>)| {
            let mask = mask.unwrap_or_else(|| key.mask(batch.names(row).0.as_str()));
            key.own(mask, batch.identity(row).0)
        };
        look_up.own = masks.iter().enumerate().map(own).collect();
    }
    let suspects = history.ids.suspects(&batch, &members, (&look_up, until));
    look_up.until = if suspects.is_empty() { until } else { look_up.until };
    (LookedUp { batch, stamps, members, look_up }, suspects)
}

/// Looks for the suspects on disk. Blocks.
fn look_on_disk(
    mut looked_up: LookedUp,
    suspects: Suspects,
    history: &History,
) -> Result<LookedUp, AppendError> {
    if !suspects.is_empty() {
        let until = suspects.until();
        history.ids.find(suspects, &mut looked_up.look_up)?;
        looked_up.look_up.until = until;
    }
    Ok(looked_up)
}

/// The members of a batch that are known already, and the masks of their tenants, one a row.
fn find_members(batch: &EventBatch, history: &History) -> (Vec<Option<MemberRef>>, Vec<Option<TenantMask>>) {
    /// Enough to wait for memory once for many, few for one hold of the lock.
    const FOUND_AT_ONCE: usize = 64;
    /// Looked up before others get a turn on this core: in a quarter of a millisecond.
    const STEP_ROWS: usize = 512;
    let (mut found, mut masks) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    let (mut names, mut chunk) = (Vec::new(), Vec::new());
    for start in (0..batch.len()).step_by(FOUND_AT_ONCE) {
        if start > 0 && start.is_multiple_of(STEP_ROWS) {
            yield_now();
        }
        names.clear();
        names.extend((start..batch.len().min(start + FOUND_AT_ONCE)).map(|row| batch.names(row)));
        let members = history.members.read();
        members.find_all(&names, &mut chunk);
        masks.extend(chunk.iter().map(|member| member.map(|member| members.mask(member.tenant))));
        drop(members);
        found.append(&mut chunk);
    }
    (found, masks)
}

impl Drop for Log {
    /// Ends the writer thread; [`Log::close`] is the orderly way.
    fn drop(&mut self) {
        self.close();
    }
}

/// Puts a message into the writer's queue.
async fn queue(requests: mpsc::Sender<Message>, message: Message) -> Result<(), AppendError> {
    match tokio::time::timeout(QUEUE_WAIT, requests.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(AppendError::Closed),
        Err(_) => Err(AppendError::Overloaded),
    }
}

fn lost() -> AppendError {
    let lost = std::io::Error::other("the writer ended before it answered");
    AppendError::Indeterminate(lost.into())
}

impl EventStore for Log {
    fn append(&self, batch: EventBatch, on_refused: OnRefused) -> Pending<'_, Appended> {
        Box::pin(async move {
            self.check_own()?;
            self.append_batch((batch, Vec::new()), on_refused).await
        })
    }

    fn retract<'a>(&'a self, batch: BatchName<'a>, events: Option<u64>) -> Pending<'a, RetractOutcome> {
        Box::pin(async move {
            self.check_own()?;
            self.retract_batch(batch.as_str().into(), events, None).await
        })
    }

    fn batches(&self) -> Guard<'_, Batches> {
        RwLockReadGuard::map(self.history.batches.read(), |batches| batches)
    }

    fn members(&self) -> Guard<'_, dyn MemberDictionary> {
        RwLockReadGuard::map(self.history.members.read(), |members| members as &dyn MemberDictionary)
    }

    fn scan(&self, scan: Scan) -> Box<dyn EventReader> {
        Box::new(LogReader::new(self.history.clone(), self.tail.clone(), scan))
    }

    fn parts(&self) -> Vec<Position> {
        let places = self.history.places.read();
        let ends = places.manifest.segments.iter().map(|entry| entry.last_shown());
        [Position::START].into_iter().chain(ends).collect()
    }

    fn tail(&self) -> Tail {
        Tail::new(self.history.shown.clone())
    }

    fn lineage(&self) -> Arc<Lineage> {
        self.history.lineage()
    }

    fn health(&self) -> Health {
        // In this order: what is sealed was durable before.
        let sealed = self.history.places.read().sealed_until();
        let tail = *self.tail.borrow();
        let unsealed_events = tail.get().saturating_sub(sealed.get());
        Health { standstills: self.standstills.all(), unsealed_events }
    }

    fn gauges(&self) -> Gauges {
        let waiting = |requests: &mpsc::Sender<Message>| requests.max_capacity() - requests.capacity();
        Gauges {
            waiting_appends: self.requests.read().as_ref().map_or(0, waiting),
            id_memory_bytes: self.history.ids.memory_bytes(),
            lag: None,
        }
    }

    /// Ends the file and lets other processes in.
    ///
    /// # Panics
    /// If one of the log's threads did.
    fn close(&self) {
        drop(self.requests.write().take());
        drop(self.nudge.lock().take());
        for thread in self.threads.lock().drain(..) {
            thread.join().expect("the log's threads do not panic");
        }
        self.sealer.lock().stop();
        drop(self.lock.lock().take());
    }
}

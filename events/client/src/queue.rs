//! The events that wait: a buffer in memory, bounded in bytes, and the outbox behind it where there is one.
//!
//! Events have consecutive numbers. `taken` is the last one that a caller handed over, `answered` the last one that the
//! server answered; with an outbox, `kept` lies between them. Room in the buffer is given back by whoever takes an event
//! out of it: the thread that keeps, or the one that sends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use crate::batch::Batch;
use crate::event::Event;
use crate::outbox::{Cursor, NotKept, Outbox, OutboxError};
use crate::publisher::{Undelivered, lock};

/// Memory of an event besides its text: its id, its place in the buffer, and what the allocator adds.
const EVENT_BYTES: usize = 64;
/// Events that are kept together at most.
const GROUP_EVENTS: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Something of the state changed.
    changed: Condvar,
    /// Bytes that are free in the buffer.
    room: Semaphore,
    answered: watch::Sender<Reached>,
    kept: Option<Kept>,
}

/// The last event that came so far. `over`: no other one will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) upto: u64,
    pub(crate) over: bool,
}

impl Reached {
    fn new(upto: u64) -> watch::Sender<Self> {
        watch::Sender::new(Self { upto, over: false })
    }

    /// Waits until an event has come so far. `false`: it will not.
    pub(crate) async fn wait(mut reached: watch::Receiver<Self>, upto: u64) -> bool {
        let reached = reached.wait_for(|reached| reached.upto >= upto || reached.over).await;
        reached.is_ok_and(|reached| reached.upto >= upto)
    }
}

#[derive(Debug)]
struct State {
    buffer: Buffer,
    /// True while events of the buffer are being kept: they come back if that fails.
    is_keeping: bool,
    /// The number of the last event that was handed over.
    taken: u64,
    /// Somebody waits for all of them.
    hurry_upto: u64,
    /// Set once nothing more is taken: until then, events are sent.
    closing: Option<Instant>,
    /// Threads that work on the queue.
    workers: usize,
}

/// Events in order, in chunks: nobody waits while a long row of them moves to a longer place.
#[derive(Debug, Default)]
struct Buffer {
    /// None is empty.
    chunks: VecDeque<VecDeque<Event>>,
    len: usize,
}

impl Buffer {
    const CHUNK_EVENTS: usize = 1_024;

    fn push(&mut self, event: Event) {
        let room = self.chunks.back_mut().filter(|chunk| chunk.len() < Self::CHUNK_EVENTS);
        if let Some(chunk) = room {
            chunk.push_back(event);
        } else {
            let mut chunk = VecDeque::with_capacity(Self::CHUNK_EVENTS);
            chunk.push_back(event);
            self.chunks.push_back(chunk);
        }
        self.len += 1;
    }

    fn iter(&self) -> impl Iterator<Item = &Event> {
        self.chunks.iter().flatten()
    }

    /// Takes the first events out, chunk by chunk, at least one and at most so many.
    fn take(&mut self, most: usize) -> Vec<VecDeque<Event>> {
        let (mut taken, mut count) = (Vec::new(), 0);
        while self.chunks.front().is_some_and(|chunk| count == 0 || count + chunk.len() <= most) {
            let chunk = self.chunks.pop_front().expect("it is there");
            count += chunk.len();
            taken.push(chunk);
        }
        self.len -= count;
        taken
    }

    /// Puts back what was taken.
    fn put_back(&mut self, taken: Vec<VecDeque<Event>>) {
        for chunk in taken.into_iter().rev() {
            self.len += chunk.len();
            self.chunks.push_front(chunk);
        }
    }

    /// Drops the first events; the bytes that they took.
    fn drop_first(&mut self, count: usize) -> usize {
        let mut bytes = 0;
        for _ in 0..count {
            let Some(chunk) = self.chunks.front_mut() else { break };
            bytes += chunk.pop_front().map_or(0, |event| Queue::cost(&event) as usize);
            self.len -= 1;
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
        bytes
    }
}

/// The outbox, and the numbers of events in it.
#[derive(Debug)]
pub(crate) struct Kept {
    outbox: Mutex<Outbox>,
    upto: watch::Sender<Reached>,
    /// Bytes of its files.
    bytes: AtomicU64,
}

/// Bounds of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    pub(crate) linger: Duration,
}

/// One of the threads, until it ends.
pub(crate) struct Worker<'a>(&'a Queue);

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        let workers = {
            let mut state = lock(&self.0.state);
            state.workers -= 1;
            state.workers
        };
        if workers == 0 {
            self.0.end();
        }
        self.0.changed.notify_all();
    }
}

impl Kept {
    pub(crate) fn new(outbox: Outbox) -> Self {
        let (upto, bytes) = (Reached::new(outbox.last()), outbox.bytes().into());
        Self { outbox: Mutex::new(outbox), upto, bytes }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn reached(&self) -> watch::Receiver<Reached> {
        self.upto.subscribe()
    }

    fn upto(&self) -> u64 {
        self.upto.borrow().upto
    }

    /// Works on the outbox, and notes its size.
    fn with<T>(&self, work: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut outbox = lock(&self.outbox);
        let outcome = work(&mut outbox);
        self.bytes.store(outbox.bytes(), Ordering::Relaxed);
        outcome
    }
}

impl Queue {
    pub(crate) fn new(buffer_bytes: usize, kept: Option<Kept>) -> Self {
        let (done, taken) = kept.as_ref().map_or((0, 0), |kept| {
            let outbox = lock(&kept.outbox);
            (outbox.done(), outbox.last())
        });
        let workers = 1 + usize::from(kept.is_some());
        let state = State {
            buffer: Buffer::default(),
            is_keeping: false,
            taken,
            hurry_upto: 0,
            closing: None,
            workers,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            room: Semaphore::new(buffer_bytes.min(Semaphore::MAX_PERMITS)),
            answered: Reached::new(done),
            kept,
        }
    }

    /// Bytes that an event takes.
    pub(crate) fn cost(event: &Event) -> u32 {
        u32::try_from(event.as_json().len() + EVENT_BYTES).unwrap_or(u32::MAX)
    }

    pub(crate) fn room(&self) -> &Semaphore {
        &self.room
    }

    pub(crate) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// Marks the work of a thread.
    pub(crate) fn work(&self) -> Worker<'_> {
        Worker(self)
    }

    /// Puts an event into room that was taken for it.
    pub(crate) fn put(&self, event: Event) -> Result<(), Event> {
        let mut state = lock(&self.state);
        if state.closing.is_some() {
            return Err(event);
        }
        state.taken += 1;
        state.buffer.push(event);
        // Whoever works looks again when its batch is over: it is woken by the first event, and by a full batch.
        let is_first = state.buffer.len == 1;
        let is_many = state.buffer.len.is_multiple_of(256);
        drop(state);
        if is_first || is_many {
            self.changed.notify_all();
        }
        Ok(())
    }

    pub(crate) fn taken(&self) -> u64 {
        lock(&self.state).taken
    }

    pub(crate) fn reached(&self) -> watch::Receiver<Reached> {
        self.answered.subscribe()
    }

    fn answered(&self) -> u64 {
        self.answered.borrow().upto
    }

    /// Nobody waits for anything any more, and another publisher may have the outbox.
    fn end(&self) {
        self.answered.send_modify(|reached| reached.over = true);
        if let Some(kept) = &self.kept {
            kept.upto.send_modify(|reached| reached.over = true);
            kept.with(Outbox::release);
        }
    }

    /// Events that wait to be answered.
    pub(crate) fn waiting(&self) -> u64 {
        self.taken().saturating_sub(self.answered())
    }

    /// Sends what is there without waiting for more.
    pub(crate) fn hurry(&self) {
        let mut state = lock(&self.state);
        state.hurry_upto = state.taken;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until something changes, or until an instant.
    fn change<'a>(&self, state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
        let Some(until) = until else {
            return self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let waited = self.changed.wait_timeout(state, until.saturating_duration_since(Instant::now()));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for the next events of the buffer until there are enough, or the first of them has waited for `linger`. They
    /// stay in the buffer. `None`: it is over.
    fn wait(&self, (events, linger): (usize, Duration)) -> Option<MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        let mut until = None;
        loop {
            let now = Instant::now();
            if state.closing.is_some_and(|deadline| state.buffer.len == 0 || now >= deadline) {
                return None;
            }
            if state.buffer.len > 0 {
                let until = *until.get_or_insert(now + linger);
                let is_hurried = state.closing.is_some() || state.hurry_upto > self.answered();
                if state.buffer.len >= events || now >= until || is_hurried {
                    return Some(state);
                }
            }
            state = self.change(state, until);
        }
    }

    /// Waits for the next batch. It stays in the queue until it is [answered](Self::answer). `None`: it is over.
    pub(crate) fn next_batch(
        &self,
        cursor: &mut Cursor,
        bounds: Bounds,
    ) -> Result<Option<Batch>, OutboxError> {
        let Some(kept) = &self.kept else { return Ok(self.buffered(bounds)) };
        // A part of the last batch may have been answered alone.
        cursor.go_on_after(self.answered());
        loop {
            let batch = kept.with(|outbox| outbox.read(cursor, (bounds.events, bounds.bytes)))?;
            if batch.is_some() {
                return Ok(batch);
            }
            let state = lock(&self.state);
            let is_kept = kept.upto() >= state.taken;
            if state.closing.is_some_and(|deadline| is_kept || Instant::now() >= deadline) {
                return Ok(None);
            }
            if kept.upto() > cursor.after {
                continue;
            }
            // Whoever keeps says so.
            let until = state.closing;
            drop(self.change(state, until));
        }
    }

    fn buffered(&self, bounds: Bounds) -> Option<Batch> {
        let state = self.wait((bounds.events, bounds.linger))?;
        let mut batch = Batch::after(self.answered());
        for event in state.buffer.iter().take(bounds.events) {
            if batch.len() > 0 && batch.bytes() + event.as_json().len() > bounds.bytes {
                break;
            }
            batch.push(event.as_json().as_bytes());
        }
        Some(batch)
    }

    /// Takes events up to this number out of the queue.
    pub(crate) fn answer(&self, upto: u64) -> Result<(), OutboxError> {
        let settled = if let Some(kept) = &self.kept {
            kept.with(|outbox| outbox.settle(upto))
        } else {
            let mut state = lock(&self.state);
            let count = usize::try_from(upto - self.answered()).unwrap_or(usize::MAX);
            let room = state.buffer.drop_first(count);
            drop(state);
            self.room.add_permits(room);
            Ok(())
        };
        self.answered.send_modify(|reached| reached.upto = upto);
        self.changed.notify_all();
        settled
    }

    /// Waits for events in the buffer and keeps them in the outbox. `None`: it is over.
    pub(crate) fn keep_some(&self) -> Option<Result<(), NotKept>> {
        let kept = self.kept.as_ref()?;
        let group = {
            // Whatever came while the group before was written is the next one.
            let mut state = self.wait((1, Duration::ZERO))?;
            state.is_keeping = true;
            state.buffer.take(GROUP_EVENTS)
        };
        let events = || group.iter().flatten();
        let appended = kept.with(|outbox| outbox.append(events().map(Event::as_json)));
        let room = events().map(|event| Self::cost(event) as usize).sum();
        let mut state = lock(&self.state);
        state.is_keeping = false;
        let outcome = match appended {
            Ok(upto) => {
                kept.upto.send_modify(|reached| reached.upto = upto);
                self.room.add_permits(room);
                Ok(())
            }
            Err(not_kept) => {
                state.buffer.put_back(group);
                Err(not_kept)
            }
        };
        drop(state);
        self.changed.notify_all();
        Some(outcome)
    }

    /// Waits for a while. `false`: it is over before.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = lock(&self.state);
        loop {
            let now = Instant::now();
            if state.closing.is_some_and(|deadline| now >= deadline) {
                return false;
            }
            let until = state.closing.map_or(until, |deadline| deadline.min(until));
            if now >= until {
                return true;
            }
            state = self.change(state, Some(until));
        }
    }

    /// Takes nothing more. Returns once all is answered, or at the deadline.
    pub(crate) fn close(&self, deadline: Instant) -> Result<(), Undelivered> {
        self.room.close();
        let mut state = lock(&self.state);
        state.closing = Some(deadline);
        self.changed.notify_all();
        while state.workers > 0 {
            let now = Instant::now();
            if now >= deadline && !state.is_keeping {
                break;
            }
            // A write that is under way ends soon, and says so.
            state = self.change(state, Some(deadline).filter(|_| now < deadline));
        }
        let answered = self.answered();
        let kept = self.kept.as_ref().map_or(0, |kept| kept.upto().saturating_sub(answered));
        let events: Vec<Event> = state.buffer.take(usize::MAX).into_iter().flatten().collect();
        if events.is_empty() && kept == 0 { Ok(()) } else { Err(Undelivered { events, kept }) }
    }

    /// Takes nothing more, and ends the threads: with an outbox, once the buffer is kept. The number of events that are
    /// nowhere else.
    pub(crate) fn abandon(&self) -> usize {
        self.room.close();
        let mut state = lock(&self.state);
        let is_first = state.closing.is_none();
        let grace = if self.kept.is_some() { Duration::from_secs(5) } else { Duration::ZERO };
        state.closing.get_or_insert(Instant::now() + grace);
        let lost = if self.kept.is_none() && is_first { state.buffer.len } else { 0 };
        drop(state);
        self.changed.notify_all();
        lost
    }
}

//! The publisher: a bounded buffer that callers fill, and threads of its own that empty it.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::TryAcquireError;

use crate::event::Event;
use crate::outbox::{Outbox, OutboxError};
use crate::queue::{Kept, Queue, Reached};
use crate::sender::{self, Sender};
use crate::transport::Transport;

/// The way in which a publisher works. Made by [`Publisher::to`].
#[derive(Debug)]
#[must_use = "options do nothing until a publisher is started with them"]
pub struct Options {
    pub(crate) server: String,
    pub(crate) key: Option<String>,
    pub(crate) buffer_bytes: usize,
    pub(crate) batch_events: usize,
    pub(crate) linger: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) pause: (Duration, Duration),
    pub(crate) outbox: Option<(PathBuf, u64)>,
    pub(crate) on_refused: OnRefused,
}

/// Called with each event that the server refuses.
pub(crate) struct OnRefused(pub(crate) Box<dyn FnMut(Refused) + Send>);

impl fmt::Debug for OnRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRefused")
    }
}

/// An event that the server refused, with its faults. It is not stored, and is not sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The event as it was sent: one line of JSON.
    pub event: String,
    /// All that is wrong with it.
    pub faults: Vec<Fault>,
}

/// One fault of an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Fault {
    /// The field at fault; `None` where the event as a whole is.
    pub field: Option<String>,
    /// The stable code, such as `in_future` or `id_conflict`.
    pub code: String,
    /// The expected and the found value, in words for people.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{} {field}: {}", self.code, self.detail),
            None => write!(f, "{}: {}", self.code, self.detail),
        }
    }
}

/// A publisher cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Not the address of a server.
    #[error("expected an address such as http://127.0.0.1:8080, found {0:?}")]
    Server(String),
    /// A key with characters that no header has.
    #[error("the API key has characters that no key has")]
    Key,
    /// The outbox.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The system gives no thread.
    #[error("no thread for the publisher: {0}")]
    Thread(std::io::Error),
}

/// The publisher was closed. The event is handed back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the publisher was closed")]
pub struct Closed(pub Event);

/// The event was not taken. It is handed back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There is no room in the buffer.
    #[error("the buffer of the publisher is full")]
    Full(Event),
    /// The publisher was closed.
    #[error("the publisher was closed")]
    Closed(Event),
}

/// The publisher was closed before all events were answered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} events were not answered ({kept} of them are in the outbox)", .events.len() as u64 + kept)]
pub struct Undelivered {
    /// The events that are nowhere else. The last ones that were sent may have arrived: publish them again with the same
    /// ids, which adds nothing then.
    pub events: Vec<Event>,
    /// Events that wait in the outbox: the next publisher with it sends them.
    pub kept: u64,
}

/// Numbers of a publisher since it was started. `Display` writes them as Prometheus reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Events that callers published.
    pub published: u64,
    /// Events that the server stored.
    pub stored: u64,
    /// Events that the server had before.
    pub duplicates: u64,
    /// Events that the server refused.
    pub refused: u64,
    /// Attempts to send that were not answered.
    pub failed_attempts: u64,
    /// Events that wait to be answered, in memory and on disk.
    pub waiting: u64,
    /// Bytes in the outbox.
    pub outbox_bytes: u64,
    /// Attempts to write to the outbox that failed.
    pub outbox_failures: u64,
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kind, help, value) in [
            ("published_total", "counter", "Events that callers published.", self.published),
            ("stored_total", "counter", "Events that the server stored.", self.stored),
            ("duplicates_total", "counter", "Events that the server had before.", self.duplicates),
            ("refused_total", "counter", "Events that the server refused.", self.refused),
            (
                "failed_attempts_total",
                "counter",
                "Attempts to send that were not answered.",
                self.failed_attempts,
            ),
            ("waiting_events", "gauge", "Events that wait to be answered.", self.waiting),
            ("outbox_bytes", "gauge", "Bytes in the outbox.", self.outbox_bytes),
            ("outbox_failures_total", "counter", "Failed writes to the outbox.", self.outbox_failures),
        ] {
            write_metric(f, &format!("lastseen_client_{name}"), (kind, help), value)?;
        }
        Ok(())
    }
}

/// Writes one number as Prometheus reads it. `kind` is `counter` or `gauge`.
///
/// # Errors
/// Those of the writer.
#[doc(hidden)]
pub fn write_metric(
    out: &mut impl fmt::Write,
    name: &str,
    (kind, help): (&str, &str),
    value: impl fmt::Display,
) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
}

/// Counters that several threads write.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed_attempts: AtomicU64,
    pub(crate) outbox_failures: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Locks, also where another thread panicked: what is behind these locks is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Options {
    /// Sets the API key; it needs the scope `publish`.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Sets the memory for events that wait, in bytes; 16 MiB without it. An event takes its JSON and some 60 bytes. At the
    /// bound, [`Publisher::publish`] waits.
    pub fn buffer_bytes(self, bytes: usize) -> Self {
        Self { buffer_bytes: bytes.max(64 << 10), ..self }
    }

    /// Sets the most events of a request, from 1 to 10,000; 1,000 without it.
    pub fn batch_events(self, events: usize) -> Self {
        Self { batch_events: events.clamp(1, 10_000), ..self }
    }

    /// Sets the time that the first event of a request waits for others; 10 ms without it.
    pub fn linger(self, linger: Duration) -> Self {
        Self { linger, ..self }
    }

    /// Sets the longest time for a request; 30 s without it.
    pub fn request_timeout(self, timeout: Duration) -> Self {
        Self { request_timeout: timeout, ..self }
    }

    /// Sets the first pause after an attempt that was not answered, and the longest; 100 ms and 10 s without it. Pauses
    /// double, and each is between a half and the whole of that. Where the server says `Retry-After`, that counts.
    pub fn pauses(self, first: Duration, longest: Duration) -> Self {
        Self { pause: (first, longest.max(first)), ..self }
    }

    /// Keeps events in a directory until they are answered, `bytes` at most. They survive the death of this process and the
    /// absence of the server. At the bound, the buffer fills, and then [`Publisher::publish`] waits.
    pub fn outbox(self, dir: impl Into<PathBuf>, bytes: u64) -> Self {
        Self { outbox: Some((dir.into(), bytes.max(1 << 20))), ..self }
    }

    /// Sets the receiver of events that the server refuses. It is called on a thread of the publisher and holds it up.
    /// Without it, they go to the log, whole, as errors.
    pub fn on_refused(self, receiver: impl FnMut(Refused) + Send + 'static) -> Self {
        Self { on_refused: OnRefused(Box::new(receiver)), ..self }
    }

    /// Starts the publisher.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(self) -> Result<Publisher, StartError> {
        let is_address = |server: &str| {
            let host = server.strip_prefix("http://").or_else(|| server.strip_prefix("https://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace))
        };
        if !is_address(&self.server) {
            return Err(StartError::Server(self.server));
        }
        if self
            .key
            .as_ref()
            .is_some_and(|key| key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(StartError::Key);
        }
        let outbox = match &self.outbox {
            None => None,
            Some((dir, bytes)) => {
                let (outbox, torn) = Outbox::open(dir, *bytes)?;
                if let Some(torn) = torn {
                    tracing::warn!(file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes,
                        "the outbox ended within an event that was never acknowledged; it was cut off");
                }
                Some(outbox)
            }
        };
        let transport = Transport::new(&self.server, self.key.as_deref(), self.request_timeout);
        let kept = outbox.map(Kept::new);
        let inner =
            Arc::new(Inner { queue: Queue::new(self.buffer_bytes, kept), counters: Counters::default() });
        let sender = Sender { inner: inner.clone(), transport, options: self };
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(work).map(drop).map_err(StartError::Thread)
        };
        if inner.queue.kept().is_some() {
            let inner = inner.clone();
            spawn("lastseen-outbox", Box::new(move || sender::keep(&inner)))?;
        }
        spawn("lastseen-send", Box::new(move || sender.run()))?;
        Ok(Publisher { handle: Arc::new(Handle(inner)) })
    }
}

/// Publishes events to a server. Clones are the same publisher.
///
/// Publishing puts an event into a bounded buffer: that takes a microsecond, and never waits for the server while there is
/// room. Threads of the publisher send what is in it, in order, as often as it takes, with the same ids.
#[derive(Clone, Debug)]
pub struct Publisher {
    handle: Arc<Handle>,
}

/// Closes the publisher with its last clone.
#[derive(Debug)]
struct Handle(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) queue: Queue,
    pub(crate) counters: Counters,
}

impl Drop for Handle {
    /// Whoever forgets to close a publisher: what is in the buffer goes into the outbox, or is told to be lost.
    fn drop(&mut self) {
        let lost = self.0.queue.abandon();
        if lost > 0 {
            tracing::error!(
                events = lost,
                "a publisher without an outbox was dropped, not closed: events may be lost"
            );
        }
    }
}

impl Publisher {
    /// Options for a publisher to a server, such as `http://127.0.0.1:8080`.
    pub fn to(server: impl Into<String>) -> Options {
        Options {
            server: server.into(),
            key: None,
            buffer_bytes: 16 << 20,
            batch_events: 1_000,
            linger: Duration::from_millis(10),
            request_timeout: Duration::from_secs(30),
            pause: (Duration::from_millis(100), Duration::from_secs(10)),
            outbox: None,
            on_refused: OnRefused(Box::new(|refused| {
                let faults: Vec<_> = refused.faults.iter().map(ToString::to_string).collect();
                tracing::error!(
                    event = refused.event,
                    faults = faults.join("; "),
                    "the server refused an event"
                );
            })),
        }
    }

    fn inner(&self) -> &Inner {
        &self.handle.0
    }

    /// Takes an event. Waits only for room in the buffer.
    ///
    /// # Errors
    /// [`Closed`], with the event.
    pub async fn publish(&self, event: Event) -> Result<(), Closed> {
        match self.inner().queue.room().acquire_many(Queue::cost(&event)).await {
            Ok(room) => room.forget(),
            Err(_) => return Err(Closed(event)),
        }
        self.put(event).map_err(Closed)
    }

    /// Takes an event if there is room for it at once.
    ///
    /// # Errors
    /// [`NotTaken`], with the event.
    pub fn try_publish(&self, event: Event) -> Result<(), NotTaken> {
        match self.inner().queue.room().try_acquire_many(Queue::cost(&event)) {
            Ok(room) => room.forget(),
            Err(TryAcquireError::NoPermits) => return Err(NotTaken::Full(event)),
            Err(TryAcquireError::Closed) => return Err(NotTaken::Closed(event)),
        }
        self.put(event).map_err(NotTaken::Closed)
    }

    fn put(&self, event: Event) -> Result<(), Event> {
        self.inner().queue.put(event)?;
        count(&self.inner().counters.published, 1);
        Ok(())
    }

    /// Waits until all events that were taken before are answered: stored, or refused and handed back.
    ///
    /// # Errors
    /// [`FlushError`] if the publisher is closed first.
    pub async fn flush(&self) -> Result<(), FlushError> {
        self.inner().queue.hurry();
        let upto = self.inner().queue.taken();
        let is_answered = Reached::wait(self.inner().queue.reached(), upto).await;
        if is_answered { Ok(()) } else { Err(FlushError) }
    }

    /// Waits until all events that were taken before are in the outbox, or answered. Without an outbox, this is
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`FlushError`] if the publisher is closed first.
    pub async fn keep(&self) -> Result<(), FlushError> {
        let Some(kept) = self.inner().queue.kept() else { return self.flush().await };
        let upto = self.inner().queue.taken();
        let is_kept = Reached::wait(kept.reached(), upto).await;
        if is_kept { Ok(()) } else { Err(FlushError) }
    }

    /// Takes no more events, and sends those that wait, for `within` at most. Blocks: in asynchronous code call it with
    /// `spawn_blocking`, or wait for [`flush`](Self::flush) first.
    ///
    /// # Errors
    /// [`Undelivered`]: events that were not answered, handed back or kept in the outbox.
    pub fn close(self, within: Duration) -> Result<(), Undelivered> {
        self.inner().queue.close(Instant::now() + within)
    }

    /// Numbers since the start.
    pub fn metrics(&self) -> Metrics {
        let Inner { queue, counters } = self.inner();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            published: of(&counters.published),
            stored: of(&counters.stored),
            duplicates: of(&counters.duplicates),
            refused: of(&counters.refused),
            failed_attempts: of(&counters.failed_attempts),
            waiting: queue.waiting(),
            outbox_bytes: queue.kept().map_or(0, Kept::bytes),
            outbox_failures: of(&counters.outbox_failures),
        }
    }
}

/// The publisher was closed before all events were answered: [`Publisher::close`] tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the publisher was closed before all events were answered")]
pub struct FlushError;

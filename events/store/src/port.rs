//! The port: the trait that every event store implements. Its doc is the contract, `contract` checks it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lastseen_event::{BatchName, EventBatch, EventRows, Fact, Position, Retraction, Sighting};
use parking_lot::MappedRwLockReadGuard;
use tokio::sync::watch;

use crate::{AppendError, Batches, Health, Lineage, MemberDictionary, ReadError, Scan};

/// An append-only store of events in one total order.
///
/// ```text
///   positions      3    4    7    8  |            strictly increasing, gaps allowed, never filled later
///                  a    b    c    d  | e f        readers see a..d; e f are being written
///                                    ^ tail
/// ```
///
/// # What every store promises
///
/// - **Durable.** [`append`](Self::append) succeeds only once the events survive a power cut.
/// - **Atomic.** An error other than [`AppendError::Indeterminate`] and [`AppendError::PartlyUnknown`] means that nothing of the
///   batch was or will be written. [`Overloaded`](AppendError::Overloaded), [`NoSpace`](AppendError::NoSpace) and
///   [`Unavailable`](AppendError::Unavailable) pass: the same batch succeeds once their cause is gone,
///   without opening the store again. How far one success reaches is the store's to say: the embedded log
///   writes a batch whole, in one piece of the order; a cluster with one stream a member writes it whole for
///   each member, so after the first stream there is only success or an unknown outcome.
/// - **Idempotent.** An event whose id is stored in its tenant with the same content is a duplicate: success, and
///   nothing is added; another tenant can have the same id. The same id in the same tenant with other content is a conflict within the recent window (the last N kept events; N is
///   the store's); beyond it the second one is kept as an event of its own. Both hold within one batch too. A store that has a copy
///   of a cluster's history keeps the first event of an id for ever, and leaves out all others.
/// - **Ordered.** Readers see events by strictly increasing position and only up to the durable tail, so an
///   event never appears below one that was already read. `recorded_at` never decreases.
/// - **Numbered.** Members, tenants, persons and batches have dense ordinals, the same for the same names for as long
///   as the store exists.
/// - **Retracted for good.** Once [`retract`](Self::retract) has succeeded, an event that names the batch is refused
///   before its id is looked at.
/// - **Readable to the end.** Once it is [closed](Self::close), appends are refused with [`AppendError::Closed`], and
///   everything that is durable is read as before.
///
/// A trait object serves as a store: a server takes whichever it is given.
pub trait EventStore: Send + Sync {
    /// Appends the events of `batch` in order. An empty batch succeeds and adds nothing. Dropping the future
    /// does not take the append back. A batch has at most
    /// [`REQUEST_EVENTS_MAX`](lastseen_event::limits::REQUEST_EVENTS_MAX) events; a larger one may panic.
    ///
    /// # Errors
    /// Each variant of [`AppendError`] says whether something was written and what to do next.
    fn append(&self, batch: EventBatch, on_refused: OnRefused) -> Pending<'_, Appended>;

    /// Retracts a backfill batch: records that from now on its name is dead. Its events stay in the history, and a fold
    /// leaves them out. With `events`, only if the batch has exactly so many when it is recorded.
    ///
    /// # Errors
    /// [`AppendError`], but not that events are refused.
    fn retract<'a>(&'a self, batch: BatchName<'a>, events: Option<u64>) -> Pending<'a, RetractOutcome>;

    /// The batches of all durable events. Hold the guard briefly: appends wait for it.
    fn batches(&self) -> Guard<'_, Batches>;

    /// The members of all durable events. Hold the guard briefly: appends wait for it.
    fn members(&self) -> Guard<'_, dyn MemberDictionary>;

    /// A cursor over what `scan` chooses. It may be made before there is anything to read.
    fn scan(&self, scan: Scan) -> Box<dyn EventReader>;

    /// A cursor over all events at positions above `after` ([`Position::START`]: all of them).
    fn read(&self, after: Position, detail: Detail) -> Box<dyn EventReader> {
        self.scan(Scan::after(after, detail))
    }

    /// The parts that history is kept in, ascending: each begins above its position and ends where the next begins, the last
    /// at the tail. There is one at least. Who looks for the latest of something reads them from the last on.
    fn parts(&self) -> Vec<Position>;

    /// The number of durable records, events and retractions, above `position`, exclusive. It is exact at each of the
    /// [parts](Self::parts), and 0 at the tail and above. Elsewhere a store whose positions have gaps may tell more than
    /// there are, never fewer. As cheap as [`health`](Self::health).
    fn records_after(&self, position: Position) -> u64;

    /// Returns the end of the durable history, and a way to wait for more.
    fn tail(&self) -> Tail;

    /// The id of the history, and those that it continues. Positions are positions of this id.
    fn lineage(&self) -> Arc<Lineage>;

    /// The parts that stand still at present, since when and why. Does no I/O and never waits for any, so async code may
    /// call it.
    fn health(&self) -> Health;

    /// The figures that its operator watches. As cheap as [`health`](Self::health).
    fn gauges(&self) -> Gauges;

    /// Stops taking appends, makes durable those that wait, ends the history: the [tail](Self::tail) tells that no more comes.
    /// Blocks until done. Later appends are refused; reading goes on. Once more does nothing.
    fn close(&self);
}

/// An append or a retraction under way, with its outcome.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, AppendError>> + Send + 'a>>;

/// A part of a store, held while it is looked at. It cannot be held across an `await`.
pub type Guard<'a, T> = MappedRwLockReadGuard<'a, T>;

/// Figures of a store at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Appends that wait to be written. 0 once the store is closed.
    pub waiting_appends: usize,
    /// Bytes of memory that looking up the ids of old events takes.
    pub id_memory_bytes: u64,
    /// The distance to the cluster whose history this store copies. `None`: it is no copy.
    pub lag: Option<Lag>,
}

/// The distance between a copy and the cluster that it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Positions from the last event that was taken in to the last one of the cluster; 0: they are the same. `None`: the end of the
    /// cluster is not known at present.
    pub positions: Option<u64>,
    /// Time since the copy last was at the end of the cluster.
    pub time: Duration,
    /// True if the cluster answers.
    pub is_connected: bool,
}

/// The outcome of a [retraction](EventStore::retract).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetractOutcome {
    /// The batch is retracted, by the record at this position: a new one, or the one of an earlier retraction.
    Retracted(Position),
    /// No event names the batch. Nothing was recorded.
    Unknown,
    /// The batch has another number of events than was expected. Nothing was recorded.
    CountChanged {
        /// The number that it has.
        events: u64,
    },
}

/// A cursor over durable history. Reading blocks the calling thread on I/O.
pub trait EventReader: Send + 'static {
    /// The next events in order, at most one batch of the store's own size; `None` at the present tail, or at the end of
    /// the scan. A later call goes on from there once the tail has moved. A batch may be empty where a scan's filter
    /// leaves much out: it says how far the cursor is.
    ///
    /// # Errors
    /// [`ReadError`]; the cursor stays where it was.
    fn next_batch(&mut self) -> Result<Option<RecordedBatch>, ReadError>;

    /// The same where the next events are in memory: async code may call it. `None`: they are not, or the cursor is at the
    /// present tail, or at the end of the scan. Cursors that want the same may share one batch.
    fn next_recent(&mut self) -> Option<Arc<RecordedBatch>>;
}

impl EventReader for Box<dyn EventReader> {
    fn next_batch(&mut self) -> Result<Option<RecordedBatch>, ReadError> {
        self.as_mut().next_batch()
    }

    fn next_recent(&mut self) -> Option<Arc<RecordedBatch>> {
        self.as_mut().next_recent()
    }
}

/// The way to treat a batch of which some events are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefused {
    /// Refuse the whole batch.
    RefuseBatch,
    /// Append the others and name the refused ones.
    Skip,
    /// Append nothing, whatever is found, and answer [`AppendError::Refused`] with the rows, which may be none: for a
    /// batch that is refused for other reasons and wants a full report.
    ReportOnly,
}

impl OnRefused {
    /// True if a batch with these rows is refused as a whole.
    pub fn refuses(self, rows: &RefusedRows) -> bool {
        match self {
            Self::RefuseBatch => !rows.is_empty(),
            Self::Skip => false,
            Self::ReportOnly => true,
        }
    }
}

/// The rows of a batch that a store refuses, each in one list only, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedRows {
    /// Their ids are stored already with other content, or stand twice in the batch with different content.
    pub conflicts: Vec<usize>,
    /// They name a batch that was taken back.
    pub retracted: Vec<usize>,
}

impl RefusedRows {
    /// True if no row is refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of refused rows.
    pub fn len(&self) -> usize {
        self.conflicts.len() + self.retracted.len()
    }
}

/// The outcome of a successful append; `stored + duplicates + refused.len()` is the size of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Events that are new.
    pub stored: usize,
    /// Events that were there already, in the store or earlier in the batch.
    pub duplicates: usize,
    /// The rows that were skipped under [`OnRefused::Skip`].
    pub refused: RefusedRows,
    /// At or above every event of the batch, new or duplicate.
    pub position: Position,
}

/// The part of each event to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only who was seen when, of activity alone: neither ids nor names, and no retractions.
    Sightings,
    /// Only what a fold needs: no names.
    Facts,
    /// Everything that was appended.
    Events,
}

/// A run of recorded events in order. `events.len()` is `facts.len()` under [`Detail::Events`], else 0. Retractions are events
/// of no member: they stand apart.
#[derive(Clone, Debug, Default)]
pub struct RecordedBatch {
    /// The activity among the events, under [`Detail::Sightings`] alone; then nothing else is told of any.
    pub sightings: Vec<Sighting>,
    /// The part of each event that a fold sees, one per event.
    pub facts: Vec<Fact>,
    /// The events as they were appended.
    pub events: EventRows,
    /// The batches that were taken back, in order.
    pub retractions: Vec<Retraction>,
    /// Everything up to here was read or left out, inclusive: a scan after this position goes on without gap or repeat.
    pub reached: Position,
}

/// The durable end of the history, watched.
#[derive(Clone, Debug)]
pub struct Tail(watch::Receiver<Position>);

impl Tail {
    /// A tail that follows what is sent to the other side.
    pub fn new(receiver: watch::Receiver<Position>) -> Self {
        Self(receiver)
    }

    /// The position of the last durable event, [`Position::START`] if there is none.
    pub fn position(&self) -> Position {
        *self.0.borrow()
    }

    /// Waits until the last durable event is above `position`. `false` means that the store was closed first.
    pub async fn wait_past(&mut self, position: Position) -> bool {
        self.0.wait_for(|tail| *tail > position).await.is_ok()
    }
}

//! Requests to the writer, and its answers.

use std::time::Duration;

use lastseen_event::{EventBatch, MemberRef, Position, UtcInstant};
use lastseen_store::{AppendError, Appended, OnRefused, RefusedRows, RetractOutcome, StoreFault};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::ids::LookUp;
use crate::origin::Stamp;

/// An append on its way to the writer.
pub(crate) struct Request {
    pub(crate) batch: EventBatch,
    /// The members that were known when it set out, one a row.
    pub(crate) members: Vec<Option<MemberRef>>,
    pub(crate) purpose: Purpose,
    /// One a row, where the records are those of a log that is followed; else empty.
    pub(crate) stamps: Vec<Stamp>,
    /// The ids of its rows, and those that are kept already, as far as sealed history tells.
    pub(crate) look_up: LookUp,
    pub(crate) reply: Reply,
    /// Its share of the bytes that may wait, held until it is answered.
    pub(crate) bytes: Option<OwnedSemaphorePermit>,
}

/// The use of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Its new rows are written.
    Append(OnRefused),
    /// Its rows are told apart. Nothing is written.
    TellApart,
}

/// The rows of a batch by what a log has of them. Those in no list are duplicates.
#[derive(Clone, Debug)]
pub struct ToldApart {
    /// The batch as it was.
    pub batch: EventBatch,
    /// Rows that the log does not have, ascending.
    pub new: Vec<u32>,
    /// Rows that it would refuse.
    pub refused: RefusedRows,
    /// At or above everything by which they were told apart. Some of it may be on its way to the disk: the tail gets there.
    pub reached: Position,
}

/// A request to the writer.
pub(crate) enum Message {
    Append(Request),
    /// Retracts a batch.
    Retract(Retract),
    /// Everything up to this position of the log that is followed was taken in.
    TakenIn(Position),
    /// Ends the file that is being written, so that it can be sealed.
    EndFile(oneshot::Sender<Result<(), EndError>>),
}

/// A batch that is to be retracted.
pub(crate) struct Retract {
    pub(crate) batch: Box<str>,
    /// Only if it has exactly so many events.
    pub(crate) events: Option<u64>,
    /// When it was asked for and its stamp, where it is a record of a log that is followed.
    pub(crate) stamp: Option<(UtcInstant, Stamp)>,
    pub(crate) reply: oneshot::Sender<Result<RetractOutcome, AppendError>>,
}

pub(crate) type Reply = oneshot::Sender<Answer>;

/// Why the file that is being written was not ended.
#[derive(Debug)]
pub(crate) enum EndError {
    /// It goes on as it is.
    Refused(StoreFault),
    /// The writer takes no more events.
    Closed,
}

/// The outcome of a request.
pub(crate) enum Answer {
    Done(Result<Appended, AppendError>),
    ToldApart(Box<ToldApart>),
    /// Nothing was done: ids left the recent window since its look-up began. It looks again, at what is new since.
    LookAgain(Box<Overtaken>),
}

/// A request whose look-up was overtaken.
pub(crate) struct Overtaken {
    pub(crate) batch: EventBatch,
    pub(crate) stamps: Vec<Stamp>,
    pub(crate) look_up: LookUp,
}

/// A group of events that became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenGroup {
    /// Events that are new, at least one.
    pub events: usize,
    /// The time that its sync took.
    pub synced: Duration,
}

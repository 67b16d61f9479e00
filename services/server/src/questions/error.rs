//! The one error of questions. It knows nothing of HTTP; `http::problem` maps it.

use lastseen_projections::Day;
use lastseen_store::ReadError;

use crate::asker::AskerIsBusy;

/// A question that has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum QuestionError {
    /// No event that the views reflect names the tenant.
    #[error("no event names this tenant")]
    UnknownTenant,
    /// No event of the tenant names the user.
    #[error("no event of this tenant names this user")]
    UnknownUser,
    /// No event names the user, in any tenant.
    #[error("no event names this user")]
    UnknownPerson,
    /// Persons are off: user ids are of their tenant.
    #[error("persons are off: a user_id in two tenants is two people")]
    NoPersons,
    /// No event names the batch.
    #[error("no event names this batch")]
    UnknownBatch,
    /// The later position is before the earlier one.
    #[error("expected a position not before that of since")]
    Backwards,
    /// The span of days is empty.
    #[error("expected a date not after {last}, the last day")]
    EmptySpan { last: Day },
    /// The span of days is too long.
    #[error("expected at most {days_max} days, found {first} to {last}")]
    LongSpan { days_max: i32, first: Day, last: Day },
    /// The views do not reflect the position yet. Ask again later.
    #[error("the numbers do not reflect this position yet")]
    PositionNotReached,
    /// Too much is under way. Nothing was begun; ask again later.
    #[error("{0}")]
    Overloaded(Overload),
    /// The asker has as many costly questions under way as it may. Nothing was begun; ask again later.
    #[error("as many costly questions are under way as the key may have at once")]
    AskerIsBusy,
    /// The work took longer than is allowed and was broken off.
    #[error("the question took longer than {seconds} s")]
    DeadlinePassed { seconds: u64 },
    /// History cannot be read.
    #[error("cannot read the history")]
    Unreadable(#[from] ReadError),
    /// A defect: the work panicked.
    #[error("the work on the question panicked")]
    Panicked,
}

impl From<AskerIsBusy> for QuestionError {
    fn from(AskerIsBusy: AskerIsBusy) -> Self {
        Self::AskerIsBusy
    }
}

/// The bound that a question met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Overload {
    /// The queue of the kind is full.
    #[error("too many questions of this kind are waiting")]
    Queue,
    /// No place became free in time.
    #[error("no place became free for this question in time")]
    Wait,
    /// More definitions are asked for at once than are followed.
    #[error("more zones and types are asked for at once than may be followed")]
    Definitions,
    /// There are as many readers who stay as may.
    #[error("as many readers of live numbers are connected as may be")]
    Readers,
    /// No memory became free in time.
    #[error("the memory for answers under way is taken")]
    Memory,
}

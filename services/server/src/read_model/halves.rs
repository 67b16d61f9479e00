//! Reading history in two halves, side by side.

use lastseen_event::Position;
use lastseen_log::Log;
use lastseen_store::{Detail, EventReader, EventStore, Filter, ReadError, RecordedBatch, Scan};

use crate::tasks;

/// Reads the events up to a position that `filter` chooses, in two halves side by side. What `take` makes of them must
/// not depend on their order. `check` is asked before each batch whether to go on.
///
/// # Errors
/// Those of reading, and of `check`.
pub(crate) fn each_half<E: From<ReadError> + Send>(
    log: &Log,
    (until, filter): (Position, Filter),
    check: impl Fn() -> Result<(), E> + Sync,
    take: impl FnMut(RecordedBatch),
) -> Result<(), E> {
    let parts = log.parts();
    let half = parts.partition_point(|part| part.get() < until.get() / 2);
    let half = parts.get(half).map_or(until, |part| (*part).min(until));
    let check = &check;
    let readers = [(Position::START, half), (half, until)].map(|(after, until)| {
        let mut reader = log.scan(Scan { after, until: Some(until), detail: Detail::Facts, filter });
        move || {
            check()?;
            reader.next_batch().map_err(E::from)
        }
    });
    tasks::gather(readers, take)
}

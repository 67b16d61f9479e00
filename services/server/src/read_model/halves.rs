//! Reading history in two halves, side by side.

use lastseen_event::{Position, Sighting};
use lastseen_store::{Detail, EventReader, EventStore, Filter, ReadError, RecordedBatch, Scan};

use crate::tasks;

/// Reads the events up to a position that `filter` chooses, in two halves side by side. What `take` makes of them must
/// not depend on their order. `check` is asked before each batch whether to go on.
///
/// # Errors
/// Those of reading, and of `check`.
pub(crate) fn each_half<E: From<ReadError> + Send>(
    log: &dyn EventStore,
    (until, filter): (Position, Filter),
    check: impl Fn() -> Result<(), E> + Sync,
    take: impl FnMut(RecordedBatch),
) -> Result<(), E> {
    let check = &check;
    let readers = halves(log, until).map(|(after, until)| {
        let mut reader = log.scan(Scan { after, until: Some(until), detail: Detail::Facts, filter });
        move || {
            check()?;
            reader.next_batch().map_err(E::from)
        }
    });
    tasks::gather(readers, take)
}

/// Reads who was seen when up to a position, in two halves side by side. Each half is folded where it is read, into one of
/// `folds`. `check` is asked before each batch whether to go on.
///
/// # Errors
/// Those of reading, and of `check`.
pub(crate) fn sightings_by_half<T: Send, E: From<ReadError> + Send>(
    log: &dyn EventStore,
    until: Position,
    folds: [T; 2],
    check: impl Fn() -> Result<(), E> + Sync,
    see: impl Fn(&mut T, &[Sighting]) + Sync,
) -> Result<[T; 2], E> {
    let fold = |(mut fold, (after, until)): (T, (Position, Position))| -> Result<T, E> {
        let scan = Scan { until: Some(until), ..Scan::after(after, Detail::Sightings) };
        let mut reader = log.scan(scan);
        loop {
            check()?;
            let Some(batch) = reader.next_batch()? else { return Ok(fold) };
            see(&mut fold, &batch.sightings);
            tasks::give_way();
        }
    };
    let [first, second] = folds;
    let [earlier, later] = halves(log, until);
    let (second, first) = tasks::join(|| fold((second, later)), || fold((first, earlier)));
    Ok([first?, second?])
}

/// The two halves of the positions up to `until`: above the first of a pair, up to the second. A segment is in one half.
fn halves(log: &dyn EventStore, until: Position) -> [(Position, Position); 2] {
    let parts = log.parts();
    let half = parts.partition_point(|part| part.get() < until.get() / 2);
    let half = parts.get(half).map_or(until, |part| (*part).min(until));
    [(Position::START, half), (half, until)]
}

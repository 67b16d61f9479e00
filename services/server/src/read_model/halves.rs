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

/// The two halves of the records up to `until`, about: those above the first position of a pair, up to the second. A
/// segment is in one half.
fn halves(log: &dyn EventStore, until: Position) -> [(Position, Position); 2] {
    let parts = log.parts();
    let all = log.records_after(Position::START);
    let up_to = |position: Position| all.saturating_sub(log.records_after(position));
    let wanted = up_to(until) / 2;
    let half = parts.partition_point(|part| up_to(*part) < wanted);
    let half = parts.get(half).map_or(until, |part| (*part).min(until));
    [(Position::START, half), (half, until)]
}

#[cfg(test)]
mod tests {
    use lastseen_log::FaultDisk;

    use super::*;
    use crate::testing::Replica;

    fn records(log: &dyn EventStore, (after, until): (Position, Position)) -> u64 {
        let mut reader = log.scan(Scan { until: Some(until), ..Scan::after(after, Detail::Facts) });
        let mut records = 0;
        while let Some(batch) = reader.next_batch().unwrap() {
            records += batch.facts.len() as u64;
        }
        records
    }

    /// The middle was one of positions: where those before the first event are many, or events were further apart once, one
    /// half had everything.
    #[test]
    fn a_half_has_half_of_the_records_whatever_gaps_positions_have() {
        const PARTS: u64 = 12;
        let gaps: [fn(u64) -> u64; 4] = [
            |_| 1,
            |part| if part == 0 { 1 << 40 } else { 3 },
            |part| if part < PARTS / 2 { 1 } else { 1 << 30 },
            |part| 1 << (30 - 2 * part),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for (case, gap) in gaps.into_iter().enumerate() {
            let replica = Replica::new(&FaultDisk::default());
            let (log, mut tails) = (replica.log.as_ref(), vec![Position::START]);
            for part in 0..PARTS {
                tails.push(runtime.block_on(replica.take_in(5 + part % 3, gap(part))));
                log.seal().unwrap();
            }
            tails.push(runtime.block_on(replica.take_in(4, 9)));
            for until in tails {
                let [first, second] = halves(log, until);
                assert_eq!((first.0, first.1, second.1), (Position::START, second.0, until));
                let (first, second) = (records(log, first), records(log, second));
                assert_eq!(first + second, records(log, (Position::START, until)));
                // A part more than half at most.
                assert!(first.abs_diff(second) < 2 * 7, "{case}: {first} and {second} up to {until:?}");
            }
        }
    }
}

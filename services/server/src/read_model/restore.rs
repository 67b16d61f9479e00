//! The views of all of the log, at the start: from the snapshot and the events after it, or from the beginning.

use std::time::{Duration, Instant};

use lastseen_event::Position;
use lastseen_projections::{Persons, Retracted, Selection, Views, ViewsBuilder};
use lastseen_store::{Detail, EventReader, EventStore, ReadError, RecordedBatch};

use super::snapshot::{Snapshot, SnapshotError};
use crate::tasks;

/// Time between two log lines about the progress of the fold.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// Returns the batches of a store that were retracted.
pub(super) fn retracted_in(store: &dyn EventStore) -> Retracted {
    store.batches().retracted().collect()
}

/// Returns the views, and how many events had to be folded.
pub(super) fn views(
    snapshot: Result<Option<Snapshot>, SnapshotError>,
    log: &dyn EventStore,
    persons: Persons,
    progress: impl Fn(u64),
) -> Result<(Views, u64), ReadError> {
    let restored = snapshot.and_then(|snapshot| {
        let members = || {
            let members = log.members();
            move |member| members.member_ref(member)
        };
        let lineage = log.lineage();
        let of_log = (lineage.as_ref(), |scan| log.scan(scan));
        snapshot.map(|snapshot| snapshot.views(persons, of_log, members)).transpose()
    });
    let (mut builder, checkpoint) = match restored {
        Ok(Some(restored)) => restored,
        Ok(None) => (ViewsBuilder::new(Selection::default(), retracted_in(log), persons), Position::START),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the snapshot of the views is of no use: rebuilding them from the log");
            (ViewsBuilder::new(Selection::default(), retracted_in(log), persons), Position::START)
        }
    };
    let mut reader = log.read(checkpoint, Detail::Facts);
    let (mut events, mut reached, mut said) = (0, checkpoint, Instant::now());
    let tail = log.tail().position().get();
    let fold = |batch: RecordedBatch| {
        builder.apply_all(&batch.facts);
        events += batch.facts.len() as u64;
        reached = batch.reached;
        progress(events);
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            tracing::info!(events, position = batch.reached.get(), tail, "folding");
        }
    };
    tasks::gather([|| reader.next_batch()], fold)?;
    tracing::info!(checkpoint = checkpoint.get(), events, "views");
    let mut views = builder.finish();
    // The last record may be a retraction, which no fold sees.
    views.reach(reached);
    Ok((views, events))
}

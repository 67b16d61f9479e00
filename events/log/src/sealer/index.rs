//! The runs of ids: made of each segment, merged as they get many, and made again where one is missing. What is said here
//! follows from the segments, so whatever fails is tried again.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use lastseen_store::ReadError;

use super::error::{SealError, failed};
use crate::disk::aside::Aside;
use crate::disk::{Disk, StepError, SyncSite};
use crate::history::History;
use crate::identity::Digest;
use crate::ids::SealedIds;
use crate::ids::run::{self, Run, RunEntry, WriteError};
use crate::ids::runs::{Merge, Runs};
use crate::manifest::Manifest;
use crate::place::{Place, following};
use crate::segment;
use crate::segment::entry::{Beside, Content, Entry, Piece, Span};
use crate::segment::file::SegmentFile;
use crate::segment::identities;
use crate::segment::index::{Index, IndexContent};
use crate::segment::write::HolderSet;

/// Writes the index file of a segment. Returns it as one piece, read back.
///
/// # Errors
/// [`SealError`].
pub(super) fn write_index(disk: &dyn Disk, content: &IndexContent<'_>) -> Result<Piece, SealError> {
    let path = segment::index_path(Place::new(content.positions[0]));
    let aside = Aside::make(disk, &path, SyncSite::SegmentIndex, |file| segment::index::write(file, content));
    let aside = aside.map_err(|error| failed("write", &path)(error.into_io()))?;
    let bytes = crate::disk::read_all(aside.file.as_ref()).map_err(failed("read", &path))?;
    aside.put().map_err(failed("rename", &path))?;
    Ok(Piece::of(&bytes))
}

/// Writes a run of digests, in any order, aside and durably, and opens it. Its name is durable after a sync of the folder.
///
/// # Errors
/// [`SealError`].
pub(super) fn write_run(
    history: &History,
    entry: RunEntry,
    digests: &[Digest],
) -> Result<Arc<Run>, SealError> {
    let sorted = sorted(digests);
    write_sorted(history, entry, sorted.into_iter().map(Ok))
}

/// Sorts digests. They are spread evenly, so their first bits divide them into small shares that are sorted in the caches.
fn sorted(digests: &[Digest]) -> Vec<Digest> {
    /// Digests of a share.
    const SHARE: usize = 1_024;
    let bits = (digests.len() / SHARE).max(1).ilog2().clamp(1, 16);
    let share_of = |digest: &Digest| usize::try_from(digest.high >> (64 - bits)).unwrap_or(0);
    let mut ends = vec![0; 1 << bits];
    for digest in digests {
        ends[share_of(digest)] += 1;
    }
    let mut end = 0;
    for share in &mut ends {
        end += *share;
        *share = end;
    }
    let mut sorted = digests.to_vec();
    let mut starts = ends.clone();
    for digest in digests {
        let start = &mut starts[share_of(digest)];
        *start -= 1;
        sorted[*start] = *digest;
    }
    for (start, end) in starts.iter().zip(&ends) {
        sorted[*start..*end].sort_unstable();
    }
    sorted
}

fn write_sorted(
    history: &History,
    entry: RunEntry,
    digests: impl Iterator<Item = Result<Digest, ReadError>>,
) -> Result<Arc<Run>, SealError> {
    let (disk, lineage) = (history.disk.as_ref(), history.lineage());
    let folder = disk.folder(run::DIR).map_err(failed("open", run::DIR))?;
    let path = entry.path();
    run::write(disk, &entry, lineage.log_id(), digests).map_err(|error| match error {
        WriteError::Read(error) => SealError::from(error),
        WriteError::Step(error) => failed("write", &path)(error.into_io()),
    })?;
    // A manifest is about to name it. Where this fails, another file is made the next time.
    folder.sync(SyncSite::IdsName).map_err(failed("sync", run::DIR))?;
    let budget = history.ids.budget.clone();
    Ok(Arc::new(Run::open(disk, entry, |log_id| lineage.contains(log_id), budget)?))
}

/// The mark of a run that is being made.
pub(super) fn draw_mark() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

/// Runs as the manifest names them.
pub(super) fn entries(runs: &[Arc<Run>]) -> Vec<RunEntry> {
    runs.iter().map(|run| run.entry.clone()).collect()
}

/// Lets look-ups go by these runs, those of a durable manifest. The places say after that what is sealed, and ids leave the
/// recent window after that.
pub(super) fn publish_ids(history: &History, manifest: &Manifest, runs: Vec<Arc<Run>>) {
    history.ids.replace(SealedIds::new(&manifest.segments, Runs::new(runs)));
}

/// Other runs for the same segments, one of which may be described anew.
pub(super) struct Next {
    runs: Vec<Arc<Run>>,
    entry: Option<Arc<Entry>>,
}

/// Indexes one segment that is not: of version 1, or where a run was damaged. `None`: there is none.
///
/// # Errors
/// [`SealError`].
pub(super) fn index_next(history: &History) -> Result<Option<Next>, SealError> {
    let sealed = history.ids.sealed();
    let damaged = history.ids.take_damaged();
    let mut runs: Vec<Arc<Run>> =
        sealed.runs.iter().filter(|run| !damaged.contains(&run.entry)).cloned().collect();
    if !damaged.is_empty() {
        // Their segments are indexed one by one from now on.
        return Ok(Some(Next { runs, entry: None }));
    }
    let Some(entry) = sealed.unindexed.first() else { return Ok(None) };
    let started = Instant::now();
    let (entry, run) = index(history, entry)?;
    runs.push(run);
    runs.sort_by_key(|run| run.entry.first());
    let seconds = started.elapsed().as_secs_f64();
    let (from, until, left) = (entry.positions[0], entry.positions[1], sealed.unindexed.len() - 1);
    tracing::info!(from, until, left, seconds, "indexed the ids of a segment");
    Ok(Some(Next { runs, entry: Some(Arc::new(entry)) }))
}

/// Makes the run of a segment, and its index file where it has none.
fn index(history: &History, entry: &Arc<Entry>) -> Result<(Entry, Arc<Run>), SealError> {
    let (disk, lineage) = (history.disk.as_ref(), history.lineage());
    let Index { pieces, batches, .. } = Index::read(disk, entry, |log_id| lineage.contains(log_id))?;
    let file = SegmentFile::with_pieces(disk, entry, pieces.clone())?;
    let (mut digests, mut holders, mut content) = (Vec::new(), HolderSet::default(), Content::default());
    let mut place = entry.first();
    identities::each(&file, &history.ids.key, |row| {
        digests.push(history.ids.key.digest(row.own, row.fingerprint));
        if let Some(member) = row.member {
            holders.insert(member);
        }
        content.add(place, (row.id, row.fingerprint));
        place = following(place);
    })?;
    let run = RunEntry { positions: entry.positions, occurred: entry.occurred, mark: draw_mark() };
    let run = write_run(history, run, &digests)?;
    if entry.beside.is_some() {
        return Ok((entry.as_ref().clone(), run));
    }
    let holders = holders.filter();
    let log_id = lineage.log_id();
    let described = IndexContent {
        log_id,
        positions: entry.positions,
        content,
        pieces: &pieces,
        batches: &batches,
        holders: &holders,
    };
    let folder = disk.folder(segment::DIR).map_err(failed("open", segment::DIR))?;
    let index = write_index(disk, &described)?;
    folder.sync(SyncSite::SegmentName).map_err(failed("sync", segment::DIR))?;
    let batches = u32::try_from(batches.len()).unwrap_or(u32::MAX);
    let beside = Beside { index, bytes: entry.bytes(), batches, content };
    let entry =
        Entry { pieces: Vec::new(), batches: Vec::new(), beside: Some(beside), ..entry.as_ref().clone() };
    Ok((entry, run))
}

/// Merges the runs that are due into one. `None`: none are.
///
/// # Errors
/// [`SealError`].
pub(super) fn merge_next(history: &History, unit: u64) -> Result<Option<Next>, SealError> {
    let sealed = history.ids.sealed();
    let Some(due) = sealed.runs.due(unit) else { return Ok(None) };
    let inputs = sealed.runs.slice(due.clone());
    let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else { return Ok(None) };
    let started = Instant::now();
    let occurred = inputs.iter().map(|run| run.entry.occurred).reduce(Span::and);
    let entry = RunEntry {
        positions: [first.entry.positions[0], last.entry.positions[1]],
        occurred: occurred.unwrap_or(first.entry.occurred),
        mark: draw_mark(),
    };
    let mut runs: Vec<Arc<Run>> = sealed.runs.iter().cloned().collect();
    let merged = match write_sorted(history, entry, Merge::new(inputs)) {
        Ok(merged) => merged,
        Err(error) => {
            let Some(damaged) = inputs.iter().find(|run| error.is_about(&run.entry.path())) else {
                return Err(error);
            };
            let path = damaged.entry.path();
            tracing::warn!(%error, path, "ids are of no use: making them again from their segments");
            runs.retain(|run| run.entry != damaged.entry);
            return Ok(Some(Next { runs, entry: None }));
        }
    };
    runs.splice(due, [merged.clone()]);
    let (ids, seconds) = (merged.entry.records(), started.elapsed().as_secs_f64());
    tracing::debug!(ids, runs = inputs.len(), seconds, "merged ids");
    Ok(Some(Next { runs, entry: None }))
}

/// Puts a manifest that names other runs in the place of the one before, and lets look-ups go by it. Runs that it does not name
/// any more are removed.
///
/// # Errors
/// [`StepError`].
pub(super) fn publish(history: &History, next: Next) -> Result<(), StepError> {
    let disk = history.disk.as_ref();
    let folder = disk.folder(segment::DIR).map_err(StepError::Refused)?;
    let before = entries(history.ids.sealed().runs.all());
    let named = entries(&next.runs);
    let change = |manifest: &Manifest| {
        let mut manifest = Manifest { runs: named.clone(), ..manifest.clone() };
        let described = next.entry.into_iter();
        for entry in described {
            if let Some(place) = manifest.segments.iter_mut().find(|it| it.positions == entry.positions) {
                *place = entry;
            }
        }
        manifest
    };
    history.change_manifest(folder.as_ref(), change, |manifest| publish_ids(history, manifest, next.runs))?;
    for gone in before.iter().filter(|run| !named.contains(run)) {
        // One that stays is removed when the log is opened.
        if let Err(error) = disk.remove(&gone.path())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, path = gone.path(), "ids that were merged stay until the next start");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digests_are_sorted_whatever_they_are(
            digests in prop::collection::vec((any::<u64>(), any::<u32>(), 0_u32..3), 0..5_000),
        ) {
            // Also where many have the same first bits.
            let digest = |(high, low, shift): (u64, u32, u32)| Digest { high: high >> (shift * 30), low };
            let digests: Vec<Digest> = digests.into_iter().map(digest).collect();
            let mut expected = digests.clone();
            expected.sort_unstable();
            prop_assert_eq!(sorted(&digests), expected);
        }
    }
}

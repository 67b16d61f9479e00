//! Finding events that are kept already, among those that left the recent window: only in segments that hold the day,
//! through the bloom filter on `id`, and then by content. A batch at a time, in the task of whoever appends.

use std::collections::BTreeMap;
use std::sync::Arc;

use lastseen_event::{EventBatch, EventId, Position};
use lastseen_store::ReadError;
use parking_lot::Mutex;
use parquet::bloom_filter::Sbbf;

use crate::disk::Disk;
use crate::manifest::{Entry, Manifest};
use crate::segment::file::SegmentFile;
use crate::segment::rows::Rows;
use crate::segment::schema::Column;

/// What lookups keep in memory, most recently used last. About 300 KB a filter, 6 MB the ids of a row group.
#[derive(Default)]
pub(crate) struct Known {
    filters: Mutex<Vec<(Place, Arc<Sbbf>)>>,
    ids: Mutex<Vec<(Place, Arc<GroupIds>)>>,
}

const FILTERS_MAX: usize = 256;
const GROUPS_MAX: usize = 8;

/// A row group by its segment's first position and its number.
type Place = (Position, usize);

/// The ids of a row group with their fingerprints, ascending.
type GroupIds = Vec<(EventId, u64)>;

/// Rows of a batch that may be in a segment.
pub(crate) struct Suspects(BTreeMap<Position, (Arc<Entry>, Vec<usize>)>);

impl Suspects {
    /// The rows whose instant lies in a segment with positions below `recent_from`. None for events of the present: what
    /// is sealed of the last hours is in the recent window.
    pub(crate) fn of(batch: &EventBatch, manifest: &Manifest, recent_from: Position) -> Self {
        let mut suspects: BTreeMap<Position, (Arc<Entry>, Vec<usize>)> = BTreeMap::new();
        let old = manifest.segments.partition_point(|entry| entry.first() < recent_from);
        let old = &manifest.segments[..old];
        let latest = old.iter().map(|entry| entry.occurred.bounds().1).max();
        for (row, event) in batch.iter().enumerate() {
            if latest.is_none_or(|latest| event.occurred_at > latest) {
                continue;
            }
            for entry in old.iter().filter(|entry| entry.may_hold(event.occurred_at)) {
                suspects.entry(entry.first()).or_insert_with(|| (entry.clone(), Vec::new())).1.push(row);
            }
        }
        Self(suspects)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Known {
    /// The suspects that are kept with the same content; `found[row]` then. Blocks on I/O.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn find(
        &self,
        disk: &dyn Disk,
        batch: &EventBatch,
        suspects: &Suspects,
    ) -> Result<Vec<bool>, ReadError> {
        let mut found = vec![false; batch.len()];
        for (first, (entry, rows)) in &suspects.0 {
            let mut file = None;
            // Most segments are asked in vain: their filters say so, and stay in memory.
            let groups = usize::try_from(entry.rows())
                .unwrap_or(usize::MAX)
                .div_ceil(crate::segment::schema::ROW_GROUP_ROWS);
            for group in 0..groups {
                let place = (*first, group);
                let filter = cached(&self.filters, FILTERS_MAX, place, || {
                    open(&mut file, disk, entry)?.id_filter(group)
                })?;
                let rows = || {
                    rows.iter()
                        .copied()
                        .filter(|row| filter.check(batch.identity(*row).0.as_uuid().as_bytes().as_slice()))
                };
                if rows().next().is_none() {
                    continue;
                }
                let ids =
                    cached(&self.ids, GROUPS_MAX, place, || group_ids(open(&mut file, disk, entry)?, group))?;
                for row in rows() {
                    found[row] |= ids.binary_search(&batch.identity(row)).is_ok();
                }
            }
        }
        Ok(found)
    }
}

fn open<'a>(
    file: &'a mut Option<SegmentFile>,
    disk: &dyn Disk,
    entry: &Arc<Entry>,
) -> Result<&'a SegmentFile, ReadError> {
    match file {
        Some(file) => Ok(file),
        none => Ok(none.insert(SegmentFile::open(disk, entry)?)),
    }
}

/// What is cached for a place, made where it is not.
fn cached<T>(
    cache: &Mutex<Vec<(Place, Arc<T>)>>,
    most: usize,
    place: Place,
    read: impl FnOnce() -> Result<T, ReadError>,
) -> Result<Arc<T>, ReadError> {
    let mut held = cache.lock();
    if let Some(at) = held.iter().position(|(found, _)| *found == place) {
        let entry = held.remove(at);
        held.push(entry);
        return Ok(held[held.len() - 1].1.clone());
    }
    // Not held over the reading: others may make the same meanwhile, which costs time only.
    drop(held);
    let made = Arc::new(read()?);
    let mut held = cache.lock();
    held.retain(|(found, _)| *found != place);
    if held.len() >= most {
        held.remove(0);
    }
    held.push((place, made.clone()));
    Ok(made)
}

/// The ids of a row group, with the fingerprints that its rows give.
fn group_ids(file: &SegmentFile, group: usize) -> Result<GroupIds, ReadError> {
    let mut ids = Vec::with_capacity(file.rows_of(group));
    each_identity(file, group, 0, |identity| ids.push(identity))?;
    ids.sort_unstable();
    Ok(ids)
}

/// Calls `each` with id and fingerprint of the rows of a row group from `from` on, in order.
///
/// # Errors
/// [`ReadError`].
pub(crate) fn each_identity(
    file: &SegmentFile,
    group: usize,
    from: usize,
    mut each: impl FnMut((EventId, u64)),
) -> Result<(), ReadError> {
    const BATCH_ROWS: usize = 8_192;
    let unexpected = || file.damaged(group, "events as the log writes them", "something else");
    let mut row_in_group = 0;
    for batch in file.read(group, &Column::EVENT, (BATCH_ROWS, None))? {
        let batch = batch.map_err(|error| file.undecodable(group, &error))?;
        let rows = Rows::new(&batch).ok_or_else(unexpected)?;
        for row in 0..rows.len() {
            if row_in_group >= from {
                let event = rows.event(row).ok_or_else(unexpected)?;
                each((event.id, event.fingerprint()));
            }
            row_in_group += 1;
        }
    }
    Ok(())
}

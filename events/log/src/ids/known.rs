//! Finding events that are kept already, among those that left the recent window: only in segments that hold the day, in
//! row groups that hold the instant and the member, through the bloom filter on `id`, and then by content. A batch at a
//! time, in the task of whoever appends.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{EventBatch, EventId, MemberRef, Position, RecordedEvent, UtcInstant};
use lastseen_store::ReadError;
use parking_lot::Mutex;
use parquet::bloom_filter::Sbbf;

use crate::disk::Disk;
use crate::manifest::{Entry, Manifest};
use crate::ids::recent::{TenantEventId, TenantSeed};
use crate::segment::file::{GroupBounds, SegmentFile};
use crate::segment::rows::{Checked, Rows, ids};
use crate::segment::schema::Column;

/// The data that lookups keep in memory, least recently used first: in all at most about 270 MB, and nothing
/// if events come in their time.
#[derive(Default)]
pub(crate) struct Known {
    tenants: TenantSeed,
    bounds: Mutex<Vec<(Position, Arc<Vec<GroupBounds>>)>>,
    /// About 260 KB each.
    filters: Mutex<Vec<(Place, Arc<Sbbf>)>>,
    /// About 2 MB each.
    tags: Mutex<Vec<(Place, Arc<IdTags>)>>,
    /// About 6 MB each.
    identities: Mutex<Vec<(Place, Arc<Vec<Identity>>)>>,
}

const BOUNDS_MAX: usize = 4_096;
const FILTERS_MAX: usize = 256;
const TAGS_MAX: usize = 64;
const IDENTITIES_MAX: usize = 8;

/// A row group by its segment's first position and its number.
type Place = (Position, usize);

/// Id within its tenant, and fingerprint, of an event.
type Identity = (TenantEventId, u64);

/// An event that may be in a segment.
#[derive(Clone, Copy)]
struct Suspect {
    row: usize,
    occurred_at: UtcInstant,
    member: u32,
}

/// Rows of a batch that may be in segments, by segment.
pub(crate) struct Suspects(BTreeMap<Position, (Arc<Entry>, Vec<Suspect>)>);

impl Suspects {
    /// The rows of known members whose instant lies in a segment with positions below `recent_from`. None for events of
    /// the present: what is sealed of the last hours is in the recent window.
    pub(crate) fn of(
        batch: &EventBatch,
        members: &[Option<MemberRef>],
        manifest: &Manifest,
        recent_from: Position,
    ) -> Self {
        let old = manifest.segments.partition_point(|entry| entry.first() < recent_from);
        let old = &manifest.segments[..old];
        let mut suspects: BTreeMap<Position, (Arc<Entry>, Vec<Suspect>)> = BTreeMap::new();
        let Some(latest) = old.iter().map(|entry| entry.occurred.bounds().1).max() else {
            return Self(suspects);
        };
        for (row, (event, member)) in batch.iter().zip(members).enumerate() {
            let (occurred_at, Some(member)) = (event.occurred_at, member) else { continue };
            if occurred_at > latest {
                continue;
            }
            let suspect = Suspect { row, occurred_at, member: member.member.get() };
            for entry in old.iter().filter(|entry| entry.may_hold(occurred_at)) {
                suspects.entry(entry.first()).or_insert_with(|| (entry.clone(), Vec::new())).1.push(suspect);
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
        for (entry, suspects) in suspects.0.values() {
            let mut segment = Segment { disk, entry, file: None };
            let bounds =
                cached(&self.bounds, BOUNDS_MAX, entry.first(), || Ok(segment.open()?.group_bounds()))?;
            for (group, bounds) in bounds.iter().enumerate() {
                let inside =
                    suspects.iter().filter(|suspect| bounds.hold(suspect)).map(|suspect| suspect.row);
                self.find_in((&mut segment, group), batch, (inside, &mut found))?;
            }
        }
        Ok(found)
    }

    /// Finds rows in one row group: each look costs more than the one before and is taken by fewer.
    fn find_in(
        &self,
        (segment, group): (&mut Segment<'_>, usize),
        batch: &EventBatch,
        (rows, found): (impl Iterator<Item = usize>, &mut [bool]),
    ) -> Result<(), ReadError> {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let place = (segment.entry.first(), group);
        let filter = cached(&self.filters, FILTERS_MAX, place, || segment.open()?.id_filter(group))?;
        let mut rows = rows.filter(|row| filter.check(bytes(batch.identity(*row).0).as_slice())).peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let tags = cached(&self.tags, TAGS_MAX, place, || IdTags::read(segment.open()?, group))?;
        let mut rows = rows.filter(|row| tags.may_have(batch.identity(*row).0)).peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let identities = cached(&self.identities, IDENTITIES_MAX, place, || {
            identities(segment.open()?, group, &self.tenants)
        })?;
        for row in rows {
            let (id, fingerprint) = batch.identity(row);
            let own = self.tenants.within(batch.names(row).0.as_str(), id);
            found[row] |= identities.binary_search(&(own, fingerprint)).is_ok();
        }
        Ok(())
    }
}

impl GroupBounds {
    fn hold(&self, suspect: &Suspect) -> bool {
        let within = |bounds: &Option<RangeInclusive<_>>, at| {
            bounds.as_ref().is_none_or(|bounds| bounds.contains(&at))
        };
        within(&self.occurred_at, suspect.occurred_at.as_micros())
            && within(&self.member, i64::from(suspect.member))
    }
}

/// A segment that is opened when something of it is not in memory.
struct Segment<'a> {
    disk: &'a dyn Disk,
    entry: &'a Arc<Entry>,
    file: Option<SegmentFile>,
}

impl Segment<'_> {
    fn open(&mut self) -> Result<&SegmentFile, ReadError> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(SegmentFile::open(self.disk, self.entry)?)),
        }
    }
}

/// Returns the value that is kept under a key; reads and keeps it if there is none.
fn cached<K: PartialEq, T>(
    cache: &Mutex<Vec<(K, Arc<T>)>>,
    most: usize,
    key: K,
    read: impl FnOnce() -> Result<T, ReadError>,
) -> Result<Arc<T>, ReadError> {
    let mut held = cache.lock();
    if let Some(at) = held.iter().rposition(|(found, _)| *found == key) {
        let entry = held.remove(at);
        let value = entry.1.clone();
        held.push(entry);
        return Ok(value);
    }
    // Not held over the reading: others may read the same meanwhile, which costs time only.
    drop(held);
    let value = Arc::new(read()?);
    let mut held = cache.lock();
    held.retain(|(found, _)| *found != key);
    if held.len() >= most {
        held.remove(0);
    }
    held.push((key, value.clone()));
    Ok(value)
}

fn bytes(id: EventId) -> [u8; 16] {
    id.as_uuid().into_bytes()
}

/// Thirty-two bits of each id of a row group, findable: one id in some billions is taken for one that is there.
struct IdTags(Vec<u32>);

impl IdTags {
    fn read(file: &SegmentFile, group: usize) -> Result<Self, ReadError> {
        let mut tags = Self(vec![0; (file.rows_of(group) * 2).next_power_of_two()]);
        for batch in file.read(group, &[Column::Id], (BATCH_ROWS, None))? {
            let batch = batch.map_err(|error| file.undecodable(group, &error))?;
            let found = ids(&batch).ok_or_else(|| file.damaged(group, "ids", "something else"))?;
            for id in found {
                tags.insert(*id);
            }
        }
        Ok(tags)
    }

    /// Returns the index at which to begin to look for an id, and the id's tag, which is not zero.
    fn place(&self, id: [u8; 16]) -> (usize, u32) {
        // Versions 4, 5 and 7 are random in their last 62 bits; others are spread by the multiplication.
        let mixed = u128::from_le_bytes(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let [low, high] =
            [mixed >> 64, mixed >> 96].map(|part| u32::try_from(part & 0xffff_ffff).unwrap_or(0));
        (low as usize & (self.0.len() - 1), high | 1)
    }

    fn insert(&mut self, id: [u8; 16]) {
        let (mut at, tag) = self.place(id);
        while self.0[at] != 0 {
            at = (at + 1) & (self.0.len() - 1);
        }
        self.0[at] = tag;
    }

    fn may_have(&self, id: EventId) -> bool {
        let (start, tag) = self.place(bytes(id));
        let from_start = self.0[start..].iter().chain(&self.0[..start]);
        from_start.take_while(|found| **found != 0).any(|found| *found == tag)
    }
}

const BATCH_ROWS: usize = 8_192;

/// The ids of a row group with the fingerprints that its rows give, ascending.
fn identities(file: &SegmentFile, group: usize, tenants: &TenantSeed) -> Result<Vec<Identity>, ReadError> {
    let mut identities = Vec::with_capacity(file.rows_of(group));
    each_event(file, group, 0, |event| {
        identities.push((tenants.within(event.names[0], event.id), event.fingerprint()));
    })?;
    identities.sort_unstable();
    Ok(identities)
}

/// Calls `each` with the events of a row group from row `from` on, in order.
///
/// # Errors
/// [`ReadError`].
pub(crate) fn each_event(
    file: &SegmentFile,
    group: usize,
    from: usize,
    mut each: impl FnMut(&RecordedEvent<'_>),
) -> Result<(), ReadError> {
    let unexpected = || file.damaged(group, "events as the log writes them", "something else");
    let (mut row_in_group, mut checked) = (0, Checked::default());
    for batch in file.read(group, Column::EVENT, (BATCH_ROWS, None))? {
        let batch = batch.map_err(|error| file.undecodable(group, &error))?;
        let rows = Rows::new(&batch, &mut checked).ok_or_else(unexpected)?;
        for row in 0..rows.len() {
            if row_in_group >= from {
                each(&rows.event(row).ok_or_else(unexpected)?);
            }
            row_in_group += 1;
        }
    }
    Ok(())
}

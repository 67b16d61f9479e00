//! The records of a segment as they are known for ever: read back from its columns.

use lastseen_event::{EventId, EventType, MemberOrdinal, RecordedEvent};
use lastseen_store::ReadError;

use super::file::SegmentFile;
use super::rows::{Checked, Rows};
use super::schema::Column;
use crate::damage::Malformed;
use crate::identity::{IdKey, OwnId, TenantMask};
use crate::origin::Stamp;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8_192;

/// A row by what tells it from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) own: OwnId,
    pub(crate) id: EventId,
    pub(crate) fingerprint: u64,
    /// `None`: a retraction.
    pub(crate) member: Option<MemberOrdinal>,
}

/// The masks of the tenants that a row group names, each made once.
#[derive(Default)]
pub(crate) struct Masks(Vec<Option<TenantMask>>);

impl Masks {
    /// The mask of the tenant of a row; a retraction has the empty one.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn of(&mut self, rows: &Rows<'_>, row: usize, key: &IdKey) -> Result<TenantMask, Malformed> {
        let (tenant, name) = rows.tenant(row)?;
        if tenant >= self.0.len() {
            self.0.resize(tenant + 1, None);
        }
        Ok(*self.0[tenant].get_or_insert_with(|| key.mask(name)))
    }
}

impl Identity {
    fn of(event: &RecordedEvent<'_>, member: MemberOrdinal, own: OwnId) -> Self {
        Self {
            own,
            id: event.id,
            fingerprint: event.fingerprint(),
            member: (event.event_type != EventType::BackfillRetracted).then_some(member),
        }
    }
}

/// Calls `each` with the rows of a row group from row `from` on, in order.
///
/// # Errors
/// [`ReadError`].
pub(crate) fn each_in_group(
    file: &SegmentFile,
    (group, from): (usize, usize),
    key: &IdKey,
    mut each: impl FnMut(Identity),
) -> Result<(), ReadError> {
    each_row(file, (group, from), (key, Column::EVENT), |_, row| {
        each(row);
        Ok(())
    })
}

/// The same with the row among those that are decoded at once. `columns` are read: those of an event, and perhaps more.
fn each_row(
    file: &SegmentFile,
    (group, from): (usize, usize),
    (key, columns): (&IdKey, &[Column]),
    mut each: impl FnMut((&Rows<'_>, usize), Identity) -> Result<(), Malformed>,
) -> Result<(), ReadError> {
    let unexpected = |Malformed| file.damaged(group, "events as the log writes them", "something else");
    let (mut row_in_group, mut checked, mut masks) = (0, Checked::default(), Masks::default());
    for batch in file.read(group, columns, (BATCH_ROWS, None))? {
        let batch = batch.map_err(|error| file.undecodable(group, &error))?;
        let rows = Rows::new(&batch, &mut checked).map_err(unexpected)?;
        for row in 0..rows.len() {
            if row_in_group >= from {
                let member = rows.member(row).map_err(unexpected)?;
                let event = rows.event(row).map_err(unexpected)?;
                let own = key.own(masks.of(&rows, row, key).map_err(unexpected)?, event.id);
                each((&rows, row), Identity::of(&event, member, own)).map_err(unexpected)?;
            }
            row_in_group += 1;
        }
        crate::thread::yield_now();
    }
    Ok(())
}

/// Calls `each` with all rows of a segment, in order.
///
/// # Errors
/// [`ReadError`].
pub(crate) fn each(file: &SegmentFile, key: &IdKey, mut each: impl FnMut(Identity)) -> Result<(), ReadError> {
    (0..file.row_groups()).try_for_each(|group| each_in_group(file, (group, 0), key, &mut each))
}

/// Calls `each` with all rows of a segment and the stamps that they show, in order.
///
/// # Errors
/// [`ReadError`].
pub(crate) fn each_stamped(
    file: &SegmentFile,
    key: &IdKey,
    mut each: impl FnMut(Identity, Stamp),
) -> Result<(), ReadError> {
    (0..file.row_groups()).try_for_each(|group| {
        each_row(file, (group, 0), (key, &Column::ALL), |(rows, at), row| {
            each(row, Stamp { position: rows.position(at)?, recorded_at: rows.recorded_at(at)? });
            Ok(())
        })
    })
}

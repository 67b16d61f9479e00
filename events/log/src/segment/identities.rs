//! The records of a segment as they are known for ever: read back from its columns.

use lastseen_event::{EventId, EventType, MemberOrdinal, RecordedEvent};
use lastseen_store::ReadError;

use super::file::SegmentFile;
use super::rows::{Checked, Rows};
use super::schema::Column;
use crate::damage::Malformed;
use crate::identity::{IdKey, OwnId};

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

impl Identity {
    fn of(event: &RecordedEvent<'_>, member: MemberOrdinal, key: &IdKey) -> Self {
        Self {
            // That of a retraction has the empty tenant.
            own: key.of_event(event.names[0], event.id),
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
    let unexpected = |Malformed| file.damaged(group, "events as the log writes them", "something else");
    let (mut row_in_group, mut checked) = (0, Checked::default());
    for batch in file.read(group, Column::EVENT, (BATCH_ROWS, None))? {
        let batch = batch.map_err(|error| file.undecodable(group, &error))?;
        let rows = Rows::new(&batch, &mut checked).map_err(unexpected)?;
        for row in 0..rows.len() {
            if row_in_group >= from {
                let member = rows.member(row).map_err(unexpected)?;
                each(Identity::of(&rows.event(row).map_err(unexpected)?, member, key));
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

//! Members in the state that holds by the end of a day: deleted, or observed by then beside an estimate.

use std::borrow::Cow;
use std::ops::Bound;

use roaring::RoaringBitmap;

use super::bitmaps::DayBitmaps;
use crate::calendar::Day;

/// The state by the end of one day after the other. Each set advances only when it is asked for: most days
/// have no estimate in reach and need no observed members.
#[derive(Default)]
pub(super) struct ByEnd {
    pub(super) deleted: DeletedByEnd,
    pub(super) observed: ObservedByEnd,
}

/// The members that are deleted by the end of a day.
#[derive(Default)]
pub(super) struct DeletedByEnd(Reached);

/// The members with an estimate that were observed by the end of a day.
#[derive(Default)]
pub(super) struct ObservedByEnd(Reached);

/// A set and the last day that is in it.
#[derive(Default)]
struct Reached {
    day: Option<Day>,
    members: RoaringBitmap,
}

impl Reached {
    /// Advances to `day` and returns the days that this adds; none if it was reached before.
    fn advance(&mut self, day: Day) -> (Bound<Day>, Bound<Day>) {
        match self.day {
            Some(before) if before >= day => (Bound::Included(day), Bound::Excluded(day)),
            before => {
                self.day = Some(day);
                (before.map_or(Bound::Unbounded, Bound::Excluded), Bound::Included(day))
            }
        }
    }
}

impl DeletedByEnd {
    /// Begins with the members deleted by the end of `day`.
    pub(super) fn starting_with(day: Day, members: RoaringBitmap) -> Self {
        Self(Reached { day: Some(day), members })
    }

    /// The wanted members that are deleted by the end of `day`. Days must not go back from call to call.
    pub(super) fn by(
        &mut self,
        bitmaps: &DayBitmaps,
        day: Day,
        wanted: Option<&RoaringBitmap>,
    ) -> &RoaringBitmap {
        let added = self.0.advance(day);
        let members = &mut self.0.members;
        // A member turns at most once a day, so within a day the order does not matter.
        let mut deleted = bitmaps.deleted_by_end.range(added).peekable();
        let mut restored = bitmaps.restored_by_end.range(added).peekable();
        loop {
            match (deleted.peek(), restored.peek()) {
                (Some((day, more)), other) if other.is_none_or(|(other, _)| day <= other) => {
                    *members |= &*clip(more, wanted);
                    deleted.next();
                }
                (_, Some((_, fewer))) => {
                    *members -= &*clip(fewer, wanted);
                    restored.next();
                }
                (_, None) => return members,
            }
        }
    }

    pub(super) fn into_members(self) -> RoaringBitmap {
        self.0.members
    }
}

impl ObservedByEnd {
    /// The wanted members with an estimate that were observed by the end of `day`. Days must not go back from
    /// call to call.
    pub(super) fn by(
        &mut self,
        bitmaps: &DayBitmaps,
        day: Day,
        wanted: Option<&RoaringBitmap>,
    ) -> &RoaringBitmap {
        for (_, members) in bitmaps.estimates_void_from.range(self.0.advance(day)) {
            self.0.members |= &*clip(members, wanted);
        }
        &self.0.members
    }
}

/// The members that are wanted; all without `wanted`.
pub(super) fn clip<'a>(members: &'a RoaringBitmap, wanted: Option<&RoaringBitmap>) -> Cow<'a, RoaringBitmap> {
    match wanted {
        Some(wanted) => Cow::Owned(members & wanted),
        None => Cow::Borrowed(members),
    }
}

//! The bitmaps of the days of one calendar: for each kind of set and each day, the members in it.
//!
//! Live days keep them up with every fact, a scan builds them in bulk, and `sets` takes out what rows need. A
//! day's bitmaps are shared with their readers: whoever changes one copies it only while somebody reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lastseen_event::MemberOrdinal;
use roaring::RoaringBitmap;

use crate::activity::Turn;
use crate::calendar::Day;

/// Members by day.
pub(crate) type ByDay = BTreeMap<Day, Arc<RoaringBitmap>>;

/// All bitmaps.
#[derive(Clone, Debug, Default)]
pub(crate) struct DayBitmaps {
    /// Members with an observation on the day.
    pub(crate) observed: ByDay,
    /// Members with an estimate on the day.
    pub(crate) estimated: ByDay,
    /// Members by their [first day](crate::activity::first_day).
    pub(crate) first: ByDay,
    /// Members with an estimate and an observation, by the first day by whose end their estimates do not
    /// count.
    pub(crate) estimates_void_from: ByDay,
    /// Members deleted by the end of the day and not by the end of the day before.
    pub(crate) deleted_by_end: ByDay,
    /// Members deleted by the end of the day before and not by the end of the day.
    pub(crate) restored_by_end: ByDay,
}

impl DayBitmaps {
    /// All kinds of bitmaps, in the order of their numbers in snapshots.
    pub(crate) fn kinds(&self) -> [&ByDay; 6] {
        let Self { observed, estimated, first, estimates_void_from, deleted_by_end, restored_by_end } = self;
        [observed, estimated, first, estimates_void_from, deleted_by_end, restored_by_end]
    }

    /// The bitmaps of the kind with this number.
    pub(crate) fn kind_mut(&mut self, number: u8) -> Option<&mut ByDay> {
        let Self { observed, estimated, first, estimates_void_from, deleted_by_end, restored_by_end } = self;
        let kinds = [observed, estimated, first, estimates_void_from, deleted_by_end, restored_by_end];
        kinds.into_iter().nth(number.into())
    }

    /// Sets the turn of a member on a day. `true`: it was another one.
    pub(crate) fn set_turn(&mut self, day: Day, member: MemberOrdinal, turn: Option<Turn>) -> bool {
        let deleted = set(&mut self.deleted_by_end, day, member, turn == Some(Turn::Deleted));
        let restored = set(&mut self.restored_by_end, day, member, turn == Some(Turn::Restored));
        deleted || restored
    }
}

fn set(days: &mut ByDay, day: Day, member: MemberOrdinal, is_in: bool) -> bool {
    if is_in { insert(days, day, member) } else { remove(days, day, member) }
}

/// Adds a member to a day. `false`: it was there.
pub(super) fn insert(days: &mut ByDay, day: Day, member: MemberOrdinal) -> bool {
    let members = days.entry(day).or_default();
    match Arc::get_mut(members) {
        Some(members) => members.insert(member.get()),
        // A reader has it: it is copied only for a change.
        None => !members.contains(member.get()) && Arc::make_mut(members).insert(member.get()),
    }
}

/// Takes a member out of a day. `false`: it was not there.
pub(super) fn remove(days: &mut ByDay, day: Day, member: MemberOrdinal) -> bool {
    let Some(members) = days.get_mut(&day).filter(|members| members.contains(member.get())) else {
        return false;
    };
    Arc::make_mut(members).remove(member.get())
}

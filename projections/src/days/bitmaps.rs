//! Bitmaps of members by day.
//!
//! A day's bitmap is shared with its readers: whoever changes one copies it only while somebody reads it.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;

use lastseen_event::MemberOrdinal;
use roaring::RoaringBitmap;

use crate::calendar::Day;

/// Members by day.
pub(crate) type ByDay = BTreeMap<Day, Arc<RoaringBitmap>>;

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

/// Adds a member to a day, or takes it out. `false`: nothing changed.
pub(super) fn set(days: &mut ByDay, day: Day, member: MemberOrdinal, is_in: bool) -> bool {
    if is_in { insert(days, day, member) } else { remove(days, day, member) }
}

/// The bitmaps of some days, shared.
pub(super) fn share(days: &ByDay, range: impl RangeBounds<Day>) -> ByDay {
    days.range(range).map(|(day, members)| (*day, Arc::clone(members))).collect()
}

/// Bytes of the bitmaps, as roaring would write them: what they take in memory, but for a few words each.
pub(super) fn bytes(days: &ByDay) -> usize {
    days.values().map(|members| members.serialized_size()).sum()
}

/// Members by day, added in ascending order of members.
#[derive(Debug, Default)]
pub(super) struct Sorted(BTreeMap<Day, Vec<u32>>);

impl Sorted {
    pub(super) fn push(&mut self, day: Day, member: MemberOrdinal) {
        self.0.entry(day).or_default().push(member.get());
    }

    pub(super) fn finish(self) -> ByDay {
        let bitmap = |members| RoaringBitmap::from_sorted_iter(members).expect("they come in order");
        self.0.into_iter().map(|(day, members)| (day, Arc::new(bitmap(members)))).collect()
    }
}

//! Whom a row counts: the members of a set, or their persons.

use std::borrow::Cow;

use lastseen_event::MemberOrdinal;
use roaring::RoaringBitmap;

use super::bitmaps::ByDay;
use super::sliding::Halves;
use crate::calendar::Day;
use crate::parallel::join;
use crate::persons::PersonMap;

/// Returns those who are counted of some members: the members themselves without `persons`.
pub(super) fn people<'a>(
    members: Cow<'a, RoaringBitmap>,
    persons: Option<&PersonMap>,
) -> Cow<'a, RoaringBitmap> {
    match persons {
        Some(persons) => Cow::Owned(persons.persons_of(&members)),
        None => members,
    }
}

/// Returns the persons of the members of each day.
pub(super) fn persons_by_day(days: &ByDay, persons: &PersonMap) -> ByDay {
    let of_half = |is_first: bool| -> Vec<_> {
        let half = days.iter().enumerate().filter(|(at, _)| (at % 2 == 0) == is_first);
        half.map(|(_, (day, members))| (*day, persons.persons_of(members).into())).collect()
    };
    let (first, second): (Vec<(Day, _)>, _) = join(|| of_half(true), || of_half(false));
    first.into_iter().chain(second).collect()
}

/// Returns the persons in a window none of whose members in it is present.
pub(super) fn gone(window: &Halves<'_>, absent: &RoaringBitmap, persons: &PersonMap) -> RoaringBitmap {
    let absent_in_window = window.and(absent);
    let is_present = |member: MemberOrdinal| {
        let member = member.get();
        window.contains(member) && !absent_in_window.contains(member)
    };
    // A person is more than one member only among the shared ones.
    let shared = &absent_in_window & persons.shared();
    let mut gone = &absent_in_window - &shared;
    for person in persons.persons_of(&shared) {
        if !persons.members_of(MemberOrdinal::new(person)).any(is_present) {
            gone.insert(person);
        }
    }
    gone
}

//! Whom a row counts: the members of a set, or their persons.
//!
//! A person is active in a window if one of its members was observed in it and is present by its end. Most persons have no member
//! that was ever absent, and the member that stands for them tells; of the others, all members are looked at.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringBitmap;

use super::bitmaps::ByDay;
use super::sliding::SlidingWindow;
use crate::bits::Bits;
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

/// Returns all members of the persons of some members.
fn siblings(members: &RoaringBitmap, persons: &PersonMap) -> RoaringBitmap {
    let shared = members & persons.shared();
    let mut siblings = Bits::default();
    persons.each_member(&persons.persons_of(&shared), |_, member| {
        siblings.insert(member.get());
        true
    });
    (members - shared) | siblings.to_bitmap()
}

/// The persons observed by day.
#[derive(Debug)]
pub(super) struct PersonDays {
    /// Those of one member, or none of whose members was ever absent: each by the member that stands for it.
    whole: ByDay,
    /// The members of the others that were observed.
    parts: ByDay,
}

impl PersonDays {
    /// Of the members observed on each day, and all that are ever absent.
    pub(super) fn of(observed: &ByDay, absent: &RoaringBitmap, persons: &PersonMap) -> Self {
        let mixed = siblings(&(absent & persons.shared()), persons);
        let of_half = |is_first: bool| -> Vec<(Day, Arc<RoaringBitmap>)> {
            let half = observed.iter().enumerate().filter(|(at, _)| (at % 2 == 0) == is_first);
            half.map(|(_, (day, members))| (*day, persons.persons_of(&(&**members - &mixed)).into()))
                .collect()
        };
        let (first, second) = join(|| of_half(true), || of_half(false));
        let whole = first.into_iter().chain(second).collect();
        let parts = observed.iter().map(|(day, members)| (*day, Arc::new(&**members & &mixed))).collect();
        Self { whole, parts }
    }

    /// The persons observed on a day, without those whose members of the day are absent.
    pub(super) fn present_on(&self, day: Day, absent: &RoaringBitmap, persons: &PersonMap) -> RoaringBitmap {
        let present = |of: &ByDay| of.get(&day).map(|members| &**members - absent).unwrap_or_default();
        present(&self.whole) | persons.persons_of(&present(&self.parts))
    }
}

/// A window that slides over the days of members, or of persons; or has one day and those before it.
pub(super) enum WindowOf<'a> {
    Members(SlidingWindow<'a>),
    Persons { whole: SlidingWindow<'a>, parts: SlidingWindow<'a>, persons: &'a PersonMap },
    PersonsOfDay(Growing<'a>),
}

impl<'a> WindowOf<'a> {
    /// Windows of persons, of `width` days.
    pub(super) fn persons(days: &'a PersonDays, width: i32, persons: &'a PersonMap) -> Self {
        let [whole, parts] =
            [&days.whole, &days.parts].map(|days| SlidingWindow::of(days, None, (width, None)));
        Self::Persons { whole, parts, persons }
    }

    /// Counts those active in the window that ends with `day`, the next one in order, without the absent ones; these members are
    /// in it by estimates alone.
    pub(super) fn count(
        &mut self,
        day: Day,
        absent: &RoaringBitmap,
        by_estimate: &RoaringBitmap,
    ) -> InWindow {
        match self {
            Self::Members(observed) => {
                let estimated = by_estimate.len();
                InWindow { active: observed.up_to(day).count(absent) + estimated, estimated }
            }
            Self::Persons { whole, parts, persons } => {
                let (whole, parts) = (whole.up_to(day), parts.up_to(day));
                let of_parts = persons.persons_of(&(parts.union() - absent));
                let is_observed = |person: u32| {
                    of_parts.contains(person) || (whole.contains(person) && !absent.contains(person))
                };
                let observed = whole.count(absent) + of_parts.len();
                InWindow::of_persons(observed, &persons.persons_of(by_estimate), is_observed)
            }
            Self::PersonsOfDay(growing) => {
                let grown = growing.without(absent);
                let by_estimate = growing.persons.persons_of(by_estimate);
                InWindow::of_persons(grown.len(), &by_estimate, |person| grown.contains(person))
            }
        }
    }
}

/// Those active in a window.
pub(super) struct InWindow {
    pub(super) active: u64,
    /// Of those, whom no observation makes active.
    pub(super) estimated: u64,
}

impl InWindow {
    fn of_persons(observed: u64, by_estimate: &RoaringBitmap, is_observed: impl Fn(u32) -> bool) -> Self {
        let estimated = by_estimate.iter().filter(|person| !is_observed(*person)).count() as u64;
        Self { active: observed + estimated, estimated }
    }
}

/// A window of persons and the day after it.
pub(super) struct Growing<'a> {
    /// The members observed in the window, and the persons of those present by its end.
    pub(super) before: [&'a RoaringBitmap; 2],
    /// The members observed on the day, and their persons.
    pub(super) of_day: [Arc<RoaringBitmap>; 2],
    /// Members who turned from absent to present on the day, or back.
    pub(super) turned: RoaringBitmap,
    pub(super) persons: &'a PersonMap,
}

impl Growing<'_> {
    /// The persons present in both; `absent` are absent by the end of the day.
    pub(super) fn without(&self, absent: &RoaringBitmap) -> Grown<'_> {
        let Self { before: [observed, before], of_day: [members, of_day], turned, persons } = self;
        let again = (turned & *observed) | (turned & &**members) | (&**members & absent);
        let siblings = siblings(&again, persons);
        let found = ((*observed & &siblings) | (&**members & siblings)) - absent;
        let (anew, present) = (persons.persons_of(&again), persons.persons_of(&found));
        Grown { before, of_day, anew, present }
    }
}

/// The persons present in a window and the day after it.
pub(super) struct Grown<'a> {
    before: &'a RoaringBitmap,
    of_day: &'a RoaringBitmap,
    /// Persons who were looked at anew, and those of them who are present.
    anew: RoaringBitmap,
    present: RoaringBitmap,
}

impl Grown<'_> {
    fn len(&self) -> u64 {
        let all = self.before.union_len(self.of_day);
        all - self.anew.iter().filter(|person| self.had(*person)).count() as u64 + self.present.len()
    }

    fn had(&self, person: u32) -> bool {
        self.before.contains(person) || self.of_day.contains(person)
    }

    fn contains(&self, person: u32) -> bool {
        if self.anew.contains(person) { self.present.contains(person) } else { self.had(person) }
    }

    /// All of them.
    pub(super) fn all(&self) -> RoaringBitmap {
        ((self.before | self.of_day) - &self.anew) | &self.present
    }
}

/// Some members, and their persons: as a day goes on, only those of its new members are looked up.
#[derive(Debug, Default)]
pub(super) struct LastPersons(Mutex<Option<LastFound>>);

#[derive(Clone, Debug)]
struct LastFound {
    members: Arc<RoaringBitmap>,
    persons: Arc<RoaringBitmap>,
}

impl LastPersons {
    /// Returns the persons of some members.
    pub(super) fn of(&self, members: &Arc<RoaringBitmap>, persons: &PersonMap) -> Arc<RoaringBitmap> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = match last {
            Some(last) if Arc::ptr_eq(&last.members, members) => return last.persons,
            // Whoever stands for a member does so for good.
            Some(last) if last.members.is_subset(members) => {
                &*last.persons | persons.persons_of(&(&**members - &*last.members))
            }
            Some(_) | None => persons.persons_of(members),
        };
        let found = Arc::new(found);
        let last = LastFound { members: members.clone(), persons: found.clone() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        found
    }
}

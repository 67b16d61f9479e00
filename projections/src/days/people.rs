//! Whom a row counts: the members of a set, or their persons.
//!
//! A person is active in a window if one of its members was observed in it and is present by its end. Where none of its members
//! was ever absent, the member that stands for it tells. The others are mixed: their members are looked at, window by window.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use lastseen_event::MemberOrdinal;
use roaring::RoaringBitmap;

use super::bitmaps::ByDay;
use super::sets::Before;
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

/// Returns all members of the persons with several of whom one is among the `absent`.
pub(super) fn mixed(absent: &RoaringBitmap, persons: &PersonMap) -> RoaringBitmap {
    let mut members = Bits::default();
    for person in persons.persons_of(&(absent & persons.shared())) {
        for member in persons.members_of(MemberOrdinal::new(person)) {
            members.insert(member.get());
        }
    }
    members.to_bitmap()
}

/// The persons observed on the days of a window.
#[derive(Clone, Debug, Default)]
pub(super) struct PersonWindow {
    /// Those that are not mixed, each by the member that stands for it.
    pub(super) whole: RoaringBitmap,
    /// The members of mixed ones that were observed.
    pub(super) parts: RoaringBitmap,
}

impl PersonWindow {
    /// Of the members observed.
    pub(super) fn of(observed: &RoaringBitmap, mixed: &RoaringBitmap, persons: &PersonMap) -> Self {
        Self { whole: persons.persons_of(&(observed - mixed)), parts: observed & mixed }
    }
}

/// The persons observed by day.
#[derive(Debug)]
pub(super) struct PersonDays {
    /// Those that are not mixed, each by the member that stands for it.
    pub(super) whole: ByDay,
    /// The members of mixed ones that were observed.
    pub(super) parts: ByDay,
    /// The week and the month before the only day, where more persons are mixed than when they were put together.
    pub(super) before: Option<[PersonWindow; 2]>,
}

impl PersonDays {
    /// Of the members observed on each day.
    pub(super) fn of(observed: &ByDay, mixed: &RoaringBitmap, persons: &PersonMap) -> Self {
        let of_half = |is_first: bool| -> Vec<(Day, PersonWindow)> {
            let half = observed.iter().enumerate().filter(|(at, _)| (at % 2 == 0) == is_first);
            half.map(|(_, (day, members))| (*day, PersonWindow::of(members, mixed, persons))).collect()
        };
        let (first, second) = join(|| of_half(true), || of_half(false));
        let (mut whole, mut parts) = (ByDay::new(), ByDay::new());
        for (day, of_day) in first.into_iter().chain(second) {
            whole.insert(day, of_day.whole.into());
            parts.insert(day, of_day.parts.into());
        }
        Self { whole, parts, before: None }
    }

    /// Of the members observed on the day that the others were put together `before`, and of those who became absent on it.
    pub(super) fn after(
        before: &Before,
        (observed, absent): (Option<&RoaringBitmap>, &RoaringBitmap),
        persons: &PersonMap,
    ) -> Self {
        let more = mixed(absent, persons) - &before.mixed;
        let mixed = &before.mixed | &more;
        let (mut whole, mut parts) = (ByDay::new(), ByDay::new());
        if let Some(observed) = observed {
            whole.insert(before.day, before.of_day.of(observed - &mixed, persons));
            parts.insert(before.day, Arc::new(observed & &mixed));
        }
        let more_mixed = || {
            let more_persons = persons.persons_of(&more);
            [&before.week, &before.month].map(|window| {
                let PersonWindow { whole, parts } = window.persons.clone().unwrap_or_default();
                PersonWindow { whole: whole - &more_persons, parts: parts | (&window.observed & &more) }
            })
        };
        Self { whole, parts, before: (!more.is_empty()).then(more_mixed) }
    }
}

/// A window that slides over the days of members, or of persons.
pub(super) enum WindowOf<'a> {
    Members(SlidingWindow<'a>),
    Persons { whole: SlidingWindow<'a>, parts: SlidingWindow<'a>, persons: &'a PersonMap },
}

impl WindowOf<'_> {
    /// Counts those active in the window that ends with `day`, the next one in order, without the absent ones; these members are
    /// in it by estimates alone.
    pub(super) fn count(&mut self, day: Day, absent: &RoaringBitmap, by_estimate: &RoaringBitmap) -> InWindow {
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
                let by_estimate = persons.persons_of(by_estimate);
                let estimated = by_estimate.iter().filter(|it| !is_observed(*it)).count() as u64;
                InWindow { active: whole.count(absent) + of_parts.len() + estimated, estimated }
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
    fn of(&self, members: RoaringBitmap, persons: &PersonMap) -> Arc<RoaringBitmap> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = match last {
            // Whoever stands for a member does so for good.
            Some(last) if last.members.is_subset(&members) => {
                let more = &members - &*last.members;
                if more.is_empty() {
                    return last.persons;
                }
                &*last.persons | persons.persons_of(&more)
            }
            Some(_) | None => persons.persons_of(&members),
        };
        let found = LastFound { members: Arc::new(members), persons: Arc::new(found) };
        let persons = found.persons.clone();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        persons
    }
}

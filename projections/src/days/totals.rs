//! Everybody who is there by the end of a day, active or not.

use std::ops::Bound;

use lastseen_event::MemberOrdinal;
use roaring::RoaringBitmap;

use super::bitmaps::ByDay;
use super::by_end::AbsentByEnd;
use super::sets::DaySets;
use crate::calendar::Day;
use crate::persons::PersonMap;

/// The numbers of those who are present by the end of one day after the other.
pub(super) struct Totals<'a> {
    sets: &'a DaySets,
    absent: AbsentByEnd,
    reached: Bound<Day>,
    /// Members that exist, where members are counted.
    exist: u64,
    /// Persons, where these are counted.
    persons: Option<(&'a PersonMap, PresentPersons)>,
}

/// The persons of whom a member is present, by the end of one day after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct PresentPersons {
    /// `None`: nothing was looked at.
    reached: Option<Day>,
    /// Members that exist, and those that are present.
    exist: RoaringBitmap,
    present: RoaringBitmap,
    /// The persons of the latter, each by the member that stands for it.
    persons: RoaringBitmap,
}

impl<'a> Totals<'a> {
    /// Totals of days that the periods of `sets` end with.
    pub(super) fn new(sets: &'a DaySets) -> Self {
        let before = sets.before_only_day();
        let persons = sets.wanted.persons.as_ref().map(|persons| {
            let present = before.and_then(|before| before.present.clone());
            (persons, present.unwrap_or_default())
        });
        let absent = before.map(|before| before.absent.clone()).unwrap_or_default();
        Self { sets, absent, reached: Bound::Unbounded, exist: 0, persons }
    }

    /// The number by the end of `day`. Days must not go back from call to call.
    pub(super) fn by(&mut self, day: Day) -> u64 {
        let (wanted, everyone) = self.sets.members();
        let absent = self.absent.by(&self.sets.presence, day, (wanted, everyone));
        let exists = &self.sets.presence.exists;
        if let Some((persons, present)) = &mut self.persons {
            return present.by(exists, day, (absent, persons));
        }
        let added = match self.reached {
            Bound::Excluded(reached) if reached >= day => None,
            from => Some(exists.range((from, Bound::Included(day)))),
        };
        self.exist += added.into_iter().flatten().fold(0, |count, (_, members)| match wanted {
            Some(wanted) => count + members.intersection_len(wanted),
            None => count + members.len(),
        });
        self.reached = Bound::Excluded(day);
        self.exist - absent.len()
    }
}

impl PresentPersons {
    /// The number by the end of `day`, at which these members are absent. Days must not go back from call to call.
    pub(super) fn by(
        &mut self,
        exists: &ByDay,
        day: Day,
        (absent, persons): (&RoaringBitmap, &PersonMap),
    ) -> u64 {
        if self.reached.is_none_or(|reached| reached < day) {
            let from = self.reached.map_or(Bound::Unbounded, Bound::Excluded);
            for (_, members) in exists.range((from, Bound::Included(day))) {
                self.exist |= &**members;
            }
            self.reached = Some(day);
        }
        let present = &self.exist - absent;
        let before = std::mem::replace(&mut self.present, present);
        self.persons |= persons.persons_of(&(&self.present - &before));
        for person in persons.persons_of(&(before - &self.present)) {
            let mut members = persons.members_of(MemberOrdinal::new(person));
            if !members.any(|member| self.present.contains(member.get())) {
                self.persons.remove(person);
            }
        }
        self.persons.len()
    }
}

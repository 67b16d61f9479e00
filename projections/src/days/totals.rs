//! Everybody who is there by the end of a day, active or not.

use std::ops::Bound;

use super::by_end::{AbsentByEnd, PresentPersons};
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

impl<'a> Totals<'a> {
    /// Totals of days that the periods of `sets` end with.
    pub(super) fn new(sets: &'a DaySets) -> Self {
        let before = sets.before.as_deref();
        let persons = sets.wanted.persons.as_ref().map(|persons| {
            let present = before.and_then(|before| before.present.clone());
            (persons, present.unwrap_or_default())
        });
        let absent = before.map(|before| before.by_end.absent.clone()).unwrap_or_default();
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

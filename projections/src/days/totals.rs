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
    persons: Option<(&'a PersonMap, Present<'a>)>,
}

enum Present<'a> {
    /// Of one day after the other.
    Going(PresentPersons),
    /// Of the days before the only one.
    Before(&'a PresentPersons),
}

impl<'a> Totals<'a> {
    /// Totals of days that the periods of `sets` end with.
    pub(super) fn new(sets: &'a DaySets) -> Self {
        let before = sets.before.as_deref();
        let persons = sets.wanted.persons.as_ref().map(|persons| {
            let before = before.and_then(|before| before.present.as_ref()).map(Present::Before);
            (persons, before.unwrap_or_else(|| Present::Going(PresentPersons::default())))
        });
        let absent = before.map(|before| before.by_end.absent.clone()).unwrap_or_default();
        Self { sets, absent, reached: Bound::Unbounded, exist: 0, persons }
    }

    /// The number by the end of `day`. Days must not go back from call to call.
    pub(super) fn by(&mut self, day: Day) -> u64 {
        let (wanted, everyone) = self.sets.members();
        let absent = self.absent.by(&self.sets.presence, day, (wanted, everyone));
        let presence = &self.sets.presence;
        if let Some((persons, present)) = &mut self.persons {
            return match present {
                Present::Going(present) => present.by(presence, day, (absent, persons)),
                Present::Before(present) => present.number_by(presence, day, (absent, persons)),
            };
        }
        let added = match self.reached {
            Bound::Excluded(reached) if reached >= day => None,
            from => Some(presence.exists.range((from, Bound::Included(day)))),
        };
        self.exist += added.into_iter().flatten().fold(0, |count, (_, members)| match wanted {
            Some(wanted) => count + members.intersection_len(wanted),
            None => count + members.len(),
        });
        self.reached = Bound::Excluded(day);
        self.exist - absent.len()
    }
}

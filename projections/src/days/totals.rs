//! Everybody who is there by the end of a day, active or not.

use std::ops::Bound;

use roaring::RoaringBitmap;

use lastseen_event::MemberOrdinal;

use super::by_end::AbsentByEnd;
use super::sets::DaySets;
use crate::calendar::Day;
use crate::paged::Paged;
use crate::persons::PersonMap;

/// The numbers of those who are present by the end of one day after the other.
pub(super) struct Totals<'a> {
    sets: &'a DaySets,
    absent: AbsentByEnd,
    reached: Bound<Day>,
    /// Members that exist; where persons are counted, without those that share a person.
    exist: u64,
    shared: Option<SharedTotals<'a>>,
}

/// The persons with several members, of which one is present.
struct SharedTotals<'a> {
    persons: &'a PersonMap,
    exist: RoaringBitmap,
    present: RoaringBitmap,
    /// Of each such person the number of its members that are present, at the member that stands for it.
    members: Paged<u32>,
    total: u64,
}

impl<'a> Totals<'a> {
    pub(super) fn new(sets: &'a DaySets) -> Self {
        let shared = sets.wanted.persons.as_ref().map(|persons| SharedTotals {
            persons,
            exist: RoaringBitmap::new(),
            present: RoaringBitmap::new(),
            members: Paged::default(),
            total: 0,
        });
        Self { sets, absent: AbsentByEnd::default(), reached: Bound::Unbounded, exist: 0, shared }
    }

    /// The number by the end of `day`. Days must not go back from call to call.
    pub(super) fn by(&mut self, day: Day) -> u64 {
        let (wanted, everyone) = self.sets.members();
        let from = match self.reached {
            Bound::Excluded(reached) if reached >= day => None,
            from => Some(from),
        };
        if let Some(from) = from {
            for (_, members) in self.sets.presence.exists.range((from, Bound::Included(day))) {
                self.exist += match (wanted, &mut self.shared) {
                    (Some(wanted), _) => members.intersection_len(wanted),
                    (None, None) => members.len(),
                    (None, Some(shared)) => {
                        let sharing = &**members & shared.persons.shared();
                        let others = members.len() - sharing.len();
                        shared.exist |= sharing;
                        others
                    }
                };
            }
            self.reached = Bound::Excluded(day);
        }
        let absent = self.absent.by(&self.sets.presence, day, (wanted, everyone));
        match &mut self.shared {
            None => self.exist - absent.len(),
            Some(shared) => {
                let absent_alone = absent.len() - absent.intersection_len(shared.persons.shared());
                self.exist - absent_alone + shared.total_without(absent)
            }
        }
    }
}

impl SharedTotals<'_> {
    fn total_without(&mut self, absent: &RoaringBitmap) -> u64 {
        let present = &self.exist - absent;
        for member in &present - &self.present {
            let members = self.members.slot(self.persons.representative(MemberOrdinal::new(member)).index());
            *members += 1;
            self.total += u64::from(*members == 1);
        }
        for member in &self.present - &present {
            let members = self.members.slot(self.persons.representative(MemberOrdinal::new(member)).index());
            *members -= 1;
            self.total -= u64::from(*members == 0);
        }
        self.present = present;
        self.total
    }
}

//! Members observed by day, the latest of which is running.
//!
//! Most events are of the running day. Its members are plain bits, which stay near the processor; they become a bitmap when a
//! reader asks, and stay one until the next event changes them.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use lastseen_event::MemberOrdinal;
use roaring::RoaringBitmap;

use super::bitmaps::{ByDay, bytes, insert, share};
use crate::bits::Bits;
use crate::calendar::Day;

/// Members by the days on which they were observed.
#[derive(Debug, Default)]
pub(super) struct ObservedDays {
    /// All days but the running one.
    others: ByDay,
    /// The latest day that an event came of; none until one comes.
    running: Option<RunningDay>,
    /// Members of any day.
    ever: Bits,
}

#[derive(Debug)]
struct RunningDay {
    day: Day,
    members: Bits,
    bitmap: OnceLock<Arc<RoaringBitmap>>,
}

/// The effect of an observation on the days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observation {
    /// None: the day had the member.
    Known,
    /// The latest of all days has the member now, who was observed before: nothing that depends on its earliest days moves.
    Latest,
    /// The day has the member now.
    New,
}

impl RunningDay {
    fn new(day: Day, members: Option<Arc<RoaringBitmap>>) -> Self {
        let bits = members.as_deref().map(Bits::from).unwrap_or_default();
        Self { day, members: bits, bitmap: members.map(OnceLock::from).unwrap_or_default() }
    }

    fn insert(&mut self, member: MemberOrdinal) -> bool {
        let is_new = self.members.insert(member.get());
        if is_new {
            self.bitmap.take();
        }
        is_new
    }

    fn bitmap(&self) -> Arc<RoaringBitmap> {
        self.bitmap.get_or_init(|| Arc::new(self.members.to_bitmap())).clone()
    }
}

impl ObservedDays {
    /// Adds a member to a day.
    pub(super) fn insert(&mut self, day: Day, member: MemberOrdinal) -> Observation {
        if self.running.as_ref().is_none_or(|running| running.day < day) {
            self.advance(day);
        }
        let running = self.running.as_mut().filter(|running| running.day == day);
        let (is_new, is_latest) = match running {
            Some(running) => (running.insert(member), true),
            None => (insert(&mut self.others, day, member), false),
        };
        if !is_new {
            return Observation::Known;
        }
        let is_first = self.ever.insert(member.get());
        if is_latest && !is_first { Observation::Latest } else { Observation::New }
    }

    /// Lets `day` run if no day is later.
    fn advance(&mut self, day: Day) {
        if self.others.last_key_value().is_some_and(|(last, _)| *last > day) {
            return;
        }
        let members = self.others.remove(&day);
        if let Some(before) = self.running.replace(RunningDay::new(day, members)) {
            self.others.insert(before.day, before.bitmap());
        }
    }

    /// The bitmaps of some days, shared.
    pub(super) fn share(&self, days: RangeInclusive<Day>) -> ByDay {
        let running = self.running.as_ref().filter(|running| days.contains(&running.day));
        let mut shared = share(&self.others, days.clone());
        shared.extend(running.map(|running| (running.day, running.bitmap())));
        shared
    }

    /// The first day with a member.
    pub(super) fn first_of(&self, member: MemberOrdinal) -> Option<Day> {
        let mut others = self.others.iter();
        let first = others.find(|(_, members)| members.contains(member.get())).map(|(day, _)| *day);
        let running = self.running.as_ref().filter(|running| running.members.contains(member.get()));
        // No other day is later than the running one.
        first.or(running.map(|running| running.day))
    }

    /// Bytes of what is kept, about.
    pub(super) fn bytes(&self) -> usize {
        let running = self.running.as_ref().map_or(0, |running| running.members.bytes());
        bytes(&self.others) + running + self.ever.bytes()
    }
}

impl From<ByDay> for ObservedDays {
    fn from(days: ByDay) -> Self {
        let ever = days.values().fold(RoaringBitmap::new(), |all, members| all | &**members);
        Self { others: days, running: None, ever: Bits::from(&ever) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn days_have_whom_they_were_told_of_in_any_order(
            told in prop::collection::vec((0..5_i32, 0..6_u32, any::<bool>()), 0..60),
            made in 0..40_usize,
        ) {
            let mut expected = BTreeMap::<Day, BTreeSet<u32>>::new();
            let mut days = ObservedDays::default();
            let ever = Day::new(i32::MIN)..=Day::new(i32::MAX);
            for (at, (day, member, asks)) in told.into_iter().enumerate() {
                if at == made {
                    // As at a start.
                    days = ObservedDays::from(days.share(ever.clone()));
                }
                let day = Day::new(day);
                let was_observed = expected.values().any(|members| members.contains(&member));
                let is_latest = expected.last_key_value().is_none_or(|(last, _)| *last <= day);
                let is_new = expected.entry(day).or_default().insert(member);
                let effect = days.insert(day, MemberOrdinal::new(member));
                prop_assert_eq!(effect != Observation::Known, is_new);
                prop_assert_eq!(effect == Observation::Latest, is_new && is_latest && was_observed);
                if asks {
                    let found = days.share(ever.clone());
                    let found: BTreeMap<Day, BTreeSet<u32>> =
                        found.iter().map(|(day, members)| (*day, members.iter().collect())).collect();
                    prop_assert_eq!(&found, &expected);
                    let mut with_member = expected.iter().filter(|(_, members)| members.contains(&member));
                    let first = with_member.next().map(|(day, _)| *day);
                    prop_assert_eq!(days.first_of(MemberOrdinal::new(member)), first);
                }
            }
        }
    }
}

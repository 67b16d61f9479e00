//! The days of UTC as facts come: the members active on each day, and everything else that a series of days
//! needs.
//!
//! The views call it with every fact. A reader takes the shared bitmaps out in no time ([`Days::sets`]) and
//! counts them beside the fold.

mod bitmaps;
mod builder;
mod by_end;
mod sets;
mod sliding;
mod stamps;

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use lastseen_event::{Fact, MemberOrdinal, Position, Provenance, UtcInstant};
use roaring::RoaringBitmap;

pub(crate) use self::bitmaps::{ByDay, DayBitmaps};
use self::bitmaps::{insert, remove};
pub use self::builder::DaysBuilder;
pub(crate) use self::sets::MONTH_DAYS;
pub use self::sets::{Before, Cohort, DaySets, SeriesRow};
use self::stamps::Stamps;
use crate::activity::{estimates_void_from, first_day, turn};
use crate::bytes::{BadPart, Bytes};
use crate::calendar::{Calendar, Day};
use crate::decisions::{Decision, Decisions};
use crate::paged::Paged;
use crate::roster::{Change, Standing};

/// The days of UTC.
#[derive(Debug)]
pub(crate) struct Days {
    calendar: Calendar,
    bitmaps: DayBitmaps,
    estimates: Paged<Estimates>,
    /// The last position that changed a bitmap of one day alone.
    day_changed: BTreeMap<Day, Position>,
    /// The last position that changed rows from a day on.
    changed_from: Stamps,
    /// The last position of activity, a deletion or a restoration by the day that it occurred on.
    activity_changed: Stamps,
}

/// The state of a member's estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Estimates {
    /// There is none.
    #[default]
    None,
    /// They count: there is no observation.
    Valid,
    /// They do not count by the end of this day or a later one.
    VoidFrom(Day),
}

impl Days {
    /// Days of no fact.
    pub(crate) fn utc() -> Self {
        Self {
            calendar: Calendar::utc(),
            bitmaps: DayBitmaps::default(),
            estimates: Paged::default(),
            day_changed: BTreeMap::new(),
            changed_from: Stamps::default(),
            activity_changed: Stamps::default(),
        }
    }

    pub(crate) fn bitmaps(&self) -> &DayBitmaps {
        &self.bitmaps
    }

    pub(crate) fn bitmaps_mut(&mut self) -> &mut DayBitmaps {
        &mut self.bitmaps
    }

    /// True if the estimates of a member are in the same state in other days.
    pub(crate) fn has_same_estimates(&self, other: &Self, member: MemberOrdinal) -> bool {
        self.estimates.get(member.index()) == other.estimates.get(member.index())
    }

    /// Encodes the estimates of these members: the number of members with an estimate, then each.
    pub(crate) fn encode_estimates(&self, slots: Range<usize>, part: &mut Vec<u8>) {
        let estimates = || {
            let all = slots.clone().map(|slot| (slot, self.estimates.get(slot)));
            all.filter(|(_, estimates)| *estimates != Estimates::None)
        };
        let number = |of: usize| u32::try_from(of).expect("ordinals are 32 bits").to_le_bytes();
        part.extend_from_slice(&number(estimates().count()));
        for (slot, estimates) in estimates() {
            part.extend_from_slice(&number(slot));
            let void_from = match estimates {
                Estimates::VoidFrom(day) => Some(day.number()),
                Estimates::None | Estimates::Valid => None,
            };
            part.push(u8::from(void_from.is_some()));
            part.extend_from_slice(&void_from.unwrap_or_default().to_le_bytes());
        }
    }

    /// Adds the estimates of a part about these members.
    pub(crate) fn decode_estimates(
        &mut self,
        slots: Range<usize>,
        bytes: &mut Bytes<'_>,
    ) -> Result<(), BadPart> {
        for _ in 0..bytes.u32()? {
            let slot = bytes.u32()? as usize;
            let (is_void, from) = (bytes.u8()? != 0, Day::new(bytes.i32()?));
            if !slots.contains(&slot) {
                return Err(BadPart);
            }
            *self.estimates.slot(slot) = if is_void { Estimates::VoidFrom(from) } else { Estimates::Valid };
        }
        Ok(())
    }

    /// Follows activity that counts; `change` is its effect on the member.
    pub(crate) fn see(&mut self, fact: &Fact, provenance: Provenance, change: &Change) {
        let (member, at) = (fact.member.member, fact.occurred_at);
        let day = self.calendar.date(at);
        self.activity_changed.stamp(day, fact.position);
        let last_seen = change.before.as_ref().and_then(Standing::seen);
        if provenance == Provenance::Observed
            && last_seen.is_some_and(|(seen, of)| of == provenance && self.calendar.date(seen) == day)
        {
            // The day has the member already, and firsts are by day: nothing moves within one.
            return;
        }
        match provenance {
            Provenance::Observed => {
                self.put(fact.position, day, member, |bitmaps| &mut bitmaps.observed);
                self.observe(fact.position, member, at);
            }
            Provenance::Estimated => {
                self.put(fact.position, day, member, |bitmaps| &mut bitmaps.estimated);
                self.estimate(fact.position, member, change);
            }
        }
        let was = change.first_seen_before.map(|at| self.calendar.date(at));
        let is = first_day(was, day);
        if was != Some(is) {
            if let Some(was) = was {
                remove(&mut self.bitmaps.first, was, member);
                self.day_changed.insert(was, fact.position);
            }
            self.put(fact.position, is, member, |bitmaps| &mut bitmaps.first);
        }
    }

    /// Follows a deletion or a restoration that was not known; `decisions` have it.
    pub(crate) fn decide(&mut self, fact: &Fact, decision: Decision, decisions: &Decisions) {
        let member = fact.member.member;
        self.activity_changed.stamp(self.calendar.date(decision.at()), fact.position);
        let day = self.calendar.closed_by(decision.at());
        let next = decisions.after(member, decision).map(|next| self.calendar.closed_by(next.at()));
        if next == Some(day) {
            // A later one decides by the end of the day.
            return;
        }
        // It holds until the next one: no other turn can change.
        let mut changed = false;
        for day in [Some(day), next].into_iter().flatten() {
            let turn = turn(decisions, member, &self.calendar, day);
            changed |= self.bitmaps.set_turn(day, member, turn);
        }
        if changed {
            self.changed_from.stamp(day, fact.position);
        }
    }

    /// Makes the estimates of a member void from an observation on.
    fn observe(&mut self, position: Position, member: MemberOrdinal, at: UtcInstant) {
        let was = self.estimates.get(member.index());
        let from = estimates_void_from(&self.calendar, at);
        match was {
            Estimates::None => {}
            Estimates::VoidFrom(earlier) if earlier <= from => {}
            Estimates::Valid | Estimates::VoidFrom(_) => {
                if let Estimates::VoidFrom(later) = was {
                    remove(&mut self.bitmaps.estimates_void_from, later, member);
                }
                *self.estimates.slot(member.index()) = Estimates::VoidFrom(from);
                insert(&mut self.bitmaps.estimates_void_from, from, member);
                self.changed_from.stamp(from, position);
            }
        }
    }

    /// Notes that a member has an estimate. If it is the first one, all earlier activity was observed.
    fn estimate(&mut self, position: Position, member: MemberOrdinal, change: &Change) {
        if self.estimates.get(member.index()) != Estimates::None {
            return;
        }
        *self.estimates.slot(member.index()) = Estimates::Valid;
        if let Some(observed) = change.first_seen_before {
            self.observe(position, member, observed);
        }
    }

    fn put(
        &mut self,
        position: Position,
        day: Day,
        member: MemberOrdinal,
        of: impl FnOnce(&mut DayBitmaps) -> &mut ByDay,
    ) {
        if insert(of(&mut self.bitmaps), day, member) {
            self.day_changed.insert(day, position);
        }
    }

    /// Returns the last position that changed a row counted from these days.
    pub(crate) fn changed_at(&self, days: RangeInclusive<Day>) -> Position {
        let from = self.changed_from.last_by(*days.end());
        self.day_changed.range(days).map(|(_, position)| *position).max().unwrap_or_default().max(from)
    }

    /// Returns the last position of activity, a deletion or a restoration on `day` or before it.
    pub(crate) fn activity_changed_by(&self, day: Day) -> Position {
        self.activity_changed.last_by(day).max(self.changed_from.last_by(day))
    }

    /// Takes out everything that rows for these days need.
    pub(crate) fn sets(&self, days: RangeInclusive<Day>, members: Option<RoaringBitmap>) -> DaySets {
        DaySets::new(&self.bitmaps, days, members)
    }
}

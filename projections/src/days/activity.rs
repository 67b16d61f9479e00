//! The days of one definition on which members were active, kept up with every fact.

use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{Fact, MemberOrdinal, Position, Provenance, UtcInstant};

use super::bitmaps::{ByDay, bytes, insert, remove, share};
use super::running::{Observation, ObservedDays};
use super::stamps::{DayStamps, Stamps};
use crate::TypeSet;
use crate::activity::{estimates_void_from, first_day};
use crate::calendar::{Calendar, Day};
use crate::paged::Paged;

/// Members by the days of their activity.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActivityBitmaps {
    /// Members with an observation on the day.
    pub(crate) observed: ByDay,
    /// Members with an estimate on the day.
    pub(crate) estimated: ByDay,
    /// Members by their [first day](crate::activity::first_day).
    pub(crate) first: ByDay,
    /// Members with an estimate and an observation, by the first day by whose end their estimates do not
    /// count.
    pub(crate) estimates_void_from: ByDay,
}

impl ActivityBitmaps {
    /// All kinds, in the order of their numbers in snapshots.
    pub(crate) fn kinds(&self) -> [&ByDay; 4] {
        let Self { observed, estimated, first, estimates_void_from } = self;
        [observed, estimated, first, estimates_void_from]
    }

    pub(crate) fn kinds_mut(&mut self) -> [&mut ByDay; 4] {
        let Self { observed, estimated, first, estimates_void_from } = self;
        [observed, estimated, first, estimates_void_from]
    }

    /// The bitmaps of days that rows look at, shared.
    pub(super) fn share(&self, reach: &Reach) -> Self {
        let Self { observed, estimated, first, estimates_void_from } = self;
        Self {
            observed: share(observed, reach.activity.clone()),
            estimated: share(estimated, reach.activity.clone()),
            first: share(first, reach.first.clone()),
            estimates_void_from: share(estimates_void_from, ..=*reach.activity.end()),
        }
    }
}

/// The days that rows look at.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// Those of activity; of estimates that do not count, all before as well.
    pub(super) activity: RangeInclusive<Day>,
    /// Those of first activity.
    pub(super) first: RangeInclusive<Day>,
}

impl Reach {
    /// All days.
    pub(crate) const EVER: Self = Self { activity: EVER, first: EVER };
}

const EVER: RangeInclusive<Day> = Day::new(i32::MIN)..=Day::new(i32::MAX);

/// The activity of all members by day.
#[derive(Debug)]
pub(crate) struct ActivityDays {
    pub(super) calendar: Arc<Calendar>,
    counted: TypeSet,
    repeats_dates: bool,
    /// The day of the last fact, and instants in microseconds that it has: those of the next are often the same.
    last: (Day, RangeInclusive<i64>),
    observed: ObservedDays,
    /// All kinds but the members observed, which are empty here.
    others: ActivityBitmaps,
    /// Four bytes a member.
    first_days: Paged<FirstDay>,
    /// Four bytes a member, where there are estimates.
    estimates: Paged<PackedEstimates>,
    /// The last position that changed a bitmap of one day alone.
    day_changed: DayStamps,
    /// The last position that changed rows from a day on.
    changed_from: Stamps,
    /// The last position at which a member was first active on a day or before it.
    begun: Stamps,
    /// Of changes up to this position nothing is known.
    floor: Position,
}

/// The first day of a member. The default is that of a member without activity: later than all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FirstDay(pub(super) Day);

const NEVER: Day = Day::new(i32::MAX);

impl Default for FirstDay {
    fn default() -> Self {
        Self(NEVER)
    }
}

/// The state of a member's estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Estimates {
    /// There is none.
    #[default]
    None,
    /// They count: there is no observation.
    Valid,
    /// They do not count by the end of this day or a later one.
    VoidFrom(Day),
}

/// [`Estimates`] in four bytes: none is 0, and days from 1970 on are one more than their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PackedEstimates(i32);

impl PackedEstimates {
    const VALID: Self = Self(i32::MIN);
}

impl From<Estimates> for PackedEstimates {
    fn from(estimates: Estimates) -> Self {
        match estimates {
            Estimates::None => Self(0),
            Estimates::Valid => Self::VALID,
            Estimates::VoidFrom(day) => Self(day.number() + i32::from(day.number() >= 0)),
        }
    }
}

impl From<PackedEstimates> for Estimates {
    fn from(packed: PackedEstimates) -> Self {
        match packed {
            PackedEstimates(0) => Self::None,
            PackedEstimates::VALID => Self::Valid,
            PackedEstimates(day) => Self::VoidFrom(Day::new(day - i32::from(day > 0))),
        }
    }
}

impl ActivityDays {
    /// Days of no fact.
    pub(crate) fn new(calendar: Arc<Calendar>, counted: TypeSet) -> Self {
        Self {
            repeats_dates: calendar.repeats_dates(),
            last: calendar.day_around(UtcInstant::from_micros(0)),
            calendar,
            counted,
            observed: ObservedDays::default(),
            others: ActivityBitmaps::default(),
            first_days: Paged::default(),
            estimates: Paged::default(),
            day_changed: DayStamps::default(),
            changed_from: Stamps::default(),
            begun: Stamps::default(),
            floor: Position::START,
        }
    }

    pub(crate) fn calendar(&self) -> Arc<Calendar> {
        self.calendar.clone()
    }

    /// The bitmaps of some days, shared.
    pub(crate) fn share(&self, reach: &Reach) -> ActivityBitmaps {
        let observed = self.observed.share(reach.activity.clone());
        ActivityBitmaps { observed, ..self.others.share(reach) }
    }

    /// Members with an observation on each of these days; not an empty range.
    pub(crate) fn observed_on(&self, days: RangeInclusive<Day>) -> ByDay {
        self.observed.share(days)
    }

    /// Members with an estimate on each of these days; not an empty range.
    pub(crate) fn estimated_on(&self, days: RangeInclusive<Day>) -> ByDay {
        share(&self.others.estimated, days)
    }

    /// Members whose estimates do not count by the end of `day`, by the first day by whose end they do not.
    pub(crate) fn estimates_void_by(&self, day: Day) -> ByDay {
        share(&self.others.estimates_void_from, ..=day)
    }

    /// Bytes of what is kept, about.
    pub(crate) fn bytes(&self) -> usize {
        let bitmaps = self.observed.bytes() + self.others.kinds().into_iter().map(bytes).sum::<usize>();
        bitmaps + self.first_days.bytes() + self.estimates.bytes()
    }

    /// Follows a fact. `first_seen_before` is the least instant of all activity of the member before it.
    pub(crate) fn follow(&mut self, fact: &Fact, first_seen_before: Option<UtcInstant>) {
        let void_from = |days: &Self| first_seen_before.map(|at| estimates_void_from(&days.calendar, at));
        self.follow_with(fact, void_from);
    }

    /// Follows a fact. `void_from` finds the first day by whose end the observations before it leave no estimate.
    pub(super) fn follow_with(&mut self, fact: &Fact, void_from: impl FnOnce(&Self) -> Option<Day>) {
        let provenance = fact.event_type.activity().filter(|_| self.counted.contains(fact.event_type));
        let Some(provenance) = provenance else { return };
        let (member, at, position) = (fact.member.member, fact.occurred_at, fact.position);
        if !self.last.1.contains(&at.as_micros()) {
            self.last = self.calendar.day_around(at);
        }
        let day = self.last.0;
        let is_new = match provenance {
            Provenance::Observed => match self.observed.insert(day, member) {
                Observation::Known => false,
                // Neither its first day nor the day that leaves no estimate is later than this one.
                Observation::Latest if !self.repeats_dates => {
                    self.day_changed.stamp(day, position);
                    return;
                }
                Observation::Latest | Observation::New => true,
            },
            Provenance::Estimated => insert(&mut self.others.estimated, day, member),
        };
        // Within a day nothing moves: firsts are by day, and so are ends but where a date comes back.
        if !is_new && !self.repeats_dates {
            return;
        }
        match provenance {
            Provenance::Observed => self.observe(position, member, estimates_void_from(&self.calendar, at)),
            Provenance::Estimated => self.estimate(position, member, void_from),
        }
        if is_new {
            self.day_changed.stamp(day, position);
            self.begin(position, member, day);
        }
    }

    /// Moves the first day of a member with activity on `day`.
    fn begin(&mut self, position: Position, member: MemberOrdinal, day: Day) {
        let slot = self.first_days.slot(member.index());
        let was = Some(slot.0).filter(|was| *was != NEVER);
        let is = first_day(was, day);
        if was == Some(is) {
            return;
        }
        *slot = FirstDay(is);
        if let Some(was) = was {
            remove(&mut self.others.first, was, member);
            self.day_changed.stamp(was, position);
        }
        insert(&mut self.others.first, is, member);
        self.day_changed.stamp(is, position);
        self.begun.stamp(is, position);
    }

    /// Makes the estimates of a member void from a day on, by an observation.
    fn observe(&mut self, position: Position, member: MemberOrdinal, from: Day) {
        let was = self.estimates_of(member);
        if was == Estimates::None {
            return;
        }
        if let Estimates::VoidFrom(later) = was {
            if later <= from {
                return;
            }
            remove(&mut self.others.estimates_void_from, later, member);
        }
        *self.estimates.slot(member.index()) = Estimates::VoidFrom(from).into();
        insert(&mut self.others.estimates_void_from, from, member);
        self.changed_from.stamp(from, position);
    }

    /// Notes that a member has an estimate. If it is the first one, all earlier activity was observed.
    fn estimate(
        &mut self,
        position: Position,
        member: MemberOrdinal,
        void_from: impl FnOnce(&Self) -> Option<Day>,
    ) {
        if self.estimates_of(member) != Estimates::None {
            return;
        }
        *self.estimates.slot(member.index()) = Estimates::Valid.into();
        if let Some(from) = void_from(self) {
            self.observe(position, member, from);
        }
    }

    fn estimates_of(&self, member: MemberOrdinal) -> Estimates {
        self.estimates.get(member.index()).into()
    }

    /// True if the estimates of a member do not count by the end of this day.
    pub(crate) fn are_estimates_void_by(&self, member: MemberOrdinal, day: Day) -> bool {
        matches!(self.estimates_of(member), Estimates::VoidFrom(from) if from <= day)
    }

    /// Follows facts from this position on.
    pub(crate) fn begin_at(&mut self, position: Position) {
        self.floor = position;
    }

    /// Returns the last position that changed a row counted from these days.
    pub(crate) fn changed_at(&self, days: RangeInclusive<Day>) -> Position {
        let from = self.changed_from.last_by(*days.end()).max(self.floor);
        self.day_changed.greatest(days).max(from)
    }

    /// Returns the last position at which a member was first active on this day or before it.
    pub(crate) fn begun_by(&self, day: Day) -> Position {
        self.begun.last_by(day)
    }

    /// True if the estimates of a member are in the same state in other days.
    pub(crate) fn has_same_estimates(&self, other: &Self, member: MemberOrdinal) -> bool {
        self.estimates.get(member.index()) == other.estimates.get(member.index())
    }

    /// Takes over bitmaps, and finds the first day of each member and the state of its estimates from them.
    pub(crate) fn take_over(&mut self, mut bitmaps: ActivityBitmaps) {
        self.observed = std::mem::take(&mut bitmaps.observed).into();
        let ActivityBitmaps { observed: _, estimated, first, estimates_void_from } = &bitmaps;
        for (day, members) in first {
            for member in &**members {
                *self.first_days.slot(MemberOrdinal::new(member).index()) = FirstDay(*day);
            }
        }
        for member in estimated.values().flat_map(|members| &**members) {
            *self.estimates.slot(MemberOrdinal::new(member).index()) = Estimates::Valid.into();
        }
        for (day, members) in estimates_void_from {
            for member in &**members {
                *self.estimates.slot(MemberOrdinal::new(member).index()) = Estimates::VoidFrom(*day).into();
            }
        }
        self.others = bitmaps;
    }

    /// The first day with an observation of a member.
    pub(super) fn first_observed(&self, member: MemberOrdinal) -> Option<Day> {
        self.observed.first_of(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_unpacked_as_they_were() {
        assert_eq!(Estimates::from(PackedEstimates::default()), Estimates::None);
        let days = [-700_000, -1, 0, 1, 20_000, i32::MAX - 1].map(Day::new).map(Estimates::VoidFrom);
        for estimates in [Estimates::None, Estimates::Valid].into_iter().chain(days) {
            assert_eq!(Estimates::from(PackedEstimates::from(estimates)), estimates);
        }
    }
}

//! The days of one definition on which members were active, kept up with every fact.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{Fact, MemberOrdinal, Position, Provenance, UtcInstant};

use super::bitmaps::{ByDay, bytes, insert, remove};
use super::stamps::Stamps;
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
}

/// The activity of all members by day.
#[derive(Debug)]
pub(crate) struct ActivityDays {
    pub(super) calendar: Arc<Calendar>,
    counted: TypeSet,
    repeats_dates: bool,
    /// The day of the last fact, and instants in microseconds that it has: those of the next are often the same.
    last: (Day, RangeInclusive<i64>),
    pub(super) bitmaps: ActivityBitmaps,
    /// Four bytes a member.
    pub(super) first_days: Paged<FirstDay>,
    pub(super) estimates: Paged<Estimates>,
    /// The last position that changed a bitmap of one day alone.
    day_changed: BTreeMap<Day, Position>,
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

impl ActivityDays {
    /// Days of no fact.
    pub(crate) fn new(calendar: Arc<Calendar>, counted: TypeSet) -> Self {
        Self {
            repeats_dates: calendar.repeats_dates(),
            last: calendar.day_around(UtcInstant::from_micros(0)),
            calendar,
            counted,
            bitmaps: ActivityBitmaps::default(),
            first_days: Paged::default(),
            estimates: Paged::default(),
            day_changed: BTreeMap::new(),
            changed_from: Stamps::default(),
            begun: Stamps::default(),
            floor: Position::START,
        }
    }

    pub(crate) fn calendar(&self) -> Arc<Calendar> {
        self.calendar.clone()
    }

    pub(crate) fn bitmaps(&self) -> &ActivityBitmaps {
        &self.bitmaps
    }

    pub(crate) fn bitmaps_mut(&mut self) -> &mut ActivityBitmaps {
        &mut self.bitmaps
    }

    /// Bytes of what is kept, about.
    pub(crate) fn bytes(&self) -> usize {
        let bitmaps: usize = self.bitmaps.kinds().into_iter().map(bytes).sum();
        bitmaps + self.first_days.bytes() + self.estimates.bytes()
    }

    /// Follows a fact. `first_seen_before` is the least instant of all activity of the member before it.
    pub(crate) fn follow(&mut self, fact: &Fact, first_seen_before: Option<UtcInstant>) {
        let void_from = |days: &Self| first_seen_before.map(|at| estimates_void_from(&days.calendar, at));
        self.follow_with(fact, first_seen_before, void_from);
    }

    /// Follows a fact. `first_seen_before` is the least instant of all activity of the member before it, where that is known;
    /// `void_from` finds the first day by whose end the observations before it leave no estimate.
    pub(super) fn follow_with(
        &mut self,
        fact: &Fact,
        first_seen_before: Option<UtcInstant>,
        void_from: impl FnOnce(&Self) -> Option<Day>,
    ) {
        let provenance = fact.event_type.activity().filter(|_| self.counted.contains(fact.event_type));
        let Some(provenance) = provenance else { return };
        let (member, at, position) = (fact.member.member, fact.occurred_at, fact.position);
        if !self.last.1.contains(&at.as_micros()) {
            self.last = self.calendar.day_around(at);
        }
        let day = self.last.0;
        let days = match provenance {
            Provenance::Observed => &mut self.bitmaps.observed,
            Provenance::Estimated => &mut self.bitmaps.estimated,
        };
        let is_new = insert(days, day, member);
        // Within a day nothing moves: firsts are by day, and so are ends but where a date comes back.
        if !is_new && !self.repeats_dates {
            return;
        }
        match provenance {
            Provenance::Observed => self.observe(position, member, estimates_void_from(&self.calendar, at)),
            Provenance::Estimated => self.estimate(position, member, void_from),
        }
        if is_new {
            self.day_changed.insert(day, position);
            let begun = first_seen_before.is_some_and(|before| before.as_micros() <= *self.last.1.end());
            // Then its first day is not after this one, and the slot in memory is not looked at.
            if !(begun && self.counted == TypeSet::all() && !self.repeats_dates) {
                self.begin(position, member, day);
            }
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
            remove(&mut self.bitmaps.first, was, member);
            self.day_changed.insert(was, position);
        }
        insert(&mut self.bitmaps.first, is, member);
        self.day_changed.insert(is, position);
        self.begun.stamp(is, position);
    }

    /// Makes the estimates of a member void from a day on, by an observation.
    fn observe(&mut self, position: Position, member: MemberOrdinal, from: Day) {
        let was = self.estimates.get(member.index());
        if was == Estimates::None {
            return;
        }
        if let Estimates::VoidFrom(later) = was {
            if later <= from {
                return;
            }
            remove(&mut self.bitmaps.estimates_void_from, later, member);
        }
        *self.estimates.slot(member.index()) = Estimates::VoidFrom(from);
        insert(&mut self.bitmaps.estimates_void_from, from, member);
        self.changed_from.stamp(from, position);
    }

    /// Notes that a member has an estimate. If it is the first one, all earlier activity was observed.
    fn estimate(
        &mut self,
        position: Position,
        member: MemberOrdinal,
        void_from: impl FnOnce(&Self) -> Option<Day>,
    ) {
        if self.estimates.get(member.index()) != Estimates::None {
            return;
        }
        *self.estimates.slot(member.index()) = Estimates::Valid;
        if let Some(from) = void_from(self) {
            self.observe(position, member, from);
        }
    }

    /// True if the estimates of a member do not count by the end of this day.
    pub(crate) fn are_estimates_void_by(&self, member: MemberOrdinal, day: Day) -> bool {
        matches!(self.estimates.get(member.index()), Estimates::VoidFrom(from) if from <= day)
    }

    /// Follows facts from this position on.
    pub(crate) fn begin_at(&mut self, position: Position) {
        self.floor = position;
    }

    /// Returns the last position that changed a row counted from these days.
    pub(crate) fn changed_at(&self, days: RangeInclusive<Day>) -> Position {
        let from = self.changed_from.last_by(*days.end()).max(self.floor);
        self.day_changed.range(days).map(|(_, position)| *position).max().unwrap_or_default().max(from)
    }

    /// Returns the last position at which a member was first active on this day or before it.
    pub(crate) fn begun_by(&self, day: Day) -> Position {
        self.begun.last_by(day)
    }

    /// True if the estimates of a member are in the same state in other days.
    pub(crate) fn has_same_estimates(&self, other: &Self, member: MemberOrdinal) -> bool {
        self.estimates.get(member.index()) == other.estimates.get(member.index())
    }

    /// Finds the first day of each member and the state of its estimates from the bitmaps, once all of them were decoded.
    pub(crate) fn find_members(&mut self) {
        for (day, members) in &self.bitmaps.first {
            for member in &**members {
                *self.first_days.slot(MemberOrdinal::new(member).index()) = FirstDay(*day);
            }
        }
        for member in self.bitmaps.estimated.values().flat_map(|members| &**members) {
            *self.estimates.slot(MemberOrdinal::new(member).index()) = Estimates::Valid;
        }
        for (day, members) in &self.bitmaps.estimates_void_from {
            for member in &**members {
                *self.estimates.slot(MemberOrdinal::new(member).index()) = Estimates::VoidFrom(*day);
            }
        }
    }
}

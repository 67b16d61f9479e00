//! The days of a part of history, folded in bulk for one question.
//!
//! A scan feeds it. No more of a member is kept than its days need, so that the memory of all members stays
//! near the processor; the definitions are those of the live days.

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{EventType, Fact, MemberOrdinal, Provenance, UtcInstant};

use roaring::RoaringBitmap;

use super::activity::{ActivityBitmaps, ActivityDays, Estimates, FirstDay};
use super::bitmaps::{ByDay, Sorted, insert};
use super::presence::PresenceBitmaps;
use super::sets::{DaySets, Periods, Wanted};
use crate::activity::{estimates_void_from, first_day};
use crate::calendar::{Calendar, Day};
use crate::decisions::{Decision, Decisions, Matter};
use crate::paged::Paged;
use crate::persons::{PersonMembers, Persons};
use crate::{Retracted, Selection, TypeSet};

/// Facts whose memory is read at once.
const GROUP: usize = 64;

/// Folds activity into the days of one definition. The same activity gives the same days, in any order and any
/// number of times.
#[derive(Debug)]
pub(super) struct ActivityBuilder {
    calendar: Arc<Calendar>,
    counted: TypeSet,
    observed: ByDay,
    estimated: ByDay,
    observations: Paged<Observations>,
    /// The first day with an estimate of each member.
    first_estimates: Paged<Option<Day>>,
}

/// The observations of a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observations {
    /// The least instant in microseconds.
    first_us: i64,
    first_day: Day,
    /// The day of the last one folded, which is often that of the next one.
    day: Day,
}

// Four members share a line of the processor's cache.
const _: () = assert!(size_of::<Observations>() == 16);

/// A day before all days of 64 bits of microseconds.
const NO_DAY: Day = Day::new(i32::MIN);

impl Default for Observations {
    fn default() -> Self {
        Self { first_us: i64::MAX, first_day: NO_DAY, day: NO_DAY }
    }
}

impl Observations {
    /// Folds one observation in. `true`: it is on another day than the one before it.
    pub(super) fn add(&mut self, at: UtcInstant, day: Day) -> bool {
        self.first_us = self.first_us.min(at.as_micros());
        self.first_day = first_day(self.first_day(), day);
        std::mem::replace(&mut self.day, day) != day
    }

    fn first_day(&self) -> Option<Day> {
        (self.first_day != NO_DAY).then_some(self.first_day)
    }

    pub(super) fn first(&self) -> Option<UtcInstant> {
        self.first_day().map(|_| UtcInstant::from_micros(self.first_us))
    }
}

impl ActivityBuilder {
    pub(super) fn new(calendar: Arc<Calendar>, counted: TypeSet) -> Self {
        Self {
            calendar,
            counted,
            observed: ByDay::default(),
            estimated: ByDay::default(),
            observations: Paged::default(),
            first_estimates: Paged::default(),
        }
    }

    /// Folds an event in, if it is activity that counts.
    #[inline]
    pub(super) fn see(&mut self, member: MemberOrdinal, at: UtcInstant, event_type: EventType) {
        match event_type.activity().filter(|_| self.counted.contains(event_type)) {
            Some(Provenance::Observed) => {
                let day = self.calendar.date(at);
                if self.observations.slot(member.index()).add(at, day) {
                    insert(&mut self.observed, day, member);
                }
            }
            Some(Provenance::Estimated) => {
                let day = self.calendar.date(at);
                let first = self.first_estimates.slot(member.index());
                *first = Some(first_day(*first, day));
                insert(&mut self.estimated, day, member);
            }
            None => {}
        }
    }

    /// Reads the memory that these members need. They are in no relation, so the processor waits for many at once.
    #[inline]
    pub(super) fn touch(&self, members: impl Iterator<Item = MemberOrdinal>) {
        let is_known = |member: &MemberOrdinal| self.observations.get(member.index()).first_day().is_some();
        black_box(members.filter(is_known).count());
    }

    /// The days, and what they were made of.
    pub(super) fn finish(self) -> (ActivityDays, Paged<Observations>) {
        let mut days = ActivityDays::new(self.calendar.clone(), self.counted);
        let (mut first, mut void_from) = (Sorted::default(), Sorted::default());
        let slots = 0..self.observations.slots().max(self.first_estimates.slots());
        for (slot, member) in slots.zip((0..).map(MemberOrdinal::new)) {
            let (observed, estimated) = (self.observations.get(slot), self.first_estimates.get(slot));
            let first_estimate = estimated.map(|day| first_day(observed.first_day(), day));
            let Some(day) = first_estimate.or(observed.first_day()) else { continue };
            first.push(day, member);
            *days.first_days.slot(slot) = FirstDay(day);
            if estimated.is_some() {
                let from = observed.first().map(|at| estimates_void_from(&self.calendar, at));
                *days.estimates.slot(slot) = from.map_or(Estimates::Valid, Estimates::VoidFrom);
                if let Some(from) = from {
                    void_from.push(from, member);
                }
            }
        }
        days.bitmaps.observed = self.observed;
        days.bitmaps.estimated = self.estimated;
        days.bitmaps.first = first.finish();
        days.bitmaps.estimates_void_from = void_from.finish();
        (days, self.observations)
    }
}

/// Folds a part of history into the days of any calendar, and nothing else. The same facts give the same
/// days, in any order and any number of times.
#[derive(Debug)]
pub struct DaysBuilder {
    selection: Selection,
    retracted: Retracted,
    calendar: Arc<Calendar>,
    activity: ActivityBuilder,
    /// The instants that members exist from.
    exists: Paged<Option<UtcInstant>>,
    deletions: Vec<(MemberOrdinal, Decision)>,
    leavings: Vec<(MemberOrdinal, Decision)>,
    /// `None` where rows are of members.
    persons: Option<PersonMembers>,
}

impl DaysBuilder {
    /// A builder that folds what `selection` chooses, without the events of batches that were retracted, for rows of
    /// members, or of persons where `persons` joins members.
    pub fn new(
        selection: Selection,
        retracted: Retracted,
        calendar: Arc<Calendar>,
        persons: Persons,
    ) -> Self {
        Self {
            activity: ActivityBuilder::new(calendar.clone(), selection.counted()),
            selection,
            retracted,
            calendar,
            exists: Paged::default(),
            deletions: Vec::new(),
            leavings: Vec::new(),
            persons: (persons == Persons::UserId).then(PersonMembers::default),
        }
    }

    /// Folds one fact in, unless it is out of the selection's bounds.
    pub fn apply(&mut self, fact: &Fact) {
        if !self.selection.keeps(fact) || self.retracted.has(fact) {
            return;
        }
        let (member, at) = (fact.member.member, fact.occurred_at);
        let exists = self.exists.slot(member.index());
        if exists.is_none()
            && let Some(persons) = &mut self.persons
        {
            persons.join(fact.member.person, member);
        }
        *exists = Some(exists.map_or(at, |before| before.min(at)));
        match self.selection.decision(fact) {
            Some((Matter::Deletion, decision)) => self.deletions.push((member, decision)),
            Some((Matter::LeavingOut, decision)) => self.leavings.push((member, decision)),
            None => self.activity.see(member, at, fact.event_type),
        }
    }

    /// Folds facts in, as [`DaysBuilder::apply`] with each; faster where there are more members than the
    /// processor's caches hold.
    pub fn apply_all(&mut self, facts: &[Fact]) {
        for group in facts.chunks(GROUP) {
            self.activity.touch(group.iter().map(|fact| fact.member.member));
            for fact in group {
                self.apply(fact);
            }
        }
    }

    /// Ends the scan.
    pub fn finish(self) -> ScannedDays {
        let mut exists = Sorted::default();
        for (slot, member) in (0..self.exists.slots()).zip((0..).map(MemberOrdinal::new)) {
            if let Some(from) = self.exists.get(slot) {
                exists.push(self.calendar.closed_by(from), member);
            }
        }
        let mut presence = PresenceBitmaps { exists: exists.finish(), ..PresenceBitmaps::default() };
        for (matter, decisions) in [(Matter::Deletion, self.deletions), (Matter::LeavingOut, self.leavings)] {
            let decisions: Decisions = decisions.into_iter().collect();
            for (member, decision) in decisions.iter() {
                presence.turn(&self.calendar, (*member, matter, *decision), &decisions);
            }
        }
        let (activity, _) = self.activity.finish();
        let persons = self.persons.map(|persons| persons.map());
        let wanted = Wanted { members: None, everyone: self.selection.everyone, persons };
        ScannedDays { activity: activity.bitmaps().clone(), presence, wanted }
    }
}

/// The days that a scan made.
#[derive(Debug)]
pub struct ScannedDays {
    activity: ActivityBitmaps,
    presence: PresenceBitmaps,
    wanted: Wanted,
}

impl ScannedDays {
    /// True if nobody was told of.
    pub fn is_empty(&self) -> bool {
        self.presence.exists.is_empty()
    }

    /// The members whose days differ, as far as rows of these periods can tell.
    pub fn differing(&self, other: &Self, periods: &Periods) -> RoaringBitmap {
        let reach = periods.reach();
        let ever = Day::new(i32::MIN)..=*reach.end();
        let mut differing = RoaringBitmap::new();
        let activity = self.activity.kinds().into_iter().zip(other.activity.kinds());
        // Activity matters in reach, but for the first of all.
        for ((ours, theirs), days) in activity.zip([&reach, &reach, &ever, &ever]) {
            add_differing(&mut differing, (ours, theirs), days);
        }
        let presence = self.presence.kinds().into_iter().zip(other.presence.kinds());
        let presence =
            presence.take(if self.wanted.everyone { PresenceBitmaps::OF_EVERYONE } else { usize::MAX });
        for pair in presence {
            add_differing(&mut differing, pair, &ever);
        }
        differing
    }

    /// Everything that rows of these periods need: of these members, or of all that were folded.
    pub fn days(&self, periods: &Periods, members: Option<RoaringBitmap>) -> DaySets {
        let wanted = Wanted { members, ..self.wanted.clone() };
        DaySets::new(&self.activity, &self.presence, periods, wanted)
    }
}

/// Adds the members that are on a day of one and not on that of the other.
fn add_differing(
    differing: &mut RoaringBitmap,
    (ours, theirs): (&ByDay, &ByDay),
    days: &RangeInclusive<Day>,
) {
    let none = RoaringBitmap::new();
    for (day, members) in ours.range(days.clone()) {
        *differing |= &**members ^ theirs.get(day).map_or(&none, |members| members);
    }
    for (_, members) in theirs.range(days.clone()).filter(|(day, _)| !ours.contains_key(day)) {
        *differing |= &**members;
    }
}

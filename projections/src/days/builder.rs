//! The days of a part of history, folded in bulk for one question.
//!
//! A scan feeds it. No more of a member is kept than its days need, so that the memory of all members stays
//! near the processor; the definitions are those of the live days.

use std::collections::btree_map::Entry;
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{EventType, Fact, MemberOrdinal, Provenance, UtcInstant};

use roaring::RoaringBitmap;

use super::activity::{ActivityBitmaps, ActivityDays, Reach};
use super::bitmaps::{ByDay, Sorted, insert};
use super::marks::Marks;
use super::presence::PresenceBitmaps;
use super::sets::{DaySets, Periods, Wanted};
use crate::activity::estimates_void_from;
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
    repeats_dates: bool,
    observed: Marks,
    estimated: Marks,
    /// The observations that close an earlier day than their date, by that day. None where no date comes back.
    closing_earlier: ByDay,
}

impl ActivityBuilder {
    pub(super) fn new(calendar: Arc<Calendar>, counted: TypeSet) -> Self {
        Self {
            counted,
            repeats_dates: calendar.repeats_dates(),
            observed: Marks::new(calendar.clone()),
            estimated: Marks::new(calendar.clone()),
            calendar,
            closing_earlier: ByDay::default(),
        }
    }

    /// Folds an event in, if it is activity that counts.
    #[inline]
    pub(super) fn see(&mut self, member: MemberOrdinal, at: UtcInstant, event_type: EventType) {
        match event_type.activity().filter(|_| self.counted.contains(event_type)) {
            Some(Provenance::Observed) => {
                self.observed.mark(member, at);
                if self.repeats_dates
                    && let Some(day) = closing_earlier(&self.calendar, at)
                {
                    insert(&mut self.closing_earlier, day, member);
                }
            }
            Some(Provenance::Estimated) => self.estimated.mark(member, at),
            None => {}
        }
    }

    /// Folds in what another one of the same definition was fed.
    pub(super) fn join(&mut self, other: Self) {
        self.observed.join(other.observed);
        self.estimated.join(other.estimated);
        for (day, members) in other.closing_earlier {
            *Arc::make_mut(self.closing_earlier.entry(day).or_default()) |= &*members;
        }
    }

    pub(super) fn finish(self) -> MadeActivity {
        let (observed, estimated) = (self.observed.finish(), self.estimated.finish());
        let first = firsts(&joined(&observed, &estimated));
        let mut closed = firsts(&joined(&observed, &self.closing_earlier));
        let with_estimate = estimated.values().fold(RoaringBitmap::new(), |all, members| all | &**members);
        for members in closed.values_mut() {
            *Arc::make_mut(members) &= &with_estimate;
        }
        closed.retain(|_, members| !members.is_empty());
        let mut days = ActivityDays::new(self.calendar, self.counted);
        days.take_over(ActivityBitmaps { observed, estimated, first, estimates_void_from: closed });
        MadeActivity { days, counted: self.counted, closing_earlier: self.closing_earlier }
    }
}

/// The day from whose end on an observation leaves no estimate, if that is before its date.
fn closing_earlier(calendar: &Calendar, at: UtcInstant) -> Option<Day> {
    let from = estimates_void_from(calendar, at);
    (from != calendar.date(at)).then_some(from)
}

/// The members of each day of either.
fn joined(some: &ByDay, others: &ByDay) -> ByDay {
    let mut joined = some.clone();
    for (day, members) in others {
        match joined.entry(*day) {
            Entry::Vacant(none) => drop(none.insert(members.clone())),
            Entry::Occupied(some) => *Arc::make_mut(some.into_mut()) |= &**members,
        }
    }
    joined
}

/// The members of each day that are on none before.
fn firsts(days: &ByDay) -> ByDay {
    let mut before = RoaringBitmap::new();
    let mut firsts = ByDay::new();
    for (day, members) in days {
        let first = &**members - &before;
        before |= &**members;
        if !first.is_empty() {
            firsts.insert(*day, Arc::new(first));
        }
    }
    firsts
}

/// The days that a builder made, to be kept up with facts that came later.
#[derive(Debug)]
pub(super) struct MadeActivity {
    pub(super) days: ActivityDays,
    counted: TypeSet,
    closing_earlier: ByDay,
}

impl MadeActivity {
    /// Folds a fact in that came later.
    pub(super) fn follow(&mut self, fact: &Fact) {
        let Self { days, counted, closing_earlier } = self;
        if counted.contains(fact.event_type)
            && fact.event_type.activity() == Some(Provenance::Observed)
            && let Some(day) = self::closing_earlier(&days.calendar(), fact.occurred_at)
        {
            insert(closing_earlier, day, fact.member.member);
        }
        // Dates and the days that are closed are in the same order: of both the least counts.
        let first = |days: &ActivityDays| {
            let member = fact.member.member;
            let is_of = |(_, members): &(&Day, &Arc<RoaringBitmap>)| members.contains(member.get());
            let closing_earlier = closing_earlier.iter().find(is_of).map(|(day, _)| *day);
            [days.first_observed(member), closing_earlier].into_iter().flatten().min()
        };
        days.follow_with(fact, first);
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
            // In no relation, so the processor waits for many at once.
            let is_known = |fact: &&Fact| self.exists.get(fact.member.member.index()).is_some();
            black_box(group.iter().filter(is_known).count());
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
        let activity = self.activity.finish().days.share(&Reach::EVER);
        let persons = self.persons.map(|persons| persons.map());
        let wanted = Wanted { members: None, everyone: self.selection.everyone, persons };
        ScannedDays { activity, presence, wanted }
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
        DaySets::new(|reach| self.activity.share(reach), &self.presence, periods, wanted)
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

//! The days of a part of history, folded in bulk for one question.
//!
//! A scan feeds it. No more of a member is kept than its days need, so that the memory of all members stays
//! near the processor; the definitions are those of the live days.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{Fact, MemberOrdinal, Provenance, UtcInstant};
use roaring::RoaringBitmap;

use super::bitmaps::{ByDay, DayBitmaps, insert};
use super::sets::DaySets;
use crate::activity::{estimates_void_from, first_day, turn};
use crate::calendar::{Calendar, Day};
use crate::decisions::{Decision, Decisions};
use crate::paged::Paged;
use crate::{Retracted, Selection};

/// Facts whose memory is read at once.
const GROUP: usize = 64;

/// Folds a part of history into the days of any calendar, and nothing else. The same facts give the same
/// days, in any order and any number of times.
#[derive(Debug)]
pub struct DaysBuilder {
    selection: Selection,
    retracted: Retracted,
    calendar: Calendar,
    observed: ByDay,
    estimated: ByDay,
    observations: Paged<Observations>,
    /// The first day with an estimate of each member.
    first_estimates: Paged<Option<Day>>,
    decisions: Vec<(MemberOrdinal, Decision)>,
}

/// The observations of a member.
#[derive(Clone, Copy, Debug)]
struct Observations {
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
    fn add(&mut self, at: UtcInstant, day: Day) -> bool {
        self.first_us = self.first_us.min(at.as_micros());
        self.first_day = first_day(self.first_day(), day);
        std::mem::replace(&mut self.day, day) != day
    }

    fn first_day(&self) -> Option<Day> {
        (self.first_day != NO_DAY).then_some(self.first_day)
    }

    fn first(&self) -> Option<UtcInstant> {
        self.first_day().map(|_| UtcInstant::from_micros(self.first_us))
    }
}

impl DaysBuilder {
    /// A builder that folds what `selection` chooses, without the events of batches that were retracted.
    pub fn new(selection: Selection, retracted: Retracted, calendar: Calendar) -> Self {
        Self {
            selection,
            retracted,
            calendar,
            observed: ByDay::default(),
            estimated: ByDay::default(),
            observations: Paged::default(),
            first_estimates: Paged::default(),
            decisions: Vec::new(),
        }
    }

    /// Folds one fact in, unless it is out of the selection's bounds.
    pub fn apply(&mut self, fact: &Fact) {
        if !self.selection.keeps(fact) || self.retracted.has(fact) {
            return;
        }
        let (member, at) = (fact.member.member, fact.occurred_at);
        let counts = self.selection.counted().contains(fact.event_type);
        match fact.event_type.activity().filter(|_| counts) {
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
            None => self.decisions.extend(Decision::of(fact).map(|decision| (member, decision))),
        }
    }

    /// Folds facts in, as [`DaysBuilder::apply`] with each; faster where there are more members than the
    /// processor's caches hold.
    pub fn apply_all(&mut self, facts: &[Fact]) {
        for group in facts.chunks(GROUP) {
            // In no relation, so the processor waits for many at once.
            let is_known =
                |fact: &&Fact| self.observations.get(fact.member.member.index()).first_day().is_some();
            black_box(group.iter().filter(is_known).count());
            for fact in group {
                self.apply(fact);
            }
        }
    }

    /// Returns everything that rows for these days need, of all members that were folded.
    pub fn finish(self, days: RangeInclusive<Day>) -> DaySets {
        let (mut first, mut void_from) = (Sorted::default(), Sorted::default());
        let slots = 0..self.observations.slots().max(self.first_estimates.slots());
        for (slot, member) in slots.zip((0..).map(MemberOrdinal::new)) {
            let (observed, estimated) = (self.observations.get(slot), self.first_estimates.get(slot));
            let first_estimate = estimated.map(|day| first_day(observed.first_day(), day));
            if let Some(day) = first_estimate.or(observed.first_day()) {
                first.push(day, member);
            }
            if let (Some(at), Some(_)) = (observed.first(), estimated) {
                void_from.push(estimates_void_from(&self.calendar, at), member);
            }
        }
        let mut bitmaps = DayBitmaps {
            observed: self.observed,
            estimated: self.estimated,
            first: first.finish(),
            estimates_void_from: void_from.finish(),
            ..DayBitmaps::default()
        };
        let decisions: Decisions = self.decisions.into_iter().collect();
        for (member, decision) in decisions.iter() {
            let day = self.calendar.closed_by(decision.at());
            bitmaps.set_turn(day, *member, turn(&decisions, *member, &self.calendar, day));
        }
        DaySets::new(&bitmaps, days, None)
    }
}

/// Members by day, added in ascending order of members.
#[derive(Default)]
struct Sorted(BTreeMap<Day, Vec<u32>>);

impl Sorted {
    fn push(&mut self, day: Day, member: MemberOrdinal) {
        self.0.entry(day).or_default().push(member.get());
    }

    fn finish(self) -> ByDay {
        let bitmap = |members| RoaringBitmap::from_sorted_iter(members).expect("they come in order");
        self.0.into_iter().map(|(day, members)| (day, Arc::new(bitmap(members)))).collect()
    }
}

//! The days of a part of history, folded in bulk for one question: no more of a member is kept than its days need, so that
//! the memory of all members stays near the processor.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{Fact, MemberOrdinal, Provenance, UtcInstant};
use roaring::RoaringBitmap;

use super::membership::Turns;
use super::{Book, ByDay, DaySets, insert};
use crate::calendar::{Calendar, Day};
use crate::decisions::Decision;
use crate::paged::Paged;
use crate::{Retracted, Selection};

/// Facts whose memory is read at once.
const GROUP: usize = 64;

/// Folds a part of history into the days of any calendar, and nothing else. The same facts give the same days, in any order
/// and any number of times.
#[derive(Debug)]
pub struct DaysBuilder {
    selection: Selection,
    retracted: Retracted,
    calendar: Calendar,
    observed: ByDay,
    estimated: ByDay,
    seen: Paged<Observations>,
    /// The first estimate of each member.
    guessed: Paged<Least>,
    decisions: Vec<(MemberOrdinal, Decision)>,
}

/// What is kept of the observations of a member.
#[derive(Clone, Copy, Debug, Default)]
struct Observations {
    first: Least,
    /// The day of the one that came last: often that of the next one, too.
    day: Option<Day>,
}

/// The least of some instants in microseconds; the greatest that can be held if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Least(i64);

impl Default for Least {
    fn default() -> Self {
        Self(i64::MAX)
    }
}

impl Least {
    fn with(self, at: UtcInstant) -> Self {
        self.min(Self(at.as_micros()))
    }

    fn get(self) -> Option<UtcInstant> {
        (self != Self::default()).then(|| UtcInstant::from_micros(self.0))
    }
}

impl DaysBuilder {
    /// A builder that folds what `selection` chooses and did not come with a batch that was taken back.
    pub fn new(selection: Selection, retracted: Retracted, calendar: Calendar) -> Self {
        Self {
            selection,
            retracted,
            calendar,
            observed: ByDay::default(),
            estimated: ByDay::default(),
            seen: Paged::default(),
            guessed: Paged::default(),
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
                let seen = self.seen.slot(member.index());
                seen.first = seen.first.with(at);
                if seen.day.replace(day) != Some(day) {
                    insert(&mut self.observed, day, member);
                }
            }
            Some(Provenance::Estimated) => {
                let guessed = self.guessed.slot(member.index());
                *guessed = guessed.with(at);
                insert(&mut self.estimated, self.calendar.date(at), member);
            }
            None => self.decisions.extend(Decision::of(fact).map(|decision| (member, decision))),
        }
    }

    /// Folds facts in, as [`DaysBuilder::apply`] with each; faster where there are more members than the processor's
    /// caches hold.
    pub fn apply_all(&mut self, facts: &[Fact]) {
        for group in facts.chunks(GROUP) {
            // In no relation, so the processor waits for many at once.
            let seen = |fact: &&Fact| self.seen.get(fact.member.member.index()).day.is_some();
            black_box(group.iter().filter(seen).count());
            for fact in group {
                self.apply(fact);
            }
        }
    }

    /// What rows for these days need, of all members that were folded.
    pub fn finish(self, days: RangeInclusive<Day>) -> DaySets {
        let calendar = self.calendar;
        let (mut first, mut first_observed) = (Sorted::default(), Sorted::default());
        let slots = 0..self.seen.slots().max(self.guessed.slots());
        for (slot, member) in slots.zip((0..).map(MemberOrdinal::new)) {
            let (observed, guessed) = (self.seen.get(slot).first, self.guessed.get(slot));
            if let Some(at) = observed.min(guessed).get() {
                first.push(calendar.date(at), member);
            }
            if let (Some(at), Some(_)) = (observed.get(), guessed.get()) {
                first_observed.push(calendar.closed_by(at), member);
            }
        }
        let (mut gone, mut back) = (Sorted::default(), Sorted::default());
        let mut decisions = self.decisions;
        decisions.sort_unstable();
        decisions.dedup();
        for all in decisions.chunk_by(|a, b| a.0 == b.0) {
            for (day, deleted) in Turns::of(all.iter().map(|(_, decision)| decision), &calendar).iter() {
                if deleted { &mut gone } else { &mut back }.push(day, all[0].0);
            }
        }
        let book = Book {
            observed: self.observed,
            estimated: self.estimated,
            first: first.finish(),
            first_observed: first_observed.finish(),
            gone: gone.finish(),
            back: back.finish(),
        };
        DaySets::new(&book, calendar.is_utc(), days, None)
    }
}

/// Members by day, which come in ascending order.
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

//! Days as of an instant within a day: those that are over by then are as they are, the others are made of the events
//! up to the instant.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{Fact, MemberOrdinal, Provenance, UtcInstant};
use roaring::RoaringBitmap;

use super::Definition;
use super::activity::ActivityBitmaps;
use super::bitmaps::ByDay;
use super::by_end::AbsentByEnd;
use super::presence::PresenceBitmaps;
use super::sets::DaySets;
use crate::bits::Bits;
use crate::calendar::{Calendar, Day};
use crate::decisions::{Decision, Matter};
use crate::recent::Mark;
use crate::{Retracted, Views};

/// The days that are not over at an instant, made of their events up to it.
#[derive(Debug)]
pub struct Cut {
    calendar: Arc<Calendar>,
    definition: Definition,
    retracted: Retracted,
    at: UtcInstant,
    /// The last day that is over by then.
    closed: Day,
    observed: BTreeMap<Day, Bits>,
    estimated: BTreeMap<Day, Bits>,
    /// Members with any event.
    told_of: Bits,
    /// The greatest decision about a member in each matter.
    deletions: BTreeMap<MemberOrdinal, Decision>,
    leavings: BTreeMap<MemberOrdinal, Decision>,
    mark: Mark,
}

impl Cut {
    /// Begins at `at`. The calendar is that of the definition's zone.
    pub fn new(views: &Views, definition: Definition, calendar: Arc<Calendar>, at: UtcInstant) -> Self {
        let date = calendar.closed_by(at);
        let closed = if calendar.end(date) == at { date } else { date.plus(-1) };
        Self {
            calendar,
            definition,
            retracted: views.retracted().clone(),
            at,
            closed,
            observed: BTreeMap::new(),
            estimated: BTreeMap::new(),
            told_of: Bits::default(),
            deletions: BTreeMap::new(),
            leavings: BTreeMap::new(),
            mark: views.mark(),
        }
    }

    /// The first day that is not over by then.
    pub fn open(&self) -> Day {
        self.closed.plus(1)
    }

    /// The instants, both inclusive, whose facts have to be [seen](Self::see), up to the views' position; `None`: the
    /// instant is the end of a day.
    pub fn instants(&self) -> Option<RangeInclusive<UtcInstant>> {
        // Where a date comes back, it may have begun before the one before it ended.
        let start = self.calendar.start(self.open()).min(after(self.calendar.end(self.closed)));
        (start <= self.at).then_some(start..=self.at)
    }

    /// Folds a fact of these instants in.
    pub fn see(&mut self, fact: &Fact) {
        if fact.occurred_at > self.at || self.retracted.has(fact) {
            return;
        }
        let (member, at) = (fact.member.member, fact.occurred_at);
        if at > self.calendar.end(self.closed) {
            self.told_of.insert(member.get());
            if let Some((matter, decision)) = Decision::of(fact) {
                let decisions = match matter {
                    Matter::Deletion => &mut self.deletions,
                    Matter::LeavingOut => &mut self.leavings,
                };
                let greatest = decisions.entry(member).or_insert(decision);
                *greatest = decision.max(*greatest);
            }
        }
        let day = self.calendar.date(at);
        let is_counted = self.definition.counted.contains(fact.event_type) && day > self.closed;
        let days = match fact.event_type.activity().filter(|_| is_counted) {
            Some(Provenance::Observed) => &mut self.observed,
            Some(Provenance::Estimated) => &mut self.estimated,
            None => return,
        };
        days.entry(day).or_default().insert(member.get());
    }

    /// Folds in what the views folded since it was called last, or the cut was begun. `false`: not all of that is at hand
    /// any more, and has to be read and [seen](Self::see), up to the position of these views.
    pub fn catch_up(&mut self, views: &Views) -> bool {
        let mark = std::mem::replace(&mut self.mark, views.mark());
        let Some(facts) = views.facts_since(mark) else { return false };
        let Some(instants) = self.instants() else { return true };
        for fact in facts.filter(|fact| instants.contains(&fact.occurred_at)) {
            self.see(fact);
        }
        true
    }

    fn bitmaps(days: BTreeMap<Day, Bits>) -> ByDay {
        days.into_iter().map(|(day, members)| (day, Arc::new(members.to_bitmap()))).collect()
    }
}

fn after(at: UtcInstant) -> UtcInstant {
    UtcInstant::from_micros(at.as_micros().saturating_add(1))
}

impl DaySets {
    /// The same as of the instant of a cut, which had caught up with the views when the sets were taken out of them.
    #[must_use]
    pub fn cut(mut self, cut: Cut) -> Self {
        let open = cut.open();
        let absent = self.absent_by_matter(cut.closed);
        let (observed, estimated) = (Cut::bitmaps(cut.observed), Cut::bitmaps(cut.estimated));
        let ActivityBitmaps { observed: o, estimated: e, first, estimates_void_from } = &mut self.activity;
        let later = first.split_off(&open);
        // Whoever was first active on an open day: the first of them with activity up to the instant.
        let mut unseen = union(&later);
        for day in observed.keys().chain(estimated.keys()).collect::<std::collections::BTreeSet<_>>() {
            let active = [&observed, &estimated].into_iter().filter_map(|days| days.get(day));
            let active = active.fold(RoaringBitmap::new(), |all, members| all | &**members);
            let begun = &active & &unseen;
            unseen -= &begun;
            first.insert(*day, Arc::new(begun));
        }
        drop(estimates_void_from.split_off(&open));
        estimates_void_from.insert(open, Arc::new(union(&observed)));
        for (days, cut) in [(o, observed), (e, estimated)] {
            drop(days.split_off(&open));
            days.extend(cut);
        }
        let PresenceBitmaps { exists, deleted, restored, left_out, taken_in } = &mut self.presence;
        let later = exists.split_off(&open);
        exists.insert(open, Arc::new(union(&later) & cut.told_of.to_bitmap()));
        let matters =
            [(deleted, restored, cut.deletions, &absent[0]), (left_out, taken_in, cut.leavings, &absent[1])];
        for (began, ended, decisions, before) in matters {
            drop((began.split_off(&open), ended.split_off(&open)));
            let decided = |holds: bool| -> RoaringBitmap {
                let decided = decisions.iter().filter(|(_, decision)| decision.holds() == holds);
                decided.map(|(member, _)| member.get()).collect()
            };
            began.insert(open, Arc::new(decided(true) - before));
            ended.insert(open, Arc::new(decided(false) & before));
        }
        self
    }

    /// The members deleted and those left out by the end of a day.
    fn absent_by_matter(&self, day: Day) -> [RoaringBitmap; 2] {
        AbsentByEnd::default().by_matter(&self.presence, day, self.wanted.members.as_ref())
    }
}

fn union(days: &ByDay) -> RoaringBitmap {
    days.values().fold(RoaringBitmap::new(), |all, members| all | &**members)
}

//! The numbers as of an instant, without folding history again: membership from the records, which have the instants of
//! everything that changes it; activity from the bitmaps of the days that lie whole in the window, and from the events
//! of the day at either end.
//!
//! All of it is read piece by piece beside the fold. The pieces fit together unless an event was folded meanwhile that had
//! occurred by that instant: [`Views::reach_of`] tells.

use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{Fact, MemberOrdinal, Provenance, TenantOrdinal, UtcInstant};
use roaring::RoaringBitmap;

use crate::calendar::{Calendar, Day};
use crate::counts::Tally;
use crate::days::ByDay;
use crate::{Overall, Retracted, Scope, Summary, Views};

/// Members looked at under one hold of the views.
const STEP_MEMBERS: usize = 16_384;
/// Tenants looked at under one hold.
const STEP_TENANTS: usize = 256;
/// Persons looked at under one hold.
const STEP_PERSONS: usize = 4_096;

/// The numbers of a scope as of an instant, being counted.
#[derive(Debug)]
pub struct AsOf {
    at: UtcInstant,
    since: UtcInstant,
    retracted: Retracted,
    /// Of a tenant's scope.
    members: Option<RoaringBitmap>,
    /// Of the days that lie whole in the window.
    observed_days: Vec<Arc<RoaringBitmap>>,
    estimated_days: Vec<Arc<RoaringBitmap>>,
    /// Members with an estimate, by the day that closes with their first observation known, up to the last day that is over.
    observed_by: Vec<Arc<RoaringBitmap>>,
    /// Seen in the parts: within the window, and before it on the last day.
    seen: Seen,
    observed: RoaringBitmap,
    estimated: RoaringBitmap,
    alive: Bits,
    /// Observed or estimated, where persons are counted.
    active: Bits,
    deleted: RoaringBitmap,
    tally: Tally,
    /// Of the scope of all.
    overall: Option<Overall>,
    next: Next,
}

/// Members as they come, some of them often.
#[derive(Debug, Default)]
struct Seen {
    observed: Vec<u32>,
    estimated: Vec<u32>,
    observed_before: Vec<u32>,
}

/// A set of members, a bit each.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, member: u32) {
        let word = member as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (member % 64);
    }

    fn contains(&self, member: u32) -> bool {
        self.0.get(member as usize / 64).is_some_and(|word| word >> (member % 64) & 1 != 0)
    }
}

/// What is looked at next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Member(usize),
    Tenant(usize),
    Person(usize),
    Nothing,
}

impl AsOf {
    /// Begins to count at `at`, for the window that begins with `since`, inclusive.
    pub fn new(views: &Views, scope: Scope, (since, at): (UtcInstant, UtcInstant)) -> Self {
        let (members, days) = views.parts();
        let mut new = Self {
            at,
            since,
            retracted: views.retracted().clone(),
            members: members.set_of(scope),
            observed_days: Vec::new(),
            estimated_days: Vec::new(),
            observed_by: Vec::new(),
            seen: Seen::default(),
            observed: RoaringBitmap::new(),
            estimated: RoaringBitmap::new(),
            alive: Bits::default(),
            active: Bits::default(),
            deleted: RoaringBitmap::new(),
            tally: Tally::default(),
            overall: (scope == Scope::All).then(Overall::default),
            next: Next::Member(0),
        };
        let (whole, book) = (new.whole_days(), days.book());
        if !whole.is_empty() {
            new.observed_days = share(&book.observed, whole.clone());
            new.estimated_days = share(&book.estimated, whole);
        }
        let utc = Calendar::utc();
        let last = utc.date(at);
        let closed = if utc.end(last) == at { last } else { last.plus(-1) };
        new.observed_by = share(&book.first_observed, Day::new(i32::MIN)..=closed);
        new
    }

    /// The days of UTC that lie whole in the window.
    fn whole_days(&self) -> RangeInclusive<Day> {
        let utc = Calendar::utc();
        let (first, last) = (utc.date(self.since), utc.date(self.at));
        let first = if self.since == start(&utc, first) { first } else { first.plus(1) };
        let last = if self.at == utc.end(last) { last } else { last.plus(-1) };
        first..=last
    }

    /// The instants, both inclusive, whose activity has to be [seen](Self::see): the parts of days at the ends.
    pub fn parts(&self) -> Vec<RangeInclusive<UtcInstant>> {
        let utc = Calendar::utc();
        let (first, last) = (utc.date(self.since), utc.date(self.at));
        let mut parts = Vec::new();
        if self.since > start(&utc, first) && (first < last || self.at == utc.end(last)) {
            parts.push(self.since..=utc.end(first));
        }
        // All of the last day up to then: whoever was observed in it has no estimate that counts.
        if self.at < utc.end(last) {
            parts.push(start(&utc, last)..=self.at);
        }
        parts
    }

    /// Takes in activity of one of the parts.
    pub fn see(&mut self, fact: &Fact) {
        if self.retracted.has(fact) {
            return;
        }
        let (member, at) = (fact.member.member.get(), fact.occurred_at);
        let Some(provenance) = fact.event_type.activity().filter(|_| at <= self.at) else { return };
        match (provenance, at >= self.since) {
            (Provenance::Observed, true) => self.seen.observed.push(member),
            (Provenance::Observed, false) => self.seen.observed_before.push(member),
            (Provenance::Estimated, true) => self.seen.estimated.push(member),
            (Provenance::Estimated, false) => {}
        }
    }

    /// All parts were seen: puts together who was active. Needs no views.
    pub fn put_together(&mut self) {
        let Seen { observed, estimated, observed_before } = std::mem::take(&mut self.seen);
        self.observed = set_of(observed);
        self.estimated = set_of(estimated);
        for members in std::mem::take(&mut self.observed_days) {
            self.observed |= &*members;
        }
        for members in std::mem::take(&mut self.estimated_days) {
            self.estimated |= &*members;
        }
        // Mostly there is no estimate in the window, and then it does not matter who was observed by then.
        let observed_by = std::mem::take(&mut self.observed_by);
        if !self.estimated.is_empty() {
            self.estimated -= set_of(observed_before) | &self.observed;
            for members in observed_by {
                self.estimated -= &*members;
            }
        }
        if let Some(wanted) = &self.members {
            self.observed &= wanted;
            self.estimated &= wanted;
        }
    }

    /// Looks at some members, tenants or persons. `false`: that was all.
    pub fn step(&mut self, views: &Views) -> bool {
        self.next = match self.next {
            Next::Member(from) => match self.look_at_members(views, from) {
                Some(next) => Next::Member(next),
                None if self.overall.is_some() => Next::Tenant(0),
                None => Next::Nothing,
            },
            Next::Tenant(from) => match self.look_at_tenants(views, from) {
                Some(next) => Next::Tenant(next),
                None => Next::Person(0),
            },
            Next::Person(from) => match self.look_at_persons(views, from) {
                Some(next) => Next::Person(next),
                None => Next::Nothing,
            },
            Next::Nothing => return false,
        };
        true
    }

    /// The numbers.
    pub fn finish(self) -> Summary {
        Summary { overall: self.overall, ..self.summary() }
    }

    /// Those of the members, all of which were looked at.
    fn summary(&self) -> Summary {
        self.tally.summary((self.observed.len(), self.estimated.len()))
    }

    fn look_at_members(&mut self, views: &Views, from: usize) -> Option<usize> {
        let (members, _) = views.parts();
        let end = members.roster.slots();
        let last = end.min(from + STEP_MEMBERS);
        let mut look = |member: u32| {
            let Some(then) = members.roster.membership_at(MemberOrdinal::new(member), self.at) else {
                return;
            };
            self.tally.add(then);
            if then.deleted {
                self.deleted.insert(member);
            } else {
                self.alive.insert(member);
            }
        };
        let [first, behind] = [from, last].map(|slot| u32::try_from(slot).unwrap_or(u32::MAX));
        match &self.members {
            Some(wanted) => wanted.range(first..behind).for_each(&mut look),
            None => (first..behind).for_each(&mut look),
        }
        if last < end {
            return Some(last);
        }
        self.observed -= &self.deleted;
        self.estimated -= &self.deleted;
        if self.overall.is_some() {
            self.observed.iter().chain(&self.estimated).for_each(|member| self.active.insert(member));
        }
        None
    }

    fn look_at_tenants(&mut self, views: &Views, from: usize) -> Option<usize> {
        let (members, _) = views.parts();
        let overall = self.overall.as_mut()?;
        let last = members.tenants().min(from + STEP_TENANTS);
        for tenant in from..last {
            let tenant = TenantOrdinal::new(u32::try_from(tenant).unwrap_or(u32::MAX));
            let any =
                |of: &RoaringBitmap| members.ranges_of(tenant).any(|range| of.range(range).next().is_some());
            let alive = members.ranges_of(tenant).flatten().any(|member| self.alive.contains(member));
            overall.tenants += u64::from(alive);
            overall.active_tenants += u64::from(any(&self.observed) || any(&self.estimated));
        }
        (last < members.tenants()).then_some(last)
    }

    fn look_at_persons(&mut self, views: &Views, from: usize) -> Option<usize> {
        let (members, _) = views.parts();
        let Summary { total_users, active_users, .. } = self.summary();
        let overall = self.overall.as_mut()?;
        if from == 0 {
            overall.total_persons = total_users;
            overall.active_persons = active_users;
        }
        let last = members.persons.shared().min(from + STEP_PERSONS);
        let mut of_persons = vec![[0_u64; 2]; last - from];
        members.persons.each_of_shared(from..last, |person, member| {
            let [alive, active] = &mut of_persons[person];
            *alive += u64::from(self.alive.contains(member.get()));
            *active += u64::from(self.active.contains(member.get()));
        });
        for [alive, active] in of_persons {
            overall.total_persons -= alive.saturating_sub(1);
            overall.active_persons -= active.saturating_sub(1);
        }
        (last < members.persons.shared()).then_some(last)
    }
}

fn share(days: &ByDay, range: RangeInclusive<Day>) -> Vec<Arc<RoaringBitmap>> {
    days.range(range).map(|(_, members)| Arc::clone(members)).collect()
}

fn set_of(mut members: Vec<u32>) -> RoaringBitmap {
    members.sort_unstable();
    members.dedup();
    RoaringBitmap::from_sorted_iter(members).expect("they are sorted")
}

/// The first microsecond of a day.
fn start(utc: &Calendar, day: Day) -> UtcInstant {
    UtcInstant::from_micros(utc.end(day.plus(-1)).as_micros() + 1)
}

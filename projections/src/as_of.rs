//! The numbers as of an instant, without folding history again.
//!
//! Membership comes from the records, which have the instants of everything that changes it. Activity comes
//! from the bitmaps of the days that lie whole in the window, and from the events of the day at either end.
//! All of it is read piece by piece beside the fold, with a bounded number of members under one hold of the
//! views. The pieces fit together unless an event that had occurred by that instant was folded meanwhile:
//! [`Views::reach_of`] tells.

use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{Fact, MemberOrdinal, Provenance, TenantOrdinal, UtcInstant};
use roaring::RoaringBitmap;

use crate::activity::only_estimated;
use crate::bits::Bits;
use crate::calendar::{Calendar, Day};
use crate::days::ByDay;
use crate::members::Members;
use crate::persons::{PersonMembers, Walk};
use crate::tally::Tally;
use crate::{Overall, PersonNumbers, Retracted, Scope, Summary, Views};

/// Members looked at under one hold of the views.
const STEP_MEMBERS: usize = 16_384;
/// Persons that are walked side by side.
const STEP_PERSONS: usize = 4_096;

/// The numbers of a scope as of an instant, being counted.
#[derive(Debug)]
pub struct AsOf {
    at: UtcInstant,
    since: UtcInstant,
    retracted: Retracted,
    scope: Scope,
    /// The members of a tenant's scope.
    wanted: Option<RoaringBitmap>,
    days: WholeDays,
    seen: Seen,
    observed: RoaringBitmap,
    estimated: RoaringBitmap,
    alive: Bits,
    /// Observed or estimated; filled for the scope of all.
    active: Bits,
    deleted: RoaringBitmap,
    tally: Tally,
    overall: Overall,
    next: Next,
    step_members: usize,
}

/// Bitmaps of days, shared with the views.
#[derive(Debug, Default)]
struct WholeDays {
    /// Of the days that lie whole in the window.
    observed: Vec<Arc<RoaringBitmap>>,
    estimated: Vec<Arc<RoaringBitmap>>,
    /// Of all days that are over by then.
    estimates_void_from: Vec<Arc<RoaringBitmap>>,
}

/// Members with activity in the parts of days at the ends of the window.
#[derive(Debug, Default)]
struct Seen {
    observed: Bits,
    estimated: Bits,
    /// On the last day, before the window.
    observed_before: Bits,
}

/// The next thing to look at.
#[derive(Debug)]
enum Next {
    Members { first: usize },
    Tenants(TenantWalk),
    Persons(PersonWalks),
    Nothing,
}

/// A place among the members of all tenants.
#[derive(Debug, Default)]
struct TenantWalk {
    tenant: usize,
    /// Below this ordinal all of its members were looked at.
    first: u64,
    is_alive: bool,
    is_active: bool,
}

/// Persons that are being walked, and the first one after them.
#[derive(Debug, Default)]
struct PersonWalks {
    next: usize,
    walks: Vec<Walk>,
    found: Vec<Found>,
}

/// Members of one person.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    alive: u64,
    active: u64,
}

impl AsOf {
    /// Begins to count at the end of `window`, for the members last seen in it; both ends are inclusive.
    pub fn new(views: &Views, scope: Scope, window: RangeInclusive<UtcInstant>) -> Self {
        Self::in_steps_of(views, scope, window, STEP_MEMBERS)
    }

    /// [`AsOf::new`] for tests, with so many members a step.
    #[doc(hidden)]
    pub fn in_steps_of(
        views: &Views,
        scope: Scope,
        window: RangeInclusive<UtcInstant>,
        step_members: usize,
    ) -> Self {
        let (members, days) = views.parts();
        let (since, at) = window.into_inner();
        let mut new = Self {
            at,
            since,
            retracted: views.retracted().clone(),
            scope,
            wanted: members.set_of(scope),
            days: WholeDays::default(),
            seen: Seen::default(),
            observed: RoaringBitmap::new(),
            estimated: RoaringBitmap::new(),
            alive: Bits::default(),
            active: Bits::default(),
            deleted: RoaringBitmap::new(),
            tally: Tally::default(),
            overall: Overall::default(),
            next: Next::Members { first: 0 },
            step_members,
        };
        let (whole, bitmaps) = (new.whole_days(), days.bitmaps());
        if !whole.is_empty() {
            new.days.observed = share(&bitmaps.observed, whole.clone());
            new.days.estimated = share(&bitmaps.estimated, whole);
        }
        let utc = Calendar::utc();
        let last = utc.date(at);
        let closed = if utc.end(last) == at { last } else { last.plus(-1) };
        new.days.estimates_void_from = share(&bitmaps.estimates_void_from, Day::new(i32::MIN)..=closed);
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

    /// The instants, both inclusive, whose activity has to be [seen](Self::see): the parts of days at the
    /// ends.
    pub fn parts(&self) -> Vec<RangeInclusive<UtcInstant>> {
        let utc = Calendar::utc();
        let (first, last) = (utc.date(self.since), utc.date(self.at));
        let mut parts = Vec::new();
        if self.since > start(&utc, first) && (first < last || self.at == utc.end(last)) {
            parts.push(self.since..=utc.end(first));
        }
        // All of the last day up to then: a member observed in it has no estimate that counts.
        if self.at < utc.end(last) {
            parts.push(start(&utc, last)..=self.at);
        }
        parts
    }

    /// Folds activity of one of the parts in.
    pub fn see(&mut self, fact: &Fact) {
        if self.retracted.has(fact) {
            return;
        }
        let (member, at) = (fact.member.member.get(), fact.occurred_at);
        let Some(provenance) = fact.event_type.activity().filter(|_| at <= self.at) else { return };
        match (provenance, at >= self.since) {
            (Provenance::Observed, true) => self.seen.observed.insert(member),
            (Provenance::Observed, false) => self.seen.observed_before.insert(member),
            (Provenance::Estimated, true) => self.seen.estimated.insert(member),
            (Provenance::Estimated, false) => {}
        }
    }

    /// Puts the active members together, after all parts were seen. Needs no views.
    pub fn put_together(&mut self) {
        let Seen { observed, estimated, observed_before } = std::mem::take(&mut self.seen);
        let days = std::mem::take(&mut self.days);
        self.observed = observed.to_bitmap();
        self.estimated = estimated.to_bitmap();
        for members in days.observed {
            self.observed |= &*members;
        }
        for members in days.estimated {
            self.estimated |= &*members;
        }
        if let Some(wanted) = &self.wanted {
            self.observed &= wanted;
            self.estimated &= wanted;
        }
        // Mostly there is no estimate in the window, and then it does not matter who was observed by then.
        if !self.estimated.is_empty() {
            let mut observed = observed_before.to_bitmap() | &self.observed;
            for members in days.estimates_void_from {
                observed |= &*members;
            }
            // Deleted members go when all members were looked at.
            self.estimated = only_estimated(std::mem::take(&mut self.estimated), &self.deleted, || &observed);
        }
    }

    /// Looks at some members, tenants or persons. `false`: all were looked at.
    pub fn step(&mut self, views: &Views) -> bool {
        let (members, _) = views.parts();
        self.next = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Members { first } => match self.look_at_members(members, first) {
                Some(first) => Next::Members { first },
                None if self.scope == Scope::All => Next::Tenants(TenantWalk::default()),
                None => Next::Nothing,
            },
            Next::Tenants(walk) => match (self.look_at_tenants(members, walk), members.persons()) {
                (Some(walk), _) => Next::Tenants(walk),
                (None, Some(_)) => self.begin_persons(),
                (None, None) => Next::Nothing,
            },
            Next::Persons(walks) => match members.persons() {
                Some(persons) => self.look_at_persons(persons, walks).map_or(Next::Nothing, Next::Persons),
                None => Next::Nothing,
            },
            Next::Nothing => return false,
        };
        true
    }

    /// The numbers, after the last step.
    pub fn finish(self) -> Summary {
        let overall = (self.scope == Scope::All).then_some(self.overall);
        Summary { overall, ..self.summary() }
    }

    /// The numbers of the members, all of which were looked at.
    fn summary(&self) -> Summary {
        self.tally.summary(self.observed.len(), self.estimated.len())
    }

    /// Returns the first slot that is left; `None` if none is.
    fn look_at_members(&mut self, members: &Members, first: usize) -> Option<usize> {
        let end = members.roster.slots();
        let last = end.min(first + self.step_members);
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
        let [from, behind] = [first, last].map(|slot| u32::try_from(slot).unwrap_or(u32::MAX));
        match &self.wanted {
            Some(wanted) => wanted.range(from..behind).for_each(&mut look),
            None => (from..behind).for_each(&mut look),
        }
        if last < end {
            return Some(last);
        }
        self.observed -= &self.deleted;
        self.estimated -= &self.deleted;
        if self.scope == Scope::All {
            self.observed.iter().chain(&self.estimated).for_each(|member| self.active.insert(member));
        }
        None
    }

    /// Returns the place that was reached; `None` if it is the end.
    fn look_at_tenants(&mut self, members: &Members, mut walk: TenantWalk) -> Option<TenantWalk> {
        let mut left = self.step_members;
        while walk.tenant < members.tenants() {
            let tenant = TenantOrdinal::new(u32::try_from(walk.tenant).unwrap_or(u32::MAX));
            let rest = move |first: u64| {
                u32::try_from(first).into_iter().flat_map(move |first| members.ranges_from(tenant, first))
            };
            for range in rest(walk.first) {
                if left == 0 {
                    return Some(walk);
                }
                let most = u32::try_from(left).unwrap_or(u32::MAX);
                let range = *range.start()..=(*range.end()).min(range.start().saturating_add(most - 1));
                walk.is_alive = walk.is_alive || self.alive.contains_any(&range);
                walk.is_active = walk.is_active || self.active.contains_any(&range);
                left = left.saturating_sub((range.end() - range.start()) as usize + 1);
                walk.first = u64::from(*range.end()) + 1;
                if walk.is_active {
                    break;
                }
            }
            if !walk.is_active && rest(walk.first).next().is_some() {
                // The step ended within a range.
                return Some(walk);
            }
            self.overall.tenants += u64::from(walk.is_alive);
            self.overall.active_tenants += u64::from(walk.is_active);
            walk = TenantWalk { tenant: walk.tenant + 1, ..TenantWalk::default() };
            // A tenant costs a step, too, also one without members.
            left = left.saturating_sub(1);
            if left == 0 {
                return Some(walk);
            }
        }
        None
    }

    /// Begins with each member as a person of its own.
    fn begin_persons(&mut self) -> Next {
        let Summary { total_users, active_users, .. } = self.summary();
        self.overall.persons =
            Some(PersonNumbers { total_persons: total_users, active_persons: active_users });
        Next::Persons(PersonWalks::default())
    }

    /// Takes the members of shared persons beyond the first off. Returns the place that was reached; `None`
    /// if it is the end.
    fn look_at_persons(&mut self, persons: &PersonMembers, mut walks: PersonWalks) -> Option<PersonWalks> {
        let numbers = self.overall.persons.get_or_insert_default();
        let mut left = self.step_members;
        while left > 0 {
            if walks.walks.is_empty() {
                for found in walks.found.drain(..) {
                    numbers.total_persons -= found.alive.saturating_sub(1);
                    numbers.active_persons -= found.active.saturating_sub(1);
                }
                let which = walks.next..persons.shared().len().min(walks.next + STEP_PERSONS);
                if which.is_empty() {
                    return None;
                }
                walks.next = which.end;
                walks.found.resize(which.len(), Found::default());
                walks.walks = persons.walks(which);
            }
            left = left.saturating_sub(walks.walks.len());
            persons.advance(&mut walks.walks, |number, member| {
                let found = &mut walks.found[number];
                found.alive += u64::from(self.alive.contains(member.get()));
                found.active += u64::from(self.active.contains(member.get()));
            });
        }
        Some(walks)
    }
}

fn share(days: &ByDay, range: RangeInclusive<Day>) -> Vec<Arc<RoaringBitmap>> {
    days.range(range).map(|(_, members)| Arc::clone(members)).collect()
}

/// The first microsecond of a day.
fn start(utc: &Calendar, day: Day) -> UtcInstant {
    UtcInstant::from_micros(utc.end(day.plus(-1)).as_micros() + 1)
}

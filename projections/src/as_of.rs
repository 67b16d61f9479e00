//! The numbers as of an instant, without folding history again.
//!
//! Membership comes from the records, which have the instants of everything that changes it. Activity comes
//! from the bitmaps of the days that lie whole in the window, and from the events of the day at either end.
//! All of it is read piece by piece beside the fold, with a bounded number of members under one hold of the
//! views. Facts that are folded meanwhile are folded in here as well: nothing is begun again.
//!
//! 1. [`AsOf::see`] takes the events of the [`AsOf::parts`] of days, [`AsOf::put_together`] ends them;
//! 2. [`AsOf::look`] looks at the members, some under each hold, until it has looked at all: at the position of
//!    that hold the numbers are exact, and several counts that end under one hold are of one position;
//! 3. [`AsOf::freeze`] ends that, and [`AsOf::look_at_scopes`] counts tenants and persons.

use std::ops::RangeInclusive;

use lastseen_event::{Fact, MemberOrdinal, Provenance, TenantOrdinal, UtcInstant};
use roaring::RoaringBitmap;

use crate::activity::only_estimated;
use crate::bits::Bits;
use crate::calendar::{Calendar, Day};
use crate::counts::SeenFrom;
use crate::days::ByDay;
use crate::members::Members;
use crate::persons::{PersonMembers, Walk};
use crate::recent::Mark;
use crate::roster::Membership;
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
    everyone: bool,
    /// The members of a tenant's scope.
    wanted: Option<RoaringBitmap>,
    days: WholeDays,
    seen: Seen,
    observed: RoaringBitmap,
    /// Only estimated.
    estimated: RoaringBitmap,
    /// Observed on the last day, before the window or in it.
    observed_on_last_day: RoaringBitmap,
    /// Members with an estimate in the window, whatever else: by parts of days.
    estimated_parts: Vec<(RangeInclusive<UtcInstant>, RoaringBitmap)>,
    members: LookedAt,
    /// The facts up to here are folded in.
    mark: Mark,
    next_member: usize,
    step_members: usize,
    overall: Overall,
    next: Next,
}

/// Bitmaps of days, shared with the views.
#[derive(Debug, Default)]
struct WholeDays {
    /// Of the days that lie whole in the window.
    observed: ByDay,
    estimated: ByDay,
    /// Of all days that are over by then.
    estimates_void_from: ByDay,
}

/// Members with activity in the parts of days at the ends of the window.
#[derive(Debug, Default)]
struct Seen {
    observed: Bits,
    estimated_on_first_day: Bits,
    estimated_on_last_day: Bits,
    /// On the last day, before the window or in it.
    observed_on_last_day: Bits,
}

/// Of each member that was looked at what it is at the instant: a byte.
#[derive(Debug, Default)]
struct LookedAt(Vec<u8>);

const EXISTS: u8 = 1 << 0;
const CONFIRMED: u8 = 1 << 1;
const SEEN: u8 = 1 << 2;
const DELETED: u8 = 1 << 3;
const LEFT_OUT: u8 = 1 << 4;
const ACTIVE: u8 = 1 << 5;

/// Facts that the count lacks are not at hand any more. Those of the log after the position of the views that were looked
/// at last, and up to that of these views, have to be read and [followed](AsOf::follow).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind;

/// The next thing to look at.
#[derive(Debug)]
enum Next {
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
    is_present: bool,
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
    present: u64,
    active: u64,
}

impl LookedAt {
    fn get(&self, member: u32) -> u8 {
        self.0.get(member as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, member: u32, is: Option<Membership>) {
        let flags = is.map_or(0, |is| {
            let flag = |is: bool, flag: u8| if is { flag } else { 0 };
            EXISTS
                | flag(is.confirmed, CONFIRMED)
                | flag(is.seen, SEEN)
                | flag(is.deleted, DELETED)
                | flag(is.left_out, LEFT_OUT)
        });
        let at = member as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        self.0[at] = flags;
    }

    fn mark_active(&mut self, member: u32) {
        if let Some(flags) = self.0.get_mut(member as usize) {
            *flags |= ACTIVE;
        }
    }

    fn is_present(flags: u8) -> bool {
        flags & (EXISTS | DELETED | LEFT_OUT) == EXISTS
    }

    /// The members that exist and are absent.
    fn absent(&self) -> RoaringBitmap {
        let absent = |flags: u8| flags & EXISTS != 0 && !Self::is_present(flags);
        let members = (0..).zip(&self.0).filter(|(_, flags)| absent(**flags)).map(|(member, _)| member);
        RoaringBitmap::from_sorted_iter(members).expect("they come in order")
    }

    fn tally(&self) -> Tally {
        let mut counts = [0_u64; 32];
        for flags in &self.0 {
            counts[usize::from(flags & 31)] += 1;
        }
        let mut tally = Tally::default();
        for (flags, count) in (0_u8..).zip(counts).filter(|(flags, _)| flags & EXISTS != 0) {
            tally.add_many(membership_of(flags), count);
        }
        tally
    }

    fn any(&self, members: &RangeInclusive<u32>) -> (bool, bool) {
        let (first, last) = (*members.start() as usize, *members.end() as usize);
        let of = &self.0[first.min(self.0.len())..(last + 1).min(self.0.len())];
        let is_active = |flags: &u8| flags & ACTIVE != 0;
        // In groups without an early exit: each is compared at once.
        let present = of.chunks(64).any(|group| {
            group.iter().map(|flags| u8::from(Self::is_present(*flags))).fold(0, |any, is| any | is) != 0
        });
        (present, of.iter().any(is_active))
    }
}

fn membership_of(flags: u8) -> Membership {
    Membership {
        deleted: flags & DELETED != 0,
        left_out: flags & LEFT_OUT != 0,
        confirmed: flags & CONFIRMED != 0,
        seen: flags & SEEN != 0,
    }
}

impl AsOf {
    /// Begins to count at the end of `window`, for the members last seen in it; both ends are inclusive. With
    /// `everyone`, nobody is left out.
    pub fn new(views: &Views, scope: Scope, everyone: bool, window: RangeInclusive<UtcInstant>) -> Self {
        let mut new = Self {
            at: *window.end(),
            since: *window.start(),
            retracted: views.retracted().clone(),
            scope,
            everyone,
            wanted: views.members().set_of(scope),
            days: WholeDays::default(),
            seen: Seen::default(),
            observed: RoaringBitmap::new(),
            estimated: RoaringBitmap::new(),
            observed_on_last_day: RoaringBitmap::new(),
            estimated_parts: Vec::new(),
            members: LookedAt(Vec::with_capacity(views.members().roster.slots())),
            mark: views.mark(),
            next_member: 0,
            step_members: STEP_MEMBERS,
            overall: Overall::default(),
            next: Next::Nothing,
        };
        let activity = views.utc().0;
        let whole = new.whole_days();
        if !whole.is_empty() {
            new.days.observed = activity.observed_on(whole.clone());
            new.days.estimated = activity.estimated_on(whole);
        }
        new.days.estimates_void_from = activity.estimates_void_by(new.closed_day());
        new
    }

    /// For tests: so many members a step.
    #[doc(hidden)]
    #[must_use]
    pub fn in_steps_of(self, step_members: usize) -> Self {
        Self { step_members, ..self }
    }

    /// The last day that is over by the instant.
    fn closed_day(&self) -> Day {
        let utc = Calendar::utc();
        let last = utc.date(self.at);
        if utc.end(last) == self.at { last } else { last.plus(-1) }
    }

    /// The days of UTC that lie whole in the window.
    fn whole_days(&self) -> RangeInclusive<Day> {
        let utc = Calendar::utc();
        let first = utc.date(self.since);
        let first = if self.since == utc.start(first) { first } else { first.plus(1) };
        first..=self.closed_day()
    }

    /// The instants, both inclusive, whose activity has to be [seen](Self::see): the parts of days at the
    /// ends.
    pub fn parts(&self) -> Vec<RangeInclusive<UtcInstant>> {
        self.first_part().into_iter().chain(self.last_part()).collect()
    }

    fn first_part(&self) -> Option<RangeInclusive<UtcInstant>> {
        let utc = Calendar::utc();
        let (first, last) = (utc.date(self.since), utc.date(self.at));
        let is_cut = self.since > utc.start(first) && (first < last || self.at == utc.end(last));
        is_cut.then(|| self.since..=utc.end(first))
    }

    /// All of the last day up to then: a member observed in it has no estimate that counts.
    fn last_part(&self) -> Option<RangeInclusive<UtcInstant>> {
        let utc = Calendar::utc();
        let last = utc.date(self.at);
        (self.at < utc.end(last)).then(|| utc.start(last)..=self.at)
    }

    /// The activity of a fact that counts by then.
    fn activity_of(&self, fact: &Fact) -> Option<Provenance> {
        let is_known = fact.occurred_at <= self.at && !self.retracted.has(fact);
        fact.event_type.activity().filter(|_| is_known)
    }

    /// Folds activity of one of the parts in.
    pub fn see(&mut self, fact: &Fact) {
        let Some(provenance) = self.activity_of(fact) else { return };
        let (member, at) = (fact.member.member.get(), fact.occurred_at);
        let is_on_last_day = self.last_part().is_some_and(|part| part.contains(&at));
        if provenance == Provenance::Observed && is_on_last_day {
            self.seen.observed_on_last_day.insert(member);
        }
        if at >= self.since {
            let seen = match provenance {
                Provenance::Observed => &mut self.seen.observed,
                Provenance::Estimated if is_on_last_day => &mut self.seen.estimated_on_last_day,
                Provenance::Estimated => &mut self.seen.estimated_on_first_day,
            };
            seen.insert(member);
        }
    }

    /// Puts the active members together, after all parts were seen. Needs no views.
    pub fn put_together(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        self.observed = seen.observed.to_bitmap();
        self.observed_on_last_day = seen.observed_on_last_day.to_bitmap();
        for members in self.days.observed.values() {
            self.observed |= &**members;
        }
        let on_first_day = (self.first_part(), seen.estimated_on_first_day);
        for (part, members) in [on_first_day, (self.last_part(), seen.estimated_on_last_day)] {
            self.estimated_parts.extend(part.map(|part| (part, members.to_bitmap())));
        }
        for (_, members) in &self.estimated_parts {
            self.estimated |= members;
        }
        for members in self.days.estimated.values() {
            self.estimated |= &**members;
        }
        if let Some(wanted) = &self.wanted {
            self.observed &= wanted;
            self.estimated &= wanted;
        }
        // Mostly there is no estimate in the window, and then it does not matter who was observed by then.
        if !self.estimated.is_empty() {
            let mut observed = &self.observed_on_last_day | &self.observed;
            for members in self.days.estimates_void_from.values() {
                observed |= &**members;
            }
            // Absent members go when all members were looked at.
            let none = RoaringBitmap::new();
            self.estimated = only_estimated(std::mem::take(&mut self.estimated), &none, || &observed);
        }
    }

    /// Folds in what the views folded since, and looks at some more members. `false`: all were looked at, and the
    /// numbers are exact at the views' position.
    ///
    /// # Errors
    /// [`Behind`]; nothing was looked at.
    pub fn look(&mut self, views: &Views) -> Result<bool, Behind> {
        let since = views.facts_since(std::mem::replace(&mut self.mark, views.mark())).ok_or(Behind)?;
        for fact in since {
            self.fold_in(views, fact);
        }
        let roster = &views.members().roster;
        let (first, end) = (self.next_member, roster.slots());
        let last = end.min(first + self.step_members);
        let [from, behind] = [first, last].map(|slot| u32::try_from(slot).unwrap_or(u32::MAX));
        let wanted = self.wanted.take();
        match &wanted {
            Some(wanted) => wanted.range(from..behind).for_each(|member| self.look_at(views, member)),
            None => (from..behind).for_each(|member| self.look_at(views, member)),
        }
        self.wanted = wanted;
        self.next_member = last;
        Ok(last < end)
    }

    /// Folds facts of the log in after [`Behind`]. The views hold them.
    pub fn follow(&mut self, views: &Views, facts: &[Fact]) {
        for fact in facts {
            self.fold_in(views, fact);
        }
    }

    /// Folds in a fact that the views hold. Some facts may come again.
    fn fold_in(&mut self, views: &Views, fact: &Fact) {
        if fact.occurred_at > self.at || self.retracted.has(fact) {
            return;
        }
        let member = fact.member.member;
        match self.scope {
            Scope::Tenant(tenant) if tenant != fact.member.tenant => return,
            Scope::Tenant(_) => {
                // A member may be new.
                self.wanted.get_or_insert_default().insert(member.get());
            }
            Scope::All => {}
        }
        let is_on_last_day = self.last_part().is_some_and(|part| part.contains(&fact.occurred_at));
        match (fact.event_type.activity(), fact.occurred_at >= self.since) {
            (Some(Provenance::Observed), is_in_window) => {
                self.estimated.remove(member.get());
                if is_in_window {
                    self.observed.insert(member.get());
                }
                if is_on_last_day {
                    self.observed_on_last_day.insert(member.get());
                }
            }
            (Some(Provenance::Estimated), true) => {
                let was_observed = self.observed.contains(member.get())
                    || self.observed_on_last_day.contains(member.get())
                    || views.utc().0.are_estimates_void_by(member, self.closed_day());
                if !was_observed {
                    self.estimated.insert(member.get());
                }
                let at = fact.occurred_at;
                self.estimated_parts.push((at..=at, RoaringBitmap::from_iter([member.get()])));
            }
            (Some(Provenance::Estimated), false) | (None, _) => {}
        }
        if member.index() < self.next_member {
            self.look_at(views, member.get());
        }
    }

    fn look_at(&mut self, views: &Views, member: u32) {
        let is = views.members().roster.membership_at(MemberOrdinal::new(member), self.at);
        let is = is.map(|is| Membership { left_out: is.left_out && !self.everyone, ..is });
        self.members.set(member, is);
    }

    /// Ends the look at the members: facts that come later are not in the numbers. Takes a moment, and no views.
    pub fn freeze(&mut self) {
        let absent = self.members.absent();
        self.observed -= &absent;
        self.estimated -= &absent;
        if self.scope == Scope::All {
            for member in self.observed.iter().chain(&self.estimated) {
                self.members.mark_active(member);
            }
            self.next = Next::Tenants(TenantWalk::default());
        }
    }

    /// Looks at some tenants or persons. `false`: all were looked at.
    pub fn look_at_scopes(&mut self, views: &Views) -> bool {
        let members = views.members();
        self.next = match std::mem::replace(&mut self.next, Next::Nothing) {
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

    /// The instants, both inclusive, among whose estimates the latest one that counts is; `None`: none counts. Of the
    /// members in [`AsOf::only_estimated`].
    pub fn latest_estimates(&self) -> Option<RangeInclusive<UtcInstant>> {
        let utc = Calendar::utc();
        let counts = |members: &RoaringBitmap| !members.is_disjoint(&self.estimated);
        let days = self.days.estimated.iter().rev().find(|(_, members)| counts(members));
        let day = days.map(|(day, _)| utc.start(*day)..=utc.end(*day).min(self.at));
        let parts = self.estimated_parts.iter().filter(|(_, members)| counts(members));
        let part = parts.map(|(part, _)| part.clone());
        part.chain(day).max_by_key(|part| *part.end())
    }

    /// The numbers of one tenant, after all members were looked at.
    pub fn tenant(&self, views: &Views, tenant: TenantOrdinal) -> Summary {
        let mut tally = Tally::default();
        let mut active = SeenFrom::default();
        for range in views.members().ranges_of(tenant) {
            let (first, last) = (*range.start() as usize, *range.end() as usize);
            let looked = self.members.0.get(first..self.members.0.len().min(last + 1)).unwrap_or_default();
            for flags in looked {
                tally.add_many(membership_of(*flags), u64::from(flags & EXISTS != 0));
            }
            active.observed += self.observed.range_cardinality(range.clone());
            active.estimated += self.estimated.range_cardinality(range);
        }
        tally.summary(active)
    }

    /// The members that an observation makes active.
    pub fn observed(&self) -> &RoaringBitmap {
        &self.observed
    }

    /// The members that only an estimate makes active.
    pub fn only_estimated(&self) -> &RoaringBitmap {
        &self.estimated
    }

    /// The numbers, after the last step. `last_estimate_at` is the latest of the estimates that count.
    pub fn finish(self, last_estimate_at: Option<UtcInstant>) -> Summary {
        let overall = (self.scope == Scope::All).then_some(self.overall);
        Summary { last_estimate_at, overall, ..self.summary() }
    }

    /// The numbers of the members, all of which were looked at.
    fn summary(&self) -> Summary {
        let (observed, estimated) = (self.observed.len(), self.estimated.len());
        self.members.tally().summary(SeenFrom { observed, estimated, last_estimate_at: None })
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
                let (is_present, is_active) = self.members.any(&range);
                walk.is_present = walk.is_present || is_present;
                walk.is_active = walk.is_active || is_active;
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
            self.overall.tenants += u64::from(walk.is_present);
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
                    numbers.total_persons -= found.present.saturating_sub(1);
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
                let (found, flags) = (&mut walks.found[number], self.members.get(member.get()));
                found.present += u64::from(LookedAt::is_present(flags));
                found.active += u64::from(flags & ACTIVE != 0);
            });
        }
        Some(walks)
    }
}

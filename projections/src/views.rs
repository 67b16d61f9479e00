//! The live views, which follow every fact, and the builder, which folds a part of history in bulk.
//!
//! The server holds live views under a lock; scans, restarts and rebuilds build theirs. Both fold with the
//! same members and days, and only the counts are made in two ways.

use std::hint::black_box;
use std::ops::RangeInclusive;

use lastseen_event::{Fact, MemberOrdinal, Position, TenantOrdinal, UtcInstant};

use crate::counts::{Counts, PassLimits};
use crate::days::{Days, MONTH_DAYS};
use crate::members::Members;
use crate::recent::Recent;
use crate::roster::{Change, Roster};
use crate::{
    Before, Calendar, Day, DaySets, MemberState, Period, Persons, Retracted, Scope, Selection, Summary,
    TypeSet,
};

/// Facts whose memory is read at once.
const GROUP: usize = 64;

/// The members with their last seen, and the counts of them. The same facts give the same answers, in any
/// order and any number of times.
#[derive(Debug)]
pub struct Views {
    members: Members,
    counts: Counts,
    days: Days,
    recent: Recent,
    selection: Selection,
    retracted: Retracted,
    position: Position,
}

impl Views {
    /// Views of no fact.
    pub fn new(persons: Persons) -> Self {
        Self::with_pass_limits(persons, PassLimits::default())
    }

    /// [`Views::new`] for tests, with other sizes up to which something is counted by a pass.
    #[doc(hidden)]
    pub fn with_pass_limits(persons: Persons, limits: PassLimits) -> Self {
        let builder = ViewsBuilder::new(Selection::default(), Retracted::default(), persons);
        builder.finish_with_pass_limits(limits)
    }

    /// Folds one fact in. Views that were built from a selection stay views of that selection.
    ///
    /// # Panics
    /// If a position is 2^56 or greater: no store gets there.
    pub fn apply(&mut self, fact: &Fact) {
        self.recent.push(fact.position, fact.occurred_at);
        self.fold(fact);
    }

    fn fold(&mut self, fact: &Fact) {
        if !self.selection.keeps(fact) {
            return;
        }
        self.position = self.position.max(fact.position);
        if self.retracted.has(fact) {
            return;
        }
        let change = self.members.fold(fact, self.selection.counted());
        self.counts.follow(&self.members, fact.member, &change);
        follow(&mut self.days, &self.members.roster, fact, &change, self.selection.counted());
    }

    /// Folds facts in, as [`Views::apply`] with each; faster where there are more members than the
    /// processor's caches hold.
    ///
    /// # Panics
    /// If a position is 2^56 or greater: no store gets there.
    pub fn apply_all(&mut self, facts: &[Fact]) {
        for group in facts.chunks(GROUP) {
            self.touch(group);
            for fact in group {
                self.fold(fact);
            }
            let least = group.iter().map(|fact| fact.occurred_at).min();
            let position = group.iter().map(|fact| fact.position).max();
            if let (Some(position), Some(least)) = (position, least) {
                self.recent.push(position, least);
            }
        }
    }

    /// Reads what folding these few facts needs into the processor's caches. Members of one group are in no relation, so
    /// reading what each needs, first the records, then what the records lead to, waits for memory once for many of them;
    /// folding one after the other waits each time.
    pub fn touch(&self, facts: &[Fact]) {
        self.members.roster.touch(facts);
        let standing = |fact: &Fact| self.members.roster.standing(fact.member.member);
        let touch = |fact| Some(self.counts.touch(fact, &standing(fact)?));
        black_box(facts.iter().filter_map(touch).fold(0, u64::wrapping_add));
    }

    /// Notes that nothing up to a position is left to be folded in.
    pub fn reach(&mut self, position: Position) {
        self.position = self.position.max(position);
    }

    /// The batches that are left out.
    pub fn retracted(&self) -> &Retracted {
        &self.retracted
    }

    /// The meaning of one user id in several tenants.
    pub fn persons(&self) -> Persons {
        if self.members.persons().is_some() { Persons::UserId } else { Persons::Off }
    }

    /// The parts that a snapshot is taken of.
    pub(crate) fn parts(&self) -> (&Members, &Days) {
        (&self.members, &self.days)
    }

    /// The greatest position folded in or left out; [`Position::START`] when there is none.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns a position after which no fact was folded that had occurred by `at`. Of facts folded long ago
    /// less is known, and it is later than it need be.
    pub fn reach_of(&self, at: UtcInstant) -> Position {
        self.recent.reach_of(at)
    }

    /// Number of tenant ordinals in use, those without a member included.
    pub fn tenants(&self) -> usize {
        self.members.tenants()
    }

    /// True if the tenant has a member, deleted ones included.
    pub fn knows_tenant(&self, tenant: TenantOrdinal) -> bool {
        self.members.knows_tenant(tenant)
    }

    /// The numbers of a scope; zeros for a tenant that is not known. `since` is the lower edge of the window,
    /// inclusive; there is no upper edge.
    pub fn summary(&self, scope: Scope, since: UtcInstant) -> Summary {
        self.counts.summary(&self.members, scope, since)
    }

    /// Takes out everything that rows for these days of UTC need, to be counted without the views. Nothing
    /// for a tenant that is not known.
    pub fn days(&self, scope: Scope, days: RangeInclusive<Day>) -> DaySets {
        self.days.sets(days, self.members.set_of(scope))
    }

    /// Returns the last position that changed the [`SeriesRow`](crate::SeriesRow) of a day: a row counted at
    /// this position or later holds.
    pub fn day_changed_at(&self, day: Day) -> Position {
        self.days.changed_at(day.plus(1 - MONTH_DAYS)..=day)
    }

    /// Returns the last position that changed the [`SeriesRow`](crate::SeriesRow) of a period longer than a
    /// day, which looks back one period.
    pub fn period_changed_at(&self, period: Period, days: &RangeInclusive<Day>) -> Position {
        let before = period.around(days.start().plus(-1));
        self.days.changed_at(*before.start()..=*days.end())
    }

    /// Returns the last position that changed the days [before](Before) a day.
    pub fn before_changed_at(&self, before: &Before) -> Position {
        self.days.changed_at(before.days())
    }

    /// Returns a position after which no activity, deletion or restoration was folded that had occurred by
    /// `at`. Rows of days that end by then hold from it on, whichever events count and in any zone.
    pub fn activity_changed_by(&self, at: UtcInstant) -> Position {
        self.days.activity_changed_by(Calendar::utc().date(at)).min(self.recent.reach_of(at))
    }

    /// The state of one member. `None`: no fact is about it.
    pub fn member(&self, member: MemberOrdinal) -> Option<MemberState> {
        self.members.roster.member(member)
    }

    /// First to last ordinal of each run of a tenant's members, ascending.
    pub fn runs_of(&self, tenant: TenantOrdinal) -> impl Iterator<Item = RangeInclusive<MemberOrdinal>> {
        let runs = self.members.ranges_of(tenant);
        runs.map(|run| MemberOrdinal::new(*run.start())..=MemberOrdinal::new(*run.end()))
    }

    /// The members of a tenant, deleted ones included, ascending by ordinal. Reads only that tenant's part of
    /// memory.
    pub fn members_of(&self, tenant: TenantOrdinal) -> impl Iterator<Item = (MemberOrdinal, MemberState)> {
        self.members.ordinals_of(tenant).filter_map(|member| Some((member, self.member(member)?)))
    }
}

impl Default for Views {
    fn default() -> Self {
        Self::new(Persons::default())
    }
}

/// Folds a part of history into fresh views: nothing is counted until the end, so each fact costs less.
#[derive(Debug)]
pub struct ViewsBuilder {
    selection: Selection,
    members: Members,
    days: Days,
    retracted: Retracted,
    position: Position,
}

impl ViewsBuilder {
    /// A builder that folds the events that `selection` chooses, without those of retracted batches.
    pub fn new(selection: Selection, retracted: Retracted, persons: Persons) -> Self {
        let members = Members::new(persons);
        Self { selection, retracted, members, days: Days::utc(), position: Position::START }
    }

    /// A builder that goes on from the facts folded up to a position.
    pub(crate) fn from_parts(members: Members, days: Days, retracted: Retracted, position: Position) -> Self {
        Self { selection: Selection::default(), retracted, members, days, position }
    }

    /// Folds one fact in, unless it is out of the selection's bounds.
    ///
    /// # Panics
    /// If a position is 2^56 or greater: no store gets there.
    pub fn apply(&mut self, fact: &Fact) {
        if !self.selection.keeps(fact) {
            return;
        }
        self.position = self.position.max(fact.position);
        if !self.retracted.has(fact) {
            let change = self.members.fold(fact, self.selection.counted());
            follow(&mut self.days, &self.members.roster, fact, &change, self.selection.counted());
        }
    }

    /// Folds facts in, as [`ViewsBuilder::apply`] with each; faster where there are more members than the
    /// processor's caches hold.
    ///
    /// # Panics
    /// If a position is 2^56 or greater: no store gets there.
    pub fn apply_all(&mut self, facts: &[Fact]) {
        for group in facts.chunks(GROUP) {
            self.members.roster.touch(group);
            for fact in group {
                self.apply(fact);
            }
        }
    }

    /// Counts the members and returns the views.
    pub fn finish(self) -> Views {
        self.finish_with_pass_limits(PassLimits::default())
    }

    /// [`ViewsBuilder::finish`] for [`Views::with_pass_limits`].
    #[doc(hidden)]
    pub fn finish_with_pass_limits(self, limits: PassLimits) -> Views {
        Views {
            counts: Counts::of(&self.members, limits),
            days: self.days,
            recent: Recent::after(self.position),
            selection: self.selection,
            retracted: self.retracted,
            members: self.members,
            position: self.position,
        }
    }
}

/// Lets the days follow a fact that the roster has folded.
fn follow(days: &mut Days, roster: &Roster, fact: &Fact, change: &Change, counted: TypeSet) {
    if let Some(provenance) = fact.event_type.activity().filter(|_| counted.contains(fact.event_type)) {
        days.see(fact, provenance, change);
    } else if let Some(decision) = change.decision {
        days.decide(fact, decision, roster.decisions());
    }
}

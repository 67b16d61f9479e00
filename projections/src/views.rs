//! The live views, which follow every fact, and the builder, which folds a part of history in bulk.
//!
//! The server holds live views under a lock; scans, restarts and rebuilds build theirs. Both fold with the
//! same members and days, and only the counts are made in two ways.

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono_tz::Tz;
use lastseen_event::{Fact, MemberOrdinal, PersonOrdinal, Position, TenantOrdinal, UtcInstant};

use roaring::RoaringBitmap;

use crate::counts::{Counts, PassLimits};
use crate::days::{ActivityDays, PresenceDays, Reach};
use crate::members::Members;
use crate::recent::{Mark, Recent};
use crate::roster::Roster;
use crate::{
    Before, Calendar, Day, DaySets, Definition, Following, MemberState, Periods, Persons, Retracted, Scope,
    Selection, Summary, Traffic, TypeSet, Wanted,
};

/// Facts whose memory is read at once.
const GROUP: usize = 64;

/// The members with their last seen, and the counts of them. The same facts give the same answers, in any
/// order and any number of times.
#[derive(Debug)]
pub struct Views {
    members: Members,
    counts: Counts,
    /// Those of UTC, on which anything counts, are the first.
    activity: Vec<(Definition, ActivityDays)>,
    /// The first is that of UTC.
    presence: Vec<(Tz, PresenceDays)>,
    /// The first is that of UTC.
    traffic: Vec<(Tz, Traffic)>,
    recent: Recent,
    selection: Selection,
    retracted: Retracted,
    position: Position,
}

/// Days that can be followed besides those of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The active members of a definition.
    Activity(Definition),
    /// The events of a zone.
    Traffic(Tz),
}

/// The days of a subject that is followed no longer.
#[derive(Debug, Default)]
pub struct Unfollowed {
    _activity: Option<ActivityDays>,
    _presence: Option<PresenceDays>,
    _traffic: Option<Traffic>,
}

/// Rows that are asked for.
#[derive(Clone, Debug)]
pub struct DaysAsked {
    /// The members.
    pub scope: Scope,
    /// True if nobody is left out.
    pub everyone: bool,
    /// True if rows count persons.
    pub of_persons: bool,
    /// The activity and its dates.
    pub definition: Definition,
    /// The periods of the rows.
    pub periods: Periods,
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
    /// If a position is 2^55 or greater: no store gets there.
    pub fn apply(&mut self, fact: &Fact) {
        self.recent.push(fact.position, fact.occurred_at);
        self.fold(fact);
    }

    fn fold(&mut self, fact: &Fact) {
        if !self.selection.keeps(fact) {
            return;
        }
        // Counting is no join: a fact that comes again is not counted again.
        let is_new = fact.position > self.position;
        self.position = self.position.max(fact.position);
        if self.retracted.has(fact) {
            return;
        }
        for (_, traffic) in self.traffic.iter_mut().filter(|_| is_new) {
            traffic.count(fact);
        }
        self.recent.keep(fact);
        let change = self.members.fold(fact, &self.selection);
        self.counts.follow(&self.members, fact.member, &change);
        for (_, days) in &mut self.presence {
            days.follow(fact, &change, &self.members.roster);
        }
        for (_, days) in &mut self.activity {
            days.follow(fact, change.first_seen_before);
        }
    }

    /// Folds facts in, as [`Views::apply`] with each; faster where there are more members than the
    /// processor's caches hold.
    ///
    /// # Panics
    /// If a position is 2^55 or greater: no store gets there.
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

    /// The members, for whoever counts or copies them piece by piece.
    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.members.roster
    }

    /// The days of UTC on which anything counts.
    pub(crate) fn utc(&self) -> (&ActivityDays, &PresenceDays) {
        (&self.activity[0].1, &self.presence[0].1)
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

    /// The point in the order of folding that is reached.
    pub(crate) fn mark(&self) -> Mark {
        self.recent.mark()
    }

    /// The facts that were folded after a point. `None`: not all of them are kept.
    pub(crate) fn facts_since(&self, mark: Mark) -> Option<impl Iterator<Item = &Fact>> {
        self.recent.since(mark)
    }

    /// The facts of a scope that were folded last, at most `limit`, the last one first. Only some ten thousand are kept, and none
    /// from before the views were built.
    pub fn latest(&self, scope: Scope, limit: usize) -> Vec<Fact> {
        let is_of = |fact: &&Fact| match scope {
            Scope::All => true,
            Scope::Tenant(tenant) => fact.member.tenant == tenant,
        };
        let kept = self.recent.newest().filter(|fact| !self.retracted.has(fact));
        kept.filter(is_of).take(limit).copied().collect()
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

    pub(crate) fn utc_traffic(&self) -> &Traffic {
        &self.traffic[0].1
    }

    /// True if the days of a definition are kept up.
    pub fn follows(&self, definition: Definition) -> bool {
        self.activity_of(definition).is_some()
    }

    /// True if the presence by days of a zone is kept up.
    pub(crate) fn follows_zone(&self, zone: Tz) -> bool {
        self.presence_of(zone).is_some()
    }

    fn activity_of(&self, definition: Definition) -> Option<&ActivityDays> {
        self.activity.iter().find(|(of, _)| *of == definition).map(|(_, days)| days)
    }

    fn presence_of(&self, zone: Tz) -> Option<&PresenceDays> {
        self.presence.iter().find(|(of, _)| *of == zone).map(|(_, days)| days)
    }

    /// Follows a definition from now on. `since` are the facts that came after what was seen of it, which these views
    /// hold. `false`: it leaves out other batches, or was not put together.
    pub fn follow(&mut self, following: &mut Following, since: &[Fact]) -> bool {
        if *following.retracted() != self.retracted {
            return false;
        }
        following.catch_up_with(&self.members.roster, since);
        let (definition, taken) = (following.definition(), following.take());
        let Some((mut activity, presence)) = taken else { return false };
        activity.begin_at(self.position);
        if let Some(mut presence) = presence
            && !self.follows_zone(definition.zone)
        {
            presence.begin_at(self.position);
            self.presence.push((definition.zone, presence));
        }
        if self.follows_zone(definition.zone) && !self.follows(definition) {
            self.activity.push((definition, activity));
        }
        self.follows(definition)
    }

    /// Follows the traffic of a zone from now on. `since` are the facts that came after what was counted of it. `false`: it
    /// leaves out other batches.
    pub fn follow_traffic(&mut self, zone: Tz, traffic: &mut Traffic, since: &[Fact]) -> bool {
        if *traffic.retracted() != self.retracted {
            return false;
        }
        if self.traffic_of(zone).is_none() {
            for fact in since {
                traffic.count(fact);
            }
            let empty = Traffic::new(traffic.calendar().clone(), self.retracted.clone());
            self.traffic.push((zone, std::mem::replace(traffic, empty)));
        }
        true
    }

    /// True if the days of a subject are kept up.
    pub fn follows_subject(&self, subject: Subject) -> bool {
        match subject {
            Subject::Activity(definition) => self.follows(definition),
            Subject::Traffic(zone) => self.traffic_of(zone).is_some(),
        }
    }

    /// The events by day of a zone. `None`: they are not followed.
    pub fn traffic_of(&self, zone: Tz) -> Option<&Traffic> {
        self.traffic.iter().find(|(of, _)| *of == zone).map(|(_, traffic)| traffic)
    }

    /// Follows a subject no longer; those of UTC stay. What was kept of it is given back: it takes long to free.
    pub fn unfollow(&mut self, subject: Subject) -> Unfollowed {
        match subject {
            Subject::Activity(Definition::UTC) | Subject::Traffic(Tz::UTC) => Unfollowed::default(),
            Subject::Activity(definition) => {
                let found = self.activity.iter().position(|(of, _)| *of == definition);
                let activity = found.map(|at| self.activity.remove(at).1);
                let Self { activity: others, presence, .. } = self;
                let is_unused = |(zone, _): &(Tz, _)| !others.iter().any(|(of, _)| of.zone == *zone);
                let unused = presence.iter().skip(1).position(is_unused).map(|at| presence.remove(at + 1).1);
                Unfollowed { _activity: activity, _presence: unused, _traffic: None }
            }
            Subject::Traffic(zone) => {
                let found = self.traffic.iter().position(|(of, _)| *of == zone);
                let traffic = found.map(|at| self.traffic.remove(at).1);
                Unfollowed { _traffic: traffic, ..Unfollowed::default() }
            }
        }
    }

    /// The calendar of a zone that is followed.
    pub fn calendar(&self, zone: Tz) -> Option<Arc<Calendar>> {
        let of_activity =
            self.activity.iter().find(|(of, _)| of.zone == zone).map(|(_, days)| days.calendar());
        of_activity.or_else(|| self.traffic_of(zone).map(|traffic| traffic.calendar().clone()))
    }

    /// The subjects that are followed besides those of UTC, and the bytes that each takes, about.
    pub fn followed(&self) -> Vec<(Subject, usize)> {
        let bytes = |(of, days): &(Definition, ActivityDays)| {
            let sharing = self.activity.iter().filter(|(other, _)| other.zone == of.zone).count();
            let presence = self.presence_of(of.zone).map_or(0, PresenceDays::bytes);
            let presence = if of.zone == Tz::UTC { 0 } else { presence / sharing };
            (Subject::Activity(*of), days.bytes() + presence)
        };
        let traffic = self.traffic.iter().skip(1);
        let traffic = traffic.map(|(zone, traffic)| (Subject::Traffic(*zone), traffic.bytes()));
        self.activity.iter().skip(1).map(bytes).chain(traffic).collect()
    }

    /// Takes out everything that rows need, to be counted without the views; nothing for a tenant that is not known.
    /// `None`: the definition is not followed, or nobody knows persons.
    pub fn days(&self, asked: &DaysAsked) -> Option<DaySets> {
        let (activity, presence) =
            (self.activity_of(asked.definition)?, self.presence_of(asked.definition.zone)?);
        let members = self.members.set_of(asked.scope);
        // A person has one member in a tenant.
        let persons = match (asked.of_persons, asked.scope) {
            (true, Scope::All) => Some(self.members.persons()?.map()),
            (true, Scope::Tenant(_)) | (false, _) => None,
        };
        let wanted = Wanted { members, everyone: asked.everyone, persons };
        let activity = |reach: &Reach| activity.share(reach);
        Some(DaySets::new(activity, presence.bitmaps(), &asked.periods, wanted))
    }

    /// Returns the last position that changed the [`SeriesRow`](crate::SeriesRow) of one of the periods, which is over:
    /// a row counted at this position or later holds. `None`: the definition is not followed.
    pub fn row_changed_at(&self, asked: &DaysAsked, days: &RangeInclusive<Day>) -> Option<Position> {
        let period = Periods { days: days.clone(), period: asked.periods.period };
        let changed = self.reach_changed_at(asked, period.reach())?;
        let begun = || self.activity_of(asked.definition).map(|activity| activity.begun_by(*days.end()));
        Some(if asked.of_persons { changed.max(begun()?) } else { changed })
    }

    /// Returns the last position that changed the days [before](Before) a day.
    pub fn before_changed_at(&self, asked: &DaysAsked, before: &Before) -> Option<Position> {
        let days = before.days();
        let changed = self.reach_changed_at(asked, days.clone())?;
        let begun = || self.activity_of(asked.definition).map(|activity| activity.begun_by(*days.end()));
        Some(if asked.of_persons { changed.max(begun()?) } else { changed })
    }

    fn reach_changed_at(&self, asked: &DaysAsked, reach: RangeInclusive<Day>) -> Option<Position> {
        let presence = self.presence_of(asked.definition.zone)?.changed_by(*reach.end());
        Some(self.activity_of(asked.definition)?.changed_at(reach).max(presence))
    }

    /// The instant from which a tenant exists, the least of its members, and the greatest last seen of those that are
    /// neither deleted nor left out. `None`: it is not known, nobody was seen.
    pub fn tenant_life(&self, tenant: TenantOrdinal) -> (Option<UtcInstant>, Option<UtcInstant>) {
        (self.members.tenant_exists_from(tenant), self.counts.newest(tenant))
    }

    /// The members of a scope. `None`: all.
    pub fn members_of_scope(&self, scope: Scope) -> Option<RoaringBitmap> {
        self.members.set_of(scope)
    }

    /// The state of one member. `None`: no fact is about it.
    pub fn member(&self, member: MemberOrdinal) -> Option<MemberState> {
        self.members.roster.member(member)
    }

    /// The state of a person, at the member that stands for it; that member is one of the person's, and stays the same.
    /// `None`: another member stands for its person, or there is no fact about it.
    pub fn person(&self, member: MemberOrdinal) -> Option<MemberState> {
        if !self.members.roster.is_shared(member) {
            return self.member(member);
        }
        let persons = self.members.persons()?;
        if persons.now().representative(member) != member {
            return None;
        }
        MemberState::of_person(&self.memberships(member).map(|(_, state)| state).collect::<Vec<_>>())
    }

    /// The memberships of the person of a member, with that member.
    pub fn memberships(&self, member: MemberOrdinal) -> impl Iterator<Item = (MemberOrdinal, MemberState)> {
        let persons = self.members.persons();
        let first = persons.map_or(member, |persons| persons.now().representative(member));
        let others = persons.into_iter().flat_map(move |persons| persons.now().members_of(first));
        let alone = self.members.persons().is_none().then_some(member);
        others.chain(alone).filter_map(|member| Some((member, self.member(member)?)))
    }

    /// The members of a person, in no order that means anything; none where persons are off.
    pub fn members_of_person(&self, person: PersonOrdinal) -> impl Iterator<Item = MemberOrdinal> {
        self.members.persons().into_iter().flat_map(move |persons| persons.members_of(person))
    }

    /// One more than the greatest ordinal that may be known.
    pub fn slots(&self) -> u32 {
        u32::try_from(self.members.roster.slots()).unwrap_or(u32::MAX)
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
    /// Those of UTC; `None` where no rows are asked for.
    days: Option<UtcDays>,
    retracted: Retracted,
    position: Position,
}

impl ViewsBuilder {
    /// A builder that folds the events that `selection` chooses, without those of retracted batches.
    pub fn new(selection: Selection, retracted: Retracted, persons: Persons) -> Self {
        let days = Some(UtcDays::new(selection.counted(), retracted.clone()));
        Self { selection, retracted, members: Members::new(persons), days, position: Position::START }
    }

    /// The same for views that nobody asks for rows of days.
    #[must_use]
    pub fn without_days(self) -> Self {
        Self { days: None, ..self }
    }

    /// A builder that goes on from the facts folded up to a position.
    pub(crate) fn from_parts(
        members: Members,
        days: UtcDays,
        retracted: Retracted,
        position: Position,
    ) -> Self {
        Self { selection: Selection::default(), retracted, members, days: Some(days), position }
    }

    /// Folds one fact in, unless it is out of the selection's bounds.
    ///
    /// # Panics
    /// If a position is 2^55 or greater: no store gets there.
    pub fn apply(&mut self, fact: &Fact) {
        if !self.selection.keeps(fact) {
            return;
        }
        let is_new = fact.position > self.position;
        self.position = self.position.max(fact.position);
        if self.retracted.has(fact) {
            return;
        }
        let change = self.members.fold(fact, &self.selection);
        if let Some(UtcDays { activity, presence, traffic }) = &mut self.days {
            presence.follow(fact, &change, &self.members.roster);
            activity.follow(fact, change.first_seen_before);
            if is_new {
                traffic.count(fact);
            }
        }
    }

    /// Folds facts in, as [`ViewsBuilder::apply`] with each; faster where there are more members than the
    /// processor's caches hold.
    ///
    /// # Panics
    /// If a position is 2^55 or greater: no store gets there.
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
    pub fn finish_with_pass_limits(mut self, limits: PassLimits) -> Views {
        self.members.roster.is_restored();
        let UtcDays { activity, presence, traffic } =
            self.days.unwrap_or_else(|| UtcDays::new(self.selection.counted(), self.retracted.clone()));
        let definition = Definition { counted: self.selection.counted(), ..Definition::UTC };
        Views {
            counts: Counts::of(&self.members, limits),
            activity: vec![(definition, activity)],
            presence: vec![(Tz::UTC, presence)],
            traffic: vec![(Tz::UTC, traffic)],
            recent: Recent::after(self.position),
            selection: self.selection,
            retracted: self.retracted,
            members: self.members,
            position: self.position,
        }
    }
}

/// The days of UTC.
#[derive(Debug)]
pub(crate) struct UtcDays {
    pub(crate) activity: ActivityDays,
    pub(crate) presence: PresenceDays,
    pub(crate) traffic: Traffic,
}

impl UtcDays {
    /// Days of no fact.
    pub(crate) fn new(counted: TypeSet, retracted: Retracted) -> Self {
        let calendar = Arc::new(Calendar::utc());
        Self {
            activity: ActivityDays::new(calendar.clone(), counted),
            presence: PresenceDays::new(calendar.clone()),
            traffic: Traffic::new(calendar, retracted),
        }
    }
}

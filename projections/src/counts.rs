//! What the numbers need beside the members themselves, kept up with every change of a standing.
//!
//! Overall and for large tenants, instants of last seen are counted in multisets. A small tenant is counted by a
//! pass over its members when asked: a few pages of memory in order, and no memory of its own.

mod seen;
mod tenant;

use lastseen_event::{Fact, MemberOrdinal, MemberRef, PersonOrdinal, TenantOrdinal, UtcInstant};

use self::seen::SeenCounts;
use self::tenant::TenantCounts;
use crate::beside::side_by_side;
use crate::instants::InstantCounts;
use crate::members::Members;
use crate::roster::{Change, Membership, Standing};
use crate::{Overall, Scope, Summary};

/// Most members of a tenant that are counted by a pass.
pub(crate) const SMALL_TENANT_MAX: u64 = 4096;

/// The counts of all scopes.
#[derive(Debug)]
pub(crate) struct Counts {
    tally: Tally,
    seen: SeenCounts,
    persons: PersonCounts,
    tenants: Vec<TenantCounts>,
    /// Tenants with a member that is not deleted.
    tenants_in_use: u64,
    small_tenant_max: u64,
}

/// Members by what does not depend on the window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    total: u64,
    pending: u64,
    never_seen: u64,
    deleted: u64,
}

#[derive(Debug, Default)]
struct PersonCounts {
    /// With a member that is not deleted.
    total: u64,
    /// For every person, the counted last seen of all its members but one that is greatest: as many of them
    /// reach into a window as the person has active members beyond the first.
    redundant: InstantCounts,
}

impl Counts {
    /// Counts of no member. A tenant is small up to `small_tenant_max` members.
    pub(crate) fn new(small_tenant_max: u64) -> Self {
        Self {
            tally: Tally::default(),
            seen: SeenCounts::default(),
            persons: PersonCounts::default(),
            tenants: Vec::new(),
            tenants_in_use: 0,
            small_tenant_max,
        }
    }

    /// The counts of these members. Two passes, side by side.
    pub(crate) fn of(members: &Members, small_tenant_max: u64) -> Self {
        let all = || members.roster.standings().filter_map(|standing| standing.counted_seen());
        let (seen, mut counts) =
            side_by_side(|| SeenCounts::of(all()), || Self::of_tenants(members, small_tenant_max));
        counts.seen = seen;
        counts
    }

    /// All but when members were seen overall.
    fn of_tenants(members: &Members, small_tenant_max: u64) -> Self {
        let mut counts = Self::new(small_tenant_max);
        let tenants = u32::try_from(members.tenants()).expect("tenant ordinals are 32 bits");
        for tenant in (0..tenants).map(TenantOrdinal::new) {
            let of_tenant = TenantCounts::of(members, tenant, small_tenant_max);
            counts.tally.add_all(of_tenant.tally());
            counts.tenants_in_use += u64::from(of_tenant.tally().total > 0);
            counts.tenants.push(of_tenant);
        }
        counts.persons = PersonCounts::of(members, counts.tally.total);
        counts
    }

    /// Follows one change; `members` holds it already.
    pub(crate) fn follow(&mut self, members: &Members, who: MemberRef, change: &Change) {
        let Change { before, after, .. } = change;
        if before.as_ref() == Some(after) {
            return;
        }
        self.tally.replace(before.as_ref(), after);
        self.seen.replace(before.as_ref().and_then(Standing::counted_seen), after.counted_seen());

        let tenant = who.tenant;
        if tenant.index() >= self.tenants.len() {
            self.tenants.resize_with(tenant.index() + 1, TenantCounts::default);
        }
        let counts = &mut self.tenants[tenant.index()];
        let was_in_use = counts.tally().total > 0;
        counts.follow((members, tenant), change, self.small_tenant_max);
        self.tenants_in_use += u64::from(counts.tally().total > 0);
        self.tenants_in_use -= u64::from(was_in_use);

        self.persons.follow(members, (who.person, who.member), change);
    }

    /// Reads the memory that following a change from this standing will need; the number means nothing.
    pub(crate) fn touch(&self, fact: &Fact, standing: &Standing) -> u64 {
        let Some(seen) = standing.counted_seen() else { return 0 };
        let of_tenant = self.tenants.get(fact.member.tenant.index()).map_or(0, |counts| counts.touch(seen));
        self.seen.touch(seen).wrapping_add(of_tenant)
    }

    /// The numbers of a scope. `since` is the lower edge of the window, inclusive.
    pub(crate) fn summary(&self, members: &Members, scope: Scope, since: UtcInstant) -> Summary {
        match scope {
            Scope::All => {
                let numbers = self.tally.summary(self.seen.count_from(since));
                Summary { overall: Some(self.overall(members, since, numbers.active_users)), ..numbers }
            }
            Scope::Tenant(tenant) => self
                .tenants
                .get(tenant.index())
                .map_or_else(Summary::default, |counts| counts.summary((members, tenant), since)),
        }
    }

    fn overall(&self, members: &Members, since: UtcInstant, active_users: u64) -> Overall {
        let active_tenants = (0..).map(TenantOrdinal::new).zip(&self.tenants);
        let active_tenants =
            active_tenants.filter(|(tenant, counts)| counts.is_active((members, *tenant), since));
        Overall {
            tenants: self.tenants_in_use,
            active_tenants: active_tenants.count() as u64,
            total_persons: self.persons.total,
            active_persons: active_users - self.persons.redundant.count_from(since),
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, is: Membership) {
        self.total += u64::from(!is.deleted);
        self.pending += u64::from(!is.deleted && !is.confirmed);
        self.never_seen += u64::from(!is.deleted && !is.seen);
        self.deleted += u64::from(is.deleted);
    }

    fn add_all(&mut self, other: &Self) {
        self.total += other.total;
        self.pending += other.pending;
        self.never_seen += other.never_seen;
        self.deleted += other.deleted;
    }

    fn replace(&mut self, before: Option<&Standing>, after: &Standing) {
        if let Some(before) = before {
            let mut one = Self::default();
            one.add(before.membership());
            self.total -= one.total;
            self.pending -= one.pending;
            self.never_seen -= one.never_seen;
            self.deleted -= one.deleted;
        }
        self.add(after.membership());
    }

    fn members(&self) -> u64 {
        self.total + self.deleted
    }

    /// The numbers, given how many are active through an observed event and only through an estimate.
    pub(crate) fn summary(&self, (observed, estimated_only): (u64, u64)) -> Summary {
        let active_users = observed + estimated_only;
        Summary {
            total_users: self.total,
            pending_users: self.pending,
            never_seen_users: self.never_seen,
            active_users,
            inactive_users: self.total - self.never_seen - active_users,
            deleted_users: self.deleted,
            observed,
            estimated_only,
            overall: None,
        }
    }
}

impl PersonCounts {
    /// `total_users` of the members are not deleted.
    fn of(members: &Members, total_users: u64) -> Self {
        /// Persons looked at together.
        const STEP: usize = 4_096;
        let (mut total, mut redundant) = (total_users, Vec::new());
        let shared = members.persons.shared();
        for first in (0..shared).step_by(STEP) {
            let which = first..shared.min(first + STEP);
            // Whether some member is alive, and the greatest counted last seen.
            let mut of_persons = vec![(false, None); which.len()];
            members.persons.each_of_shared(which, |person, member| {
                let Some(standing) = alive(members, member) else { return };
                let (any, greatest) = &mut of_persons[person];
                total -= u64::from(std::mem::replace(any, true));
                let at = standing.counted_at();
                redundant.extend(at.min(*greatest));
                *greatest = at.max(*greatest);
            });
        }
        Self { total, redundant: InstantCounts::of(redundant) }
    }

    fn follow(&mut self, members: &Members, who: (PersonOrdinal, MemberOrdinal), change: &Change) {
        let (person, member) = who;
        let others = || members.persons.members_of(person).filter(move |&other| other != member);
        // Only a shared person's chain is walked: the others would miss the cache to find nobody.
        let others =
            || change.shared.then(others).into_iter().flatten().filter_map(|other| alive(members, other));

        let was_alive = change.before.is_some_and(|before| !before.deleted);
        let is_alive = !change.after.deleted;
        if was_alive != is_alive && others().next().is_none() {
            self.total += u64::from(is_alive);
            self.total -= u64::from(was_alive);
        }

        let before = change.before.as_ref().and_then(Standing::counted_at);
        let after = change.after.counted_at();
        if change.shared && before != after {
            let greatest = others().map(|other| other.counted_at()).max().flatten();
            // `None` is less than any instant: of one instant alone, none is redundant.
            if let Some(at) = before.min(greatest) {
                self.redundant.remove(at);
            }
            if let Some(at) = after.min(greatest) {
                self.redundant.insert(at);
            }
        }
    }
}

/// The standing of a member that is not deleted.
fn alive(members: &Members, member: MemberOrdinal) -> Option<Standing> {
    members.roster.standing(member).filter(|standing| !standing.deleted)
}

//! The numbers' part beside the members themselves, kept up with every change of a standing.
//!
//! Overall and for large tenants, instants of last seen are counted in multisets. A small tenant is counted
//! by a pass over its members when asked: a few pages of memory in order, and no memory of its own. Small
//! persons are walked in the same way.

mod newest;
mod persons;
mod seen;
mod tenant;

use lastseen_event::{Fact, MemberRef, TenantOrdinal, UtcInstant};

use self::newest::TenantsByNewest;
use self::persons::PersonCounts;
use self::seen::SeenCounts;
pub(crate) use self::seen::SeenFrom;
use self::tenant::TenantCounts;
use crate::members::Members;
use crate::parallel::join;
use crate::roster::{Change, Standing};
use crate::tally::Tally;
use crate::{Overall, PersonNumbers, Scope, Summary};

const HOUR_US: i64 = 3_600_000_000;

/// The greatest sizes at which something is counted by a pass; beyond them an index is kept. Answers do not
/// depend on them: tests lower them to reach the other way.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct PassLimits {
    /// Members of a tenant.
    pub tenant_members: u64,
    /// Memberships of a person.
    pub person_members: usize,
    /// Tenants whose newest last seen lie next to each other.
    pub newest_tenants: u64,
    /// The time in which the newest last seen of more tenants may lie, if it is the latest.
    pub newest_span_us: i64,
}

impl Default for PassLimits {
    fn default() -> Self {
        Self { tenant_members: 4096, person_members: 8, newest_tenants: 512, newest_span_us: HOUR_US }
    }
}

/// The counts of all scopes.
#[derive(Debug)]
pub(crate) struct Counts {
    tally: Tally,
    seen: SeenCounts,
    /// `None` where persons are off.
    persons: Option<PersonCounts>,
    tenants: Vec<TenantCounts>,
    /// The tenants with a counted last seen.
    by_newest: TenantsByNewest,
    /// Tenants with a member that is not deleted.
    tenants_in_use: u64,
    limits: PassLimits,
}

impl Counts {
    /// The counts of these members. Two passes, side by side.
    pub(crate) fn of(members: &Members, limits: PassLimits) -> Self {
        let all = || members.roster.standings().filter_map(|standing| standing.counted_seen());
        let (seen, mut counts) = join(|| SeenCounts::of(all()), || Self::of_tenants(members, limits));
        counts.seen = seen;
        counts
    }

    /// All but the last seen of all members together.
    fn of_tenants(members: &Members, limits: PassLimits) -> Self {
        let mut counts = Self {
            tally: Tally::default(),
            seen: SeenCounts::default(),
            persons: None,
            tenants: Vec::with_capacity(members.tenants()),
            by_newest: TenantsByNewest::new(limits.newest_tenants, limits.newest_span_us),
            tenants_in_use: 0,
            limits,
        };
        let tenants = u32::try_from(members.tenants()).expect("tenant ordinals are 32 bits");
        for tenant in (0..tenants).map(TenantOrdinal::new) {
            let of_tenant = TenantCounts::of(members, tenant, limits.tenant_members);
            counts.tally.add_all(of_tenant.tally());
            counts.tenants_in_use += u64::from(of_tenant.tally().total() > 0);
            counts.tenants.push(of_tenant);
            counts.rank(tenant, None);
        }
        counts.persons = members
            .persons()
            .map(|persons| PersonCounts::of(members, persons, counts.tally.total(), limits.person_members));
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
        let (was_in_use, was_newest) = (counts.tally().total() > 0, counts.newest());
        counts.follow(members, tenant, change, self.limits.tenant_members);
        self.tenants_in_use += u64::from(counts.tally().total() > 0);
        self.tenants_in_use -= u64::from(was_in_use);
        self.rank(tenant, was_newest);

        if let (Some(counts), Some(persons)) = (&mut self.persons, members.persons()) {
            counts.follow(members, persons, who, change);
        }
    }

    /// Ranks a tenant by its newest last seen, which was `before`.
    fn rank(&mut self, tenant: TenantOrdinal, before: Option<UtcInstant>) {
        let Self { tenants, by_newest, .. } = self;
        let newest = |tenant: TenantOrdinal| tenants.get(tenant.index()).and_then(TenantCounts::newest);
        by_newest.replace(tenant, before, newest);
    }

    /// The greatest last seen of the members of a tenant that are neither deleted nor left out.
    pub(crate) fn newest(&self, tenant: TenantOrdinal) -> Option<UtcInstant> {
        self.tenants.get(tenant.index()).and_then(TenantCounts::newest)
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
                Summary { overall: Some(self.overall(since, numbers.active_users)), ..numbers }
            }
            Scope::Tenant(tenant) => self
                .tenants
                .get(tenant.index())
                .map_or_else(Summary::default, |counts| counts.summary(members, tenant, since)),
        }
    }

    fn overall(&self, since: UtcInstant, active_users: u64) -> Overall {
        let newest = |tenant: TenantOrdinal| self.tenants.get(tenant.index()).and_then(TenantCounts::newest);
        Overall {
            tenants: self.tenants_in_use,
            active_tenants: self.by_newest.count_from(since, newest),
            persons: self.persons.as_ref().map(|persons| PersonNumbers {
                total_persons: persons.total(),
                active_persons: active_users - persons.redundant_from(since),
            }),
        }
    }
}

//! All that is folded from facts: the roster, and the members of each tenant and person.
//!
//! The views fold into it and read from it. Everything derived from it for counting is in `counts`.

use std::ops::RangeInclusive;

use lastseen_event::{Fact, MemberOrdinal, MemberRef, PersonOrdinal, TenantOrdinal, UtcInstant};
use roaring::RoaringBitmap;

use crate::persons::{PersonMembers, Persons};
use crate::ranges::OrdinalRanges;
use crate::roster::{Change, Roster, Standing};
use crate::{Scope, Selection};

/// Members by themselves, by tenant and by person.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(crate) roster: Roster,
    /// `None` where persons are off.
    persons: Option<PersonMembers>,
    /// One per tenant ordinal; empty for a tenant without a fact.
    tenants: Vec<OfTenant>,
}

/// The members of a tenant.
#[derive(Debug, Default)]
struct OfTenant {
    members: OrdinalRanges,
    /// The least instant that one of them exists from.
    exists_from: Option<UtcInstant>,
}

impl OfTenant {
    fn exist(&mut self, at: UtcInstant) {
        self.exists_from = Some(self.exists_from.map_or(at, |from| from.min(at)));
    }
}

impl Members {
    /// No members yet.
    pub(crate) fn new(persons: Persons) -> Self {
        let persons = match persons {
            Persons::UserId => Some(PersonMembers::default()),
            Persons::Off => None,
        };
        Self { roster: Roster::default(), persons, tenants: Vec::new() }
    }

    /// Folds the fact in; as `selection` says what counts.
    pub(crate) fn fold(&mut self, fact: &Fact, selection: &Selection) -> Change {
        let mut change = self.roster.fold(fact, selection);
        if change.before.is_none() {
            change.shared = self.enter(fact.member);
        }
        if change.exists_before.is_none_or(|before| fact.occurred_at < before) {
            self.tenant_mut(fact.member.tenant).exist(fact.occurred_at);
        }
        change
    }

    /// Enters a new member into its tenant and person. `true`: the person has others.
    fn enter(&mut self, MemberRef { member, tenant, person }: MemberRef) -> bool {
        self.tenant_mut(tenant).members.insert(member);
        self.join(person, member)
    }

    fn tenant_mut(&mut self, tenant: TenantOrdinal) -> &mut OfTenant {
        if tenant.index() >= self.tenants.len() {
            self.tenants.resize_with(tenant.index() + 1, OfTenant::default);
        }
        &mut self.tenants[tenant.index()]
    }

    /// Adds a new member to its person. `true`: the person has others.
    fn join(&mut self, person: PersonOrdinal, member: MemberOrdinal) -> bool {
        let first = self.persons.as_mut().and_then(|persons| persons.join(person, member));
        if let Some(other) = first {
            self.roster.mark_shared(other);
            self.roster.mark_shared(member);
        }
        first.is_some()
    }

    /// Enters every member that the roster knows; `None` if `whose` does not know one.
    pub(crate) fn enter_all(&mut self, whose: impl Fn(MemberOrdinal) -> Option<MemberRef>) -> Option<()> {
        // Neighbours are mostly of one tenant: they enter it as a range.
        let mut run: Option<(TenantOrdinal, RangeInclusive<u32>)> = None;
        for member in self.roster.ordinals() {
            if !self.roster.knows(member) {
                continue;
            }
            let MemberRef { member, tenant, person } = whose(member)?;
            match &mut run {
                Some((of, range)) if *of == tenant && range.end() + 1 == member.get() => {
                    *range = *range.start()..=member.get();
                }
                other => {
                    if let Some((before, range)) = other.replace((tenant, member.get()..=member.get())) {
                        self.tenant_mut(before).members.append(range);
                    }
                }
            }
            self.join(person, member);
            if let Some(from) = self.roster.exists_from(member) {
                self.tenant_mut(tenant).exist(from);
            }
        }
        if let Some((tenant, range)) = run {
            self.tenant_mut(tenant).members.append(range);
        }
        Some(())
    }

    /// The members of persons; `None` where persons are off.
    pub(crate) fn persons(&self) -> Option<&PersonMembers> {
        self.persons.as_ref()
    }

    /// Number of tenant ordinals in use, those without a member included.
    pub(crate) fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// The members of a tenant, ascending.
    pub(crate) fn ordinals_of(&self, tenant: TenantOrdinal) -> impl Iterator<Item = MemberOrdinal> {
        self.tenants.get(tenant.index()).into_iter().flat_map(|of| of.members.iter())
    }

    /// First to last ordinal of each run of a tenant's members, ascending.
    pub(crate) fn ranges_of(&self, tenant: TenantOrdinal) -> impl Iterator<Item = RangeInclusive<u32>> {
        self.ranges_from(tenant, 0)
    }

    /// The runs of a tenant's members without the ordinals below `first`.
    pub(crate) fn ranges_from(
        &self,
        tenant: TenantOrdinal,
        first: u32,
    ) -> impl Iterator<Item = RangeInclusive<u32>> {
        self.tenants.get(tenant.index()).into_iter().flat_map(move |of| of.members.ranges_from(first))
    }

    /// The ordinals of a scope's members as a set. `None`: all members.
    pub(crate) fn set_of(&self, scope: Scope) -> Option<RoaringBitmap> {
        let Scope::Tenant(tenant) = scope else { return None };
        let mut members = RoaringBitmap::new();
        for range in self.ranges_of(tenant) {
            members.insert_range(range);
        }
        Some(members)
    }

    /// The standings of a tenant's members, ascending by ordinal.
    pub(crate) fn standings_of(&self, tenant: TenantOrdinal) -> impl Iterator<Item = Standing> {
        self.ordinals_of(tenant).filter_map(|member| self.roster.standing(member))
    }

    /// The least instant that a member of the tenant exists from. `None`: it has none.
    pub(crate) fn tenant_exists_from(&self, tenant: TenantOrdinal) -> Option<UtcInstant> {
        self.tenants.get(tenant.index())?.exists_from
    }

    /// True if the tenant has a member, deleted or not.
    pub(crate) fn knows_tenant(&self, tenant: TenantOrdinal) -> bool {
        self.tenants.get(tenant.index()).is_some_and(|of| !of.members.is_empty())
    }
}

//! All that is folded from facts: the roster, and which members make up a tenant and a person. What is derived
//! from it for counting is in `counts`.

use std::ops::RangeInclusive;

use lastseen_event::{Fact, MemberOrdinal, MemberRef, PersonOrdinal, TenantOrdinal};
use roaring::RoaringBitmap;

use crate::persons::Persons;
use crate::ranges::OrdinalRanges;
use crate::roster::{Change, Roster, Standing};
use crate::{Scope, TypeSet};

/// Members by themselves, by tenant and by person.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(crate) roster: Roster,
    pub(crate) persons: Persons,
    /// One per tenant ordinal; empty for a tenant that no fact told of.
    tenants: Vec<OrdinalRanges>,
}

impl Members {
    /// Folds the fact in; activity counts as being seen if `counted` has its type.
    pub(crate) fn fold(&mut self, fact: &Fact, counted: TypeSet) -> Change {
        let mut change = self.roster.fold(fact, counted);
        if change.before.is_none() {
            change.shared = self.enter(fact.member);
        }
        change
    }

    /// Enters a new member into its tenant and person; whether the person has others.
    fn enter(&mut self, MemberRef { member, tenant, person }: MemberRef) -> bool {
        self.tenant_mut(tenant).insert(member);
        self.join(person, member)
    }

    fn tenant_mut(&mut self, tenant: TenantOrdinal) -> &mut OrdinalRanges {
        if tenant.index() >= self.tenants.len() {
            self.tenants.resize_with(tenant.index() + 1, OrdinalRanges::default);
        }
        &mut self.tenants[tenant.index()]
    }

    /// Adds a new member to its person; whether that has others.
    fn join(&mut self, person: PersonOrdinal, member: MemberOrdinal) -> bool {
        let Some(other) = self.persons.join(person, member) else { return false };
        self.roster.mark_shared(other);
        self.roster.mark_shared(member);
        true
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
                        self.tenant_mut(before).append(range);
                    }
                }
            }
            self.join(person, member);
        }
        if let Some((tenant, range)) = run {
            self.tenant_mut(tenant).append(range);
        }
        Some(())
    }

    /// Number of tenant ordinals in use, those without a member included.
    pub(crate) fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// The members of a tenant, ascending.
    pub(crate) fn ordinals_of(&self, tenant: TenantOrdinal) -> impl Iterator<Item = MemberOrdinal> {
        self.tenants.get(tenant.index()).into_iter().flat_map(OrdinalRanges::iter)
    }

    /// First to last ordinal of each run of a tenant's members, ascending.
    pub(crate) fn ranges_of(&self, tenant: TenantOrdinal) -> impl Iterator<Item = RangeInclusive<u32>> {
        self.tenants.get(tenant.index()).into_iter().flat_map(OrdinalRanges::ranges)
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

    /// Whether the tenant has a member, deleted or not.
    pub(crate) fn knows_tenant(&self, tenant: TenantOrdinal) -> bool {
        self.tenants.get(tenant.index()).is_some_and(|members| !members.is_empty())
    }
}

//! The live views, which follow every fact, and the builder, which folds a part of history in bulk.

use std::hint::black_box;

use lastseen_event::{Fact, MemberOrdinal, Position, TenantOrdinal, UtcInstant};

use crate::counts::{Counts, SMALL_TENANT_MAX};
use crate::members::Members;
use crate::{MemberState, Scope, Selection, Summary};

/// Who was last seen when, and how many are active. The same facts give the same answers, in any order and any
/// number of times.
#[derive(Debug)]
pub struct Views {
    members: Members,
    counts: Counts,
    selection: Selection,
    position: Position,
}

impl Views {
    /// Views of no fact.
    pub fn new() -> Self {
        Self::with_small_tenants_up_to(SMALL_TENANT_MAX)
    }

    /// Views that count tenants of up to `members` members by a pass over them. Answers do not depend on it; for
    /// tests of both ways.
    #[doc(hidden)]
    pub fn with_small_tenants_up_to(members: u64) -> Self {
        ViewsBuilder::new(Selection::default()).finish_with_small_tenants_up_to(members)
    }

    /// Folds one fact in. Views that were built from a selection stay views of that selection.
    ///
    /// # Panics
    /// If a position is 2^56 or greater: no store gets there.
    pub fn apply(&mut self, fact: &Fact) {
        if !self.selection.keeps(fact) {
            return;
        }
        let change = self.members.fold(fact, self.selection.counted());
        self.counts.follow(&self.members, fact.member, &change);
        self.position = self.position.max(fact.position);
    }

    /// Folds facts in, as [`Views::apply`] with each; faster where there are more members than the processor's
    /// caches hold.
    ///
    /// # Panics
    /// If a position is 2^56 or greater: no store gets there.
    pub fn apply_all(&mut self, facts: &[Fact]) {
        // Members of one group are in no relation, so reading what each needs, first the records, then what the
        // records lead to, waits for memory once for many of them; folding one after the other waits each time.
        const GROUP: usize = 64;
        for group in facts.chunks(GROUP) {
            let standing = |fact: &Fact| self.members.roster.standing(fact.member.member);
            black_box(group.iter().filter_map(standing).count());
            let touch = |fact| Some(self.counts.touch(fact, &standing(fact)?));
            black_box(group.iter().filter_map(touch).fold(0, u64::wrapping_add));
            for fact in group {
                self.apply(fact);
            }
        }
    }

    /// The greatest position folded in; [`Position::START`] when there is none.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether the tenant has a member, deleted ones included.
    pub fn knows_tenant(&self, tenant: TenantOrdinal) -> bool {
        self.members.knows_tenant(tenant)
    }

    /// The numbers of a scope; zeros for a tenant that is not known. `since` is the lower edge of the window,
    /// inclusive; there is no upper edge.
    pub fn summary(&self, scope: Scope, since: UtcInstant) -> Summary {
        self.counts.summary(&self.members, scope, since)
    }

    /// One member. `None`: no fact told of it.
    pub fn member(&self, member: MemberOrdinal) -> Option<MemberState> {
        self.members.roster.member(member)
    }

    /// The members of a tenant, deleted ones included, ascending by ordinal. Reads only that tenant's part of
    /// memory.
    pub fn members_of(&self, tenant: TenantOrdinal) -> impl Iterator<Item = (MemberOrdinal, MemberState)> {
        self.members.ordinals_of(tenant).filter_map(|member| Some((member, self.member(member)?)))
    }
}

impl Default for Views {
    fn default() -> Self {
        Self::new()
    }
}

/// Folds a part of history into fresh views: nothing is counted until the end, so each fact costs less.
#[derive(Debug)]
pub struct ViewsBuilder {
    selection: Selection,
    members: Members,
    position: Position,
}

impl ViewsBuilder {
    /// A builder that folds what `selection` chooses.
    pub fn new(selection: Selection) -> Self {
        Self { selection, members: Members::default(), position: Position::START }
    }

    /// Folds one fact in, unless it is out of the selection's bounds.
    ///
    /// # Panics
    /// If a position is 2^56 or greater: no store gets there.
    pub fn apply(&mut self, fact: &Fact) {
        if self.selection.keeps(fact) {
            self.members.fold(fact, self.selection.counted());
            self.position = self.position.max(fact.position);
        }
    }

    /// Counts what was folded.
    pub fn finish(self) -> Views {
        self.finish_with_small_tenants_up_to(SMALL_TENANT_MAX)
    }

    /// As [`ViewsBuilder::finish`], for [`Views::with_small_tenants_up_to`].
    #[doc(hidden)]
    pub fn finish_with_small_tenants_up_to(self, members: u64) -> Views {
        Views {
            counts: Counts::of(&self.members, members),
            selection: self.selection,
            members: self.members,
            position: self.position,
        }
    }
}

//! The counts of one tenant: counters for any size, multisets of instants only beyond the size that a pass
//! over its members answers quickly.

use lastseen_event::{Provenance, TenantOrdinal, UtcInstant};

use super::seen::{SeenCounts, SeenFrom};
use crate::Summary;
use crate::members::Members;
use crate::roster::{Change, Standing};
use crate::tally::Tally;

/// The counts of a tenant, which is an argument: they do not know of which one they are.
#[derive(Debug, Default)]
pub(super) struct TenantCounts {
    tally: Tally,
    /// The greatest counted last seen.
    newest: Option<UtcInstant>,
    /// There once the tenant was large, and for good: members are never forgotten.
    seen: Option<Box<SeenCounts>>,
}

// One cache line: a fold step reads it.
const _: () = assert!(size_of::<TenantCounts>() <= 64);

impl TenantCounts {
    /// The counts of a tenant's members, in one pass.
    pub(super) fn of(members: &Members, tenant: TenantOrdinal, small_max: u64) -> Self {
        let mut counts = Self::default();
        for standing in members.standings_of(tenant) {
            counts.tally.add(standing.membership);
            counts.newest = counts.newest.max(standing.counted_at());
        }
        if counts.tally.members() > small_max {
            counts.seen = Some(Box::new(seen_of(members, tenant)));
        }
        counts
    }

    /// Follows one change; `members` holds it already.
    pub(super) fn follow(
        &mut self,
        members: &Members,
        tenant: TenantOrdinal,
        change: &Change,
        small_max: u64,
    ) {
        let before = change.before.as_ref().and_then(Standing::counted_seen);
        let after = change.after.counted_seen();
        self.tally.replace(change.before.as_ref(), &change.after);
        match &mut self.seen {
            Some(seen) => seen.replace(before, after),
            None if self.tally.members() > small_max => self.seen = Some(Box::new(seen_of(members, tenant))),
            None => {}
        }
        let (before, after) = (before.map(|(at, _)| at), after.map(|(at, _)| at));
        if after >= self.newest {
            self.newest = after;
        } else if before == self.newest {
            // The greatest left: a deletion, or an observation older than the estimate that it makes void.
            self.newest = match &self.seen {
                Some(seen) => seen.max(),
                None => members.standings_of(tenant).filter_map(|standing| standing.counted_at()).max(),
            };
        }
    }

    /// Reads the memory that replacing this last seen will need; the number means nothing.
    pub(super) fn touch(&self, seen: (UtcInstant, Provenance)) -> u64 {
        self.seen.as_ref().map_or(0, |counts| counts.touch(seen))
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The greatest counted last seen. `None`: no member has one.
    pub(super) fn newest(&self) -> Option<UtcInstant> {
        self.newest
    }

    /// The numbers. `since` is the lower edge of the window, inclusive.
    pub(super) fn summary(&self, members: &Members, tenant: TenantOrdinal, since: UtcInstant) -> Summary {
        let seen = match &self.seen {
            Some(seen) => seen.count_from(since),
            None => count_by_pass(members, tenant, since),
        };
        self.tally.summary(seen)
    }
}

/// Counts active members.
fn count_by_pass(members: &Members, tenant: TenantOrdinal, since: UtcInstant) -> SeenFrom {
    let mut active = SeenFrom::default();
    for standing in members.standings_of(tenant) {
        if let Some(seen) = standing.counted_seen().filter(|(at, _)| *at >= since) {
            active.add(seen);
        }
    }
    active
}

fn seen_of(members: &Members, tenant: TenantOrdinal) -> SeenCounts {
    SeenCounts::of(members.standings_of(tenant).filter_map(|standing| standing.counted_seen()))
}

//! Counters of members by everything that does not depend on a window.
//!
//! The live counts keep one for each scope; a count as of an instant fills a fresh one. Both take their
//! numbers from [`Membership`], so a pending or a deleted member is the same in both.

use crate::Summary;
use crate::counts::SeenFrom;
use crate::roster::{Membership, Standing};

/// Members by membership and by ever having been seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    total: u64,
    pending: u64,
    never_seen: u64,
    deleted: u64,
    left_out: u64,
}

impl Tally {
    /// Counts one more member.
    pub(crate) fn add(&mut self, is: Membership) {
        self.add_many(is, 1);
    }

    /// Counts so many more members.
    pub(crate) fn add_many(&mut self, is: Membership, count: u64) {
        self.total += u64::from(is.is_present()) * count;
        self.pending += u64::from(is.is_present() && !is.confirmed) * count;
        self.never_seen += u64::from(is.is_present() && !is.seen) * count;
        self.deleted += u64::from(is.deleted && !is.left_out) * count;
        self.left_out += u64::from(is.left_out) * count;
    }

    /// Counts the members of another tally as well.
    pub(crate) fn add_all(&mut self, other: &Self) {
        self.total += other.total;
        self.pending += other.pending;
        self.never_seen += other.never_seen;
        self.deleted += other.deleted;
        self.left_out += other.left_out;
    }

    /// Replaces a member's old standing by its new one; `before` is `None` for a new member.
    pub(crate) fn replace(&mut self, before: Option<&Standing>, after: &Standing) {
        // Most logins: only last seen changed, which is not counted here.
        if before.is_some_and(|before| before.membership == after.membership) {
            return;
        }
        if let Some(before) = before {
            let mut one = Self::default();
            one.add(before.membership);
            self.total -= one.total;
            self.pending -= one.pending;
            self.never_seen -= one.never_seen;
            self.deleted -= one.deleted;
            self.left_out -= one.left_out;
        }
        self.add(after.membership);
    }

    /// Members that are neither deleted nor left out.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// All members, those that are deleted or left out included.
    pub(crate) fn members(&self) -> u64 {
        self.total + self.deleted + self.left_out
    }

    /// Completes the numbers with the active members.
    pub(crate) fn summary(&self, active: SeenFrom) -> Summary {
        let SeenFrom { observed: observed_users, estimated: estimated_users, last_estimate_at } = active;
        let active_users = observed_users + estimated_users;
        Summary {
            total_users: self.total,
            pending_users: self.pending,
            never_seen_users: self.never_seen,
            active_users,
            observed_users,
            estimated_users,
            inactive_users: self.total - self.never_seen - active_users,
            deleted_users: self.deleted,
            left_out_users: self.left_out,
            last_estimate_at,
            overall: None,
        }
    }
}

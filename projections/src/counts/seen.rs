//! Counts of the members last seen from any instant on, by observation and by estimate.
//!
//! The scope of all members has one, and each large tenant.

use lastseen_event::{Provenance, UtcInstant};

use crate::instants::InstantCounts;

/// The counted last seen of members, one instant each.
#[derive(Debug, Default)]
pub(super) struct SeenCounts {
    observed: InstantCounts,
    estimated: InstantCounts,
}

/// The members last seen from an instant on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeenFrom {
    /// By an observation.
    pub(crate) observed: u64,
    /// Only by an estimate.
    pub(crate) estimated: u64,
    /// The latest of those estimates.
    pub(crate) last_estimate_at: Option<UtcInstant>,
}

impl SeenFrom {
    /// Counts one more member.
    pub(super) fn add(&mut self, (at, provenance): (UtcInstant, Provenance)) {
        match provenance {
            Provenance::Observed => self.observed += 1,
            Provenance::Estimated => {
                self.estimated += 1;
                self.last_estimate_at = self.last_estimate_at.max(Some(at));
            }
        }
    }
}

impl SeenCounts {
    /// The counts of these instants.
    pub(super) fn of(all: impl Iterator<Item = (UtcInstant, Provenance)>) -> Self {
        let (mut observed, mut estimated) = (Vec::new(), Vec::new());
        for (at, provenance) in all {
            match provenance {
                Provenance::Observed => observed.push(at),
                Provenance::Estimated => estimated.push(at),
            }
        }
        Self { observed: InstantCounts::of(observed), estimated: InstantCounts::of(estimated) }
    }

    /// Replaces a member's last seen; `None` is none that counts.
    pub(super) fn replace(
        &mut self,
        before: Option<(UtcInstant, Provenance)>,
        after: Option<(UtcInstant, Provenance)>,
    ) {
        if before == after {
            return;
        }
        if let Some((at, provenance)) = before {
            self.instants(provenance).remove(at);
        }
        if let Some((at, provenance)) = after {
            self.instants(provenance).insert(at);
        }
    }

    /// Counts the members last seen at `since` or later.
    pub(super) fn count_from(&self, since: UtcInstant) -> SeenFrom {
        SeenFrom {
            observed: self.observed.count_from(since),
            estimated: self.estimated.count_from(since),
            last_estimate_at: self.estimated.max().filter(|at| *at >= since),
        }
    }

    /// Reads the memory that replacing this last seen will need; the number means nothing.
    pub(super) fn touch(&self, (at, provenance): (UtcInstant, Provenance)) -> u64 {
        match provenance {
            Provenance::Observed => self.observed.touch(at),
            Provenance::Estimated => self.estimated.touch(at),
        }
    }

    /// The greatest last seen.
    pub(super) fn max(&self) -> Option<UtcInstant> {
        self.observed.max().max(self.estimated.max())
    }

    fn instants(&mut self, provenance: Provenance) -> &mut InstantCounts {
        match provenance {
            Provenance::Observed => &mut self.observed,
            Provenance::Estimated => &mut self.estimated,
        }
    }
}

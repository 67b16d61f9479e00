//! Ids that stand twice in a tenant within the recent window. One pass; memory for one window.

use lastseen_event::EventId;

use super::{Finding, FindingKind};
use crate::damage::corruption;
use crate::identity::OwnId;
use crate::ids::recent::RecentIds;
use crate::place::Place;

/// Findings kept; more of them say nothing new.
const FINDINGS_MAX: usize = 1_000;

pub(super) struct IdCheck {
    /// The window as the writer had it; for a fingerprint stands the place.
    recent: RecentIds,
    findings: Vec<Finding>,
}

impl IdCheck {
    pub(super) fn new(recent_ids: usize) -> Self {
        Self { recent: RecentIds::new(recent_ids, Place::new(1)), findings: Vec::new() }
    }

    pub(super) fn see(&mut self, own: OwnId, (id, place): (EventId, Place), (path, offset): (&str, usize)) {
        if let Some(earlier) = self.recent.latest(own)
            && self.findings.len() < FINDINGS_MAX
        {
            let expected = format!("id {id} once, at position {earlier}");
            let found = format!("it again at position {}", place.get());
            let place = corruption(path, offset as u64, expected, found);
            self.findings.push(Finding { kind: FindingKind::DuplicateId, place });
        }
        self.recent.stage(own, place.get());
        self.recent.commit(Place::new(u64::MAX));
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}

//! Ids that stand twice in a tenant within the recent window. One pass; memory for one window.

use lastseen_event::{EventId, Position};
use lastseen_store::Corruption;

use super::{Finding, FindingKind};
use crate::recent::RecentIds;

/// Findings kept; more of them say nothing new.
const FINDINGS_MAX: usize = 1_000;

pub(super) struct IdCheck {
    /// The window as the writer had it; in place of a fingerprint stands the position.
    recent: RecentIds,
    findings: Vec<Finding>,
}

impl IdCheck {
    pub(super) fn new(recent_ids: usize) -> Self {
        Self { recent: RecentIds::new(recent_ids, Position::new(1)), findings: Vec::new() }
    }

    pub(super) fn see(
        &mut self,
        (tenant_id, id): (&str, EventId),
        position: Position,
        (path, offset): (&str, usize),
    ) {
        let own = self.recent.within(tenant_id, id);
        if let Some(earlier) = self.recent.latest(own)
            && self.findings.len() < FINDINGS_MAX
        {
            let place = Corruption {
                file: path.to_owned(),
                offset: offset as u64,
                expected: format!("id {id} once, at position {earlier}"),
                found: format!("it again at position {}", position.get()),
            };
            self.findings.push(Finding { kind: FindingKind::DuplicateId, place });
        }
        self.recent.stage(own, position.get());
        self.recent.commit(Position::new(u64::MAX));
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}

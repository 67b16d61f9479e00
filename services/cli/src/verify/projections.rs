//! `lastseen verify --projections`: the views of the snapshot and what came after it, beside views of all of the log.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use indicatif::HumanCount;
use lastseen_event::Position;
use lastseen_log::{Disk, ReadOnlyLog};
use lastseen_projections::{
    Difference, Persons, Retracted, SNAPSHOT_VERSION, Selection, Views, ViewsBuilder,
};
use lastseen_server::{Snapshot, SnapshotError};
use lastseen_store::{Detail, EventReader, MemberDictionary, ReadError, Scan};
use serde::Serialize;

use crate::progress::Progress;
use crate::stdout::outln;

/// The result of comparing views.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    /// Up to here the views are those of the snapshot; `None` if there is none of use.
    checkpoint: Option<u64>,
    /// Up to here both were folded.
    position: u64,
    members: usize,
    /// Why the snapshot is of no use.
    unusable: Option<String>,
    /// True if that is so because an earlier version wrote it: then nothing is wrong.
    is_old: bool,
    differences: Vec<NamedDifference>,
}

#[derive(Debug, Serialize)]
struct NamedDifference {
    tenant_id: String,
    user_id: String,
    detail: String,
}

impl NamedDifference {
    fn new(Difference { member, kind }: &Difference, members: &dyn MemberDictionary) -> Self {
        let (tenant_id, user_id) = match members.member_ref(*member) {
            Some(of) => (members.tenant_id(of.tenant).as_str(), members.user_id(of.person).as_str()),
            None => ("", ""),
        };
        Self { tenant_id: tenant_id.to_owned(), user_id: user_id.to_owned(), detail: kind.to_string() }
    }
}

impl Compared {
    pub(super) fn is_sound(&self) -> bool {
        (self.unusable.is_none() || self.is_old) && self.differences.is_empty()
    }

    pub(super) fn print(&self) {
        for NamedDifference { tenant_id, user_id, detail } in &self.differences {
            outln!("tenant {tenant_id}, user {user_id}: {detail}");
        }
        let members = HumanCount(self.members as u64);
        match (&self.unusable, self.checkpoint) {
            (Some(reason), _) => outln!("snapshot: {reason}; the next start rebuilds the views"),
            (None, None) => outln!("no snapshot of the views to compare with"),
            (None, Some(checkpoint)) if self.differences.is_empty() => outln!(
                "projections are sound: the snapshot at position {checkpoint} and the events up to {} say of {members} \
                 members what all of the log says",
                self.position
            ),
            (None, Some(checkpoint)) => outln!(
                "{} differences between the snapshot at position {checkpoint} and the log",
                self.differences.len()
            ),
        }
    }
}

/// Folds twice and compares.
pub(super) fn compare(data: &Path, disk: Arc<dyn Disk>) -> anyhow::Result<Compared> {
    let log = ReadOnlyLog::open(disk).context("cannot open the log")?;
    let members = log.members();
    let mut compared = Compared {
        checkpoint: None,
        position: log.last_position().get(),
        members: members.len(),
        unusable: None,
        is_old: false,
        differences: Vec::new(),
    };
    let whose = || |member| members.member_ref(member);
    let restored = Snapshot::read(data).and_then(|snapshot| {
        let lineage = log.lineage();
        let of_log = (lineage.as_ref(), |scan| log.scan(scan));
        snapshot.map(|snapshot| snapshot.views(Persons::default(), of_log, whose)).transpose()
    });
    let (builder, checkpoint) = match restored {
        Ok(Some(restored)) => restored,
        Ok(None) => return Ok(compared),
        Err(SnapshotError::Log(error)) => return Err(error).context("cannot read the log"),
        Err(error) => {
            compared.is_old =
                matches!(error, SnapshotError::Version { found, .. } if found < SNAPSHOT_VERSION);
            compared.unusable = Some(format!("{:#}", anyhow::Error::from(error)));
            return Ok(compared);
        }
    };
    compared.checkpoint = Some(checkpoint.get());
    let restored = fold(&log, builder, checkpoint)?;
    let log_says: Retracted = log.batches().retracted().collect();
    if !restored.retracted().iter().all(|batch| log_says.contains(batch)) {
        compared.unusable = Some("it leaves out a batch that was not taken back".to_owned());
        return Ok(compared);
    }
    let builder = ViewsBuilder::new(Selection::default(), restored.retracted().clone(), Persons::default());
    let rebuilt = fold(&log, builder, Position::START)?;
    restored.differences(&rebuilt, |difference| {
        compared.differences.push(NamedDifference::new(&difference, &*members));
    });
    Ok(compared)
}

fn fold(log: &ReadOnlyLog, mut builder: ViewsBuilder, after: Position) -> Result<Views, ReadError> {
    let (mut progress, total) = (Progress::of_events(), log.records_after(after));
    let mut reader = log.scan(Scan::after(after, Detail::Facts));
    while let Some(batch) = reader.next_batch()? {
        builder.apply_all(&batch.facts);
        progress.show(total.saturating_sub(log.records_after(batch.reached)), total);
    }
    progress.finish();
    Ok(builder.finish())
}

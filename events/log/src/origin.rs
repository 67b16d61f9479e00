//! Following another log: each record keeps the position and the instant that it has there.

use lastseen_event::{BatchName, EventBatch, Position, UtcInstant};

/// The place of a record in the log that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Strictly increasing from record to record. There may be gaps.
    pub position: Position,
    /// Never decreases from record to record.
    pub recorded_at: UtcInstant,
}

impl Stamp {
    /// True if a record with this stamp may stand behind one with the other, in a frame that was recorded at `until`.
    pub(crate) fn may_follow(self, before: Self, until: UtcInstant) -> bool {
        self.position > before.position && (before.recorded_at..=until).contains(&self.recorded_at)
    }
}

/// The stamps of a run of records, as a sum modulo 2^128 over them: of a hash of each one's number in the run, position and
/// instant. Two runs with the same sum have the same stamps in the same order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StampSum {
    sum: u128,
    records: u64,
}

impl StampSum {
    /// Adds the stamp of the next record.
    pub(crate) fn add(&mut self, Stamp { position, recorded_at }: Stamp) {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.records.to_le_bytes());
        bytes[8..16].copy_from_slice(&position.get().to_le_bytes());
        bytes[16..].copy_from_slice(&recorded_at.as_micros().to_le_bytes());
        self.sum = self.sum.wrapping_add(xxhash_rust::xxh3::xxh3_128(&bytes));
        self.records += 1;
    }
}

/// Some records of the log that is followed, in its order.
#[derive(Clone, Debug)]
pub enum Followed {
    /// Events, and the stamp of each.
    Events(EventBatch, Vec<Stamp>),
    /// The retraction of a batch.
    Retraction {
        /// The name of the batch.
        batch: Box<str>,
        /// When it was asked for.
        occurred_at: UtcInstant,
        /// Its own.
        stamp: Stamp,
    },
}

impl Followed {
    /// The retraction of this batch.
    pub fn retraction(batch: BatchName<'_>, occurred_at: UtcInstant, stamp: Stamp) -> Self {
        Self::Retraction { batch: batch.as_str().into(), occurred_at, stamp }
    }
}

/// The outcome of taking in records of the log that is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Records that are new here.
    pub kept: usize,
    /// Records that were here already, or whose id was kept before in their tenant.
    pub repeats: usize,
    /// Those among the repeats that differ from what was kept, as far as the recent window tells.
    pub conflicts: usize,
    /// Events of a batch that was retracted before, and retractions of a batch that has no event.
    pub dead: usize,
}

//! The batches of backfills: what came with each, and whether it counts.

use lastseen_event::BatchOrdinal;
use lastseen_projections::Retracted;
use lastseen_store::{Batch, TypeCounts};

use super::Questions;
use super::error::QuestionError;
use crate::read_model::Reading;

/// A batch.
#[derive(Clone, Debug)]
pub(crate) struct Backfill {
    pub(crate) batch: String,
    pub(crate) state: BatchState,
    /// Events by type.
    pub(crate) types: TypeCounts,
}

/// The state of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchState {
    /// Its events count.
    Active,
    /// It was retracted, and the views are being rebuilt without it.
    Retracting,
    /// Its events count no more.
    Retracted,
}

impl Backfill {
    fn new((number, batch): (BatchOrdinal, &Batch), left_out: &Retracted) -> Self {
        let state = match batch.retracted {
            None => BatchState::Active,
            Some(_) if left_out.contains(number) => BatchState::Retracted,
            Some(_) => BatchState::Retracting,
        };
        Self { batch: batch.name().to_owned(), state, types: batch.events }
    }
}

impl Questions {
    /// One batch.
    ///
    /// # Errors
    /// [`QuestionError::UnknownBatch`].
    pub(crate) fn backfill(&self, reading: &Reading, name: &str) -> Result<Backfill, QuestionError> {
        let batches = self.model.log().batches();
        let number = batches.find(name).ok_or(QuestionError::UnknownBatch)?;
        let batch = batches.get(number).ok_or(QuestionError::UnknownBatch)?;
        Ok(Backfill::new((number, batch), &reading.retracted))
    }

    /// The batches before `before`, the one that came last first, at most `limit`; the last one shown where more follow;
    /// the number of all batches.
    pub(crate) fn backfills(
        &self,
        reading: &Reading,
        before: Option<BatchOrdinal>,
        limit: usize,
    ) -> (Vec<Backfill>, Option<BatchOrdinal>, usize) {
        let batches = self.model.log().batches();
        let rest = batches.iter().rev().filter(|(number, _)| before.is_none_or(|before| *number < before));
        let mut shown: Vec<_> = rest.take(limit + 1).collect();
        let more = shown.len() > limit;
        shown.truncate(limit);
        let next = shown.last().filter(|_| more).map(|(number, _)| *number);
        let shown = shown.into_iter().map(|batch| Backfill::new(batch, &reading.retracted));
        (shown.collect(), next, batches.iter().count())
    }
}

//! The batches that were taken back: a fold leaves out what came with them.

use std::sync::Arc;

use lastseen_event::{BatchOrdinal, Fact};
use roaring::RoaringBitmap;

/// A set of batches that are left out. A fold never undoes: views that leave out more are folded anew.
/// Batches are only ever added for a store, so of two sets of its history the larger one has the smaller one
/// in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retracted(Arc<RoaringBitmap>);

impl Retracted {
    /// True if the fact came with one of these batches.
    pub fn has(&self, fact: &Fact) -> bool {
        self.has_batch(fact.batch)
    }

    /// True if this is one of these batches.
    pub(crate) fn has_batch(&self, batch: Option<BatchOrdinal>) -> bool {
        batch.is_some_and(|batch| self.contains(batch))
    }

    /// True if the batch is one of these.
    pub fn contains(&self, batch: BatchOrdinal) -> bool {
        self.0.contains(batch.get())
    }

    /// The number of batches.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// True if there are no batches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = BatchOrdinal> {
        self.0.iter().map(BatchOrdinal::new)
    }
}

impl FromIterator<BatchOrdinal> for Retracted {
    fn from_iter<I: IntoIterator<Item = BatchOrdinal>>(batches: I) -> Self {
        Self(Arc::new(batches.into_iter().map(BatchOrdinal::get).collect()))
    }
}

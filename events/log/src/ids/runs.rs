//! All runs of a log: which there are, which are merged next, and looking for many digests in them at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use lastseen_event::UtcInstant;
use lastseen_store::ReadError;

use super::run::{Digests, Run, RunEntry};
use crate::identity::Digest;
use crate::place::Place;

/// Runs that are merged into one. So there are at most seven of about each size, and the number of runs grows with the
/// logarithm of the number of segments.
const FAN_IN: usize = 8;

/// Runs in the order of their positions.
#[derive(Clone, Default)]
pub(crate) struct Runs(Vec<Arc<Run>>);

/// A run that cannot be read, and why.
type Unreadable = (RunEntry, ReadError);

/// An event to be looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    /// Its row, for the answer.
    pub(crate) row: usize,
    /// `None`: any, since its content may be another.
    pub(crate) occurred_at: Option<UtcInstant>,
    pub(crate) digest: Digest,
}

impl Runs {
    pub(crate) fn new(runs: Vec<Arc<Run>>) -> Self {
        Self(runs)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.0.iter()
    }

    pub(crate) fn all(&self) -> &[Arc<Run>] {
        &self.0
    }

    /// Looks for each suspect in the runs that begin below `until` and have places at `since` or above, until it is found;
    /// a hit costs one page, a miss a place in memory. Calls `found` with the rows that are there.
    ///
    /// # Errors
    /// The run that cannot be read, and why.
    pub(crate) fn find(
        &self,
        mut suspects: Vec<Suspect>,
        span: (Place, Place),
        found: impl FnMut(usize),
    ) -> Result<(), Unreadable> {
        /// From so many on, half of them are looked for on a thread of their own: each half takes a fraction of a millisecond.
        const MANY: usize = 512;
        suspects.sort_unstable_by_key(|suspect| suspect.digest);
        if suspects.len() < MANY {
            self.rows(&suspects, span)?.into_iter().for_each(found);
            return Ok(());
        }
        let (lower, upper) = suspects.split_at(suspects.len() / 2);
        let (lower, upper) = thread::scope(|scope| {
            let look = || self.rows(upper, span);
            let beside = thread::Builder::new().name("log-look-up".into()).spawn_scoped(scope, look);
            let lower = self.rows(lower, span);
            // Without another thread, both halves are for this one.
            let upper = beside.map_or_else(
                |_| self.rows(upper, span),
                |beside| beside.join().unwrap_or_else(|panic| resume_unwind(panic)),
            );
            (lower, upper)
        });
        lower?.into_iter().chain(upper?).for_each(found);
        Ok(())
    }

    /// The rows of these suspects, ascending by digest, that are there.
    fn rows(&self, suspects: &[Suspect], (since, until): (Place, Place)) -> Result<Vec<usize>, Unreadable> {
        let (mut suspects, mut rows) = (suspects.to_vec(), Vec::new());
        let (mut wanted, mut hits) = (Vec::with_capacity(suspects.len()), Vec::new());
        for run in self.0.iter().filter(|run| run.entry.first() < until && run.entry.last() >= since) {
            let places = suspects.iter().enumerate();
            let may_hold = places
                .filter(|(_, suspect)| suspect.occurred_at.is_none_or(|at| run.entry.occurred.contains(at)));
            wanted.clear();
            wanted.extend(may_hold.map(|(place, suspect)| (suspect.digest, place)));
            hits.clear();
            run.find(&wanted, |place| hits.push(place)).map_err(|error| (run.entry.clone(), error))?;
            rows.extend(hits.iter().map(|place| suspects[*place].row));
            let (mut place, mut hits) = (0.., hits.iter().peekable());
            suspects.retain(|_| hits.next_if_eq(&&place.next().unwrap_or(usize::MAX)).is_none());
        }
        Ok(rows)
    }

    /// The runs that are to be merged next, as a range of their places; `None` if there are none.
    ///
    /// Runs are merged where [`FAN_IN`] of about the same size follow each other without a gap: of sizes in between two powers
    /// of the fan-in, counted in `unit` records.
    pub(crate) fn due(&self, unit: u64) -> Option<Range<usize>> {
        let level = |run: &Arc<Run>| (run.entry.records() / unit.max(1)).max(1).ilog(FAN_IN as u64);
        let mut first = 0;
        for at in 0..self.0.len() {
            let goes_on = at > first
                && level(&self.0[at]) == level(&self.0[first])
                && self.0[at - 1].entry.positions[1] + 1 == self.0[at].entry.positions[0];
            if !goes_on {
                first = at;
            }
            if at + 1 - first == FAN_IN {
                return Some(first..at + 1);
            }
        }
        None
    }

    /// The runs at these places.
    pub(crate) fn slice(&self, places: Range<usize>) -> &[Arc<Run>] {
        self.0.get(places).unwrap_or_default()
    }
}

/// Merges the digests of runs, ascending.
pub(crate) struct Merge<'a> {
    inputs: Vec<Digests<'a>>,
    /// The next digest of each input.
    heads: BinaryHeap<Reverse<(Digest, usize)>>,
    failed: Option<ReadError>,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(runs: &'a [Arc<Run>]) -> Self {
        let inputs = runs.iter().map(|run| run.digests()).collect();
        let mut merge = Self { inputs, heads: BinaryHeap::new(), failed: None };
        for input in 0..runs.len() {
            match merge.inputs[input].next() {
                Some(Ok(digest)) => merge.heads.push(Reverse((digest, input))),
                Some(Err(error)) => merge.failed = Some(error),
                None => {}
            }
        }
        merge
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Digest, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.heads.clear();
            return Some(Err(error));
        }
        let mut head = self.heads.peek_mut()?;
        let Reverse((digest, input)) = *head;
        match self.inputs[input].next() {
            Some(Ok(next)) => *head = Reverse((next, input)),
            Some(Err(error)) => self.failed = Some(error),
            None => drop(PeekMut::pop(head)),
        }
        Some(Ok(digest))
    }
}

//! When the facts that were folded last had occurred: where late ones are, and where there is none.

use std::collections::VecDeque;

use lastseen_event::{Fact, Position, UtcInstant};

/// Runs of facts that are remembered. In a stream that is in time, each group of facts is one at first; older
/// ones are put together, so that what is known becomes coarser the longer it is ago.
const RUNS_MAX: usize = 16_384;

/// Facts that are kept as they were folded: two megabytes.
const FACTS_MAX: usize = 32_768;

/// A point in the order in which facts were folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// Runs of facts in order of position, each with a later least instant than the run before.
#[derive(Debug)]
pub(crate) struct Recent {
    /// The last position of a run, and the least instant in it.
    runs: VecDeque<(Position, UtcInstant)>,
    /// Up to here nothing is known.
    floor: Position,
    /// The facts that were folded last.
    facts: VecDeque<Fact>,
    /// Number of facts that were folded.
    folded: u64,
}

impl Recent {
    /// Nothing is known up to a position.
    pub(crate) fn after(floor: Position) -> Self {
        Self { runs: VecDeque::new(), floor, facts: VecDeque::new(), folded: 0 }
    }

    /// A fact was folded.
    pub(crate) fn keep(&mut self, fact: &Fact) {
        if self.facts.len() == FACTS_MAX {
            self.facts.pop_front();
        }
        self.facts.push_back(*fact);
        self.folded += 1;
    }

    /// The point that is reached now.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.folded)
    }

    /// The facts that were folded after a point. `None`: not all of them are kept.
    pub(crate) fn since(&self, mark: Mark) -> Option<impl Iterator<Item = &Fact>> {
        let new = usize::try_from(self.folded - mark.0).ok()?;
        let first = self.facts.len().checked_sub(new)?;
        Some(self.facts.range(first..))
    }

    /// The facts that are kept, the one that was folded last first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter().rev()
    }

    /// Facts up to `position` were folded, the earliest of which occurred at `least`.
    pub(crate) fn push(&mut self, position: Position, least: UtcInstant) {
        // A fact that comes again has a lesser position and occurred then all the same.
        let position = self.runs.back().map_or(self.floor, |(before, _)| *before).max(position);
        while self.runs.back().is_some_and(|(_, before)| *before >= least) {
            self.runs.pop_back();
        }
        self.runs.push_back((position, least));
        if self.runs.len() > RUNS_MAX {
            self.put_together();
        }
    }

    /// Makes one run of any two in the older half.
    fn put_together(&mut self) {
        let newer = self.runs.split_off(RUNS_MAX / 2);
        let older: Vec<_> = self.runs.drain(..).collect();
        // The least of two is that of the first, the last position that of the second.
        self.runs.extend(older.chunks(2).map(|pair| (pair[pair.len() - 1].0, pair[0].1)));
        self.runs.extend(newer);
    }

    /// A position behind which no fact was folded that had occurred by `at`; not always the least.
    pub(crate) fn reach_of(&self, at: UtcInstant) -> Position {
        let behind = self.runs.partition_point(|(_, least)| *least <= at);
        behind.checked_sub(1).map_or(self.floor, |last| self.runs[last].0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behind_the_reach_of_an_instant_nothing_had_occurred_by_then(
            facts in prop::collection::vec(0..20_i64, 0..40),
            at in -1..21_i64,
        ) {
            let mut recent = Recent::after(Position::new(5));
            for (place, &occurred) in facts.iter().enumerate() {
                recent.push(Position::new(place as u64 + 6), UtcInstant::from_micros(occurred));
            }
            let expected = facts.iter().rposition(|&occurred| occurred <= at).map_or(5, |place| place as u64 + 6);
            prop_assert_eq!(recent.reach_of(UtcInstant::from_micros(at)).get(), expected);
        }
    }

    #[test]
    fn what_is_known_is_bounded_and_stays_true() {
        const FACTS: u64 = 5 * RUNS_MAX as u64;
        let instant = |of: u64| UtcInstant::from_micros(i64::try_from(of).unwrap());
        let mut recent = Recent::after(Position::START);
        for position in 1..=FACTS {
            recent.push(Position::new(position), instant(position));
            assert!(recent.runs.len() <= RUNS_MAX);
        }
        assert_eq!(recent.reach_of(instant(0)), Position::START, "all of it occurred later");
        for at in (1..=FACTS).step_by(97) {
            let reach = recent.reach_of(instant(at)).get();
            assert!(reach >= at && reach - at <= (FACTS - at) / 4 + 1, "{at}: {reach}");
        }
        assert_eq!(
            recent.reach_of(instant(FACTS - 100)).get(),
            FACTS - 100,
            "exact where it is not long ago"
        );
    }
}

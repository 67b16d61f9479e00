//! When the facts that were folded last had occurred: where late ones are, and where there is none.

use std::collections::VecDeque;

use lastseen_event::{Position, UtcInstant};

/// Runs of facts that are remembered. In a stream that is in time, each group of facts is one.
const RUNS_MAX: usize = 16_384;

/// Runs of facts in order of position, each with a later least instant than the run before.
#[derive(Debug)]
pub(crate) struct Recent {
    /// The last position of a run, and the least instant in it.
    runs: VecDeque<(Position, UtcInstant)>,
    /// Up to here nothing is known.
    floor: Position,
}

impl Recent {
    /// Nothing is known up to a position.
    pub(crate) fn after(floor: Position) -> Self {
        Self { runs: VecDeque::new(), floor }
    }

    /// Facts up to `position` were folded, the earliest of which occurred at `least`.
    pub(crate) fn push(&mut self, position: Position, least: UtcInstant) {
        // A fact that comes again has a lesser position and occurred then all the same.
        let position = self.runs.back().map_or(self.floor, |(before, _)| *before).max(position);
        while self.runs.back().is_some_and(|(_, before)| *before >= least) {
            self.runs.pop_back();
        }
        self.runs.push_back((position, least));
        if self.runs.len() > RUNS_MAX
            && let Some((oldest, _)) = self.runs.pop_front()
        {
            self.floor = oldest;
        }
    }

    /// A position behind which no fact was folded that had occurred by `at`.
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
}

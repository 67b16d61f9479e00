//! The last position of a fact about a day or an earlier one.
//!
//! Live days stamp with every change that reaches beyond its own day; caches of rows ask.

use std::collections::BTreeMap;

use lastseen_event::Position;

use crate::calendar::Day;

/// Days in order, each with a position at or above that of the day before: a later fact about an earlier day
/// covers the days after it.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    by_day: BTreeMap<Day, Position>,
    greatest: Position,
}

impl Stamps {
    /// Notes that a fact at this position is about `day`.
    pub(super) fn stamp(&mut self, day: Day, position: Position) {
        // A fact that comes again has a lesser position and changes rows all the same.
        self.greatest = self.greatest.max(position);
        while let Some(mut last) = self.by_day.last_entry().filter(|last| *last.key() >= day) {
            if *last.key() == day {
                last.insert(self.greatest);
                return;
            }
            last.remove();
        }
        self.by_day.insert(day, self.greatest);
    }

    /// The greatest position about `day` or before it.
    pub(super) fn last_by(&self, day: Day) -> Position {
        self.by_day.range(..=day).next_back().map_or(Position::START, |(_, position)| *position)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_greatest_position_about_the_day_or_one_before(
            days in prop::collection::vec(0..12_i32, 0..40),
        ) {
            let mut stamps = Stamps::default();
            for (at, day) in days.iter().enumerate() {
                stamps.stamp(Day::new(*day), Position::new(at as u64 + 1));
                for asked in -1..13 {
                    let expected = days[..=at].iter().rposition(|day| *day <= asked).map_or(0, |at| at as u64 + 1);
                    prop_assert_eq!(stamps.last_by(Day::new(asked)).get(), expected);
                }
            }
        }
    }
}

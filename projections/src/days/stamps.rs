//! The last position of a fact about a day, and of one about a day or an earlier one.
//!
//! Live days stamp with every change; caches of rows ask.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use lastseen_event::Position;

use crate::calendar::Day;

/// Days, each with the position of the last change of it alone.
#[derive(Debug, Default)]
pub(super) struct DayStamps {
    /// The day that was stamped last: the next one is mostly the same.
    last: Option<(Day, Position)>,
    /// All others.
    by_day: BTreeMap<Day, Position>,
}

impl DayStamps {
    /// Notes that a fact at this position changed `day`.
    pub(super) fn stamp(&mut self, day: Day, position: Position) {
        match &mut self.last {
            Some((last, stamp)) if *last == day => *stamp = position,
            last => self.by_day.extend(last.replace((day, position))),
        }
    }

    /// The greatest position of these days.
    pub(super) fn greatest(&self, days: RangeInclusive<Day>) -> Position {
        let last = self.last.filter(|(day, _)| days.contains(day)).map(|(_, stamp)| stamp);
        // The last day may have an older stamp among the others.
        let others = self.by_day.range(days).map(|(_, stamp)| *stamp).max();
        last.max(others).unwrap_or(Position::START)
    }
}

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
        fn the_greatest_stamp_of_some_days_is_that_of_the_last_fact_about_them(
            days in prop::collection::vec(0..5_i32, 0..30),
        ) {
            let mut stamps = DayStamps::default();
            for (at, day) in days.iter().enumerate() {
                stamps.stamp(Day::new(*day), Position::new(at as u64 + 1));
                for (from, to) in (0..5).flat_map(|from| (from..5).map(move |to| (from, to))) {
                    let is_in = |day: &i32| (from..=to).contains(day);
                    let expected = days[..=at].iter().rposition(is_in).map_or(0, |at| at as u64 + 1);
                    prop_assert_eq!(stamps.greatest(Day::new(from)..=Day::new(to)).get(), expected);
                }
            }
        }

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

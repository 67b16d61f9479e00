//! What the decisions about a member make of it by the end of each day.

use crate::calendar::{Calendar, Day};
use crate::decisions::Decision;

/// The days by whose end a member is deleted or not, where it is not what it was by the end of the day before.
/// Deleted and not take turns, beginning with deleted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turns(Vec<Day>);

impl Turns {
    /// From all decisions about a member, ascending.
    pub(super) fn of<'a>(decisions: impl IntoIterator<Item = &'a Decision>, calendar: &Calendar) -> Self {
        let mut by_end: Vec<(Day, bool)> = Vec::new();
        for decision in decisions {
            let day = calendar.closed_by(decision.at());
            match by_end.last_mut() {
                // The greatest that has its place before the day's end holds there.
                Some((last, deleted)) if *last == day => *deleted = decision.deletes,
                _ => by_end.push((day, decision.deletes)),
            }
        }
        let mut deleted = false;
        by_end.retain(|(_, is)| std::mem::replace(&mut deleted, *is) != *is);
        Self(by_end.into_iter().map(|(day, _)| day).collect())
    }

    /// Each turn with whether the member is deleted from its day's end on.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Day, bool)> {
        self.0.iter().enumerate().map(|(turn, day)| (*day, turn % 2 == 0))
    }
}

//! The days of one calendar by whose end members came to exist, were deleted or restored, left out or taken back in.

use std::ops::Range;
use std::sync::Arc;

use lastseen_event::{Fact, MemberOrdinal, Position, UtcInstant};

use super::bitmaps::{ByDay, Sorted, bytes, insert, remove, set};
use super::stamps::Stamps;
use crate::activity::{Turn, turn};
use crate::calendar::{Calendar, Day};
use crate::decisions::{Decision, Decisions, Matter};
use crate::paged::Paged;
use crate::roster::{Change, Roster};

/// Members by the days on which their presence changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct PresenceBitmaps {
    /// Members by the first day by whose end they exist.
    pub(crate) exists: ByDay,
    /// Members deleted by the end of the day and not by the end of the day before.
    pub(crate) deleted: ByDay,
    /// Members deleted by the end of the day before and not by the end of the day.
    pub(crate) restored: ByDay,
    /// Members left out by the end of the day and not by the end of the day before.
    pub(crate) left_out: ByDay,
    /// Members left out by the end of the day before and not by the end of the day.
    pub(crate) taken_in: ByDay,
}

impl PresenceBitmaps {
    /// The kinds that matter where nobody is left out: so many of the first.
    pub(crate) const OF_EVERYONE: usize = 3;

    /// All kinds, in the order of their numbers in snapshots.
    pub(crate) fn kinds(&self) -> [&ByDay; 5] {
        let Self { exists, deleted, restored, left_out, taken_in } = self;
        [exists, deleted, restored, left_out, taken_in]
    }

    /// Members by the days on which they turned from absent to present or back.
    pub(super) fn turns(&self) -> [&ByDay; 4] {
        let Self { exists: _, deleted, restored, left_out, taken_in } = self;
        [deleted, restored, left_out, taken_in]
    }

    pub(crate) fn kinds_mut(&mut self) -> [&mut ByDay; 5] {
        let Self { exists, deleted, restored, left_out, taken_in } = self;
        [exists, deleted, restored, left_out, taken_in]
    }

    /// Sets the turn of a member on the day of a decision. `true`: it was another one.
    pub(super) fn turn(
        &mut self,
        calendar: &Calendar,
        (member, matter, decision): (MemberOrdinal, Matter, Decision),
        decisions: &Decisions,
    ) -> bool {
        let day = calendar.closed_by(decision.at());
        let turn = turn(decisions, member, calendar, day);
        let (began, ended) = match matter {
            Matter::Deletion => (&mut self.deleted, &mut self.restored),
            Matter::LeavingOut => (&mut self.left_out, &mut self.taken_in),
        };
        let began = set(began, day, member, turn == Some(Turn::Began));
        let ended = set(ended, day, member, turn == Some(Turn::Ended));
        began || ended
    }

    /// Sets the turns of a decision and of the one after it: no other turn depends on it. The first day with a turn
    /// that was another one.
    fn decide(
        &mut self,
        calendar: &Calendar,
        (member, matter, decision): (MemberOrdinal, Matter, Decision),
        decisions: &Decisions,
    ) -> Option<Day> {
        let day = calendar.closed_by(decision.at());
        let next = decisions.after(member, decision);
        if next.is_some_and(|next| calendar.closed_by(next.at()) == day) {
            // A later one decides by the end of the day.
            return None;
        }
        let both = [Some(decision), next].into_iter().flatten();
        let turned =
            both.filter(|decision| self.turn(calendar, (member, matter, *decision), decisions)).count();
        (turned > 0).then_some(day)
    }
}

/// The presence of all members by day.
#[derive(Debug)]
pub(crate) struct PresenceDays {
    calendar: Arc<Calendar>,
    bitmaps: PresenceBitmaps,
    /// The last position that changed rows from a day on.
    changed_from: Stamps,
    /// Of changes up to this position nothing is known.
    floor: Position,
}

impl PresenceDays {
    pub(crate) fn new(calendar: Arc<Calendar>) -> Self {
        Self {
            calendar,
            bitmaps: PresenceBitmaps::default(),
            changed_from: Stamps::default(),
            floor: Position::START,
        }
    }

    pub(crate) fn bitmaps(&self) -> &PresenceBitmaps {
        &self.bitmaps
    }

    pub(crate) fn bitmaps_mut(&mut self) -> &mut PresenceBitmaps {
        &mut self.bitmaps
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bitmaps.kinds().into_iter().map(bytes).sum()
    }

    /// Follows a fact whose effect is `change`; the roster holds it already.
    pub(crate) fn follow(&mut self, fact: &Fact, change: &Change, roster: &Roster) {
        if change.exists_before.is_none_or(|before| fact.occurred_at < before) {
            self.exist(fact.position, fact.member.member, (change.exists_before, fact.occurred_at));
        }
        if let Some((matter, decision)) = change.decision {
            self.decide(fact.position, (fact.member.member, matter, decision), roster);
        }
    }

    fn exist(
        &mut self,
        position: Position,
        member: MemberOrdinal,
        (before, from): (Option<UtcInstant>, UtcInstant),
    ) {
        let was = before.map(|before| self.calendar.closed_by(before));
        let is = self.calendar.closed_by(from);
        if was == Some(is) {
            return;
        }
        if let Some(was) = was {
            remove(&mut self.bitmaps.exists, was, member);
        }
        insert(&mut self.bitmaps.exists, is, member);
        self.changed_from.stamp(is, position);
    }

    fn decide(
        &mut self,
        position: Position,
        (member, matter, decision): (MemberOrdinal, Matter, Decision),
        roster: &Roster,
    ) {
        let decisions = roster.decisions(matter);
        if let Some(day) = self.bitmaps.decide(&self.calendar, (member, matter, decision), decisions) {
            self.changed_from.stamp(day, position);
        }
    }

    /// The last position that changed a row which ends by `day`.
    pub(crate) fn changed_by(&self, day: Day) -> Position {
        self.changed_from.last_by(day).max(self.floor)
    }

    /// Follows facts from this position on.
    pub(crate) fn begin_at(&mut self, position: Position) {
        self.floor = position;
    }
}

/// The presence of all members by day, being made of a roster that goes on.
#[derive(Debug)]
pub(super) struct PresenceBuilder {
    days: PresenceDays,
    sorted: Sorted,
    /// The instants that members exist from, as they were last looked at.
    exists: Paged<Exists>,
}

/// An instant in microseconds.
#[derive(Clone, Copy, Debug)]
struct Exists(i64);

/// Of no member.
impl Default for Exists {
    fn default() -> Self {
        Self(i64::MAX)
    }
}

impl PresenceBuilder {
    pub(super) fn new(calendar: Arc<Calendar>) -> Self {
        Self { days: PresenceDays::new(calendar), sorted: Sorted::default(), exists: Paged::default() }
    }

    /// Looks at some members; slots come in order.
    pub(super) fn look_at(&mut self, roster: &Roster, slots: Range<u32>) {
        let calendar = self.days.calendar.clone();
        for member in slots.clone().map(MemberOrdinal::new) {
            if let Some(from) = roster.exists_from(member) {
                *self.exists.slot(member.index()) = Exists(from.as_micros());
                self.sorted.push(calendar.closed_by(from), member);
            }
        }
        for matter in [Matter::Deletion, Matter::LeavingOut] {
            let decisions = roster.decisions(matter);
            for (member, decision) in decisions.of_all(slots.clone()) {
                self.days.bitmaps.turn(&calendar, (*member, matter, *decision), decisions);
            }
        }
    }

    /// Ends the pass over all members.
    pub(super) fn looked_at_all(&mut self) {
        self.days.bitmaps.exists = std::mem::take(&mut self.sorted).finish();
    }

    /// Looks again at the member of a fact that the roster holds by now.
    pub(super) fn look_again(&mut self, roster: &Roster, fact: &Fact) {
        let member = fact.member.member;
        if let Some(from) = roster.exists_from(member) {
            let was = std::mem::replace(self.exists.slot(member.index()), Exists(from.as_micros())).0;
            let before = (was != i64::MAX).then(|| UtcInstant::from_micros(was));
            self.days.exist(fact.position, member, (before, from));
        }
        if let Some((matter, decision)) = Decision::of(fact) {
            self.days.decide(fact.position, (member, matter, decision), roster);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.days.bytes()
    }

    pub(super) fn take(&mut self) -> PresenceDays {
        let empty = PresenceDays::new(self.days.calendar.clone());
        std::mem::replace(&mut self.days, empty)
    }
}

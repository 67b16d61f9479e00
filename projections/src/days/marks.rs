//! Members by day as a scan finds them.
//!
//! A day that many events are of is open: its members are plain bits, which stay near the processor, and its events are told by
//! their instants, without a look at the calendar. Other days are bitmaps already. History comes about in order, so few days are
//! open at a time.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{MemberOrdinal, UtcInstant};
use roaring::RoaringBitmap;

use super::bitmaps::ByDay;
use crate::bits::Bits;
use crate::calendar::{Calendar, Day};

/// Most days that are open: each takes a bit for every member.
const OPEN_MAX: usize = 32;

/// Events of a day before it is opened: opening one closes another, which costs as much as some thousand events.
const OPENED_AFTER: u32 = 4_096;

/// Members by day, to be turned into [`ByDay`].
#[derive(Debug)]
pub(super) struct Marks {
    calendar: Arc<Calendar>,
    open: Vec<OpenDay>,
    /// The open day of the last event.
    last: usize,
    /// Number of times that another open day was taken.
    turns: u64,
    closed: BTreeMap<Day, RoaringBitmap>,
    /// Events of days that are not open, since they last were.
    waiting: BTreeMap<Day, u32>,
}

#[derive(Debug)]
struct OpenDay {
    day: Day,
    /// The instants of the day in microseconds, or of the part of it in which the clock runs evenly.
    instants: RangeInclusive<i64>,
    members: Bits,
    /// The turn at which it was last taken.
    taken: u64,
}

impl Marks {
    pub(super) fn new(calendar: Arc<Calendar>) -> Self {
        Self {
            calendar,
            open: Vec::new(),
            last: 0,
            turns: 0,
            closed: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Adds a member to the day of an instant.
    #[inline]
    pub(super) fn mark(&mut self, member: MemberOrdinal, at: UtcInstant) {
        if let Some(last) = self.open.get_mut(self.last)
            && last.instants.contains(&at.as_micros())
        {
            last.members.insert(member.get());
        } else {
            self.mark_elsewhere(member, at);
        }
    }

    fn mark_elsewhere(&mut self, member: MemberOrdinal, at: UtcInstant) {
        if let Some(found) = self.open.iter().position(|open| open.instants.contains(&at.as_micros())) {
            self.last = found;
            self.turns += 1;
            let open = &mut self.open[found];
            open.taken = self.turns;
            open.members.insert(member.get());
            return;
        }
        let (day, instants) = self.calendar.day_around(at);
        self.closed.entry(day).or_default().insert(member.get());
        let waiting = self.waiting.entry(day).or_default();
        *waiting += 1;
        if *waiting >= OPENED_AFTER {
            *waiting = 0;
            self.open(day, instants);
        }
    }

    fn open(&mut self, day: Day, instants: RangeInclusive<i64>) {
        if self.open.len() >= OPEN_MAX
            && let Some(oldest) = (0..self.open.len()).min_by_key(|open| self.open[*open].taken)
        {
            let oldest = self.open.swap_remove(oldest);
            self.close(&oldest);
        }
        self.turns += 1;
        self.last = self.open.len();
        self.open.push(OpenDay { day, instants, members: Bits::default(), taken: self.turns });
    }

    fn close(&mut self, open: &OpenDay) {
        *self.closed.entry(open.day).or_default() |= open.members.to_bitmap();
    }

    /// Adds what another one was told.
    pub(super) fn join(&mut self, other: Self) {
        for (day, members) in other.into_bitmaps() {
            *self.closed.entry(day).or_default() |= members;
        }
    }

    fn into_bitmaps(mut self) -> BTreeMap<Day, RoaringBitmap> {
        for open in std::mem::take(&mut self.open) {
            self.close(&open);
        }
        self.closed
    }

    pub(super) fn finish(self) -> ByDay {
        self.into_bitmaps().into_iter().map(|(day, members)| (day, Arc::new(members))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Many events of more days than may be open, forth and back, in a zone whose clock is set forward and back on the way.
    #[test]
    fn marks_are_the_sets_of_members_by_date() {
        let calendar = Arc::new(Calendar::of_zone(chrono_tz::Europe::Berlin));
        let (mut marks, mut aside) = (Marks::new(calendar.clone()), Marks::new(calendar.clone()));
        let mut expected: BTreeMap<Day, BTreeSet<u32>> = BTreeMap::new();
        let mut number: u64 = 1;
        for event in 0..3_000_000_u64 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // A year in order, one event of eight up to forty days late.
            let late = if number >> 61 == 0 { number >> 20 & 0x3ff } else { 0 };
            let hour = (event / 340).saturating_sub(late).cast_signed();
            let at = UtcInstant::from_micros(1_700_000_000_000_000 + hour * 3_600_000_000 - 1);
            let member = MemberOrdinal::new(u32::try_from(number >> 44).expect("20 bits") % 70_000);
            if event % 8 == 0 { &mut aside } else { &mut marks }.mark(member, at);
            expected.entry(calendar.date(at)).or_default().insert(member.get());
        }
        assert!(marks.open.len() == OPEN_MAX && marks.closed.len() > 300);
        marks.join(aside);
        let found: BTreeMap<Day, BTreeSet<u32>> =
            marks.finish().into_iter().map(|(day, members)| (day, members.iter().collect())).collect();
        assert_eq!(found, expected);
    }
}

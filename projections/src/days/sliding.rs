//! Unions of the days of a window that slides by a day, for `wau` and `mau`.

use roaring::RoaringBitmap;

use super::bitmaps::ByDay;
use super::by_end::clip;
use crate::calendar::Day;

/// A window of `width` days. Days are cut into blocks as long as the window, so each window is the end of one
/// block and the beginning of the next, and both are unions that grow day by day.
pub(super) struct SlidingWindow<'a> {
    days: &'a ByDay,
    wanted: Option<&'a RoaringBitmap>,
    width: i32,
    block: Option<Block>,
    /// In place of a block, where there is one window only.
    before: Option<&'a RoaringBitmap>,
    /// The days after that block, up to the window's end.
    begun: RoaringBitmap,
}

/// The days before those that have begun.
struct Block {
    last: Day,
    /// The unions of 0, 1, 2 .. days that end with the last.
    unions: Vec<RoaringBitmap>,
}

impl Block {
    /// The number of days from the block to `day`.
    fn days_to(&self, day: Day) -> i32 {
        day.number() - self.last.number()
    }
}

/// Both parts of a window.
pub(super) struct Halves<'a>(pub(super) &'a RoaringBitmap, pub(super) &'a RoaringBitmap);

impl<'a> SlidingWindow<'a> {
    /// Windows of `width` days; or one window only, whose days but the last have the members `before`.
    pub(super) fn of(
        days: &'a ByDay,
        wanted: Option<&'a RoaringBitmap>,
        (width, before): (i32, Option<&'a RoaringBitmap>),
    ) -> Self {
        let width = if before.is_some() { 1 } else { width };
        Self { days, wanted, width, block: None, before, begun: RoaringBitmap::new() }
    }

    /// Returns the window that ends with `day`: the next one in order, or the first.
    pub(super) fn up_to(&mut self, day: Day) -> Halves<'_> {
        let block = match self.block.take().filter(|block| block.days_to(day) <= self.width) {
            Some(block) => block,
            None => self.block_before(day),
        };
        let still_in = usize::try_from(self.width - block.days_to(day)).expect("not more than the window");
        if let Some(members) = self.days.get(&day) {
            self.begun |= &*clip(members, self.wanted);
        }
        let block = self.block.insert(block);
        Halves(self.before.unwrap_or(&block.unions[still_in]), &self.begun)
    }

    /// Begins a block at `day` and returns the one before it.
    fn block_before(&mut self, day: Day) -> Block {
        self.begun = RoaringBitmap::new();
        let mut union = RoaringBitmap::new();
        let mut unions = vec![union.clone()];
        // All but one: that day is in no window with the day after the block.
        for back in 1..self.width {
            if let Some(members) = self.days.get(&day.plus(-back)) {
                union |= &*clip(members, self.wanted);
            }
            unions.push(union.clone());
        }
        Block { last: day.plus(-1), unions }
    }
}

impl Halves<'_> {
    /// All members in the window.
    pub(super) fn union(&self) -> RoaringBitmap {
        self.0 | self.1
    }

    /// The number of members in the window.
    pub(super) fn len(&self) -> u64 {
        self.0.union_len(self.1)
    }

    /// Counts the members in the window without the absent ones.
    pub(super) fn count(&self, absent: &RoaringBitmap) -> u64 {
        let all = self.len();
        if absent.is_empty() {
            return all;
        }
        all - (self.0 & absent).union_len(&(self.1 & absent))
    }

    pub(super) fn contains(&self, member: u32) -> bool {
        self.0.contains(member) || self.1.contains(member)
    }
}

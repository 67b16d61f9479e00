//! From the bitmaps of days to the rows of a series and of cohorts. Works on what was taken out of the live days, so it
//! may take its time.

use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{Book, ByDay, MONTH_DAYS, WEEK_DAYS};
use crate::calendar::{Day, Period};

/// How many members were active on a day and around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRow {
    /// The day.
    pub day: Day,
    /// Active on the day.
    pub dau: u64,
    /// Active on the 7 days that end with it.
    pub wau: u64,
    /// Active on the 30 days that end with it.
    pub mau: u64,
    /// Active, the first time ever.
    pub new: u64,
    /// Active, and on the day before.
    pub returning: u64,
    /// Active, neither new nor on the day before.
    pub resurrected: u64,
    /// Active on the day before and not on this one.
    pub dormant: u64,
}

/// How many members were active in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodRow {
    /// First to last day.
    pub days: RangeInclusive<Day>,
    /// Active in it.
    pub active: u64,
    /// Active, the first time ever.
    pub new: u64,
    /// Active, and in the period before.
    pub returning: u64,
    /// Active, neither new nor in the period before.
    pub resurrected: u64,
    /// Active in the period before and not in this one.
    pub dormant: u64,
}

/// The members who were new in a period, and how many of them were active later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cohort {
    /// First to last day.
    pub days: RangeInclusive<Day>,
    /// How many there are.
    pub size: u64,
    /// How many of them were active in the period itself, in the next one, and so on.
    pub active: Vec<u64>,
}

/// The bitmaps that the rows for some days need, of one tenant's members or of all.
#[derive(Debug)]
pub struct DaySets {
    days: RangeInclusive<Day>,
    book: Book,
    members: Option<RoaringBitmap>,
}

/// Who was active in some days, and who of them for the first time.
struct Active {
    all: RoaringBitmap,
    new: RoaringBitmap,
}

impl DaySets {
    pub(super) fn new(book: &Book, days: RangeInclusive<Day>, members: Option<RoaringBitmap>) -> Self {
        // A month back for `mau`, a whole period before the first for what was dormant.
        let active = days.start().plus(-2 * MONTH_DAYS - 2)..=days.end().plus(MONTH_DAYS + 1);
        let held = |days: &ByDay| days.range(..=active.end()).map(share).collect();
        let within = |days: &ByDay| days.range(active.clone()).map(share).collect();
        let book = Book {
            observed: within(&book.observed),
            estimated: within(&book.estimated),
            first: within(&book.first),
            first_observed: held(&book.first_observed),
            gone: held(&book.gone),
            back: held(&book.back),
        };
        Self { days, book, members }
    }

    /// A row for each day, in order.
    pub fn by_day(&self) -> Vec<DayRow> {
        let days: Vec<Day> = Day::each(self.days.clone()).collect();
        let Some(first) = days.first() else { return Vec::new() };
        let singles: Vec<_> =
            std::iter::once(first.plus(-1)).chain(days.iter().copied()).map(|day| day..=day).collect();
        let lifecycle = self.lifecycle(&singles);
        let (wau, mau) = (self.windows(&days, WEEK_DAYS), self.windows(&days, MONTH_DAYS));
        let rows = days.into_iter().zip(lifecycle).zip(wau.into_iter().zip(mau));
        rows.map(|((day, row), (wau, mau))| DayRow {
            day,
            dau: row.active,
            wau,
            mau,
            new: row.new,
            returning: row.returning,
            resurrected: row.resurrected,
            dormant: row.dormant,
        })
        .collect()
    }

    /// A row for each period that has one of the days, in order.
    pub fn by_period(&self, period: Period) -> Vec<PeriodRow> {
        let mut periods = period.covering(&self.days);
        if let Some(first) = periods.first() {
            periods.insert(0, period.around(first.start().plus(-1)));
        }
        self.lifecycle(&periods)
    }

    /// A cohort for each period that has one of the days, in order.
    pub fn cohorts(&self, period: Period) -> Vec<Cohort> {
        let periods = period.covering(&self.days);
        let mut standing = Standing::default();
        let mut cohorts: Vec<(Cohort, RoaringBitmap)> = Vec::with_capacity(periods.len());
        for days in periods {
            let Active { all, new } = self.active(&days, &mut standing);
            for (cohort, members) in &mut cohorts {
                cohort.active.push(members.intersection_len(&all));
            }
            cohorts.push((Cohort { days, size: new.len(), active: vec![new.len()] }, new));
        }
        cohorts.into_iter().map(|(cohort, _)| cohort).collect()
    }

    /// Rows for all of these neighbouring periods but the first, which they are compared with.
    fn lifecycle(&self, periods: &[RangeInclusive<Day>]) -> Vec<PeriodRow> {
        let mut standing = Standing::default();
        let mut rows = Vec::with_capacity(periods.len());
        let mut before: Option<RoaringBitmap> = None;
        for days in periods {
            let Active { all, new } = self.active(days, &mut standing);
            if let Some(before) = before {
                let active = all.len();
                let returning = all.intersection_len(&before);
                // Whom a clock that was set back shows first on the later date was there the day before.
                let new = new.len() - new.intersection_len(&before);
                rows.push(PeriodRow {
                    days: days.clone(),
                    active,
                    new,
                    returning,
                    resurrected: active - returning - new,
                    dormant: before.len() - returning,
                });
            }
            before = Some(all);
        }
        rows
    }

    /// Who was active in these days with membership as by the end of the last. Days must not go back from call to
    /// call with the same `standing`.
    fn active(&self, days: &RangeInclusive<Day>, standing: &mut Standing) -> Active {
        standing.forward(&self.book, *days.end(), self.members.as_ref());
        let mut all = union(self.clipped(&self.book.observed, days));
        let estimated = union(self.clipped(&self.book.estimated, days));
        if !estimated.is_empty() {
            all |= estimated - &standing.observed;
        }
        all -= &standing.deleted;
        let new = union(self.clipped(&self.book.first, days)) & &all;
        Active { all, new }
    }

    /// The bitmaps of some days, of the members that are wanted.
    fn clipped(&self, of: &ByDay, days: &RangeInclusive<Day>) -> Vec<RoaringBitmap> {
        if days.is_empty() {
            return Vec::new();
        }
        of.range(days.clone()).map(|(_, members)| self.clip(members)).collect()
    }

    fn clip(&self, members: &RoaringBitmap) -> RoaringBitmap {
        match &self.members {
            Some(wanted) => members & wanted,
            None => members.clone(),
        }
    }

    /// For each of these consecutive days, how many members were active in the `width` days that end with it.
    fn windows(&self, days: &[Day], width: i32) -> Vec<u64> {
        let (Some(first), Some(last)) = (days.first(), days.last()) else { return Vec::new() };
        let span = first.plus(1 - width)..=*last;
        let observed = Windows::over(self, &self.book.observed, &span, width);
        let estimated = Windows::over(self, &self.book.estimated, &span, width);
        let mut standing = Standing::default();
        let mut counts = Vec::with_capacity(days.len());
        for (at, day) in days.iter().enumerate() {
            standing.forward(&self.book, *day, self.members.as_ref());
            let deleted = Some(&standing.deleted).filter(|deleted| !deleted.is_empty());
            let mut count = observed.count(at, deleted);
            if !estimated.is_empty() {
                let mut guessed = estimated.union(at);
                guessed -= &standing.observed;
                guessed -= &standing.deleted;
                // Whoever was observed in the window was observed by its end.
                count += guessed.len();
            }
            counts.push(count);
        }
        counts
    }
}

/// What holds by the end of a day.
#[derive(Default)]
struct Standing {
    day: Option<Day>,
    deleted: RoaringBitmap,
    /// Members with an estimate that were observed.
    observed: RoaringBitmap,
}

impl Standing {
    /// Goes on to the end of `day`.
    fn forward(&mut self, book: &Book, day: Day, wanted: Option<&RoaringBitmap>) {
        if self.day.is_some_and(|reached| reached >= day) {
            return;
        }
        let after = self.day.map_or(Bound::Unbounded, Bound::Excluded);
        let passed = (after, Bound::Included(day));
        let clip = |members: &Arc<RoaringBitmap>| match wanted {
            Some(wanted) => Arc::new(&**members & wanted),
            None => Arc::clone(members),
        };
        // A member turns at most once a day, so within a day the order does not matter.
        let mut gone = book.gone.range(passed).peekable();
        let mut back = book.back.range(passed).peekable();
        loop {
            match (gone.peek(), back.peek()) {
                (Some((left, members)), other) if other.is_none_or(|(returned, _)| left <= returned) => {
                    self.deleted |= &*clip(members);
                    gone.next();
                }
                (_, Some((_, members))) => {
                    self.deleted -= &*clip(members);
                    back.next();
                }
                (_, None) => break,
            }
        }
        for (_, members) in book.first_observed.range(passed) {
            self.observed |= &*clip(members);
        }
        self.day = Some(day);
    }
}

/// Unions over a window that slides by a day: the days are cut into blocks as long as the window, so each window is the
/// end of one block and the beginning of the next, and both are unions that grow day by day.
struct Windows {
    /// The union of each day and those behind it in its block.
    to_block_end: Vec<RoaringBitmap>,
    /// The union of each day and those before it in its block.
    from_block_start: Vec<RoaringBitmap>,
    width: usize,
    is_empty: bool,
}

impl Windows {
    fn over(sets: &DaySets, of: &ByDay, span: &RangeInclusive<Day>, width: i32) -> Self {
        let width = usize::try_from(width).expect("a window has days");
        if of.range(span.clone()).next().is_none() {
            return Self { to_block_end: Vec::new(), from_block_start: Vec::new(), width, is_empty: true };
        }
        let days: Vec<RoaringBitmap> = Day::each(span.clone())
            .map(|day| of.get(&day).map_or_else(RoaringBitmap::new, |members| sets.clip(members)))
            .collect();
        let mut to_block_end = days.clone();
        for at in (0..days.len().saturating_sub(1)).rev() {
            if (at + 1) % width != 0 {
                let union = &to_block_end[at] | &to_block_end[at + 1];
                to_block_end[at] = union;
            }
        }
        let mut from_block_start = days;
        for at in 1..from_block_start.len() {
            if at % width != 0 {
                let union = &from_block_start[at - 1] | &from_block_start[at];
                from_block_start[at] = union;
            }
        }
        Self { to_block_end, from_block_start, width, is_empty: false }
    }

    fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Both parts of the window that begins with a day of the span.
    fn parts(&self, at: usize) -> (&RoaringBitmap, &RoaringBitmap) {
        (&self.to_block_end[at], &self.from_block_start[at + self.width - 1])
    }

    fn union(&self, at: usize) -> RoaringBitmap {
        let (end, start) = self.parts(at);
        end | start
    }

    /// Members in the window that begins with a day of the span, without those that are deleted.
    fn count(&self, at: usize, deleted: Option<&RoaringBitmap>) -> u64 {
        if self.is_empty {
            return 0;
        }
        let (end, start) = self.parts(at);
        let all = end.union_len(start);
        match deleted {
            Some(deleted) => all - (end & deleted).union_len(&(start & deleted)),
            None => all,
        }
    }
}

fn union(days: Vec<RoaringBitmap>) -> RoaringBitmap {
    days.into_iter().reduce(|all, day| all | day).unwrap_or_default()
}

fn share((day, members): (&Day, &Arc<RoaringBitmap>)) -> (Day, Arc<RoaringBitmap>) {
    (*day, Arc::clone(members))
}

//! From the bitmaps of days to the rows of a series and of cohorts. Works on what was taken out of the live days, so it
//! may take its time.

use std::borrow::Cow;
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{Book, ByDay, MONTH_DAYS, WEEK_DAYS};
use crate::beside::side_by_side;
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
    is_utc: bool,
    before: Option<Arc<Before>>,
}

/// Who was active on the days before one that its windows look back to: the same from question to question, while the day
/// itself goes on.
#[derive(Debug)]
pub struct Before {
    day: Day,
    week: RoaringBitmap,
    month: RoaringBitmap,
    /// By the end of the last of them.
    deleted: RoaringBitmap,
}

impl Before {
    /// The days that it is of.
    pub fn days(&self) -> RangeInclusive<Day> {
        self.day.plus(1 - MONTH_DAYS)..=self.day.plus(-1)
    }
}

/// Who was active in some days, and who of them for the first time.
struct Active<'a> {
    all: Cow<'a, RoaringBitmap>,
    new: Cow<'a, RoaringBitmap>,
}

impl DaySets {
    pub(super) fn new(
        book: &Book,
        is_utc: bool,
        days: RangeInclusive<Day>,
        members: Option<RoaringBitmap>,
    ) -> Self {
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
        Self { days, book, members, is_utc, before: None }
    }

    /// What was known of the days before, for one day and the same members: it has to be so still.
    pub fn set_before(&mut self, before: Arc<Before>) {
        self.before = Some(before).filter(|before| before.day == *self.days.end());
    }

    /// Whether that is known.
    pub fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// Puts together who was active on the days before the last one.
    pub fn before(&self) -> Arc<Before> {
        let day = *self.days.end();
        let back = |from: i32, to: i32| day.plus(-from)..=day.plus(-to);
        let week = self.union(&self.book.observed, &back(WEEK_DAYS - 1, 1)).into_owned();
        let month = &week | &*self.union(&self.book.observed, &back(MONTH_DAYS - 1, WEEK_DAYS));
        let mut standing = Standing::default();
        standing.deleted_by(&self.book, day.plus(-1), self.members.as_ref());
        Arc::new(Before { day, week, month, deleted: standing.deleted.1 })
    }

    /// A row for each day, in order.
    pub fn by_day(&self) -> Vec<DayRow> {
        let days: Vec<Day> = Day::each(self.days.clone()).collect();
        let Some(first) = days.first() else { return Vec::new() };
        let singles: Vec<_> =
            std::iter::once(first.plus(-1)).chain(days.iter().copied()).map(|day| day..=day).collect();
        let month = || self.windows(&days, MONTH_DAYS);
        let others = || (self.lifecycle(&singles), self.windows(&days, WEEK_DAYS));
        // Side by side, where it is worth a thread.
        let (mau, (lifecycle, wau)) =
            if days.len() > 1 { side_by_side(month, others) } else { (month(), others()) };
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
        let mut cohorts: Vec<(Cohort, Cow<'_, RoaringBitmap>)> = Vec::with_capacity(periods.len());
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
        let mut standing = periods.first().map(|first| self.standing(*first.end())).unwrap_or_default();
        let mut rows = Vec::with_capacity(periods.len());
        let mut before: Option<Cow<'_, RoaringBitmap>> = None;
        for days in periods {
            let Active { all, new } = self.active(days, &mut standing);
            if let Some(before) = before {
                let active = all.len();
                let returning = all.intersection_len(&before);
                // Whom a clock that was set back shows first on the later date was there the day before.
                let again = if self.is_utc { 0 } else { new.intersection_len(&before) };
                let new = new.len() - again;
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
    fn active(&self, days: &RangeInclusive<Day>, standing: &mut Standing) -> Active<'_> {
        let (end, wanted) = (*days.end(), self.members.as_ref());
        let mut all = self.union(&self.book.observed, days);
        let mut new = self.union(&self.book.first, days);
        let estimated = self.union(&self.book.estimated, days);
        if !estimated.is_empty() {
            *all.to_mut() |= &*estimated - standing.observed_by(&self.book, end, wanted);
            // Without estimates, whose first day it is was observed on it.
            *new.to_mut() &= &*all;
        }
        let deleted = standing.deleted_by(&self.book, end, wanted);
        if !deleted.is_empty() {
            *all.to_mut() -= deleted;
            *new.to_mut() -= deleted;
        }
        Active { all, new }
    }

    /// Who of the members that are wanted was there on one of the days.
    fn union<'a>(&'a self, of: &'a ByDay, days: &RangeInclusive<Day>) -> Cow<'a, RoaringBitmap> {
        if days.is_empty() {
            return Cow::Owned(RoaringBitmap::new());
        }
        let clipped = of.range(days.clone()).map(|(_, members)| self.clip(members));
        clipped.reduce(|all, day| Cow::Owned(all.into_owned() | &*day)).unwrap_or_default()
    }

    fn clip<'a>(&self, members: &'a RoaringBitmap) -> Cow<'a, RoaringBitmap> {
        clip(members, self.members.as_ref())
    }

    /// What is known already of what holds by the end of a day, or of one before it.
    fn standing(&self, day: Day) -> Standing {
        let known = self.before.as_ref().map(|before| (before.day.plus(-1), &before.deleted));
        let deleted = known.filter(|(known, _)| *known <= day);
        let deleted = deleted.map(|(known, deleted)| (Some(known), deleted.clone())).unwrap_or_default();
        Standing { deleted, ..Standing::default() }
    }

    /// For each of these consecutive days, how many members were active in the `width` days that end with it.
    fn windows(&self, days: &[Day], width: i32) -> Vec<u64> {
        let before = self.before.as_ref().filter(|_| days.len() == 1);
        let mut observed = match before {
            Some(before) => {
                let part = if width == WEEK_DAYS { &before.week } else { &before.month };
                Window::of_one_day(self, &self.book.observed, part)
            }
            None => Window::new(self, &self.book.observed, width),
        };
        let mut estimated = Window::new(self, &self.book.estimated, width);
        let mut standing = days.first().map(|first| self.standing(*first)).unwrap_or_default();
        let mut counts = Vec::with_capacity(days.len());
        let wanted = self.members.as_ref();
        for day in days {
            let deleted = standing.deleted_by(&self.book, *day, wanted);
            let mut count = observed.up_to(*day).count(deleted);
            let mut guessed = estimated.up_to(*day).union();
            guessed -= deleted;
            if !guessed.is_empty() {
                guessed -= standing.observed_by(&self.book, *day, wanted);
                // Whoever was observed in the window was observed by its end.
                count += guessed.len();
            }
            counts.push(count);
        }
        counts
    }
}

/// What holds by the end of a day. Goes on from day to day, and only where somebody asks: most days have no estimate in
/// reach, and then it does not matter who was observed by then.
#[derive(Default)]
struct Standing {
    deleted: (Option<Day>, RoaringBitmap),
    /// Members with an estimate that were observed.
    observed: (Option<Day>, RoaringBitmap),
}

/// The days behind those that were passed, up to `day`; none if that was passed.
fn passed(reached: &mut Option<Day>, day: Day) -> (Bound<Day>, Bound<Day>) {
    match *reached {
        Some(before) if before >= day => (Bound::Included(day), Bound::Excluded(day)),
        before => {
            *reached = Some(day);
            (before.map_or(Bound::Unbounded, Bound::Excluded), Bound::Included(day))
        }
    }
}

impl Standing {
    /// Who is deleted by the end of `day`, which is not before the last one that was asked about.
    fn deleted_by(&mut self, book: &Book, day: Day, wanted: Option<&RoaringBitmap>) -> &RoaringBitmap {
        let (reached, deleted) = &mut self.deleted;
        let passed = passed(reached, day);
        // A member turns at most once a day, so within a day the order does not matter.
        let mut gone = book.gone.range(passed).peekable();
        let mut back = book.back.range(passed).peekable();
        loop {
            match (gone.peek(), back.peek()) {
                (Some((left, members)), other) if other.is_none_or(|(returned, _)| left <= returned) => {
                    *deleted |= &*clip(members, wanted);
                    gone.next();
                }
                (_, Some((_, members))) => {
                    *deleted -= &*clip(members, wanted);
                    back.next();
                }
                (_, None) => return deleted,
            }
        }
    }

    /// Who of the members with an estimate was observed by the end of `day`, which is not before the last one that was asked
    /// about.
    fn observed_by(&mut self, book: &Book, day: Day, wanted: Option<&RoaringBitmap>) -> &RoaringBitmap {
        let (reached, observed) = &mut self.observed;
        for (_, members) in book.first_observed.range(passed(reached, day)) {
            *observed |= &*clip(members, wanted);
        }
        observed
    }
}

/// The union of the days of a window that slides by a day: days are cut into blocks as long as the window, so each window is
/// the end of one block and the beginning of the next, and both are unions that grow day by day.
struct Window<'a> {
    sets: &'a DaySets,
    of: &'a ByDay,
    width: i32,
    /// The last day of a block, and the unions of 0, 1, 2 .. days that end with it.
    ends: Option<(Day, Vec<RoaringBitmap>)>,
    /// In place of that, where there is one day only.
    before: Option<&'a RoaringBitmap>,
    /// The days behind that block, up to the window's end.
    begun: RoaringBitmap,
}

/// Both parts of a window.
struct Halves<'a>(&'a RoaringBitmap, &'a RoaringBitmap);

impl<'a> Window<'a> {
    fn new(sets: &'a DaySets, of: &'a ByDay, width: i32) -> Self {
        Self { sets, of, width, ends: None, before: None, begun: RoaringBitmap::new() }
    }

    /// For one day, `before` being the others of its window.
    fn of_one_day(sets: &'a DaySets, of: &'a ByDay, before: &'a RoaringBitmap) -> Self {
        Self { before: Some(before), ..Self::new(sets, of, 1) }
    }

    /// The window that ends with `day`: the next one in order, or the first.
    fn up_to(&mut self, day: Day) -> Halves<'_> {
        let behind = |ends: &(Day, Vec<RoaringBitmap>)| day.number() - ends.0.number();
        if self.ends.as_ref().is_none_or(|ends| behind(ends) > self.width) {
            let mut union = RoaringBitmap::new();
            let mut unions = vec![union.clone()];
            // All but one: that day is in no window with the day behind the block.
            for back in 1..self.width {
                if let Some(members) = self.of.get(&day.plus(-back)) {
                    union |= &*self.sets.clip(members);
                }
                unions.push(union.clone());
            }
            self.ends = Some((day.plus(-1), unions));
            self.begun = RoaringBitmap::new();
        }
        if let Some(members) = self.of.get(&day) {
            self.begun |= &*self.sets.clip(members);
        }
        if let Some(before) = self.before {
            return Halves(before, &self.begun);
        }
        let ends = self.ends.as_ref().expect("it was just made where there was none");
        let still_in = usize::try_from(self.width - behind(ends)).expect("not more than the window");
        Halves(&ends.1[still_in], &self.begun)
    }
}

impl Halves<'_> {
    fn union(&self) -> RoaringBitmap {
        self.0 | self.1
    }

    /// Members in the window without those that are deleted.
    fn count(&self, deleted: &RoaringBitmap) -> u64 {
        let all = self.0.union_len(self.1);
        if deleted.is_empty() {
            return all;
        }
        all - (self.0 & deleted).union_len(&(self.1 & deleted))
    }
}

/// Those members who are wanted; without `wanted`, all are.
fn clip<'a>(members: &'a RoaringBitmap, wanted: Option<&RoaringBitmap>) -> Cow<'a, RoaringBitmap> {
    match wanted {
        Some(wanted) => Cow::Owned(members & wanted),
        None => Cow::Borrowed(members),
    }
}

fn share((day, members): (&Day, &Arc<RoaringBitmap>)) -> (Day, Arc<RoaringBitmap>) {
    (*day, Arc::clone(members))
}

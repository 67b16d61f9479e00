//! From the bitmaps of days to the rows of a series and of cohorts.
//!
//! Works on what was taken out of the days, beside the fold, so it may take its time. Live days and scans end
//! here both: a number of a row has one definition.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::bitmaps::{ByDay, DayBitmaps};
use super::by_end::{ByEnd, DeletedByEnd, clip};
use super::sliding::SlidingWindow;
use crate::activity::only_estimated;
use crate::calendar::{Day, Period};
use crate::parallel::join;

/// The days of `mau`.
pub(crate) const MONTH_DAYS: i32 = 30;
/// The days of `wau`.
const WEEK_DAYS: i32 = 7;

/// Counts of the members active in a day or a longer period, with membership as by its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesRow {
    /// First to last day.
    pub days: RangeInclusive<Day>,
    /// Active in the period.
    pub active: u64,
    /// Active on the 7 days that end with it; `None` for periods longer than a day.
    pub wau: Option<u64>,
    /// Active on the 30 days that end with it; `None` for periods longer than a day.
    pub mau: Option<u64>,
    /// Active, the first time ever.
    pub new: u64,
    /// Active, and in the period before.
    pub returning: u64,
    /// Active, neither new nor in the period before.
    pub resurrected: u64,
    /// Active in the period before and not in this one.
    pub dormant: u64,
}

/// The members who were new in a period, and their activity later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cohort {
    /// First to last day.
    pub days: RangeInclusive<Day>,
    /// The number of members, which is `new` of the period's row.
    pub size: u64,
    /// The numbers of those active in the period itself, in the next one, and so on.
    pub active: Vec<u64>,
}

/// The bitmaps that the rows for some days need, of one tenant's members or of all.
#[derive(Debug)]
pub struct DaySets {
    days: RangeInclusive<Day>,
    bitmaps: DayBitmaps,
    members: Option<RoaringBitmap>,
    before: Option<Arc<Before>>,
}

/// The members active on the days before one that its windows look back to: the same from question to
/// question, while the day itself goes on.
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

/// The members active in some days, and those of them for the first time.
struct Active<'a> {
    all: Cow<'a, RoaringBitmap>,
    new: Cow<'a, RoaringBitmap>,
}

impl DaySets {
    pub(super) fn new(
        bitmaps: &DayBitmaps,
        days: RangeInclusive<Day>,
        members: Option<RoaringBitmap>,
    ) -> Self {
        // A month back for `mau`, a whole period before the first for what was dormant.
        let active = days.start().plus(-2 * MONTH_DAYS - 2)..=days.end().plus(MONTH_DAYS + 1);
        let held = |days: &ByDay| days.range(..=active.end()).map(share).collect();
        let within = |days: &ByDay| days.range(active.clone()).map(share).collect();
        let bitmaps = DayBitmaps {
            observed: within(&bitmaps.observed),
            estimated: within(&bitmaps.estimated),
            first: within(&bitmaps.first),
            estimates_void_from: held(&bitmaps.estimates_void_from),
            deleted_by_end: held(&bitmaps.deleted_by_end),
            restored_by_end: held(&bitmaps.restored_by_end),
        };
        Self { days, bitmaps, members, before: None }
    }

    /// Takes over what was put together of the days before, which has to hold still. A no-op if it is of
    /// another day than the last one.
    pub fn set_before(&mut self, before: Arc<Before>) {
        self.before = Some(before).filter(|before| before.day == *self.days.end());
    }

    /// True if [`set_before`](Self::set_before) gave these sets the days before the last one.
    pub fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// Puts the days before the last one together.
    pub fn before(&self) -> Arc<Before> {
        let day = *self.days.end();
        let back = |from: i32, to: i32| day.plus(-from)..=day.plus(-to);
        let week = self.union(&self.bitmaps.observed, &back(WEEK_DAYS - 1, 1)).into_owned();
        let month = &week | &*self.union(&self.bitmaps.observed, &back(MONTH_DAYS - 1, WEEK_DAYS));
        let mut deleted = DeletedByEnd::default();
        deleted.by(&self.bitmaps, day.plus(-1), self.members.as_ref());
        Arc::new(Before { day, week, month, deleted: deleted.into_members() })
    }

    /// Returns a row for each period that has one of the days, in order.
    pub fn rows(&self, period: Period) -> Vec<SeriesRow> {
        let mut periods = period.covering(&self.days);
        let Some(first) = periods.first() else { return Vec::new() };
        periods.insert(0, period.around(first.start().plus(-1)));
        match period {
            Period::Day => self.rows_by_day(&periods),
            Period::Week | Period::Month => self.lifecycle(&periods),
        }
    }

    /// Returns rows with windows for all of these consecutive days but the first.
    fn rows_by_day(&self, singles: &[RangeInclusive<Day>]) -> Vec<SeriesRow> {
        let days: Vec<Day> = singles.iter().skip(1).map(|single| *single.end()).collect();
        let month = || self.windows(&days, MONTH_DAYS);
        let others = || (self.lifecycle(singles), self.windows(&days, WEEK_DAYS));
        // One day is not worth a thread.
        let (mau, (mut rows, wau)) = if days.len() > 1 { join(month, others) } else { (month(), others()) };
        for (row, (wau, mau)) in rows.iter_mut().zip(wau.into_iter().zip(mau)) {
            (row.wau, row.mau) = (Some(wau), Some(mau));
        }
        rows
    }

    /// Returns a cohort for each period that has one of the days, in order.
    pub fn cohorts(&self, period: Period) -> Vec<Cohort> {
        let periods = period.covering(&self.days);
        let mut by_end = ByEnd::default();
        let mut cohorts: Vec<(Cohort, Cow<'_, RoaringBitmap>)> = Vec::with_capacity(periods.len());
        for days in periods {
            let Active { all, new } = self.active(&days, &mut by_end);
            for (cohort, members) in &mut cohorts {
                cohort.active.push(members.intersection_len(&all));
            }
            cohorts.push((Cohort { days, size: new.len(), active: vec![new.len()] }, new));
        }
        cohorts.into_iter().map(|(cohort, _)| cohort).collect()
    }

    /// Returns rows without windows for all of these neighbouring periods but the first, with which the
    /// second is compared.
    fn lifecycle(&self, periods: &[RangeInclusive<Day>]) -> Vec<SeriesRow> {
        let mut by_end = periods.first().map(|first| self.by_end(*first.end())).unwrap_or_default();
        let mut rows = Vec::with_capacity(periods.len());
        let mut before: Option<Cow<'_, RoaringBitmap>> = None;
        for days in periods {
            let Active { all, new } = self.active(days, &mut by_end);
            if let Some(before) = before {
                let (active, new, returning) = (all.len(), new.len(), all.intersection_len(&before));
                rows.push(SeriesRow {
                    days: days.clone(),
                    active,
                    wau: None,
                    mau: None,
                    new,
                    returning,
                    // Nobody is both: who is new was not active before.
                    resurrected: active - returning - new,
                    dormant: before.len() - returning,
                });
            }
            before = Some(all);
        }
        rows
    }

    /// Returns the members active in these days with membership as by the end of the last. Days must not go
    /// back from call to call with the same `by_end`.
    fn active(&self, days: &RangeInclusive<Day>, by_end: &mut ByEnd) -> Active<'_> {
        let (end, wanted) = (*days.end(), self.members.as_ref());
        let mut all = self.union(&self.bitmaps.observed, days);
        let mut new = self.union(&self.bitmaps.first, days);
        let deleted = by_end.deleted.by(&self.bitmaps, end, wanted);
        if !deleted.is_empty() {
            *all.to_mut() -= deleted;
            *new.to_mut() -= deleted;
        }
        let estimated = self.union(&self.bitmaps.estimated, days);
        if !estimated.is_empty() {
            *all.to_mut() |= only_estimated(estimated.into_owned(), deleted, || {
                by_end.observed.by(&self.bitmaps, end, wanted)
            });
            // Without estimates, each member's first day has an observation.
            *new.to_mut() &= &*all;
        }
        Active { all, new }
    }

    /// Returns the wanted members that are in one of the days.
    fn union<'a>(&'a self, of: &'a ByDay, days: &RangeInclusive<Day>) -> Cow<'a, RoaringBitmap> {
        if days.is_empty() {
            return Cow::Owned(RoaringBitmap::new());
        }
        let wanted = self.members.as_ref();
        let clipped = of.range(days.clone()).map(|(_, members)| clip(members, wanted));
        clipped.reduce(|all, day| Cow::Owned(all.into_owned() | &*day)).unwrap_or_default()
    }

    /// Begins with the deleted members of the days before, if those are not after `day`.
    fn by_end(&self, day: Day) -> ByEnd {
        let known = self.before.as_ref().filter(|before| before.day.plus(-1) <= day);
        let deleted =
            known.map(|known| DeletedByEnd::starting_with(known.day.plus(-1), known.deleted.clone()));
        ByEnd { deleted: deleted.unwrap_or_default(), ..ByEnd::default() }
    }

    /// Counts, for each of these consecutive days, the members active in the `width` days that end with it.
    fn windows(&self, days: &[Day], width: i32) -> Vec<u64> {
        let (bitmaps, wanted) = (&self.bitmaps, self.members.as_ref());
        let before = self.before.as_ref().filter(|_| days.len() == 1);
        let mut observed = match before {
            Some(before) => {
                let part = if width == WEEK_DAYS { &before.week } else { &before.month };
                SlidingWindow::of_one_day(&bitmaps.observed, wanted, part)
            }
            None => SlidingWindow::new(&bitmaps.observed, wanted, width),
        };
        let mut estimated = SlidingWindow::new(&bitmaps.estimated, wanted, width);
        let mut by_end = days.first().map(|first| self.by_end(*first)).unwrap_or_default();
        let mut counts = Vec::with_capacity(days.len());
        for day in days {
            let deleted = by_end.deleted.by(bitmaps, *day, wanted);
            let by_observation = observed.up_to(*day).count(deleted);
            let by_estimate = only_estimated(estimated.up_to(*day).union(), deleted, || {
                by_end.observed.by(bitmaps, *day, wanted)
            });
            counts.push(by_observation + by_estimate.len());
        }
        counts
    }
}

fn share((day, members): (&Day, &Arc<RoaringBitmap>)) -> (Day, Arc<RoaringBitmap>) {
    (*day, Arc::clone(members))
}

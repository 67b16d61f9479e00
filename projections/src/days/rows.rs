//! From the bitmaps of days to the rows of a series and of cohorts.
//!
//! Works on what was taken out of the days, beside the fold, so it may take its time. Live days and scans end
//! here both: a number of a row has one definition.

use std::borrow::Cow;
use std::ops::{RangeBounds, RangeInclusive};

use roaring::RoaringBitmap;

use super::bitmaps::ByDay;
use super::by_end::{ByEnd, Ever, clip};
use super::people::{InWindow, PersonDays, WindowOf, mixed, people};
use super::presence::PresenceBitmaps;
use super::sets::{DaySets, MONTH_DAYS, Periods, WEEK_DAYS, Window};
use super::sliding::SlidingWindow;
use super::totals::Totals;
use crate::activity::only_estimated;
use crate::calendar::{Day, Period};
use crate::parallel::join;
use crate::persons::PersonMap;

/// Counts of those active in a day or a longer period, with membership as by its end. They are members, or persons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesRow {
    /// First to last day.
    pub days: RangeInclusive<Day>,
    /// Active in the period.
    pub active: u64,
    /// Of the active ones, those whom no observation in the period makes active.
    pub estimated: u64,
    /// The windows that end with a day; `None` for periods longer than a day.
    pub windows: Option<Windows>,
    /// Active, the first time ever.
    pub new: u64,
    /// Active, and in the period before.
    pub returning: u64,
    /// Active, neither new nor in the period before.
    pub resurrected: u64,
    /// Active in the period before and not in this one.
    pub dormant: u64,
    /// Neither deleted nor left out, active or not.
    pub total: u64,
}

/// Counts of those active in the windows that end with a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Active on the 7 days that end with it.
    pub wau: u64,
    /// Active on the 30 days that end with it.
    pub mau: u64,
    /// Of those, whom no observation on these days makes active.
    pub mau_estimated: u64,
}

/// Those who were new in a period, and their activity later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cohort {
    /// First to last day.
    pub days: RangeInclusive<Day>,
    /// Their number, which is `new` of the period's row.
    pub size: u64,
    /// The numbers of those active in the period itself, in the next one, and so on.
    pub active: Vec<u64>,
}

/// Those active in some days.
pub(super) struct Active<'a> {
    pub(super) all: Cow<'a, RoaringBitmap>,
    estimated: u64,
}

impl DaySets {
    /// Returns a row for each of the periods, in order. Periods that are not over before `open` have the total of
    /// everything that is known.
    pub fn rows(&self, open: Day) -> Vec<SeriesRow> {
        let mut periods = self.periods.all();
        let Some(first) = periods.first() else { return Vec::new() };
        periods.insert(0, self.periods.period.around(first.start().plus(-1)));
        let mut rows = match self.periods.period {
            Period::Day => self.rows_by_day(&periods),
            Period::Week(_) | Period::Month | Period::Quarter | Period::Year => self.lifecycle(&periods),
        };
        let mut totals = Totals::new(self);
        for row in &mut rows {
            let end = *row.days.end();
            row.total = totals.by(if end < open { end } else { Day::new(i32::MAX) });
        }
        rows
    }

    /// Returns the number of the active in each of the periods, and nothing else of them.
    pub fn active_counts(&self) -> Vec<u64> {
        let mut by_end = ByEnd::default();
        self.periods.all().iter().map(|days| self.active(days, &mut by_end).all.len()).collect()
    }

    /// Returns rows with windows for all of these consecutive days but the first.
    fn rows_by_day(&self, singles: &[RangeInclusive<Day>]) -> Vec<SeriesRow> {
        let days: Vec<Day> = singles.iter().skip(1).map(|single| *single.end()).collect();
        let month = || self.windows(&days, MONTH_DAYS);
        let others = || (self.lifecycle(singles), self.windows(&days, WEEK_DAYS));
        // One day is not worth a thread.
        let (months, (mut rows, weeks)) =
            if days.len() > 1 { join(month, others) } else { (month(), others()) };
        for (row, (week, month)) in rows.iter_mut().zip(weeks.into_iter().zip(months)) {
            row.windows =
                Some(Windows { wau: week.active, mau: month.active, mau_estimated: month.estimated });
        }
        rows
    }

    /// Returns a cohort for each of the periods, in order.
    pub fn cohorts(&self) -> Vec<Cohort> {
        let periods = self.periods.all();
        let (mut by_end, mut ever) = (ByEnd::default(), Ever::default());
        let mut cohorts: Vec<(Cohort, RoaringBitmap)> = Vec::with_capacity(periods.len());
        for days in periods {
            let Active { all, .. } = self.active(&days, &mut by_end);
            let new = self.new_in(&days, &all, &mut ever);
            for (cohort, members) in &mut cohorts {
                cohort.active.push(members.intersection_len(&all));
            }
            cohorts.push((Cohort { days, size: new.len(), active: vec![new.len()] }, new));
        }
        cohorts.into_iter().map(|(cohort, _)| cohort).collect()
    }

    /// Returns rows without windows and totals for all of these neighbouring periods but the first, with which the
    /// second is compared.
    fn lifecycle(&self, periods: &[RangeInclusive<Day>]) -> Vec<SeriesRow> {
        let known = self.before.as_deref();
        let periods = if known.is_some() { periods.get(1..).unwrap_or_default() } else { periods };
        let mut before = known.map(|known| Cow::Borrowed(&known.active));
        let mut ever = known.map(|known| known.ever.clone()).unwrap_or_default();
        let first = periods.first().map(|first| *first.end());
        let mut by_end = first.map(|first| self.by_end(first)).unwrap_or_default();
        let mut rows = Vec::with_capacity(periods.len());
        for days in periods {
            let Active { all, estimated } = self.active(days, &mut by_end);
            if let Some(before) = before {
                let new = self.new_in(days, &all, &mut ever);
                let (active, new, returning) = (all.len(), new.len(), all.intersection_len(&before));
                rows.push(SeriesRow {
                    days: days.clone(),
                    active,
                    estimated,
                    windows: None,
                    new,
                    returning,
                    // Nobody is both: who is new was not active before.
                    resurrected: active - returning - new,
                    dormant: before.len() - returning,
                    total: 0,
                });
            }
            before = Some(all);
        }
        rows
    }

    /// Returns those active in these days with membership as by the end of the last. Days must not go back from call
    /// to call with the same `by_end`.
    pub(super) fn active(&self, days: &RangeInclusive<Day>, by_end: &mut ByEnd) -> Active<'_> {
        let (end, persons) = (*days.end(), self.wanted.persons.as_ref());
        let absent = by_end.absent.by(&self.presence, end, self.members());
        let mut observed = self.union(&self.activity.observed, days);
        if !absent.is_empty() {
            *observed.to_mut() -= absent;
        }
        let by_estimate =
            only_estimated(self.union(&self.activity.estimated, days).into_owned(), absent, || {
                by_end.observed.by(&self.activity.estimates_void_from, end, self.wanted.members.as_ref())
            });
        let observed = match persons {
            Some(persons) => self.observed_persons_in(days, (observed, absent), persons),
            None => observed,
        };
        if by_estimate.is_empty() {
            return Active { all: observed, estimated: 0 };
        }
        let all = &*observed | &*people(Cow::Owned(by_estimate), persons);
        let estimated = all.len() - observed.len();
        Active { all: Cow::Owned(all), estimated }
    }

    /// The persons observed on each day; on the only day that rows are for, where those before it were put together.
    fn person_days(&self, persons: &PersonMap) -> &PersonDays {
        let observed = &self.activity.observed;
        self.person_days.get_or_init(|| match self.before.as_deref() {
            Some(before) => {
                let of_day = observed.get(&before.day).map(|members| &**members);
                PersonDays::after(before, (of_day, &self.absent_on(before.day..=before.day)), persons)
            }
            None => PersonDays::of(observed, &mixed(&self.absent_on(..), persons), persons),
        })
    }

    /// The members that became absent on one of these days.
    pub(super) fn absent_on(&self, days: impl RangeBounds<Day> + Clone) -> RoaringBitmap {
        let PresenceBitmaps { deleted, left_out, .. } = &self.presence;
        let left_out = (!self.wanted.everyone).then_some(left_out);
        let all = [Some(deleted), left_out].into_iter().flatten().flat_map(|of| of.range(days.clone()));
        all.fold(RoaringBitmap::new(), |all, (_, members)| all | &**members)
    }

    /// The persons of `present`, the members observed in these days without the absent ones.
    fn observed_persons_in<'a>(
        &'a self,
        days: &RangeInclusive<Day>,
        (present, absent): (Cow<'a, RoaringBitmap>, &RoaringBitmap),
        persons: &PersonMap,
    ) -> Cow<'a, RoaringBitmap> {
        let Periods { days: all_days, period } = &self.periods;
        // Windows need the persons of each day as well; of one day alone they may be known.
        let is_found = *period == Period::Day
            && (all_days.start() < all_days.end()
                || self.before.as_ref().is_some_and(|before| before.day == *days.start()));
        if !is_found {
            return people(present, Some(persons));
        }
        let found = self.person_days(persons);
        let [whole, parts] = [&found.whole, &found.parts].map(|of| of.get(days.start()));
        let whole = whole.map(|whole| &**whole - absent).unwrap_or_default();
        let parts = parts.map(|parts| persons.persons_of(&(&**parts - absent))).unwrap_or_default();
        Cow::Owned(whole | parts)
    }

    /// Returns those of the `active` in these days who are so for the first time. Days must not go back from call to
    /// call with the same `ever`.
    fn new_in(&self, days: &RangeInclusive<Day>, active: &RoaringBitmap, ever: &mut Ever) -> RoaringBitmap {
        let first = self.union(&self.activity.first, days);
        match &self.wanted.persons {
            None => &*first & active,
            Some(persons) => {
                let before = ever.before(*days.start(), &self.activity.first, persons);
                (persons.persons_of(&first) & active) - before
            }
        }
    }

    /// Returns the wanted members that are in one of the days.
    pub(super) fn union<'a>(&'a self, of: &'a ByDay, days: &RangeInclusive<Day>) -> Cow<'a, RoaringBitmap> {
        if days.is_empty() {
            return Cow::Owned(RoaringBitmap::new());
        }
        let wanted = self.wanted.members.as_ref();
        let clipped = of.range(days.clone()).map(|(_, members)| clip(members, wanted));
        clipped.reduce(|all, day| Cow::Owned(all.into_owned() | &*day)).unwrap_or_default()
    }

    /// Counts, for each of these consecutive days, those active in the `width` days that end with it.
    fn windows(&self, days: &[Day], width: i32) -> Vec<InWindow> {
        let (activity, wanted) = (&self.activity, self.wanted.members.as_ref());
        let before = self.before.as_deref();
        let before = before.map(|before| if width == WEEK_DAYS { &before.week } else { &before.month });
        let [of_observed, of_estimated] =
            [before.map(|before| &before.observed), before.map(|before: &Window| &before.estimated)];
        let mut observed = match &self.wanted.persons {
            None => WindowOf::Members(SlidingWindow::of(&activity.observed, wanted, (width, of_observed))),
            Some(persons) => {
                let found = self.person_days(persons);
                let at = usize::from(width != WEEK_DAYS);
                let more = found.before.as_ref().map(|both| &both[at]);
                let of_window = more.or_else(|| before.and_then(|before| before.persons.as_ref()));
                let [of_whole, of_parts] = [of_window.map(|of| &of.whole), of_window.map(|of| &of.parts)];
                WindowOf::Persons {
                    whole: SlidingWindow::of(&found.whole, None, (width, of_whole)),
                    parts: SlidingWindow::of(&found.parts, None, (width, of_parts)),
                    persons,
                }
            }
        };
        let mut estimated = SlidingWindow::of(&activity.estimated, wanted, (width, of_estimated));
        let by_end = days.first().map(|first| self.by_end(*first)).unwrap_or_default();
        let ByEnd { mut absent, observed: mut by_end } = by_end;
        let mut counts = Vec::with_capacity(days.len());
        for day in days {
            let absent = absent.by(&self.presence, *day, self.members());
            let by_estimate = only_estimated(estimated.up_to(*day).union(), absent, || {
                by_end.by(&activity.estimates_void_from, *day, wanted)
            });
            counts.push(observed.count(*day, absent, &by_estimate));
        }
        counts
    }
}

//! From the bitmaps of days to the rows of a series and of cohorts.
//!
//! Works on what was taken out of the days, beside the fold, so it may take its time. Live days and scans end
//! here both: a number of a row has one definition.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::bitmaps::ByDay;
use super::by_end::{ByEnd, Ever, all_of, clip};
use super::people::{Growing, InWindow, PersonDays, WindowOf, people};
use super::presence::PresenceBitmaps;
use super::sets::{Before, DaySets, MONTH_DAYS, Periods, WEEK_DAYS, Window};
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
        let before = self.periods.period.around(first.start().plus(-1));
        let ends = periods.iter().map(|days| *days.end());
        let ends: Vec<Day> = ends.map(|end| if end < open { end } else { Day::new(i32::MAX) }).collect();
        periods.insert(0, before);
        let (mut rows, totals) = match self.periods.period {
            Period::Day => self.rows_by_day(&periods, &ends),
            Period::Week(_) | Period::Month | Period::Quarter | Period::Year => {
                (self.lifecycle(&periods), self.totals(&ends))
            }
        };
        for (row, total) in rows.iter_mut().zip(totals) {
            row.total = total;
        }
        rows
    }

    /// Returns the numbers of those who are present by the end of each of these days, in order.
    fn totals(&self, ends: &[Day]) -> Vec<u64> {
        let mut totals = Totals::new(self);
        ends.iter().map(|end| totals.by(*end)).collect()
    }

    /// Returns the number of the active in each of the periods, and nothing else of them.
    pub fn active_counts(&self) -> Vec<u64> {
        let mut by_end = ByEnd::default();
        self.periods.all().iter().map(|days| self.active(days, &mut by_end).all.len()).collect()
    }

    /// Returns rows with windows for all of these consecutive days but the first, and totals by the ends.
    fn rows_by_day(&self, singles: &[RangeInclusive<Day>], ends: &[Day]) -> (Vec<SeriesRow>, Vec<u64>) {
        let days: Vec<Day> = singles.iter().skip(1).map(|single| *single.end()).collect();
        let month = || (self.windows(&days, MONTH_DAYS), self.totals(ends));
        let others = || (self.lifecycle(singles), self.windows(&days, WEEK_DAYS));
        // One day is not worth a thread.
        let ((months, totals), (mut rows, weeks)) =
            if days.len() > 1 { join(month, others) } else { (month(), others()) };
        for (row, (week, month)) in rows.iter_mut().zip(weeks.into_iter().zip(months)) {
            row.windows =
                Some(Windows { wau: week.active, mau: month.active, mau_estimated: month.estimated });
        }
        (rows, totals)
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
        let observed = self.observed_in(days, absent);
        let by_estimate =
            only_estimated(self.union(&self.activity.estimated, days).into_owned(), absent, || {
                by_end.observed.by(&self.activity.estimates_void_from, end, self.wanted.members.as_ref())
            });
        if by_estimate.is_empty() {
            return Active { all: observed, estimated: 0 };
        }
        let all = &*observed | &*people(Cow::Owned(by_estimate), persons);
        let estimated = all.len() - observed.len();
        Active { all: Cow::Owned(all), estimated }
    }

    /// The persons observed on each day.
    fn person_days(&self, persons: &PersonMap) -> &PersonDays {
        self.person_days.get_or_init(|| {
            let PresenceBitmaps { deleted, left_out, .. } = &self.presence;
            let left_out = (!self.wanted.everyone).then_some(left_out);
            let absent = all_of([Some(deleted), left_out].into_iter().flatten(), ..);
            PersonDays::of(&self.activity.observed, &absent, persons)
        })
    }

    /// A window, as observed members and present persons, and the only day that rows are for.
    fn growing<'a>(
        &self,
        before: &Before,
        window: [&'a RoaringBitmap; 2],
        persons: &'a PersonMap,
    ) -> Growing<'a> {
        let none = || Arc::new(RoaringBitmap::new());
        let members = self.activity.observed.get(&before.day).cloned().unwrap_or_else(none);
        let found = before.of_day.of(&members, persons);
        let turned = all_of(self.presence.turns(), before.day..=before.day);
        Growing { before: window, of_day: [members, found], turned, persons }
    }

    /// Those observed in these days without the absent ones.
    fn observed_in<'a>(
        &'a self,
        days: &RangeInclusive<Day>,
        absent: &RoaringBitmap,
    ) -> Cow<'a, RoaringBitmap> {
        let members = || {
            let mut observed = self.union(&self.activity.observed, days);
            if !absent.is_empty() {
                *observed.to_mut() -= absent;
            }
            observed
        };
        let Some(persons) = &self.wanted.persons else { return members() };
        let Periods { days: all_days, period } = &self.periods;
        let (day, none) = (*days.start(), RoaringBitmap::new());
        match self.before.as_deref() {
            Some(before) if before.day == day => {
                Cow::Owned(self.growing(before, [&none; 2], persons).without(absent).all())
            }
            // Windows need the persons of each day as well.
            None if *period == Period::Day && all_days.start() < all_days.end() => {
                Cow::Owned(self.person_days(persons).present_on(day, absent, persons))
            }
            Some(_) | None => people(members(), Some(persons)),
        }
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
        let known =
            before.map(|before| (before, if width == WEEK_DAYS { &before.week } else { &before.month }));
        let of_persons = self.wanted.persons.as_ref().map(|persons| match known {
            Some((before, Window { observed, persons: Some(present), .. })) => {
                WindowOf::PersonsOfDay(self.growing(before, [observed, present], persons))
            }
            Some(_) | None => WindowOf::persons(self.person_days(persons), width, persons),
        });
        let mut observed = of_persons.unwrap_or_else(|| {
            let window = known.map(|(_, window)| &window.observed);
            WindowOf::Members(SlidingWindow::of(&activity.observed, wanted, (width, window)))
        });
        let window = known.map(|(_, window)| &window.estimated);
        let mut estimated = SlidingWindow::of(&activity.estimated, wanted, (width, window));
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

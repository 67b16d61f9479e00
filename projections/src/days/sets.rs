//! Everything that rows of some periods need, taken out of the days: bitmaps, shared with the fold that goes on.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use super::activity::{ActivityBitmaps, Reach};
use super::bitmaps::share;
use super::by_end::{ByEnd, Ever, PresentPersons};
use super::people::{LastPersons, PersonDays};
use super::presence::PresenceBitmaps;
use crate::calendar::{Day, Period};
use crate::persons::PersonMap;

/// The days of `mau`.
pub(crate) const MONTH_DAYS: i32 = 30;
/// The days of `wau`.
pub(super) const WEEK_DAYS: i32 = 7;

/// Whom rows are about.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The members of a tenant. `None`: all.
    pub(crate) members: Option<RoaringBitmap>,
    /// True if nobody is left out.
    pub(crate) everyone: bool,
    /// Rows count persons. `None`: members.
    pub(crate) persons: Option<PersonMap>,
}

/// The periods that have one of some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Periods {
    /// First to last day.
    pub days: RangeInclusive<Day>,
    /// The length of each period.
    pub period: Period,
}

impl Periods {
    /// All of them, in order.
    pub fn all(&self) -> Vec<RangeInclusive<Day>> {
        self.period.covering(&self.days)
    }

    /// The days whose activity their rows look at: windows look back a month, and the first period is compared with
    /// the one before.
    pub fn reach(&self) -> RangeInclusive<Day> {
        let first = self.period.around(*self.days.start());
        let before = self.period.around(first.start().plus(-1));
        let windows = match self.period {
            Period::Day => first.start().plus(1 - MONTH_DAYS),
            Period::Week(_) | Period::Month | Period::Quarter | Period::Year => *first.start(),
        };
        (*before.start()).min(windows)..=*self.period.around(*self.days.end()).end()
    }
}

/// The bitmaps that the rows of some periods need.
#[derive(Debug)]
pub struct DaySets {
    pub(super) periods: Periods,
    pub(super) activity: ActivityBitmaps,
    pub(super) presence: PresenceBitmaps,
    pub(super) wanted: Wanted,
    pub(super) before: Option<Arc<Before>>,
    /// Persons observed by day, once they were asked for.
    pub(super) person_days: OnceLock<PersonDays>,
}

/// Whoever was active on the days before one that its windows look back to: the same from question to question,
/// while the day itself goes on.
#[derive(Debug)]
pub struct Before {
    pub(super) day: Day,
    pub(super) week: Window,
    pub(super) month: Window,
    /// Those active on the last of them, by its end.
    pub(super) active: RoaringBitmap,
    /// By the end of the last of them.
    pub(super) by_end: ByEnd,
    /// Persons with activity before the day.
    pub(super) ever: Ever,
    /// Persons that are present by the end of the last of them, where rows are of persons.
    pub(super) present: Option<PresentPersons>,
    /// The persons observed on the day itself when they were last asked for.
    pub(super) of_day: LastPersons,
}

/// The members observed on some days, the persons of those present by their end where rows are of persons, and the members with
/// an estimate.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) observed: RoaringBitmap,
    pub(super) persons: Option<RoaringBitmap>,
    pub(super) estimated: RoaringBitmap,
}

impl Before {
    /// The days that it is of.
    pub fn days(&self) -> RangeInclusive<Day> {
        self.day.plus(1 - MONTH_DAYS)..=self.day.plus(-1)
    }
}

impl DaySets {
    /// `activity` shares the bitmaps of the days that rows look at.
    pub(crate) fn new(
        activity: impl FnOnce(&Reach) -> ActivityBitmaps,
        presence: &PresenceBitmaps,
        periods: &Periods,
        wanted: Wanted,
    ) -> Self {
        let reach = periods.reach();
        let first_from = match &wanted.persons {
            // A person is new where no membership was active before.
            Some(_) => Day::new(i32::MIN),
            None => *reach.start(),
        };
        let activity = activity(&Reach { first: first_from..=*reach.end(), activity: reach });
        let [exists, deleted, restored, left_out, taken_in] = presence.kinds().map(|days| share(days, ..));
        let presence = PresenceBitmaps { exists, deleted, restored, left_out, taken_in };
        Self {
            periods: periods.clone(),
            activity,
            presence,
            wanted,
            before: None,
            person_days: OnceLock::new(),
        }
    }

    /// Takes over what was put together of the days before, which has to hold still. A no-op unless rows are of that
    /// one day.
    pub fn set_before(&mut self, before: Arc<Before>) {
        let Periods { days, period } = &self.periods;
        let is_its_day = |before: &Arc<Before>| *days.start() == before.day && *days.end() == before.day;
        self.before = Some(before).filter(|before| *period == Period::Day && is_its_day(before));
        self.person_days = OnceLock::new();
    }

    /// True if [`set_before`](Self::set_before) gave these sets the days before the last one.
    pub fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// The members that are wanted, and whether those that are left out are as well.
    pub(super) fn members(&self) -> (Option<&RoaringBitmap>, bool) {
        (self.wanted.members.as_ref(), self.wanted.everyone)
    }

    /// Begins with the state by the end of the days before, if those are not after `day`.
    pub(super) fn by_end(&self, day: Day) -> ByEnd {
        let known = self.before.as_ref().filter(|before| before.day.plus(-1) <= day);
        known.map(|known| known.by_end.clone()).unwrap_or_default()
    }
}

//! The days before the running one, put together once for many questions.

use std::sync::Arc;

use super::activity::ActivityBitmaps;
use super::by_end::{ByEnd, Ever, PresentPersons};
use super::people::LastPersons;
use super::sets::{Before, DaySets, MONTH_DAYS, WEEK_DAYS, Window};

impl DaySets {
    /// Puts the days before the last one together.
    pub fn before(&self) -> Arc<Before> {
        let (day, last) = (*self.periods.days.end(), self.periods.days.end().plus(-1));
        let ActivityBitmaps { observed, estimated, first, estimates_void_from } = &self.activity;
        let persons = self.wanted.persons.as_ref();
        let mut by_end = ByEnd::default();
        let active = self.active(&(last..=last), &mut by_end).all.into_owned();
        by_end.observed.by(estimates_void_from, last, self.wanted.members.as_ref());
        let absent = by_end.absent.by(&self.presence, last, self.members()).clone();
        let window = |width: i32| {
            let days = day.plus(1 - width)..=last;
            let [observed, estimated] = [observed, estimated].map(|of| self.union(of, &days).into_owned());
            let persons = persons.map(|persons| persons.persons_of(&(&observed - &absent)));
            Window { observed, persons, estimated }
        };
        let (week, month) = (window(WEEK_DAYS), window(MONTH_DAYS));
        let mut ever = Ever::default();
        let present = persons.map(|persons| {
            ever.before(day, first, persons);
            let mut present = PresentPersons::default();
            present.by(&self.presence, last, (&absent, persons));
            present
        });
        let of_day = LastPersons::default();
        Arc::new(Before { day, week, month, active, by_end, ever, present, of_day })
    }
}

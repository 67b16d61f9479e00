//! Dates under a chart: few enough to be read, and the last one always.

use lastseen_projections::{Day, Period};

use super::draw::share_of;

/// The dates of a chart as its reader writes them.
pub(in crate::http::dashboard) struct Dates<'a> {
    /// A day of a year that is clear.
    pub(in crate::http::dashboard) short: &'a dyn Fn(Day) -> String,
    /// The label of the last day in place of its date, such as `Today`.
    pub(in crate::http::dashboard) last: Option<String>,
    /// True if the chart ends at an instant of the past.
    pub(in crate::http::dashboard) is_past: bool,
}

/// A place under the base line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) label: Option<String>,
    /// The side of the label that is at `x`, as a class.
    pub(super) anchor: &'static str,
    pub(super) is_monday: bool,
    /// True if nothing after it is drawn: it is the past.
    pub(super) is_end: bool,
}

/// The least distance between the middles of two labels.
const APART: f64 = 56.0;
/// So many days have a mark for each Monday.
const MONDAYS_MAX: usize = 120;
/// So few days have a label each.
const EACH_MAX: usize = 10;

impl Dates<'_> {
    /// The marks of days in order, of which each takes `band` pixels from `left` on.
    pub(super) fn marks(
        &self,
        days: impl Iterator<Item = Day>,
        (left, band): (f64, f64),
        width: f64,
    ) -> Vec<Mark> {
        let days: Vec<Day> = days.collect();
        let month = |day: Day| *Period::Month.around(day).start();
        // Points may be weeks: the first one of a month is labelled.
        let is_labelled = |at: usize, day: Day| {
            let begins = day == month(day) || (at > 0 && month(days[at - 1]) != month(day));
            let is_half = day == month(day).plus(14) && days.len() <= MONDAYS_MAX;
            begins || is_half || days.len() <= EACH_MAX
        };
        let are_days = days.windows(2).all(|pair| pair[1] == pair[0].plus(1));
        let is_monday =
            |day: Day| (day.number() + 3).rem_euclid(7) == 0 && are_days && days.len() <= MONDAYS_MAX;
        let place = |at: usize| left + (share_of(at, 1) + 0.5) * band;
        let end = days.len().saturating_sub(1);
        // A longer label ends where the chart does.
        let before_last =
            if self.last.as_ref().is_some_and(|label| label.len() > 12) { 2.7 * APART } else { APART };
        let mut marks = Vec::new();
        let mut free_from = f64::MIN;
        for (at, day) in days.iter().enumerate() {
            let x = place(at);
            let is_last = at == end;
            // The label of the last day has its place in any case.
            let fits = x >= free_from && (is_last || x + before_last <= place(end));
            let label = match &self.last {
                Some(last) if is_last => Some(last.clone()),
                _ => (fits && (is_labelled(at, *day) || is_last)).then(|| (self.short)(*day)),
            };
            if label.is_some() {
                free_from = x + APART;
            }
            let anchor = if x < left + APART / 2.0 {
                "start"
            } else if x > width - APART / 2.0
                || label.as_ref().is_some_and(|label| is_last && label.len() > 12)
            {
                "end"
            } else {
                "middle"
            };
            if label.is_some() || is_monday(*day) {
                let is_end = self.is_past && is_last;
                marks.push(Mark { x, label, anchor, is_monday: is_monday(*day), is_end });
            }
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(count: i32, width: f64) -> Vec<String> {
        let short = |day: Day| day.to_string();
        let dates = Dates { short: &short, last: Some("Today".to_owned()), is_past: false };
        let first: Day = "2026-08-29".parse().unwrap();
        let days = (0..count).map(|at| first.plus(at));
        let band = width / f64::from(count);
        let marks = dates.marks(days, (0.0, band), width);
        let labelled: Vec<&Mark> = marks.iter().filter(|mark| mark.label.is_some()).collect();
        for pair in labelled.windows(2) {
            assert!(pair[1].x - pair[0].x >= APART, "{marks:?}");
        }
        labelled.iter().filter_map(|mark| mark.label.clone()).collect()
    }

    #[test]
    fn months_begin_with_a_label_and_the_last_day_has_one() {
        assert_eq!(
            labels(90, 700.0),
            ["2026-09-01", "2026-09-15", "2026-10-01", "2026-10-15", "2026-11-01", "2026-11-15", "Today"]
        );
        assert_eq!(labels(90, 300.0), ["2026-09-01", "2026-10-01", "2026-11-01", "Today"]);
        assert_eq!(labels(1, 300.0), ["Today"]);
        assert_eq!(labels(0, 300.0), Vec::<String>::new());
        assert_eq!(labels(5, 600.0).len(), 5);
    }
}

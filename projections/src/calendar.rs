//! Days as a calendar shows them: UTC, or the wall clock of a time zone.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use lastseen_event::UtcInstant;

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// A date, as its number since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// The day with this number; 1970-01-01 is 0.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// Days since 1970-01-01.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The day this many days later; earlier if negative.
    #[must_use]
    pub const fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// The days of a range in order.
    pub fn each(days: RangeInclusive<Self>) -> impl Iterator<Item = Self> + Clone {
        let (first, last) = (days.start().0, days.end().0);
        // One more than `last`, unless there is no such day.
        (first..last.saturating_add(1)).map(Self)
    }

    fn of(date: NaiveDate) -> Self {
        Self(date.to_epoch_days())
    }

    /// The same date of a calendar; `None` beyond its years.
    fn date(self) -> Option<NaiveDate> {
        NaiveDate::from_epoch_days(self.0)
    }
}

/// `2026-01-31`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date() {
            Some(date) => date.fmt(f),
            None => write!(f, "day {}", self.0),
        }
    }
}

/// The text is not a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a date such as 2026-01-31")]
pub struct InvalidDay;

/// `2026-01-31`, four digits, two and two; years 1 to 9999.
impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let is_shaped = text.len() == "2026-01-31".len()
            && text.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let date =
            NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|date| is_shaped && date.year() > 0);
        date.map(Self::of).ok_or(InvalidDay)
    }
}

/// The length of a row of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Period {
    /// A calendar day.
    #[default]
    Day,
    /// Seven days from one that `WeekStart` names.
    Week(WeekStart),
    /// A calendar month.
    Month,
    /// Three calendar months from January, April, July or October.
    Quarter,
    /// A calendar year.
    Year,
}

/// The first day of a week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeekStart {
    /// ISO 8601.
    #[default]
    Monday,
    /// North America.
    Sunday,
}

impl Period {
    /// The period with this day in it, first to last day.
    pub fn around(self, day: Day) -> RangeInclusive<Day> {
        match self {
            Self::Day => day..=day,
            Self::Week(start) => {
                let first = match start {
                    WeekStart::Monday => -3, // 1969-12-29
                    WeekStart::Sunday => -4,
                };
                let first = day.plus(-(day.0.saturating_sub(first)).rem_euclid(7));
                first..=first.plus(6)
            }
            Self::Month => months_around(day, 1),
            Self::Quarter => months_around(day, 3),
            Self::Year => months_around(day, 12),
        }
    }

    /// Every period that has one of these days, in order.
    pub fn covering(self, days: &RangeInclusive<Day>) -> Vec<RangeInclusive<Day>> {
        let mut periods = Vec::new();
        let mut next = *days.start();
        while next <= *days.end() {
            let period = self.around(next);
            next = period.end().plus(1);
            periods.push(period);
        }
        periods
    }
}

/// The calendar months with this day in them, of the year cut into parts of so many.
fn months_around(day: Day, months: u32) -> RangeInclusive<Day> {
    let Some(date) = day.date() else { return day..=day };
    let first = date.with_day(1).and_then(|first| first.with_month0(date.month0() / months * months));
    let first = first.unwrap_or(date);
    let next = first.checked_add_months(Months::new(months));
    let last = next.and_then(|next| next.checked_sub_days(Days::new(1))).unwrap_or(date);
    Day::of(first)..=Day::of(last)
}

/// A stretch of time in which the zone's clock runs evenly.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// Its first microsecond, UTC.
    start_us: i64,
    /// The time by which the wall clock is ahead of UTC.
    ahead_us: i64,
    /// The least date that any later stretch begins with: clocks that are set back past midnight show a date
    /// again.
    least_later: Day,
}

/// The dates of instants.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// In order; the first has no beginning.
    stretches: Vec<Stretch>,
}

impl Calendar {
    /// The calendar of UTC.
    pub fn utc() -> Self {
        Self { stretches: vec![Stretch { start_us: i64::MIN, ahead_us: 0, least_later: Day(i32::MAX) }] }
    }

    /// The calendar of a time zone, exact from the year 1900 to the year 2100: what clocks will do later,
    /// nobody knows. Takes some milliseconds.
    pub fn of_zone(zone: Tz) -> Self {
        const FIRST: Day = Day(-25_567); // 1900-01-01
        const LAST: Day = Day(47_847); // 2101-01-01
        let ahead_us = |at_us: i64| {
            let at = DateTime::from_timestamp_micros(at_us).map_or(NaiveDateTime::MAX, |at| at.naive_utc());
            i64::from(zone.offset_from_utc_datetime(&at).fix().local_minus_utc()) * 1_000_000
        };
        let mut ahead = ahead_us(FIRST.start_us());
        let mut stretches = vec![Stretch { start_us: i64::MIN, ahead_us: ahead, least_later: Day(i32::MAX) }];
        // No zone changes its clock twice within a day.
        for day in Day::each(FIRST..=LAST) {
            let (mut before, mut behind) = (day.start_us(), day.plus(1).start_us());
            let was = std::mem::replace(&mut ahead, ahead_us(behind));
            if was == ahead {
                continue;
            }
            while behind - before > 1 {
                let middle = before + (behind - before) / 2;
                if ahead_us(middle) == was { before = middle } else { behind = middle }
            }
            stretches.push(Stretch { start_us: behind, ahead_us: ahead, least_later: Day(i32::MAX) });
        }
        let mut least = Day(i32::MAX);
        for stretch in stretches.iter_mut().rev() {
            stretch.least_later = least;
            least = least.min(date(stretch.start_us, stretch.ahead_us));
        }
        Self { stretches }
    }

    /// True if every instant has the same date as in UTC.
    pub fn is_utc(&self) -> bool {
        self.stretches.iter().all(|stretch| stretch.ahead_us == 0)
    }

    /// True if a clock is set back past midnight somewhere: an instant may then show an earlier date than one before it.
    pub(crate) fn repeats_dates(&self) -> bool {
        self.stretches.windows(2).any(|pair| {
            date(pair[1].start_us - 1, pair[0].ahead_us) > date(pair[1].start_us, pair[1].ahead_us)
        })
    }

    /// The date that a wall clock shows.
    pub fn date(&self, at: UtcInstant) -> Day {
        date(at.as_micros(), self.stretch(at).ahead_us)
    }

    /// The date of an instant, and the microseconds around it that show this date while the clock runs evenly.
    pub(crate) fn day_around(&self, at: UtcInstant) -> (Day, RangeInclusive<i64>) {
        let behind = self.stretches.partition_point(|stretch| stretch.start_us <= at.as_micros());
        let Stretch { start_us, ahead_us, .. } = self.stretches[behind.saturating_sub(1)];
        let day = date(at.as_micros(), ahead_us);
        let first = day.start_us().saturating_sub(ahead_us).max(start_us);
        let last = day.plus(1).start_us().saturating_sub(ahead_us).saturating_sub(1);
        let last = self.stretches.get(behind).map_or(last, |next| last.min(next.start_us - 1));
        (day, first..=last)
    }

    /// The first day that the instant is not after: its date, but where the clock is set back past midnight
    /// later and shows the date before once more.
    pub fn closed_by(&self, at: UtcInstant) -> Day {
        let stretch = self.stretch(at);
        date(at.as_micros(), stretch.ahead_us).min(stretch.least_later)
    }

    /// The last microsecond that shows this date or an earlier one.
    pub fn end(&self, day: Day) -> UtcInstant {
        let midnight_us = day.plus(1).start_us();
        let mut behind_us = i64::MAX;
        for stretch in self.stretches.iter().rev() {
            let end_us = midnight_us.saturating_sub(stretch.ahead_us).min(behind_us);
            if end_us > stretch.start_us {
                return UtcInstant::from_micros(end_us - 1);
            }
            behind_us = stretch.start_us;
        }
        UtcInstant::from_micros(i64::MIN)
    }

    /// The first microsecond that shows this date or a later one.
    pub fn start(&self, day: Day) -> UtcInstant {
        let midnight_us = day.start_us();
        let mut end_us = i64::MAX;
        let mut first = UtcInstant::from_micros(i64::MAX);
        for stretch in self.stretches.iter().rev() {
            let start_us = midnight_us.saturating_sub(stretch.ahead_us).max(stretch.start_us);
            if start_us < end_us {
                first = UtcInstant::from_micros(start_us);
            }
            end_us = stretch.start_us;
        }
        first
    }

    fn stretch(&self, at: UtcInstant) -> &Stretch {
        let [only] = self.stretches.as_slice() else {
            let behind = self.stretches.partition_point(|stretch| stretch.start_us <= at.as_micros());
            return &self.stretches[behind - 1];
        };
        only
    }
}

impl Day {
    /// The first microsecond of the day in UTC.
    fn start_us(self) -> i64 {
        i64::from(self.0) * DAY_US
    }
}

fn date(at_us: i64, ahead_us: i64) -> Day {
    let day = at_us.saturating_add(ahead_us).div_euclid(DAY_US);
    Day(i32::try_from(day).expect("64 bits of microseconds are fewer days"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn at(text: &str) -> UtcInstant {
        UtcInstant::parse(text).unwrap()
    }

    fn zone(name: &str) -> Calendar {
        Calendar::of_zone(name.parse().unwrap())
    }

    #[test]
    fn dates_are_written_one_way() {
        assert_eq!(day("1970-01-01"), Day::new(0));
        assert_eq!(day("2026-01-31").to_string(), "2026-01-31");
        for bad in
            ["", "2026-1-31", "2026-02-29", "26-01-31", "2026-01-31T00:00:00Z", "+026-01-31", "0000-01-01"]
        {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
    }

    #[test]
    fn weeks_begin_on_monday_and_months_have_their_length() {
        assert_eq!(
            Period::Week(WeekStart::Monday).around(day("2026-11-25")),
            day("2026-11-23")..=day("2026-11-29")
        );
        assert_eq!(
            Period::Week(WeekStart::Monday).around(day("1969-12-28")),
            day("1969-12-22")..=day("1969-12-28")
        );
        assert_eq!(Period::Month.around(day("2024-02-10")), day("2024-02-01")..=day("2024-02-29"));
        assert_eq!(
            Period::Week(WeekStart::Sunday).around(day("2026-11-22")),
            day("2026-11-22")..=day("2026-11-28")
        );
        assert_eq!(
            Period::Week(WeekStart::Sunday).around(day("1969-12-27")),
            day("1969-12-21")..=day("1969-12-27")
        );
        assert_eq!(Period::Quarter.around(day("2026-11-25")), day("2026-10-01")..=day("2026-12-31"));
        assert_eq!(Period::Quarter.around(day("2024-03-31")), day("2024-01-01")..=day("2024-03-31"));
        assert_eq!(Period::Year.around(day("2024-02-29")), day("2024-01-01")..=day("2024-12-31"));
        let months = Period::Month.covering(&(day("2025-12-31")..=day("2026-02-01")));
        assert_eq!(months.len(), 3);
        assert!(months.is_sorted_by_key(|month| *month.start()));
    }

    #[test]
    fn days_that_a_zone_makes_longer_shorter_or_leaves_out() {
        let berlin = zone("Europe/Berlin");
        assert_eq!(berlin.end(day("2026-03-28")), at("2026-03-28T22:59:59.999999Z"));
        assert_eq!(berlin.end(day("2026-03-29")), at("2026-03-29T21:59:59.999999Z"), "23 hours");
        assert_eq!(berlin.end(day("2026-10-25")), at("2026-10-25T22:59:59.999999Z"), "25 hours");
        assert_eq!(zone("Asia/Kolkata").date(at("2026-01-01T18:30:00Z")), day("2026-01-02"));
        assert_eq!(zone("Australia/Lord_Howe").end(day("2026-04-05")), at("2026-04-05T13:29:59.999999Z"));
        let apia = zone("Pacific/Apia");
        assert_eq!(apia.end(day("2011-12-29")), apia.end(day("2011-12-30")), "there was no such day");
        assert_eq!(apia.date(at("2011-12-30T10:00:00Z")), day("2011-12-31"));
        // 2006-10-29, one minute past midnight, back to 23:01.
        let st_johns = zone("America/St_Johns");
        let again = [at("2006-10-29T02:30:30Z"), at("2006-10-29T02:31:30Z")].map(|at| st_johns.date(at));
        assert_eq!(again, [day("2006-10-29"), day("2006-10-28")], "the day before comes back");
        assert_eq!(st_johns.closed_by(at("2006-10-29T02:30:30Z")), day("2006-10-28"));
    }

    proptest! {
        #[test]
        fn an_instant_is_shown_and_closed_as_the_zone_says(
            name in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
            second in 631_152_000_i64..1_830_000_000,
            micros in 0..1_000_000_i64,
        ) {
            let calendar = Calendar::of_zone(name);
            let at = UtcInstant::from_micros(second * 1_000_000 + micros);
            let shown = DateTime::from_timestamp(second, 0).unwrap().with_timezone(&name).date_naive();
            prop_assert_eq!(calendar.date(at).to_string(), shown.to_string());
            let closed_by = calendar.closed_by(at);
            prop_assert!(calendar.end(closed_by) >= at);
            prop_assert!(calendar.end(closed_by.plus(-1)) < at);
            prop_assert!(calendar.date(calendar.end(closed_by)) <= closed_by);
            let date = calendar.date(at);
            let (start, before) = (calendar.start(date), calendar.start(date).as_micros() - 1);
            prop_assert!(start <= at && calendar.date(start) >= date);
            prop_assert!(calendar.date(UtcInstant::from_micros(before)) < date);
        }
    }
}

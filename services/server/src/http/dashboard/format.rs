//! Numbers, dates and instants as the reader of a page writes them: by the language of the browser, in one zone.

use chrono::{Datelike, Offset, TimeZone, Timelike};
use chrono_tz::Tz;
use icu_calendar::{Date, Gregorian};
use icu_datetime::fieldsets::{MD, T, YM, YMD, YMDE, YMDT};
use icu_datetime::input::{DateTime, Time};
use icu_datetime::{DateTimeFormatterPreferences, FixedCalendarDateTimeFormatter, NoCalendarFormatter};
use icu_decimal::DecimalFormatter;
use icu_decimal::input::Decimal;
use icu_decimal::options::DecimalFormatterOptions;
use icu_locale_core::Locale;
use lastseen_event::UtcInstant;
use lastseen_projections::{Calendar, Day};

/// The minus of typography: as wide as a plus.
pub(super) const MINUS: char = '\u{2212}';

/// The way in which one reader writes.
pub(super) struct Format {
    zone: Tz,
    calendar: Calendar,
    number: DecimalFormatter,
    minute: FixedCalendarDateTimeFormatter<Gregorian, YMDT>,
    second: FixedCalendarDateTimeFormatter<Gregorian, YMDT>,
    date: FixedCalendarDateTimeFormatter<Gregorian, YMD>,
    weekday: FixedCalendarDateTimeFormatter<Gregorian, YMDE>,
    short: FixedCalendarDateTimeFormatter<Gregorian, MD>,
    month: FixedCalendarDateTimeFormatter<Gregorian, YM>,
    time_minute: NoCalendarFormatter<T>,
    time_second: NoCalendarFormatter<T>,
}

impl Format {
    /// The way of whoever has the first of these languages that can be written in; British English for nobody's.
    pub(super) fn new(accept_language: Option<&str>, zone: Tz) -> Self {
        let wanted = languages(accept_language.unwrap_or_default());
        let found = wanted.into_iter().find_map(|locale| Self::of(&locale, zone));
        let fallback = || Self::of(&icu_locale_core::locale!("en-GB"), zone);
        found.or_else(fallback).expect("the data of British English is built in")
    }

    fn of(locale: &Locale, zone: Tz) -> Option<Self> {
        let dates = || DateTimeFormatterPreferences::from(locale);
        Some(Self {
            zone,
            calendar: Calendar::of_zone(zone),
            number: DecimalFormatter::try_new(locale.into(), DecimalFormatterOptions::default()).ok()?,
            minute: FixedCalendarDateTimeFormatter::try_new(dates(), YMD::medium().with_time_hm()).ok()?,
            second: FixedCalendarDateTimeFormatter::try_new(dates(), YMD::medium().with_time_hms()).ok()?,
            date: FixedCalendarDateTimeFormatter::try_new(dates(), YMD::medium()).ok()?,
            weekday: FixedCalendarDateTimeFormatter::try_new(dates(), YMDE::medium()).ok()?,
            short: FixedCalendarDateTimeFormatter::try_new(dates(), MD::medium()).ok()?,
            month: FixedCalendarDateTimeFormatter::try_new(dates(), YM::medium()).ok()?,
            time_minute: NoCalendarFormatter::try_new(dates(), T::hm()).ok()?,
            time_second: NoCalendarFormatter::try_new(dates(), T::hms()).ok()?,
        })
    }

    pub(super) fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// `10,756`.
    pub(super) fn number(&self, value: impl Into<i128>) -> String {
        self.decimal(value.into(), 0)
    }

    /// `+270`, `−63`, `0`.
    pub(super) fn signed(&self, value: impl Into<i128>) -> String {
        let value = value.into();
        let sign = if value > 0 { "+" } else { "" };
        format!("{sign}{}", self.number(value))
    }

    /// The share as per cent with one decimal: `35.9%`.
    pub(super) fn percent(&self, part: impl Into<i128>, whole: impl Into<i128>) -> String {
        format!("{}%", self.decimal(rounded(part.into() * 1_000, whole.into()), 1))
    }

    /// The same from a ratio.
    pub(super) fn percent_of(&self, ratio: f64) -> String {
        format!("{}%", self.decimal(in_steps(ratio * 1_000.0), 1))
    }

    fn decimal(&self, value: i128, decimals: i16) -> String {
        let mut decimal = Decimal::from(value);
        decimal.multiply_pow10(-decimals);
        self.number.format(&decimal).to_string().replace('-', &MINUS.to_string())
    }

    /// `26 Nov 2026, 19:40`.
    pub(super) fn minute(&self, at: UtcInstant) -> String {
        self.local(at).map_or_else(|| at.to_string(), |local| self.minute.format(&local).to_string())
    }

    /// `26 Nov 2026, 19:40:05`.
    pub(super) fn second(&self, at: UtcInstant) -> String {
        self.local(at).map_or_else(|| at.to_string(), |local| self.second.format(&local).to_string())
    }

    /// `19:40`.
    pub(super) fn time(&self, at: UtcInstant) -> String {
        self.local(at)
            .map_or_else(|| at.to_string(), |local| self.time_minute.format(&local.time).to_string())
    }

    /// `19:40:05`.
    pub(super) fn time_second(&self, at: UtcInstant) -> String {
        self.local(at)
            .map_or_else(|| at.to_string(), |local| self.time_second.format(&local.time).to_string())
    }

    /// `26 Nov 2026`.
    pub(super) fn date(&self, day: Day) -> String {
        date_of(day).map_or_else(|| day.to_string(), |date| self.date.format(&date).to_string())
    }

    /// `Thu, 26 Nov 2026`.
    pub(super) fn weekday(&self, day: Day) -> String {
        date_of(day).map_or_else(|| day.to_string(), |date| self.weekday.format(&date).to_string())
    }

    /// `26 Nov`.
    pub(super) fn short(&self, day: Day) -> String {
        date_of(day).map_or_else(|| day.to_string(), |date| self.short.format(&date).to_string())
    }

    /// `Nov 2026`.
    pub(super) fn month(&self, day: Day) -> String {
        date_of(day).map_or_else(|| day.to_string(), |date| self.month.format(&date).to_string())
    }

    /// The date that the zone shows at an instant.
    pub(super) fn day(&self, at: UtcInstant) -> Day {
        self.calendar.date(at)
    }

    /// The date and the time of the zone as a field of a form has them: `2026-11-26T19:40:05`.
    pub(super) fn field(&self, at: UtcInstant) -> String {
        let local = self.zone.timestamp_micros(at.as_micros()).single();
        local.map_or_else(String::new, |local| local.format("%Y-%m-%dT%H:%M:%S").to_string())
    }

    /// The time since `at`, in its largest unit; `None` for what is to come.
    pub(super) fn ago(&self, at: UtcInstant, now: UtcInstant) -> Option<String> {
        let seconds = u64::try_from(now.as_micros().saturating_sub(at.as_micros())).ok()? / 1_000_000;
        let text = match seconds {
            0..60 => format!("{} s ago", self.number(seconds)),
            60..3_600 => format!("{} min ago", self.number(seconds / 60)),
            3_600..86_400 => format!("{} h ago", self.number(seconds / 3_600)),
            86_400.. => format!("{} d ago", self.number(seconds / 86_400)),
        };
        Some(text)
    }

    fn local(&self, at: UtcInstant) -> Option<DateTime<Gregorian>> {
        let local = self.zone.timestamp_micros(at.as_micros()).single()?;
        let (month, day) = (u8::try_from(local.month()).ok()?, u8::try_from(local.day()).ok()?);
        let date = Date::try_new_gregorian(local.year(), month, day).ok()?;
        let [hour, minute, second] =
            [local.hour(), local.minute(), local.second()].map(|part| u8::try_from(part).unwrap_or(0));
        Some(DateTime { date, time: Time::try_new(hour, minute, second, 0).ok()? })
    }
}

/// The instant at which the clocks of a zone show a date and a time, the earlier one where they do twice; where they never do,
/// the first instant after.
pub(super) fn instant_of(local: chrono::NaiveDateTime, zone: Tz) -> UtcInstant {
    let micros = match zone.from_local_datetime(&local) {
        chrono::LocalResult::Single(at) | chrono::LocalResult::Ambiguous(at, _) => at.timestamp_micros(),
        chrono::LocalResult::None => {
            let before = zone.from_utc_datetime(&(local - chrono::Duration::days(1))).offset().fix();
            (local - before).and_utc().timestamp_micros()
        }
    };
    UtcInstant::from_micros(micros)
}

/// The languages of `Accept-Language`, the most wanted first.
fn languages(accepted: &str) -> Vec<Locale> {
    /// More than any browser sends.
    const TRIED_MAX: usize = 16;
    let weighed = accepted.split(',').take(TRIED_MAX).filter_map(|one| {
        let (tag, weight) = one.split_once(';').unwrap_or((one, "q=1"));
        let weight: f32 = weight.trim().strip_prefix("q=")?.trim().parse().ok()?;
        Some((tag.trim().parse::<Locale>().ok()?, weight))
    });
    let mut weighed: Vec<(Locale, f32)> = weighed.filter(|(_, weight)| *weight > 0.0).collect();
    weighed.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    weighed.into_iter().map(|(locale, _)| locale).collect()
}

fn date_of(day: Day) -> Option<Date<Gregorian>> {
    let date = chrono::NaiveDate::from_epoch_days(day.number())?;
    let (month, day) = (u8::try_from(date.month()).ok()?, u8::try_from(date.day()).ok()?);
    Date::try_new_gregorian(date.year(), month, day).ok()
}

/// `part` divided by `whole`, to the nearest integer; halves go up. 0 of nothing.
fn rounded(part: i128, whole: i128) -> i128 {
    if whole == 0 { 0 } else { (2 * part + whole).div_euclid(2 * whole) }
}

#[expect(clippy::cast_possible_truncation, reason = "a number that people read")]
fn in_steps(value: f64) -> i128 {
    value.round() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(languages: &str, zone: &str) -> Format {
        Format::new(Some(languages), zone.parse().unwrap())
    }

    /// Without the narrow and the fixed spaces that some languages have.
    fn plain(text: &str) -> String {
        text.replace(['\u{a0}', '\u{202f}'], " ")
    }

    #[test]
    fn numbers_and_dates_are_those_of_the_language() {
        let at = UtcInstant::parse("2026-11-26T18:40:05Z").unwrap();
        for (languages, number, percent, minute, short) in [
            ("en-GB", "10,756", "35.9%", "26 Nov 2026, 19:40", "1 Oct"),
            ("en-US,en;q=0.9", "10,756", "35.9%", "Nov 26, 2026, 7:40 PM", "Oct 1"),
            ("de-DE", "10.756", "35,9%", "26.11.2026, 19:40", "1. Okt."),
            ("xx;q=0.1,fr;q=0.8,en;q=0.2", "10 756", "35,9%", "26 nov. 2026, 19:40", "1 oct."),
            ("", "10,756", "35.9%", "26 Nov 2026, 19:40", "1 Oct"),
            ("*, ;;q=x", "10,756", "35.9%", "26 Nov 2026, 19:40", "1 Oct"),
        ] {
            let format = format(languages, "Europe/Berlin");
            assert_eq!(plain(&format.number(10_756_u64)), number, "{languages}");
            assert_eq!(plain(&format.percent(359_u64, 1_000_u64)), percent, "{languages}");
            assert_eq!(plain(&format.minute(at)), minute, "{languages}");
            assert_eq!(plain(&format.short("2026-10-01".parse().unwrap())), short, "{languages}");
        }
    }

    #[test]
    fn signs_are_those_of_typography() {
        let format = format("en-GB", "UTC");
        assert_eq!([format.signed(270), format.signed(-63), format.signed(0)], ["+270", "\u{2212}63", "0"]);
        assert_eq!([format.percent(1, 8), format.percent(-1, 8)], ["12.5%", "\u{2212}12.5%"]);
        assert_eq!([format.percent(1, 0), format.percent_of(0.35949)], ["0.0%", "35.9%"]);
    }

    #[test]
    fn the_time_since_has_one_unit() {
        let format = format("en-GB", "UTC");
        let now = UtcInstant::parse("2026-11-26T18:40:00Z").unwrap();
        for (at, text) in [
            ("2026-11-26T18:39:39Z", Some("21 s ago")),
            ("2026-11-26T18:38:01Z", Some("1 min ago")),
            ("2026-11-25T18:40:01Z", Some("23 h ago")),
            ("2026-10-23T17:50:33Z", Some("34 d ago")),
            ("2026-11-26T18:40:01Z", None),
        ] {
            assert_eq!(format.ago(UtcInstant::parse(at).unwrap(), now).as_deref(), text);
        }
    }

    #[test]
    fn a_time_of_the_clocks_is_an_instant_also_where_they_jump() {
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        for (local, at) in [
            ("2026-07-14T16:30:00", "2026-07-14T14:30:00Z"),
            // Twice: the earlier.
            ("2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
            // Never: as if the clocks had not jumped.
            ("2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
        ] {
            assert_eq!(instant_of(local.parse().unwrap(), berlin), UtcInstant::parse(at).unwrap(), "{local}");
        }
    }
}

//! Instants as tables write them: RFC 3339, what databases print for a timestamp, dates alone, and numbers where it is said what
//! they count.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _};
use chrono_tz::Tz;
use lastseen_event::UtcInstant;

const DATE_LEN: usize = "2026-01-06".len();

/// The forms that are read, for messages.
const EXPECTED: &str = "expected an instant such as 2026-01-06T16:00:00Z or 2026-01-06 16:00:00+00";
const EXPECTED_NUMBER: &str = "expected an instant such as 2026-01-06T16:00:00Z; of a number, --instants epoch-s or epoch-ms says \
                               what it counts";

/// The unit of a number that is an instant: since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Epoch {
    /// Seconds, with or without a fraction
    EpochS,
    /// Milliseconds, with or without a fraction
    EpochMs,
}

/// The way to read the instants of a table.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// The zone of instants without an offset.
    pub(crate) zone: Tz,
    /// `None`: a number is no instant.
    pub(crate) numbers: Option<Epoch>,
    /// More texts that stand for null.
    pub(crate) nulls: Vec<String>,
    /// True if a date alone, where it is that of an observation, is its last instant; else it is none.
    pub(crate) dates_are_days: bool,
}

/// The form of an instant, where it says less than an instant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    /// Without an offset: it is of the zone.
    Local,
    /// Without an offset, and the clocks of the zone showed it twice: it is the first time.
    LocalTwice,
    Date,
}

impl Reading {
    /// Reads an instant; a date alone is its first one.
    ///
    /// # Errors
    /// The expected form.
    pub(crate) fn parse(&self, text: &str) -> Result<(UtcInstant, Form), &'static str> {
        if let Ok(at) = UtcInstant::parse(text) {
            return Ok((at, Form::Whole));
        }
        if is_number(text) {
            let unit = self.numbers.ok_or(EXPECTED_NUMBER)?;
            return Ok((of_number(text, unit).ok_or(EXPECTED)?, Form::Whole));
        }
        if let Some(text) = text.strip_suffix(" UTC") {
            let form = self.parse(&format!("{text}Z"))?;
            return if form.1 == Form::Whole { Ok(form) } else { Err(EXPECTED) };
        }
        if let Some(date) = in_words(text) {
            return Ok((self.first_instant(date).ok_or(EXPECTED)?, Form::Date));
        }
        let (date, rest) = text.split_at_checked(DATE_LEN).ok_or(EXPECTED)?;
        let date = match date.as_bytes() {
            [.., b'/', _, _, b'/', _, _] => date.replace('/', "-"),
            _ => date.to_owned(),
        };
        if rest.is_empty() {
            let date = date.parse().map_err(|_| EXPECTED)?;
            return Ok((self.first_instant(date).ok_or(EXPECTED)?, Form::Date));
        }
        let time = rest.strip_prefix(['T', 't', ' ']).ok_or(EXPECTED)?;
        let offset = time.find(['+', '-', 'Z', 'z']).unwrap_or(time.len());
        let (time, offset) = time.split_at(offset);
        // Some put a space between the two.
        let time = if offset.is_empty() { time } else { time.strip_suffix(' ').unwrap_or(time) };
        let utc = |offset: &str| UtcInstant::parse(&format!("{date}T{time}{offset}")).map_err(|_| EXPECTED);
        let offset = match offset.len() {
            0 => return self.local(utc("Z")?),
            3 => format!("{offset}:00"),
            5 => format!("{}:{}", offset.get(..3).ok_or(EXPECTED)?, offset.get(3..).ok_or(EXPECTED)?),
            _ => offset.to_owned(),
        };
        Ok((utc(&offset)?, Form::Whole))
    }

    /// The last instant of the day that shows the date of an instant.
    pub(crate) fn last_instant(&self, first: UtcInstant) -> UtcInstant {
        let local = naive(first).map(|utc| utc + self.zone.offset_from_utc_datetime(&utc).fix());
        let next = local.and_then(|local| self.first_instant(local.date().succ_opt()?));
        next.map_or(first, |next| UtcInstant::from_micros(next.as_micros() - 1))
    }

    /// The instant at which clocks of the zone first show a date.
    fn first_instant(&self, date: NaiveDate) -> Option<UtcInstant> {
        let midnight = date.and_hms_opt(0, 0, 0)?;
        // Where midnight does not exist, the day begins a quarter of an hour or more later.
        (0..=24 * 4)
            .filter_map(|quarters| midnight.checked_add_signed(TimeDelta::minutes(15 * quarters)))
            .find_map(|local| self.zone.from_local_datetime(&local).earliest())
            .map(|at| UtcInstant::from_micros(at.timestamp_micros()))
    }

    /// The instant at which clocks of the zone show what clocks of UTC show at `shown`.
    fn local(&self, shown: UtcInstant) -> Result<(UtcInstant, Form), &'static str> {
        if self.zone == Tz::UTC {
            return Ok((shown, Form::Local));
        }
        let local = naive(shown).ok_or(EXPECTED)?;
        let micros = |at: DateTime<Tz>| UtcInstant::from_micros(at.timestamp_micros());
        match self.zone.from_local_datetime(&local) {
            chrono::LocalResult::Single(at) => Ok((micros(at), Form::Local)),
            chrono::LocalResult::Ambiguous(at, _) => Ok((micros(at), Form::LocalTwice)),
            chrono::LocalResult::None => Err("expected an instant that the clocks of --tz show"),
        }
    }
}

fn naive(at: UtcInstant) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(at.as_micros()).map(|at| at.naive_utc())
}

/// Reads `Jan 6, 2026` and `January 6, 2026`, which only dates in English are.
fn in_words(text: &str) -> Option<NaiveDate> {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (month, rest) = text.split_once(' ')?;
    let (day, year) = rest.split_once(", ")?;
    let at = MONTHS.iter().position(|name| month == *name || month == &name[..3])?;
    let is_year = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    let is_day = day.len() <= 2 && day.bytes().all(|byte| byte.is_ascii_digit());
    let (year, day) = (year.parse().ok().filter(|_| is_year)?, day.parse().ok().filter(|_| is_day)?);
    NaiveDate::from_ymd_opt(year, u32::try_from(at).ok()? + 1, day)
}

/// True for digits, with or without a sign and a fraction.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits(whole) && is_digits(fraction)
}

/// The instant of a number, to the microsecond below it. `None`: it is out of range.
fn of_number(text: &str, unit: Epoch) -> Option<UtcInstant> {
    let digits = match unit {
        Epoch::EpochS => 6,
        Epoch::EpochMs => 3,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    let scaled = fraction.bytes().chain(std::iter::repeat(b'0')).take(digits);
    let fraction = scaled.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let fraction = if text.starts_with('-') { -fraction } else { fraction };
    let unit = 10_i64.pow(u32::try_from(digits).ok()?);
    whole.checked_mul(unit)?.checked_add(fraction).map(UtcInstant::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc() -> Reading {
        Reading { zone: Tz::UTC, numbers: None, nulls: Vec::new(), dates_are_days: false }
    }

    fn parse(text: &str) -> Result<(UtcInstant, Form), &'static str> {
        utc().parse(text)
    }

    fn at(text: &str) -> UtcInstant {
        UtcInstant::parse(text).unwrap()
    }

    #[test]
    fn what_databases_print_is_read() {
        for (text, form) in [
            ("2026-01-06T16:00:00Z", Form::Whole),
            ("2026-01-06 16:00:00", Form::Local),
            ("2026-01-06T16:00:00", Form::Local),
            ("2026-01-06 16:00:00.000000", Form::Local),
            ("2026/01/06 16:00:00", Form::Local),
            ("2026-01-06 16:00:00+00", Form::Whole),
            ("2026-01-06 17:30:00+0130", Form::Whole),
            ("2026-01-06 17:30:00.000+01:30", Form::Whole),
            ("2026-01-06 08:00:00-08", Form::Whole),
            ("2026-01-06 16:00:00Z", Form::Whole),
            ("2026-01-06 16:00:00 UTC", Form::Whole),
            ("2026-01-06 16:00:00 +0000", Form::Whole),
            ("2026-01-06 17:30:00.0000000 +01:30", Form::Whole),
        ] {
            assert_eq!(parse(text), Ok((at("2026-01-06T16:00:00Z"), form)), "{text}");
        }
    }

    #[test]
    fn a_date_is_its_first_instant_and_has_a_last_one() {
        let first = at("2026-01-06T00:00:00Z");
        for text in ["2026-01-06", "2026/01/06", "Jan 6, 2026", "January 06, 2026"] {
            assert_eq!(parse(text), Ok((first, Form::Date)), "{text}");
        }
        assert_eq!(utc().last_instant(first), at("2026-01-06T23:59:59.999999Z"));
        let berlin = Reading { zone: Tz::Europe__Berlin, ..utc() };
        let (first, _) = berlin.parse("2026-03-29").unwrap();
        assert_eq!(first, at("2026-03-28T23:00:00Z"));
        assert_eq!(berlin.last_instant(first), at("2026-03-29T21:59:59.999999Z"), "a day of 23 hours");
        // Its clocks skip midnight.
        let beirut = Reading { zone: Tz::Asia__Beirut, ..utc() };
        assert_eq!(beirut.parse("2024-03-31"), Ok((at("2024-03-30T22:00:00Z"), Form::Date)));
    }

    #[test]
    fn an_instant_without_an_offset_is_of_the_zone() {
        let berlin = Reading { zone: Tz::Europe__Berlin, ..utc() };
        assert_eq!(berlin.parse("2026-07-06 16:00:00"), Ok((at("2026-07-06T14:00:00Z"), Form::Local)));
        assert_eq!(berlin.parse("2026-07-06 16:00:00Z"), Ok((at("2026-07-06T16:00:00Z"), Form::Whole)));
        assert_eq!(berlin.parse("2025-10-26 02:30:00"), Ok((at("2025-10-26T00:30:00Z"), Form::LocalTwice)));
        assert!(berlin.parse("2026-03-29 02:30:00").is_err(), "no clock shows it");
    }

    #[test]
    fn a_number_is_an_instant_only_where_that_is_said() {
        let of = |numbers| Reading { numbers: Some(numbers), ..utc() };
        for (unit, text, expected) in [
            (Epoch::EpochS, "1767715200", "2026-01-06T16:00:00Z"),
            (Epoch::EpochS, "1767715200.123456", "2026-01-06T16:00:00.123456Z"),
            (Epoch::EpochS, "1767715200.1234569", "2026-01-06T16:00:00.123456Z"),
            (Epoch::EpochMs, "1767715200123", "2026-01-06T16:00:00.123Z"),
            (Epoch::EpochMs, "1767715200123.5", "2026-01-06T16:00:00.123500Z"),
            (Epoch::EpochMs, "0", "1970-01-01T00:00:00Z"),
            (Epoch::EpochMs, "-0.5", "1969-12-31T23:59:59.999500Z"),
            (Epoch::EpochMs, "2026-01-06T16:00:00Z", "2026-01-06T16:00:00Z"),
        ] {
            assert_eq!(of(unit).parse(text), Ok((at(expected), Form::Whole)), "{text}");
        }
        assert!(parse("1767715200").unwrap_err().contains("--instants"));
        assert!(of(Epoch::EpochS).parse("9999999999999999").is_err());
    }

    #[test]
    fn anything_else_is_not() {
        for text in [
            "",
            "2026-01",
            "2026-02-30",
            "2026-01-06 ",
            "2026-01-06 UTC",
            "06.01.2026 16:00:00",
            "01/06/2026 16:00:00",
            "2026-01-06 16:00",
            "2026-01-06 16:00:00  +00",
            "2026-01-06 16:00:00 ",
            "2026-01-06 16:00:00+00 UTC",
            " UTC",
            "2026-01-06ä16:00:00",
            "2026-01-06 16:00:00+ä0",
            "1.7E+9",
            "Foo 6, 2026",
            "Feb 30, 2026",
            "Jan 6, 26",
            "6 Jan 2026",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

//! Instants: microseconds of UTC, read from and written as RFC 3339.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, SecondsFormat};

/// An instant in UTC, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcInstant(i64);

/// The text is not an RFC 3339 instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an RFC 3339 instant with an offset and at most 9 fraction digits, such as 2026-01-06T16:00:00.123Z"
)]
pub struct InvalidInstant;

impl UtcInstant {
    /// The earliest instant an event may have occurred at, 1990-01-01T00:00:00Z: older ones are unset dates.
    pub const EARLIEST: Self = Self(631_152_000_000_000);

    /// From microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This instant plus `span`, at most the greatest instant that can be held.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This instant minus `span`, at least the least instant that can be held.
    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Reads RFC 3339: any offset, `T` and `Z` in any case, 0 to 9 fraction digits, truncated to microseconds.
    /// A leap second (`:60`) has no place on a UTC microsecond clock and is refused.
    ///
    /// # Errors
    /// [`InvalidInstant`] for everything else: epoch numbers, dates without a time or an offset, and instants that
    /// are not in the years 0 to 9999 of UTC.
    pub fn parse(text: &str) -> Result<Self, InvalidInstant> {
        let micros = parse_rfc3339(text.as_bytes()).filter(|micros| YEARS_0_TO_9999.contains(micros));
        micros.map(Self).ok_or(InvalidInstant)
    }
}

/// Microseconds since 1970 of the years that have four digits.
const YEARS_0_TO_9999: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// `YYYY-MM-DDTHH:MM:SS`, the beginning of every instant.
const SECONDS_LEN: usize = 19;

fn parse_rfc3339(text: &[u8]) -> Option<i64> {
    let (seconds, rest) = text.split_at_checked(SECONDS_LEN)?;
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b't', h0, h1, b':', i0, i1, b':', s0, s1] =
        seconds
    else {
        return None;
    };
    let year = two(y0, y1)? * 100 + two(y2, y3)?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, two(m0, m1)?, two(d0, d1)?)?;
    let at = date.and_hms_opt(two(h0, h1)?, two(i0, i1)?, two(s0, s1)?)?.and_utc().timestamp_micros();
    let (fraction, offset) = split_fraction(rest)?;
    Some(at + fraction - offset_micros(offset)?)
}

/// Two decimal digits as a number.
fn two(tens: u8, ones: u8) -> Option<u32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

/// The fraction in whole microseconds, and what follows it.
fn split_fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    const DIGITS_MAX: usize = 9;
    let Some((b'.', after)) = rest.split_first() else { return Some((0, rest)) };
    let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > DIGITS_MAX {
        return None;
    }
    let (fraction, offset) = after.split_at(digits);
    let micros =
        (0..6).fold(0, |sum, at| sum * 10 + i64::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
    Some((micros, offset))
}

/// `Z`, `z`, `+HH:MM` or `-HH:MM` in microseconds east of UTC.
fn offset_micros(offset: &[u8]) -> Option<i64> {
    const MINUTE_MICROS: i64 = 60_000_000;
    match *offset {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (two(h0, h1)?, two(m0, m1)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let east = i64::from(hours * 60 + minutes) * MINUTE_MICROS;
            Some(if sign == b'-' { -east } else { east })
        }
        _ => None,
    }
}

impl UtcInstant {
    /// Adds the instant as it is displayed, for years 0 to 9999 without the calendar of a library: a replay writes two of
    /// them an event.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        const DAY_US: i64 = 86_400_000_000;
        /// 0000-03-01 and 9999-12-31 in days since 1970.
        const DAYS: std::ops::RangeInclusive<i64> = -719_468..=2_932_896;
        let (days, of_day) = (self.0.div_euclid(DAY_US), self.0.rem_euclid(DAY_US).cast_unsigned());
        if !DAYS.contains(&days) {
            return out.extend_from_slice(self.to_string().as_bytes());
        }
        let (year, month, day) = civil((days + 719_468).cast_unsigned());
        let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
        let digits = |number: u64| [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        for (at, number) in [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, seconds / 3_600),
            (14, seconds / 60 % 60),
            (17, seconds % 60),
            (20, micros / 10_000),
            (22, micros / 100 % 100),
            (24, micros % 100),
        ] {
            text[at..at + 2].copy_from_slice(&digits(number));
        }
        let fraction = if micros == 0 {
            0
        } else if micros.is_multiple_of(1_000) {
            4
        } else {
            7
        };
        out.extend_from_slice(&text[..SECONDS_LEN + fraction]);
        out.push(b'Z');
    }
}

/// Year, month and day of a day counted from 0000-03-01: H. Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// RFC 3339 in UTC with `Z`; the fraction has as many digits as it needs: none, 3 or 6.
impl fmt::Display for UtcInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_micros(self.0) {
            Some(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl<'de> serde::Deserialize<'de> for UtcInstant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for UtcInstant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_instant_lies_in_the_years_0_to_9999_of_utc() {
        for (text, expected) in [
            ("9999-12-31T23:59:59.999999Z", true),
            ("9999-12-31T23:59:59-00:01", false),
            ("0000-01-01T00:00:00Z", true),
            ("0000-01-01T00:00:00+00:01", false),
        ] {
            assert_eq!(UtcInstant::parse(text).is_ok(), expected, "{text}");
        }
    }

    #[test]
    fn publishers_of_every_kind_are_read() {
        let at = 1_767_715_200_123_000;
        for (text, micros) in [
            ("2026-01-06T16:00:00.123Z", at),
            ("2026-01-06t16:00:00.123z", at),
            ("2026-01-06T16:00:00.1230000Z", at),
            ("2026-01-06T16:00:00.123000999Z", at),
            ("2026-01-06T17:30:00.123+01:30", at),
            ("2026-01-06T00:00:00.123-16:00", at),
            ("2026-01-06T16:00:00Z", at - 123_000),
            ("1990-01-01T00:00:00Z", UtcInstant::EARLIEST.as_micros()),
            ("2024-02-29T23:59:59.999999999Z", 1_709_251_199_999_999),
        ] {
            assert_eq!(UtcInstant::parse(text), Ok(UtcInstant::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_instant_is_refused() {
        for text in [
            "",
            "1767715200",
            "2026-01-06",
            "2026-01-06T16:00:00",
            "2026-01-06 16:00:00Z",
            "2026-01-06T16:00:00.Z",
            "2026-01-06T16:00:00.1234567890Z",
            "2026-02-30T00:00:00Z",
            "2026-01-06T24:00:00Z",
            "2026-01-06T16:00:60Z",
            "2026-01-06T16:00:00+24:00",
            "2026-01-06T16:00:00+01",
            "2026-01-06T16:00:00Z ",
            "２026-01-06T16:00:00Z",
        ] {
            assert_eq!(UtcInstant::parse(text), Err(InvalidInstant), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in 0_i64..253_402_300_799_999_999) {
            let at = UtcInstant::from_micros(micros);
            prop_assert_eq!(UtcInstant::parse(&at.to_string()), Ok(at));
        }

        /// The text that chrono displays is the independent reference.
        #[test]
        fn is_encoded_as_it_is_displayed(
            micros in prop_oneof![-62_200_000_000_000_000_i64..253_402_300_799_999_999, any::<i64>()],
            cut in prop::sample::select(vec![1_i64, 1_000, 1_000_000, 86_400_000_000]),
        ) {
            let at = UtcInstant::from_micros(micros / cut * cut);
            let mut encoded = Vec::new();
            at.encode(&mut encoded);
            prop_assert_eq!(String::from_utf8(encoded).unwrap(), at.to_string());
        }

        /// chrono's own reader is the independent one.
        #[test]
        fn agrees_with_chrono(micros in 0_i64..253_402_300_799_999_999, offset in -1439_i32..1440) {
            let zone = chrono::FixedOffset::east_opt(offset * 60).unwrap();
            let at = DateTime::from_timestamp_micros(micros).unwrap().with_timezone(&zone);
            let text = at.to_rfc3339_opts(SecondsFormat::Nanos, true);
            // RFC 3339 has four digits for the year.
            prop_assume!(text.as_bytes()[4] == b'-' && !text.starts_with('+'));
            prop_assert_eq!(UtcInstant::parse(&text), Ok(UtcInstant::from_micros(micros)), "{}", text);
        }
    }
}

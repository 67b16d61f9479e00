//! Instants as microseconds since 1970 and as RFC 3339, by chrono alone: the code under test has its own reader.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};

/// One second, in microseconds.
pub const SECOND: i64 = 1_000_000;
/// One minute, in microseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// One hour, in microseconds.
pub const HOUR: i64 = 60 * MINUTE;
/// One day of 24 hours, in microseconds.
pub const DAY: i64 = 24 * HOUR;

/// The clock of this machine, in microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the server under test reads the same clock")]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock later than 1970");
    i64::try_from(since.as_micros()).expect("a clock before the year 294,000")
}

/// RFC 3339 in UTC with 6 fraction digits.
pub fn rfc3339(micros: i64) -> String {
    let at = DateTime::from_timestamp_micros(micros).expect("an instant of the calendar");
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Microseconds since 1970 of an RFC 3339 text.
pub fn micros(text: &str) -> i64 {
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => at.timestamp_micros(),
        Err(error) => panic!("{text:?} is not RFC 3339: {error}"),
    }
}

//! The window of a rolling count, as it is written.

use std::str::FromStr;
use std::time::Duration;

/// A span of time as it was written, and how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The text as it was written.
    pub text: String,
    /// Its length, at least a microsecond.
    pub span: Duration,
}

/// The text is not a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an integer of at least 1 with a unit (us, ms, s, m, h, d, w), at most 36500d")]
pub struct InvalidWindow;

const DAY_S: u64 = 24 * 60 * 60;
const WINDOW_MAX: Duration = Duration::from_secs(36_500 * DAY_S);

/// Thirty days of 24 hours.
impl Default for Window {
    fn default() -> Self {
        Self { text: "30d".to_owned(), span: Duration::from_secs(30 * DAY_S) }
    }
}

/// An integer of at least 1 with one of the units `us ms s m h d w`, at most 36,500 days.
impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_us: u64 = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => DAY_S * 1_000_000,
            "w" => 7 * DAY_S * 1_000_000,
            _ => return Err(InvalidWindow),
        };
        let us =
            number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_us)).ok_or(InvalidWindow)?;
        let span = Duration::from_micros(us);
        if us == 0 || span > WINDOW_MAX {
            Err(InvalidWindow)
        } else {
            Ok(Self { text: text.to_owned(), span })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Window, InvalidWindow> {
        text.parse()
    }

    #[test]
    fn windows_have_a_number_and_a_unit() {
        for (text, us) in [("1us", 1), ("5ms", 5_000), ("90s", 90_000_000), ("2m", 120_000_000)] {
            assert_eq!(parse(text).unwrap().span, Duration::from_micros(us), "{text}");
        }
        assert_eq!(parse("24h").unwrap().span, parse("1d").unwrap().span);
        assert_eq!(parse("1w").unwrap().span, parse("7d").unwrap().span);
        assert_eq!(parse("30d").unwrap(), Window::default());
        assert!(parse("36500d").is_ok());
        for bad in [
            "",
            "30",
            "d",
            "0d",
            "-1d",
            "1.5d",
            "30 d",
            "30D",
            "1y",
            "36501d",
            "99999999999999999999d",
            "+1d",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

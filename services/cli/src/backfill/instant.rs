//! Instants as tables write them: RFC 3339, and what databases print for a timestamp.

use lastseen_event::UtcInstant;

const DATE_LEN: usize = "2026-01-06".len();

/// The forms that are read, for messages.
const EXPECTED: &str = "expected an instant such as 2026-01-06T16:00:00Z or 2026-01-06 16:00:00+00";

/// Reads `2026-01-06T16:00:00.123Z`, and with a space in place of the `T`, with an offset of hours alone (`+00`) or without a colon
/// (`+0130`), with ` UTC`, and without an offset, which is UTC; a date alone is its first instant.
///
/// # Errors
/// The expected form.
pub(super) fn parse(text: &str) -> Result<UtcInstant, &'static str> {
    if let Ok(at) = UtcInstant::parse(text) {
        return Ok(at);
    }
    if let Some(text) = text.strip_suffix(" UTC") {
        return parse(&format!("{text}Z"));
    }
    let (date, rest) = text.split_at_checked(DATE_LEN).ok_or(EXPECTED)?;
    let time = match rest {
        "" => "00:00:00",
        _ => rest.strip_prefix(['T', 't', ' ']).ok_or(EXPECTED)?,
    };
    let offset = time.find(['+', '-', 'Z', 'z']).unwrap_or(time.len());
    let (time, offset) = time.split_at(offset);
    // Some put a space between the two.
    let time = if offset.is_empty() { time } else { time.strip_suffix(' ').unwrap_or(time) };
    let offset = match offset.len() {
        0 => "Z".to_owned(),
        3 => format!("{offset}:00"),
        5 => format!("{}:{}", offset.get(..3).ok_or(EXPECTED)?, offset.get(3..).ok_or(EXPECTED)?),
        _ => offset.to_owned(),
    };
    UtcInstant::parse(&format!("{date}T{time}{offset}")).map_err(|_| EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_databases_print_is_read() {
        let at = UtcInstant::parse("2026-01-06T16:00:00Z").unwrap();
        for text in [
            "2026-01-06T16:00:00Z",
            "2026-01-06 16:00:00",
            "2026-01-06T16:00:00",
            "2026-01-06 16:00:00.000000",
            "2026-01-06 16:00:00+00",
            "2026-01-06 17:30:00+0130",
            "2026-01-06 17:30:00.000+01:30",
            "2026-01-06 08:00:00-08",
            "2026-01-06 16:00:00Z",
            "2026-01-06 16:00:00 UTC",
            "2026-01-06 16:00:00 +0000",
            "2026-01-06 17:30:00.0000000 +01:30",
        ] {
            assert_eq!(parse(text), Ok(at), "{text}");
        }
    }

    #[test]
    fn a_date_is_its_first_instant() {
        assert_eq!(parse("2026-01-06"), parse("2026-01-06T00:00:00Z"));
    }

    #[test]
    fn anything_else_is_not() {
        for text in [
            "",
            "2026-01",
            "2026-02-30",
            "2026-01-06 ",
            "06.01.2026 16:00:00",
            "1767715200",
            "2026-01-06 16:00",
            "2026-01-06 16:00:00  +00",
            "2026-01-06 16:00:00 ",
            "2026-01-06 16:00:00+00 UTC",
            " UTC",
            "2026-01-06ä16:00:00",
            "2026-01-06 16:00:00+ä0",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

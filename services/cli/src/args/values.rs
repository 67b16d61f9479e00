//! Values of flags: how each is written, and the words that refuse another.

use std::net::IpAddr;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use ipnet::IpNet;
use lastseen_event::limits::REQUEST_EVENTS_MAX;
use lastseen_event::{BatchName, Position, TenantId, UtcInstant};
use lastseen_log::LogOptions;
use lastseen_server::ConnectionLimits;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::backfill::Names;
use crate::backfill::rules::condition;

pub(super) fn position(text: &str) -> Result<Position, &'static str> {
    text.parse().map(Position::new).map_err(|_| "expected a position, an integer of at least 0")
}

pub(super) fn batch_name(text: &str) -> Result<String, String> {
    BatchName::new(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string())
}

pub(super) fn delimiter(text: &str) -> Result<u8, &'static str> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [b'"' | b'\r' | b'\n'] => Err("expected a character that neither quotes nor ends a row"),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err("expected one ASCII character, or \\t for a tab"),
    }
}

pub(super) fn column_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("expected the name of a column") } else { Ok(text.to_owned()) }
}

/// Names with commas between them.
pub(super) fn names(text: &str) -> Result<Names, &'static str> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().all(String::is_empty) {
        return Err("expected names of columns with commas between them");
    }
    Ok(Names(names))
}

pub(super) fn tenant_name(text: &str) -> Result<String, String> {
    TenantId::new(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string())
}

/// The name of a time zone.
pub(super) fn zone(text: &str) -> Result<chrono_tz::Tz, &'static str> {
    text.parse().map_err(|_| "expected the name of a time zone, such as Europe/Berlin or UTC")
}

pub(super) fn one_char(text: &str) -> Result<char, &'static str> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none()).ok_or("expected one character")
}

/// A clause of conditions; an empty one stands for none at all.
pub(super) fn clause(text: &str) -> Result<String, &'static str> {
    if !text.is_empty() {
        condition::check(text)?;
    }
    Ok(text.to_owned())
}

/// The name of a table as SQL has it: one or two parts, each plain or in quotes.
pub(super) fn table_name(text: &str) -> Result<String, &'static str> {
    let is_plain = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$')
    };
    let is_quoted = |part: &str| {
        let inner = part.strip_prefix('"').and_then(|part| part.strip_suffix('"'));
        inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(['"', '.', '\0']))
    };
    let parts: Vec<_> = text.split('.').collect();
    let is_name = parts.len() <= 2 && parts.iter().all(|part| is_plain(part) || is_quoted(part));
    is_name
        .then(|| text.to_owned())
        .ok_or("expected the name of a table, such as activity_outbox or app.outbox")
}

pub(super) fn segment_events() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(1..=LogOptions::SEGMENT_EVENTS_MAX)
}

pub(super) fn batch_events() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=REQUEST_EVENTS_MAX as u64)
}

/// A number of at least one.
pub(super) fn at_least_one() -> clap::builder::ValueParser {
    RangedU64ValueParser::<usize>::new().range(1..=1_000_000).into()
}

/// A size in bytes: an integer with `KiB`, `MiB` or `GiB`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("expected an integer with KiB, MiB or GiB, such as 256MiB".to_owned()),
    };
    let size = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    size.filter(|size| *size >= 1 << 20).ok_or_else(|| "expected at least 1MiB".to_owned())
}

/// A whole number of `ms`, `s`, `m`, `h` or `d`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let expected = || "expected a whole number with a unit (ms, s, m, h or d), such as 30s".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(expected)
}

/// The end of a key: so long from now, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    In(Duration),
    At(UtcInstant),
}

impl Expiry {
    pub(crate) fn at(self, now: UtcInstant) -> UtcInstant {
        match self {
            Self::In(span) => now.saturating_add(span),
            Self::At(at) => at,
        }
    }
}

/// A [`span`], a date, which is its first instant in UTC, or an instant.
pub(super) fn expiry(text: &str) -> Result<Expiry, &'static str> {
    let date = || UtcInstant::parse(&format!("{text}T00:00:00Z"));
    let at = || UtcInstant::parse(text).or_else(|_| date()).map(Expiry::At);
    span(text)
        .map(Expiry::In)
        .or_else(|_| at())
        .map_err(|_| "expected a time from now such as 90d, a date such as 2027-01-31 or an RFC 3339 instant")
}

/// A network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| "expected a network such as 10.0.0.0/8, or an address")
}

/// A limit of time: a [`span`] that is neither nothing nor more than a day.
pub(super) fn time_limit(text: &str) -> Result<Duration, String> {
    let limit = span(text)?;
    if limit.is_zero() || limit > ConnectionLimits::TIME_MAX {
        return Err("expected a span from 1ms to 1d".to_owned());
    }
    Ok(limit)
}

/// A filter of the log: levels, each for all or for one module.
///
/// A bare word that is no level would name a module and let all others fall silent, so it is refused.
pub(super) fn log_filter(text: &str) -> Result<Targets, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    /// The client of a cluster tells each of its attempts. Its faults are told by whoever called it.
    const CLIENT: &str = "kurrentdb";
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let is_module = |word: &str| {
        word.split("::").all(|name| {
            name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    };
    for part in text.split(',') {
        let is_known = match part.split_once('=') {
            Some((module, level)) => is_module(module) && is_level(level),
            None => is_level(part),
        };
        if !is_known {
            return Err(format!(
                "expected levels ({}), also per module as in info,lastseen_log=debug; found {part:?}",
                LEVELS.join(", ")
            ));
        }
    }
    let filter: Targets =
        text.parse().map_err(|error: tracing_subscriber::filter::ParseError| error.to_string())?;
    Ok(if text.contains(CLIENT) { filter } else { filter.with_target(CLIENT, LevelFilter::OFF) })
}

/// The base URL of a server, without a slash at its end.
pub(super) fn server_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("expected a URL such as http://127.0.0.1:8080".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_number_and_a_binary_unit() {
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("1024KiB"), Ok(1 << 20));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        for bad in ["", "256", "MiB", "256MB", "1.5GiB", "1023KiB", "-1MiB", "99999999999999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_have_a_number_and_a_unit() {
        for (text, ms) in
            [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("2d", 172_800_000)]
        {
            assert_eq!(span(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in
            ["", "5", "m", "-5m", "1.5s", "5 m", "5M", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_of_time_are_neither_nothing_nor_for_ever() {
        assert_eq!(time_limit("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(time_limit("1d"), Ok(ConnectionLimits::TIME_MAX));
        for bad in ["0s", "25h", "2d", "18446744073709551615ms", "10"] {
            assert!(time_limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_log_filter_has_levels_and_modules_with_levels() {
        for filter in
            ["info", "INFO", "off", "warn,lastseen_log=debug", "lastseen_server::fold=trace", "info,h2=off"]
        {
            assert!(log_filter(filter).is_ok(), "{filter}");
        }
        for bad in [
            "",
            "nonsense",
            "lastseen_log",
            "info,",
            "info debug",
            "a=loud",
            "=info",
            "a=",
            "3",
            "a=b=info",
            "a:b=info",
        ] {
            let error = log_filter(bad).expect_err(bad);
            assert!(
                error.contains("trace")
                    && error.contains(&format!("{:?}", bad.split(',').next_back().unwrap()))
            );
        }
    }

    #[test]
    fn a_server_is_a_url_of_http() {
        assert_eq!(server_url("http://h:1/"), Ok("http://h:1".to_owned()));
        assert_eq!(server_url("https://h/prefix"), Ok("https://h/prefix".to_owned()));
        for bad in ["", "127.0.0.1:8080", "ftp://h", "http://", "http:///x"] {
            assert!(server_url(bad).is_err(), "{bad}");
        }
    }
}

//! Query parameters, read strictly: unknown, repeated and malformed ones are refused by name.

use std::fmt;
use std::time::Duration;

use lastseen_event::{EventType, Position, Provenance, UtcInstant};
use lastseen_projections::TypeSet;

use crate::problem::Problem;

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query. Only the names in `known` may stand in it, each once.
    ///
    /// # Errors
    /// `unknown_parameter`, `invalid_parameter`.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return Err(Problem::unknown_parameter(&name, known));
            }
            if pairs.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Problem::invalid_parameter(&name, "expected this parameter once"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter through `parse`; `None` if it is not there.
    ///
    /// # Errors
    /// `invalid_parameter` with what `parse` says.
    pub(crate) fn get<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let value = self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        value.map(parse).transpose().map_err(|error| Problem::invalid_parameter(name, error))
    }

    /// The parameters not in `except`, sorted and encoded again: equal for requests that ask the same.
    pub(crate) fn canonical(&self, except: &[&str]) -> String {
        let mut pairs: Vec<_> = self.0.iter().filter(|(name, _)| !except.contains(&name.as_str())).collect();
        pairs.sort();
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }
}

/// A span of time as it was written, and how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) text: String,
    pub(crate) span: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { text: "30d".to_owned(), span: Duration::from_secs(30 * DAY_S) }
    }
}

const DAY_S: u64 = 24 * 60 * 60;
const WINDOW_MAX: Duration = Duration::from_secs(36_500 * DAY_S);

/// An integer of at least 1 with one of the units `us ms s m h d w`, at most 36,500 days.
pub(crate) fn window(text: &str) -> Result<Window, &'static str> {
    const EXPECTED: &str =
        "expected an integer of at least 1 with a unit (us, ms, s, m, h, d, w), at most 36500d";
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
        _ => return Err(EXPECTED),
    };
    let us = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_us)).ok_or(EXPECTED)?;
    let span = Duration::from_micros(us);
    if us == 0 || span > WINDOW_MAX {
        return Err(EXPECTED);
    }
    Ok(Window { text: text.to_owned(), span })
}

/// An RFC 3339 instant.
pub(crate) fn instant(text: &str) -> Result<UtcInstant, String> {
    UtcInstant::parse(text).map_err(|error| {
        let hint = if text.contains(' ') { "; in a query, + is written %2B" } else { "" };
        format!("{error}{hint}")
    })
}

/// A position.
pub(crate) fn position(text: &str) -> Result<Position, &'static str> {
    text.parse().map(Position::new).map_err(|_| "expected a position, an integer of at least 0")
}

/// What was on record: up to a position or up to an instant, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownAt {
    Position(Position),
    Instant(UtcInstant),
}

/// A position or an instant.
pub(crate) fn known_at(text: &str) -> Result<KnownAt, &'static str> {
    let number = position(text).map(KnownAt::Position);
    number
        .or_else(|_| UtcInstant::parse(text).map(KnownAt::Instant))
        .map_err(|_| "expected a position (an integer) or an RFC 3339 instant; in a query, + is written %2B")
}

/// A comma list of observed activity types.
pub(crate) fn types(text: &str) -> Result<TypeSet, String> {
    let observed = |event_type: &EventType| event_type.activity() == Some(Provenance::Observed);
    let list =
        text.split(',').map(|name| EventType::parse(name).filter(observed)).collect::<Option<Vec<_>>>();
    list.map(TypeSet::of).ok_or_else(|| {
        let known: Vec<_> = EventType::ALL.into_iter().filter(observed).map(EventType::as_str).collect();
        format!("expected a comma list of {}", known.join(", "))
    })
}

/// `observed`, the only provenance that can be asked for.
pub(crate) fn observed_only(text: &str) -> Result<bool, &'static str> {
    if text == Provenance::Observed.as_str() { Ok(true) } else { Err("expected observed") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_a_number_and_a_unit() {
        for (text, us) in [("1us", 1), ("5ms", 5_000), ("90s", 90_000_000), ("2m", 120_000_000)] {
            assert_eq!(window(text).unwrap().span, Duration::from_micros(us), "{text}");
        }
        assert_eq!(window("24h").unwrap().span, window("1d").unwrap().span);
        assert_eq!(window("1w").unwrap().span, window("7d").unwrap().span);
        assert_eq!(window("30d").unwrap(), Window::default());
        assert!(window("36500d").is_ok());
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
            assert!(window(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_are_known_and_stand_once() {
        let params = Params::parse(Some("b=2&a=x%20y"), &["a", "b", "c"]).unwrap();
        assert_eq!(params.get("a", |value| Ok::<_, &str>(value.to_owned())).unwrap().unwrap(), "x y");
        assert!(params.get("c", window).unwrap().is_none());
        assert!(params.get("b", window).is_err());
        assert_eq!(params.canonical(&["b"]), "a=x+y");
        assert!(Params::parse(Some("d=1"), &["a"]).is_err());
        assert!(Params::parse(Some("a=1&a=1"), &["a"]).is_err());
        assert!(Params::parse(None, &[]).is_ok());
    }

    #[test]
    fn only_observed_types_can_be_chosen() {
        assert!(types("login,token_refresh").unwrap().contains(EventType::TokenRefresh));
        for bad in ["", "login,", "estimated_activity", "user_created", "Login"] {
            assert!(types(bad).is_err(), "{bad}");
        }
    }
}

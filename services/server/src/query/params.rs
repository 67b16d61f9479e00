//! Query parameters, read strictly: unknown, repeated and malformed ones are refused by name.

use std::fmt;

use lastseen_event::{Position, Provenance, UtcInstant};
use lastseen_projections::{InvalidTypes, InvalidWindow, TypeSet, Window};

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

/// A window.
pub(crate) fn window(text: &str) -> Result<Window, InvalidWindow> {
    text.parse()
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
pub(crate) fn types(text: &str) -> Result<TypeSet, InvalidTypes> {
    text.parse()
}

/// `observed`, the only provenance that can be asked for.
pub(crate) fn observed_only(text: &str) -> Result<bool, &'static str> {
    if text == Provenance::Observed.as_str() { Ok(true) } else { Err("expected observed") }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}

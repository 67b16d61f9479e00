//! Query parameters, read strictly: unknown, repeated and malformed ones are refused by name.
//!
//! `params!` makes a struct of parameters. Its field names are the names on the wire, and each type says its own
//! form, which errors and the list of routes repeat. The text of a field and its default are those of the API's description.

pub(super) mod cursor;
pub(super) mod question;
pub(super) mod span;
pub(super) mod value;
use schemars::Schema;

pub(super) use self::value::Value;
use super::problem::Problem;
use crate::keys::seal::Positions;
use lastseen_store::LogId;

/// A parameter of a route.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParamSpec {
    pub(super) name: &'static str,
    /// The form of its value, in words that go after "expected".
    pub(super) form: &'static str,
    /// Its meaning, for readers of the API.
    pub(super) about: &'static str,
    /// The default: a value in backticks, or words. `required`: there is none.
    pub(super) default: &'static str,
    /// The schema of its value.
    pub(super) schema: fn() -> Schema,
}

impl ParamSpec {
    /// True if a request without it is refused.
    pub(super) fn is_required(&self) -> bool {
        self.default == "required"
    }

    /// The value that stands for its absence, where there is one.
    pub(super) fn default_value(&self) -> Option<&'static str> {
        self.default.strip_prefix('`')?.strip_suffix('`')
    }
}

/// A struct of parameters.
pub(super) trait Params: Sized + Send {
    /// Adds the parameters in order.
    fn specs(into: &mut Vec<ParamSpec>);

    /// Takes the values out of a query whose names are known.
    ///
    /// # Errors
    /// `invalid_parameter`.
    fn take(query: &Query) -> Result<Self, Problem>;
}

/// Makes a struct of optional parameters, after groups that other routes share.
macro_rules! params {
    (
        $(#[$meta:meta])*
        $name:ident {
            $(..$group:ident: $group_type:ty,)*
            $(#[doc = $about:literal] $field:ident: $type:ty = $default:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        pub(in crate::http) struct $name {
            $(pub(in crate::http) $group: $group_type,)*
            $(#[doc = $about] pub(in crate::http) $field: Option<$type>,)*
        }

        impl $crate::http::params::Params for $name {
            fn specs(_into: &mut Vec<$crate::http::params::ParamSpec>) {
                $(<$group_type as $crate::http::params::Params>::specs(_into);)*
                $(_into.push($crate::http::params::ParamSpec {
                    name: stringify!($field),
                    form: <$type as $crate::http::params::Value>::FORM,
                    about: $about.trim_ascii_start(),
                    default: $default,
                    schema: <$type as $crate::http::params::Value>::schema,
                });)*
            }

            fn take(
                _query: &$crate::http::params::Query,
            ) -> Result<Self, $crate::http::problem::Problem> {
                Ok(Self {
                    $($group: $crate::http::params::Params::take(_query)?,)*
                    $($field: _query.value(stringify!($field))?,)*
                })
            }
        }
    };
}

pub(super) use params;

params! {
    /// No parameter.
    NoParams {}
}

params! {
    /// The parameter of every route that reads or writes the log.
    LogParams {
        /// the `log_id` of an answer: 409 `other_log` if the server has another log
        log_id: LogId = "any log",
    }
}

/// The parameters of one request as text, each once.
#[derive(Clone, Default)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    /// The form in which the caller reads and writes positions.
    positions: Positions,
}

impl Query {
    /// Reads the query of a route with the parameters `P`.
    ///
    /// # Errors
    /// `unknown_parameter`, `invalid_parameter`.
    pub(super) fn parse<P: Params>(query: Option<&str>, positions: Positions) -> Result<Self, Problem> {
        let mut specs = Vec::new();
        P::specs(&mut specs);
        Self::parse_known(&specs, query, positions)
    }

    /// Reads the query of a route with these parameters.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse).
    pub(super) fn parse_known(
        specs: &[ParamSpec],
        query: Option<&str>,
        positions: Positions,
    ) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !specs.iter().any(|spec| spec.name == name) {
                let known: Vec<_> = specs.iter().map(|spec| spec.name).collect();
                return Err(Problem::unknown_parameter(&name, &known));
            }
            if pairs.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Problem::invalid_parameter(&name, "expected this parameter once"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs, positions })
    }

    /// The value of a parameter. `None`: it is not there.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub(super) fn value<T: Value>(&self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let value = self.read::<T>(text).ok_or_else(|| {
            if T::IS_POSITION && self.positions.are_sealed() {
                let detail =
                    "expected a position as an answer to this key, or to one of the same file, told it";
                return Problem::invalid_parameter(name, detail);
            }
            let hint = if text.contains(' ') { "; in a query, + is written %2B" } else { "" };
            Problem::invalid_parameter(name, format_args!("expected {}{hint}", T::FORM))
        })?;
        Ok(Some(value))
    }

    /// All parameters as text.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The form in which the caller reads and writes positions.
    pub(super) fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The same with another value of a parameter, if there is one.
    fn with(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.pairs.retain(|(of, _)| of != name);
            self.pairs.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The text of a parameter. `None`: it is not there.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, text)| text.as_str())
    }

    fn read<T: Value>(&self, text: &str) -> Option<T> {
        if !(T::IS_POSITION && self.positions.are_sealed()) {
            return T::parse(text);
        }
        match self.positions.open(text) {
            Some(position) => T::parse(&position.get().to_string()),
            // A number is a position that was guessed.
            None => T::parse(text).filter(|_| !text.bytes().all(|byte| byte.is_ascii_digit())),
        }
    }

    /// The parameters not in `except`, sorted and encoded again: equal for requests that ask the same.
    pub(super) fn canonical(&self, except: &[&str]) -> String {
        let mut pairs: Vec<_> =
            self.pairs.iter().filter(|(name, _)| !except.contains(&name.as_str())).collect();
        pairs.sort();
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }
}

#[cfg(test)]
mod tests {
    use lastseen_projections::Window;

    use super::*;

    params! {
        /// A group.
        Group {
            /// The first
            a: String = "none",
        }
    }

    params! {
        /// A group and two of its own.
        Some {
            ..group: Group,
            /// The second
            b: Window = "`30d`",
            /// The third
            c: Window = "required",
        }
    }

    fn parse<P: Params>(query: Option<&str>) -> Result<Query, Problem> {
        Query::parse::<P>(query, Positions::default())
    }

    #[test]
    fn parameters_are_known_and_stand_once() {
        let query = parse::<Some>(Option::Some("b=2d&a=x%20y")).unwrap();
        let some = Some::take(&query).unwrap();
        assert_eq!(some.group.a.as_deref(), Option::Some("x y"));
        assert_eq!(some.b, "2d".parse().ok());
        assert_eq!(some.c, None);
        assert_eq!(query.canonical(&["b"]), "a=x+y");
        assert!(parse::<Some>(Option::Some("d=1")).is_err());
        assert!(parse::<Some>(Option::Some("a=1&a=1")).is_err());
        assert!(parse::<NoParams>(None).is_ok());
        let malformed = parse::<Some>(Option::Some("b=2")).unwrap();
        assert!(Some::take(&malformed).is_err());
        let mut specs = Vec::new();
        Some::specs(&mut specs);
        assert_eq!(specs.iter().map(|spec| spec.name).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}

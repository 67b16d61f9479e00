//! Conditions on rows: `status=BLOCKED,BANNED`, `email= and phone=`, `banned_until>now`.

use lastseen_event::UtcInstant;

use super::instant::Reading;
use super::words;
use crate::backfill::formats::record::{At, Fault, Fields, Record};

/// Clauses, any of which must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clauses(Vec<Vec<Condition>>);

/// A condition on a column.
#[derive(Clone, Debug)]
struct Condition {
    at: At,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    OneOf(Vec<Wanted>),
    NoneOf(Vec<Wanted>),
    Less(Bound),
    Greater(Bound),
}

/// A value that a column is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Null,
    /// In any of its spellings.
    Truth(bool),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Number(i128),
    /// When the run began, and so many days.
    Now {
        days: u32,
    },
}

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

/// The form of a clause, for messages.
const EXPECTED: &str = "expected conditions joined by \" and \", each COLUMN=VALUE[,VALUE], COLUMN!=VALUE[,VALUE], COLUMN<NUMBER, \
                        COLUMN>NUMBER, COLUMN<now, COLUMN>now or COLUMN>now+30d; an empty value is null";

/// Splits a clause into its conditions: column, operator, value.
///
/// # Errors
/// The expected form.
pub(crate) fn split(clause: &str) -> Result<Vec<(&str, &str, &str)>, &'static str> {
    clause.split(" and ").map(|condition| split_condition(condition).ok_or(EXPECTED)).collect()
}

/// Checks the form of a clause.
///
/// # Errors
/// The expected form.
pub(crate) fn check(clause: &str) -> Result<(), &'static str> {
    split(clause)?.into_iter().try_for_each(|(_, operator, value)| test(operator, value).map(drop))
}

fn split_condition(condition: &str) -> Option<(&str, &str, &str)> {
    // Brackets are of a path, or of the name of a column.
    let mut depth = 0_u32;
    let at = condition.char_indices().find_map(|(at, c)| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth == 0 && matches!(c, '=' | '!' | '<' | '>')).then_some(at)
    })?;
    let (column, rest) = condition.split_at(at);
    let length = if rest.starts_with("!=") { 2 } else { 1 };
    let (operator, value) = rest.split_at(length);
    let (column, value) = (column.trim(), value.trim());
    (!column.is_empty() && operator != "!").then_some((column, operator, value))
}

fn test(operator: &str, value: &str) -> Result<Test, &'static str> {
    let wanted = || value.split(',').map(Wanted::of).collect();
    let bound = || {
        let Some(later) = value.strip_prefix("now") else {
            return value.parse().map(Bound::Number).map_err(|_| EXPECTED);
        };
        let days = later.strip_prefix('+').and_then(|days| days.strip_suffix('d'));
        match (later, days.and_then(|days| days.parse::<u16>().ok())) {
            ("", _) => Ok(Bound::Now { days: 0 }),
            (_, Some(days)) => Ok(Bound::Now { days: u32::from(days) }),
            _ => Err(EXPECTED),
        }
    };
    match operator {
        "=" => Ok(Test::OneOf(wanted())),
        "!=" => Ok(Test::NoneOf(wanted())),
        "<" => Ok(Test::Less(bound()?)),
        _ => Ok(Test::Greater(bound()?)),
    }
}

impl Wanted {
    fn of(text: &str) -> Self {
        let text = text.trim();
        if words::is_null(text) {
            Self::Null
        } else if text.eq_ignore_ascii_case("true") {
            Self::Truth(true)
        } else if text.eq_ignore_ascii_case("false") {
            Self::Truth(false)
        } else {
            Self::Text(text.to_owned())
        }
    }

    /// `None`: the value is null.
    fn is(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Null, None) => true,
            (Self::Truth(wanted), Some(value)) => words::truth(value) == Some(*wanted),
            (Self::Text(text), Some(value)) => value == text,
            _ => false,
        }
    }
}

impl Clauses {
    /// Adds a clause; `add` gives a column its place.
    ///
    /// # Errors
    /// The expected form.
    pub(crate) fn add(&mut self, clause: &str, mut add: impl FnMut(&str) -> At) -> Result<(), &'static str> {
        let conditions = split(clause)?
            .into_iter()
            .map(|(column, operator, value)| Ok(Condition { at: add(column), test: test(operator, value)? }));
        self.0.push(conditions.collect::<Result<_, &'static str>>()?);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if any column of them is there.
    pub(crate) fn has(&self, is_there: impl Fn(At) -> bool) -> bool {
        self.0.iter().flatten().any(|condition| is_there(condition.at))
    }

    /// True if any clause holds for a row; `now` is when the run began.
    ///
    /// # Errors
    /// If a value is not a number or an instant where it is compared with one.
    pub(crate) fn hold(
        &self,
        record: &Record,
        (fields, reading): (&Fields, &Reading),
        now: UtcInstant,
    ) -> Result<bool, Fault> {
        for clause in &self.0 {
            let mut holds = true;
            for condition in clause {
                holds = holds && condition.holds(record, (fields, reading), now)?;
            }
            if holds {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Condition {
    fn holds(
        &self,
        record: &Record,
        (fields, reading): (&Fields, &Reading),
        now: UtcInstant,
    ) -> Result<bool, Fault> {
        let values = || record.all(self.at).filter(|value| !words::is_null(value));
        let is_one_of = |wanted: &[Wanted]| {
            let mut values = values().peekable();
            if values.peek().is_none() {
                return wanted.iter().any(|wanted| wanted.is(None));
            }
            values.any(|value| wanted.iter().any(|wanted| wanted.is(Some(value))))
        };
        let compare = |value: &str, bound: Bound| {
            let field = fields.get(self.at);
            match bound {
                Bound::Number(bound) => {
                    let number = value.parse::<i128>();
                    let fault = |_| Fault::of(field, format!("expected a whole number, found {value:?}"));
                    number.map_err(fault).map(|number| number.cmp(&bound))
                }
                // As PostgreSQL prints an instant without an end.
                Bound::Now { .. } if value == "infinity" => Ok(std::cmp::Ordering::Greater),
                Bound::Now { days } => {
                    let at = reading.parse(value);
                    let fault = |expected| Fault::of(field, format!("{expected}, found {value:?}"));
                    let bound = now.saturating_add(DAY * days);
                    at.map_err(fault).map(|(at, _)| at.cmp(&bound))
                }
            }
        };
        let any = |bound: Bound, wanted: std::cmp::Ordering| {
            for value in values().filter(|value| !reading.nulls.iter().any(|null| null == value)) {
                if compare(value, bound)? == wanted {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match &self.test {
            Test::OneOf(wanted) => Ok(is_one_of(wanted)),
            Test::NoneOf(wanted) => Ok(!is_one_of(wanted)),
            Test::Less(bound) => any(*bound, std::cmp::Ordering::Less),
            Test::Greater(bound) => any(*bound, std::cmp::Ordering::Greater),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::backfill::formats::record::Kind;

    const NOW: UtcInstant = UtcInstant::from_micros(1_767_715_200_000_000);

    /// True if a clause holds for the values of the columns a, b and so on.
    fn holds(clause: &str, values: &[&str]) -> Result<bool, String> {
        let mut fields = Fields::default();
        let names: Vec<String> = ('a'..).take(values.len()).map(String::from).collect();
        let places: Vec<At> = names.iter().map(|name| fields.add(name, "--skip-where", false)).collect();
        let mut clauses = Clauses::default();
        clauses.add(clause, |name| fields.add(name, "--skip-where", false)).map_err(str::to_owned)?;
        let mut record = Record::new(&fields);
        for (at, value) in places.into_iter().zip(values) {
            for value in value.split('+') {
                record.set(at, value, Kind::Text);
            }
        }
        let reading = Reading {
            zone: Tz::UTC,
            numbers: None,
            nulls: vec!["0001-01-01".to_owned()],
            dates_are_days: false,
        };
        clauses.hold(&record, (&fields, &reading), NOW).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_condition_compares_values_truths_and_nulls() {
        for (clause, values, expected) in [
            ("a=x", ["x"], true),
            ("a=x,y", ["y"], true),
            ("a=x", ["X"], false),
            ("a!=x,y", ["z"], true),
            ("a!=x,y", ["y"], false),
            ("a!=x", [""], true),
            ("a=", ["NULL"], true),
            ("a!=null", ["x"], true),
            ("a!=NULL", [""], false),
            ("a = x, y", ["y"], true),
            ("a=TRUE", ["1"], true),
            ("a=", ["x"], false),
            ("a!=", ["x"], true),
            ("a!=", [""], false),
            ("a=true", ["T"], true),
            ("a=true", ["0"], false),
            ("a=true", [""], false),
            ("a=false", ["no"], true),
            ("a!=true", ["f"], true),
            ("a=1", ["true"], false),
            ("a<1", ["0"], true),
            ("a<1", ["-1"], true),
            ("a<1", ["1"], false),
            ("a<1", [""], false),
            ("a>now", ["2026-01-06 16:00:01Z"], true),
            ("a>now", ["2026-01-06 16:00:00Z"], false),
            ("a>now", ["0001-01-01"], false),
            ("a<now", ["2025-01-01"], true),
            ("a>now", ["infinity"], true),
            ("a>now+30d", ["2026-02-05 16:00:00.1Z"], true),
            ("a>now+30d", ["2026-02-05 16:00:00Z"], false),
            ("a=verified", ["unverified+verified"], true),
            ("a!=verified", ["unverified+verified"], false),
            ("a>5", ["1+9"], true),
        ] {
            assert_eq!(holds(clause, &values), Ok(expected), "{clause} for {values:?}");
        }
        assert_eq!(holds("a= and b=", &["", ""]), Ok(true));
        assert_eq!(holds("a= and b=", &["", "x"]), Ok(false));
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        assert!(holds("a<1", &["x"]).unwrap_err().starts_with("a: expected a whole number, found \"x\""));
        assert!(holds("a>now", &["soon"]).unwrap_err().starts_with("a: expected an instant"));
    }

    #[test]
    fn a_clause_has_columns_operators_and_values() {
        assert_eq!(split("Attributes[Name=sub].Value=x"), Ok(vec![("Attributes[Name=sub].Value", "=", "x")]));
        assert_eq!(split("Status [READ ONLY]!=Active"), Ok(vec![("Status [READ ONLY]", "!=", "Active")]));
        assert!(check("a=x and b!= and c<5 and d>now").is_ok());
        for clause in
            ["", "a", "=x", "a!x", "a<x", "a>", "a=x and ", "a>now+", "a>now+d", "a>now-3d", "a<1.5", "[a=x"]
        {
            assert_eq!(check(clause), Err(EXPECTED), "{clause}");
        }
    }
}

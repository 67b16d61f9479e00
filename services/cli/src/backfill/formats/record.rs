//! The columns of a table that are in use, and one record of them, whatever the format.

use std::fmt;

use super::path::Path;

/// The place of a column among those in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(usize);

impl At {
    /// The entry of the column in a list that has one for each column in use.
    pub(crate) fn of<T>(self, all: &[T]) -> &T {
        &all[self.0]
    }
}

/// A column in use.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) path: Path,
    /// The flag that names it, for messages.
    pub(crate) flag: &'static str,
    /// True if a table may lack it: it is null then.
    pub(crate) is_optional: bool,
}

/// The columns of a table that are in use, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<Field>);

/// The place in a row of each column in use; the path is that in the JSON of the column. `None`: the table lacks it.
pub(crate) type Places = Vec<Option<(usize, Option<Path>)>>;

impl Fields {
    /// Adds a column, unless it is there already.
    pub(crate) fn add(&mut self, name: &str, flag: &'static str, is_optional: bool) -> At {
        if let Some(there) = self.0.iter().position(|field| field.path.name() == name) {
            self.0[there].is_optional &= is_optional;
            return At(there);
        }
        self.0.push(Field { path: Path::new(name), flag, is_optional });
        At(self.0.len() - 1)
    }

    pub(crate) fn get(&self, at: At) -> &Field {
        &self.0[at.0]
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (At, &Field)> {
        self.0.iter().enumerate().map(|(at, field)| (At(at), field))
    }

    /// Returns the place of each column in a header.
    ///
    /// # Errors
    /// [`BadColumns`].
    pub(crate) fn places(&self, header: &[&str]) -> Result<Places, BadColumns> {
        if header.iter().all(|name| name.is_empty()) {
            return Err(BadColumns::None);
        }
        self.0.iter().map(|field| place(field, header)).collect()
    }
}

fn place(field: &Field, header: &[&str]) -> Result<Option<(usize, Option<Path>)>, BadColumns> {
    let find = |name: &str| {
        let mut found = (0..header.len()).filter(|&place| header[place] == name);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(BadColumns::Ambiguous(name.to_owned())),
            (found, None) => Ok(found),
        }
    };
    if let Some(place) = find(field.path.name())? {
        return Ok(Some((place, None)));
    }
    for (column, rest) in field.path.within_columns() {
        if let Some(place) = find(column)? {
            return Ok(Some((place, Some(rest))));
        }
    }
    if field.is_optional { Ok(None) } else { Err(BadColumns::missing(field, header)) }
}

/// Not the columns that a table must have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadColumns {
    #[error("there are several columns {0}: which one is meant?")]
    Ambiguous(String),
    #[error(transparent)]
    Missing(NoSuchColumn),
    #[error("it is empty: expected a header with the names of columns")]
    None,
}

impl BadColumns {
    /// A column is not among those that are there.
    pub(crate) fn missing(field: &Field, there: &[impl AsRef<str>]) -> Self {
        let there = there.iter().map(|name| name.as_ref().to_owned()).collect();
        Self::Missing(NoSuchColumn { flag: field.flag, name: field.path.name().to_owned(), there })
    }
}

/// The table lacks a column.
#[derive(Debug, thiserror::Error)]
pub(crate) struct NoSuchColumn {
    flag: &'static str,
    name: String,
    there: Vec<String>,
}

impl fmt::Display for NoSuchColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flag, name, there } = self;
        // Such as an address or an id: what may be somebody's is not printed.
        let is_of_data = |name: &String| name.contains('@') || name.starts_with(|c: char| c.is_ascii_digit());
        if there.iter().any(is_of_data) {
            return write!(
                f,
                "there is no column {name}, and the first row looks like one of data: --header names the columns of a file \
                 without a header"
            );
        }
        write!(f, "there is no column {name}, but {}; {flag} names it", there.join(", "))?;
        match *flag {
            "--modified-column" | "--deleted-column" => {
                f.write_str(", or says with an empty name that there is none")?;
            }
            "--tenant-column" => f.write_str("; --tenant names the one tenant of all rows")?,
            "--confirmed-column" => f.write_str(
                "; --confirmed-at-column names an instant of confirmation, --confirmed all says that all are confirmed",
            )?,
            "--created-column" => f.write_str("; --created says an instant for a table without one")?,
            _ => {}
        }
        if let [all] = there.as_slice()
            && all.contains([';', '\t', '|', ','])
        {
            f.write_str("; --delimiter says what stands between columns")?;
        }
        Ok(())
    }
}

/// Why a row is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The name of the column in the file; empty where it is about the row as a whole.
    pub(crate) column: String,
    /// The flag that named the column; empty where there is none.
    pub(crate) flag: &'static str,
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn of(field: &Field, reason: impl fmt::Display) -> Self {
        Self { column: field.path.name().to_owned(), flag: field.flag, reason: reason.to_string() }
    }

    pub(crate) fn of_row(reason: impl fmt::Display) -> Self {
        Self { column: String::new(), flag: "", reason: reason.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, flag, reason } = self;
        match (column.as_str(), *flag) {
            ("", _) => f.write_str(reason),
            (column, "") => write!(f, "{column}: {reason}"),
            (column, flag) => write!(f, "{column}: {reason} ({flag})"),
        }
    }
}

/// The next thing in a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A row: its values are in the record.
    Row,
    /// Something that is no row of the table, and why. The record says on which line, and whose it is as far as that is known.
    Bad(Fault),
    End,
}

/// The values of one row; kept from row to row for its memory.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Its number in its source, from 1: the line it begins on, or the number of the row if there are no
    /// lines.
    pub(crate) line: u64,
    values: Vec<Value>,
}

/// The value of a column. An array of JSON may hold several.
#[derive(Debug, Default)]
struct Value {
    text: String,
    kind: Kind,
    more: Vec<String>,
}

/// The kind of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Null,
    Text,
    /// A number that may have been rounded, and so is no id.
    Rounded,
}

impl Record {
    pub(crate) fn new(fields: &Fields) -> Self {
        let values = std::iter::repeat_with(Value::default).take(fields.len()).collect();
        Self { line: 0, values }
    }

    /// The value of a column; `None` where it is null. Of several the first one.
    pub(crate) fn get(&self, at: At) -> Option<&str> {
        let Value { text, kind, .. } = &self.values[at.0];
        (*kind != Kind::Null).then_some(text.as_str())
    }

    pub(crate) fn kind(&self, at: At) -> Kind {
        self.values[at.0].kind
    }

    /// All values of a column; none where it is null.
    pub(crate) fn all(&self, at: At) -> impl Iterator<Item = &str> {
        self.get(at).into_iter().chain(self.values[at.0].more.iter().map(String::as_str))
    }

    /// True if a column has more than one value.
    pub(crate) fn has_several(&self, at: At) -> bool {
        !self.values[at.0].more.is_empty()
    }

    /// Gives a column a value; once more, another one.
    pub(crate) fn set(&mut self, at: At, text: &str, kind: Kind) {
        let value = &mut self.values[at.0];
        if value.kind == Kind::Null {
            value.text.clear();
            value.text.push_str(text);
            value.kind = kind;
        } else if value.text != text {
            value.more.push(text.to_owned());
        }
    }

    /// Changes the kind of a value that is not null.
    pub(crate) fn mark(&mut self, at: At, kind: Kind) {
        let value = &mut self.values[at.0];
        if value.kind != Kind::Null {
            value.kind = kind;
        }
    }

    /// Every value is null from now on.
    pub(crate) fn clear(&mut self) {
        for value in &mut self.values {
            value.kind = Kind::Null;
            value.more.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_found_by_its_name_or_in_the_json_of_another() {
        let mut fields = Fields::default();
        let user = fields.add("user.id", "--user-column", false);
        let action = fields.add("payload.action", "--login-where", false);
        assert_eq!(fields.add("user.id", "--skip-where", true), user);
        let gone = fields.add("gone", "--deleted-column", true);
        let places = fields.places(&["payload", "user.id"]).unwrap();
        assert_eq!(places[user.0], Some((1, None)));
        let (place, path) = places[action.0].as_ref().unwrap();
        assert_eq!((*place, path.as_ref().map(Path::name)), (0, Some("action")));
        assert_eq!(places[gone.0], None);
        assert!(matches!(fields.places(&["payload", "payload", "user.id"]), Err(BadColumns::Ambiguous(_))));
        let missing = fields.places(&["payload", "user"]).unwrap();
        assert_eq!(missing[user.0].as_ref().map(|(place, _)| *place), Some(1));
        let error = fields.places(&["payload", "id"]).unwrap_err().to_string();
        assert_eq!(error, "there is no column user.id, but payload, id; --user-column names it");
    }
}

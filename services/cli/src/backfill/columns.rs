//! The columns of a table that mean something here, and one record of them.

use std::fmt;

/// The purpose of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Tenant,
    User,
    Confirmed,
    Created,
    Modified,
    Deleted,
    Observed,
    LeftOut,
    /// Of a table of logins.
    Occurred,
}

/// Number of columns.
pub(super) const COLUMNS: usize = 9;

impl Column {
    pub(super) const ALL: [Self; COLUMNS] = [
        Self::Tenant,
        Self::User,
        Self::Confirmed,
        Self::Created,
        Self::Modified,
        Self::Deleted,
        Self::Observed,
        Self::LeftOut,
        Self::Occurred,
    ];

    /// Its usual name; that of the table may be another one.
    pub(super) fn default_name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant_id",
            Self::User => "user_id",
            Self::Confirmed => "email_confirmed",
            Self::Created => "created_at",
            Self::Modified => "modified_at",
            Self::Deleted => "deleted_at",
            Self::Observed => "last_login_at",
            Self::LeftOut => "left_out",
            Self::Occurred => "occurred_at",
        }
    }

    /// The flag that names it.
    fn flag(self) -> &'static str {
        match self {
            Self::Tenant => "--tenant-column",
            Self::User => "--user-column",
            Self::Confirmed => "--confirmed-column",
            Self::Created => "--created-column",
            Self::Modified => "--modified-column",
            Self::Deleted => "--deleted-column",
            Self::Observed => "--observed-column",
            Self::LeftOut => "--left-out-column",
            Self::Occurred => "--login-column",
        }
    }
}

/// The names of the columns in one table. `None`: the table has no column for the purpose.
#[derive(Clone, Debug, Default)]
pub(super) struct Names([Option<String>; COLUMNS]);

/// Not the columns that a table must have.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadColumns {
    #[error("there are several columns {0}: which one is meant?")]
    Ambiguous(String),
    #[error(transparent)]
    Missing(NoSuchColumn),
    #[error("it is empty: expected a header with the names of columns")]
    None,
}

impl BadColumns {
    /// A column is not among those that are there.
    pub(super) fn missing((column, name): (Column, &str), there: &[impl AsRef<str>]) -> Self {
        let there = there.iter().map(|name| name.as_ref().to_owned()).collect();
        Self::Missing(NoSuchColumn { column, name: name.to_owned(), there })
    }
}

/// The table lacks a column.
#[derive(Debug, thiserror::Error)]
pub(super) struct NoSuchColumn {
    column: Column,
    name: String,
    there: Vec<String>,
}

impl fmt::Display for NoSuchColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, name, there } = self;
        write!(f, "there is no column {name}, but {}; {} names it", there.join(", "), column.flag())?;
        if matches!(column, Column::Modified | Column::Deleted) {
            f.write_str(", or says with an empty name that there is none")?;
        }
        if let [all] = there.as_slice()
            && all.contains([';', '\t', '|'])
        {
            f.write_str("; --delimiter says what stands between columns")?;
        }
        Ok(())
    }
}

impl Names {
    /// An empty name says that there is no such column.
    pub(super) fn new<'a>(columns: impl IntoIterator<Item = (Column, &'a String)>) -> Self {
        let mut names = Self::default();
        for (column, name) in columns {
            names.0[column as usize] = Some(name.clone()).filter(|name| !name.is_empty());
        }
        names
    }

    /// The columns that there are, with their names.
    pub(super) fn used(&self) -> impl Iterator<Item = (Column, &str)> {
        Column::ALL.into_iter().zip(&self.0).filter_map(|(column, name)| Some((column, name.as_deref()?)))
    }

    /// Returns the place of each column in a header.
    ///
    /// # Errors
    /// [`BadColumns`].
    pub(super) fn places(&self, header: &[&str]) -> Result<[Option<usize>; COLUMNS], BadColumns> {
        if header.is_empty() {
            return Err(BadColumns::None);
        }
        let mut places = [None; COLUMNS];
        for (column, name) in self.used() {
            let mut found = (0..header.len()).filter(|&place| header[place] == name);
            let missing = || BadColumns::missing((column, name), header);
            places[column as usize] = Some(found.next().ok_or_else(missing)?);
            if found.next().is_some() {
                return Err(BadColumns::Ambiguous(name.to_owned()));
            }
        }
        Ok(places)
    }
}

/// Why a row is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Empty where it is about the row as a whole.
    pub(super) field: &'static str,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn of(column: Column, reason: impl fmt::Display) -> Self {
        Self { field: column.default_name(), reason: reason.to_string() }
    }

    /// Returns the fault of a second row of a user.
    pub(super) fn second_row() -> Self {
        Self::of(Column::User, "expected one row for each user, found another one")
    }

    pub(super) fn of_row(reason: impl fmt::Display) -> Self {
        Self { field: "", reason: reason.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, reason } = self;
        write!(f, "{field}{}{reason}", if field.is_empty() { "" } else { ": " })
    }
}

/// The next thing in a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A row: its values are in the record.
    Row,
    /// Something that is no row of the table, and why. The record says on which line, and whose it is as far as that is known.
    Bad(Fault),
    End,
}

/// The values of one row; kept from row to row for its memory.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Its number in its source, from 1: the line it begins on, or the number of the row if there are no
    /// lines.
    pub(super) line: u64,
    values: [Value; COLUMNS],
}

#[derive(Debug, Default)]
struct Value {
    text: String,
    is_there: bool,
}

impl Record {
    /// The value of a column; `None` where it is null.
    pub(super) fn get(&self, column: Column) -> Option<&str> {
        let Value { text, is_there } = &self.values[column as usize];
        is_there.then_some(text.as_str())
    }

    pub(super) fn set(&mut self, column: Column, value: &str) {
        let Value { text, is_there } = &mut self.values[column as usize];
        text.clear();
        text.push_str(value);
        *is_there = true;
    }

    /// Every value is null from now on.
    pub(super) fn clear(&mut self) {
        for value in &mut self.values {
            value.is_there = false;
        }
    }

    #[cfg(test)]
    pub(super) fn of<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut record = Self::default();
        for (column, value) in Column::ALL.into_iter().zip(values) {
            if let Some(value) = value {
                record.set(column, value);
            }
        }
        record
    }
}

//! Databases that tables are read from. Only the columns in use are asked for.

#[cfg(feature = "mysql")]
mod mysql;
mod postgres;
mod relation;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::path::Path;

use anyhow::Context;

use self::postgres::Postgres;
pub(super) use self::relation::Relation;
use super::formats::csv::CsvRows;
use super::formats::record::{At, Fields};
use super::formats::rows::Rows;

/// A database.
pub(super) enum Database {
    Postgres(Postgres),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::Sqlite),
    #[cfg(feature = "mysql")]
    Mysql(mysql::Mysql),
}

/// A source that is a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    Postgres(&'a str),
    Mysql(&'a str),
    Sqlite(&'a Path),
}

impl Database {
    /// Connects. The passwords are of URLs without one: PostgreSQL's, MySQL's.
    ///
    /// # Errors
    /// The database's error; or this program was built without its client.
    pub(super) fn open(source: Source<'_>, passwords: [Option<&str>; 2]) -> anyhow::Result<Self> {
        match source {
            Source::Postgres(url) => Postgres::open(url, passwords[0]).map(Self::Postgres),
            #[cfg(feature = "mysql")]
            Source::Mysql(url) => mysql::Mysql::open(url, passwords[1]).map(Self::Mysql),
            #[cfg(not(feature = "mysql"))]
            Source::Mysql(_) => anyhow::bail!(
                "this lastseen was built without MySQL and MariaDB: build it with `cargo build --release --features mysql`, or \
                 give the output of `mysql -B -e 'SELECT * FROM users'` as a file, with --format tsv"
            ),
            #[cfg(feature = "sqlite")]
            Source::Sqlite(file) => sqlite::Sqlite::open(file).map(Self::Sqlite),
            #[cfg(not(feature = "sqlite"))]
            Source::Sqlite(file) => anyhow::bail!(
                "{} is a database of SQLite, and this lastseen was built without it: build it with `cargo build --release \
                 --features sqlite`, or give the output of `sqlite3 -header -csv {0} 'SELECT * FROM users'` as a file",
                file.display()
            ),
        }
    }

    /// About how many rows a table has. `None`: the database does not know.
    ///
    /// # Errors
    /// The database's error.
    pub(super) fn about_rows(&self, relation: &Relation) -> anyhow::Result<Option<u64>> {
        match self {
            Self::Postgres(database) => database.about_rows(relation).map(Some),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => database.rows(relation).map(Some),
            #[cfg(feature = "mysql")]
            Self::Mysql(_) => Ok(None),
        }
    }

    fn columns(&self, relation: &Relation) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Postgres(database) => database.columns(relation),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => database.columns(relation),
            #[cfg(feature = "mysql")]
            Self::Mysql(database) => database.columns(relation),
        }
    }

    /// Looks for the columns in a table. Returns those that are there.
    ///
    /// # Errors
    /// The database's error; or the table lacks a column.
    pub(super) fn check(&self, relation: &Relation, fields: &Fields) -> anyhow::Result<Vec<bool>> {
        let columns = self.columns(relation)?;
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let places = fields.places(&columns).with_context(|| format!("cannot read {relation}"))?;
        Ok(places.iter().map(Option::is_some).collect())
    }

    /// The rows of a table; `ids` are the columns of ids.
    ///
    /// # Errors
    /// The database's error; or the table lacks a column.
    pub(super) fn rows(&self, relation: &Relation, (fields, ids): (&Fields, &[At])) -> anyhow::Result<Rows> {
        let all = self.columns(relation)?;
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let cannot_read = || format!("cannot read {relation}");
        let places = fields.places(&all).with_context(cannot_read)?;
        // One that is used twice is selected once.
        let mut used: Vec<(usize, bool)> = Vec::new();
        for ((at, _), place) in fields.iter().zip(&places) {
            let Some((place, path)) = place else { continue };
            let is_id = path.is_none() && ids.contains(&at);
            match used.iter_mut().find(|(there, _)| there == place) {
                Some((_, is_ever_id)) => *is_ever_id |= is_id,
                None => used.push((*place, is_id)),
            }
        }
        let columns: Vec<(&str, bool)> = used.into_iter().map(|(place, is_id)| (all[place], is_id)).collect();
        match self {
            Self::Postgres(database) => {
                let copied = database.copy(relation, &columns)?;
                CsvRows::of_database(copied, fields).map(Rows::Csv).with_context(cannot_read)
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => database.read(relation, &names(&columns), fields).map(Rows::Fed),
            #[cfg(feature = "mysql")]
            Self::Mysql(database) => database.read(relation, &names(&columns), fields).map(Rows::Fed),
        }
    }
}

/// The names of columns.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
fn names<'a>(columns: &[(&'a str, bool)]) -> Vec<&'a str> {
    columns.iter().map(|(name, _)| *name).collect()
}

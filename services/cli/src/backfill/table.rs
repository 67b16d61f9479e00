//! The tables that a command reads: which there are, where they are, how much there is of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Context;

use super::columns::{Column, Names};
use super::database::{Database, Relation};
use super::parquet;
use super::source::Rows;
use crate::args::{self, BackfillArgs, ColumnArgs, TableArgs, TableFormat};
use crate::input;

/// Tables, users first.
pub(super) struct Tables {
    all: Vec<Table>,
    /// The byte between the fields of CSV.
    delimiter: u8,
    /// The database that some of them are in.
    database: Option<Database>,
}

/// A table and what its rows are.
pub(super) struct Table {
    place: Place,
    names: Names,
    pub(super) kind: Kind,
}

#[derive(Clone)]
enum Place {
    File(PathBuf, Option<TableFormat>),
    Relation(Relation),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A user each.
    Users,
    /// A login each.
    Logins,
}

/// The amount to read, as far as that is known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Bytes(Option<u64>),
    Rows(Option<u64>),
}

/// The name in messages.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(file, _) if input::is_stdin(file) => f.write_str("stdin"),
            Place::File(file, _) => file.display().fmt(f),
            Place::Relation(relation) => relation.fmt(f),
        }
    }
}

impl Tables {
    /// Returns the tables that a backfill reads. Ends the process if the arguments make no sense together.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub(super) fn of_backfill(args: &BackfillArgs) -> anyhow::Result<Self> {
        let BackfillArgs { table, login_column, .. } = args;
        let logins = Names::new(member(&table.columns).into_iter().chain([(Column::Occurred, login_column)]));
        let of_logins = |place| Table { place, names: logins.clone(), kind: Kind::Logins };
        let from = [&table.table, &table.query, &args.logins_table, &args.logins_query];
        let is_in_database = from.iter().any(|from| from.is_some());
        let url = args.source.as_deref().and_then(url);
        if url.is_some() && !is_in_database {
            args::refuse("backfill", "a database needs --table, --query, --logins-table or --logins-query");
        }
        if url.is_none() && is_in_database {
            args::refuse("backfill", "--table and --query are of a database: SOURCE is postgres://...");
        }
        let users = match (args.source.as_deref(), url) {
            (Some(file), None) => Some(Place::File(file.to_owned(), table.format)),
            _ => Relation::of(table.table.as_ref(), table.query.as_ref()).map(Place::Relation),
        };
        let users = users.map(|place| users_table(place, table));
        let relation = Relation::of(args.logins_table.as_ref(), args.logins_query.as_ref());
        let files = args.logins.iter().map(|file| Place::File(file.clone(), table.format));
        let logins = relation.map(Place::Relation).into_iter().chain(files).map(of_logins);
        Self::open(users.into_iter().chain(logins).collect(), url, table)
    }

    /// A users table alone. Ends the process where the arguments make no sense together.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub(super) fn of_users(source: &Path, args: &TableArgs) -> anyhow::Result<Self> {
        let relation = Relation::of(args.table.as_ref(), args.query.as_ref());
        let url = url(source);
        let place = match (url, relation) {
            (Some(_), Some(relation)) => Place::Relation(relation),
            (None, None) => Place::File(source.to_owned(), args.format),
            (Some(_), None) => args::refuse("backfill", "a database needs --table or --query"),
            (None, Some(_)) => {
                args::refuse("backfill", "--table and --query are of a database: SOURCE is postgres://...")
            }
        };
        Self::open(vec![users_table(place, args)], url, args)
    }

    fn open(tables: Vec<Table>, url: Option<&str>, args: &TableArgs) -> anyhow::Result<Self> {
        let database = url.map(|url| Database::open(url, args.postgres_password.as_deref())).transpose()?;
        Ok(Self { all: tables, delimiter: args.delimiter, database })
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Table> {
        self.all.iter()
    }

    pub(super) fn get(&self, at: usize) -> &Table {
        &self.all[at]
    }

    /// Returns the size of all tables together: in bytes if they are files of lines, else in rows. A file
    /// that is not there fails here, before anything is sent.
    ///
    /// # Errors
    /// If a table cannot be read.
    pub(super) fn size(&self) -> anyhow::Result<Size> {
        let is_of_lines = |table: &Table| {
            matches!(&table.place, Place::File(file, format)
                if Rows::format(file, *format).ok() != Some(TableFormat::Parquet))
        };
        let files = self.all.iter().filter_map(|table| match &table.place {
            Place::File(file, _) => Some(file.clone()),
            Place::Relation(_) => None,
        });
        let bytes = input::total_bytes(&files.collect::<Vec<_>>())?;
        if self.all.iter().all(is_of_lines) {
            return Ok(Size::Bytes(bytes));
        }
        let mut rows = Some(0);
        for table in &self.all {
            let of_table = match &table.place {
                _ if is_of_lines(table) => None,
                Place::File(file, _) => Some(parquet::rows_in(file)?),
                Place::Relation(relation) => Some(self.database()?.about_rows(relation)?),
            };
            rows = rows.zip(of_table).map(|(rows, more)| rows + more);
        }
        Ok(Size::Rows(rows))
    }

    /// Looks for the columns in every table but a stream, which can be opened only once.
    ///
    /// # Errors
    /// If a table cannot be read, or lacks a column.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for (at, table) in self.all.iter().enumerate() {
            match &table.place {
                Place::File(file, _) if input::is_stream(file) => {}
                Place::File(..) => {
                    let checked = self.rows(at, &Arc::default())?.check();
                    checked.with_context(|| format!("cannot read {table}"))?;
                }
                Place::Relation(relation) => self.database()?.check(relation, &table.names)?,
            }
        }
        Ok(())
    }

    /// Opens a table and finds the columns in it. `bytes_read` counts what is taken from files of lines.
    ///
    /// # Errors
    /// If it cannot be read, or lacks a column.
    pub(super) fn rows(&self, at: usize, bytes_read: &Arc<AtomicU64>) -> anyhow::Result<Rows> {
        let Table { place, names, .. } = &self.all[at];
        match place {
            Place::File(file, format) => Rows::of_file(file, (*format, self.delimiter), names, bytes_read),
            Place::Relation(relation) => Rows::of_database(self.database()?.copy(relation, names)?, names),
        }
    }

    fn database(&self) -> anyhow::Result<&Database> {
        self.database.as_ref().context("a table of a database without one")
    }
}

/// A source that is no file. Ends the process where it is a URL of something else.
fn url(source: &Path) -> Option<&str> {
    let text = source.to_str()?;
    let expected = "SOURCE is a file, - or postgres://USER@HOST/DATABASE";
    match text.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Some(text),
        Some(_) => args::refuse("backfill", expected),
        // There may be a password in it.
        None if text.starts_with("postgres:") || text.starts_with("postgresql:") => {
            args::refuse("backfill", expected)
        }
        None => None,
    }
}

fn member(columns: &ColumnArgs) -> [(Column, &String); 2] {
    [(Column::Tenant, &columns.tenant), (Column::User, &columns.user)]
}

fn users_table(place: Place, args: &TableArgs) -> Table {
    let ColumnArgs { confirmed, created, modified, deleted, observed, left_out, .. } = &args.columns;
    let row = [
        (Column::Confirmed, confirmed),
        (Column::Created, created),
        (Column::Modified, modified),
        (Column::Deleted, deleted),
    ];
    let columns = member(&args.columns).into_iter().chain(row);
    let optional = [(Column::Observed, observed), (Column::LeftOut, left_out)];
    let optional = optional.into_iter().filter_map(|(column, name)| Some((column, name.as_ref()?)));
    let names = Names::new(columns.chain(optional));
    Table { place, names, kind: Kind::Users }
}

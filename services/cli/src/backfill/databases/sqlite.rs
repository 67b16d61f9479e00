//! Tables of SQLite, read on a thread of their own, all in one snapshot of the file.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, anyhow};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Statement};
use uuid::Uuid;

use super::relation::Relation;
use crate::ahead::{Batches, Stop};
use crate::backfill::formats::fed::{FedCell, FedRow, FedRows, Feed};
use crate::backfill::formats::record::Fields;

/// From here on a float may have been rounded.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A database, opened to read.
pub(crate) struct Sqlite {
    connection: Arc<Mutex<Connection>>,
}

impl Sqlite {
    /// Opens a file and begins a transaction.
    ///
    /// # Errors
    /// The database's error.
    pub(crate) fn open(file: &Path) -> anyhow::Result<Self> {
        let cannot_read = || format!("cannot read {}", file.display());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags).with_context(cannot_read)?;
        // All tables are then as they were when the first one was read.
        connection.execute_batch("BEGIN").with_context(cannot_read)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Number of rows of a table.
    ///
    /// # Errors
    /// The database's error.
    pub(crate) fn rows(&self, relation: &Relation) -> anyhow::Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", relation.from());
        let rows = self.with(|connection| connection.query_row(&sql, [], |row| row.get::<_, i64>(0)));
        rows.map(|rows| u64::try_from(rows).unwrap_or_default())
            .with_context(|| format!("cannot read {relation}"))
    }

    /// The names of all columns of a table.
    ///
    /// # Errors
    /// The database's error.
    pub(crate) fn columns(&self, relation: &Relation) -> anyhow::Result<Vec<String>> {
        let sql = format!("SELECT * FROM {}", relation.from());
        let columns = self.with(|connection| Ok(names(&connection.prepare(&sql)?)));
        columns.with_context(|| format!("cannot read {relation}"))
    }

    /// The rows of a table: these columns, no others.
    ///
    /// # Errors
    /// If there is no thread for it; or the table lacks a column.
    pub(crate) fn read(
        &self,
        relation: &Relation,
        columns: &[&str],
        fields: &Fields,
    ) -> anyhow::Result<FedRows> {
        let sql = relation.select(columns, '"');
        let read = move |connection: &mut Connection, batches: &_| read(connection, &sql, batches);
        FedRows::of_database(&self.connection, read, (columns, fields))
    }

    fn with<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> anyhow::Result<T> {
        let connection = self.connection.lock().map_err(|_| anyhow!("a thread that read it panicked"))?;
        Ok(ask(&connection)?)
    }
}

fn names(statement: &Statement<'_>) -> Vec<String> {
    statement.column_names().map(str::to_owned).collect()
}

fn read(connection: &Connection, sql: &str, batches: &Batches<Vec<FedRow>>) -> Result<(), Stop> {
    let mut feed = Feed::new(batches);
    let mut statement = connection.prepare(sql).context("the database refuses")?;
    let columns = names(&statement).len();
    let mut rows = statement.query([]).context("the database refuses")?;
    loop {
        let number = feed.last() + 1;
        let failed = || format!("after row {}", number - 1);
        let Some(row) = rows.next().with_context(failed)? else { return feed.finish() };
        let cells = (0..columns).map(|at| value(row.get_ref(at).with_context(failed)?).with_context(failed));
        let cells = cells.collect::<anyhow::Result<_>>()?;
        feed.row(number)?.cells = cells;
    }
}

/// A value as text; 16 bytes are a UUID, other bytes are UTF-8. `None`: it is null.
fn value(value: ValueRef<'_>) -> anyhow::Result<Option<FedCell>> {
    let text = |bytes: &[u8]| anyhow::Ok(str::from_utf8(bytes).context("expected UTF-8")?.to_owned());
    Ok(Some(match value {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(number) => FedCell::exact(number.to_string()),
        ValueRef::Real(number) => FedCell {
            text: number.to_string(),
            is_rounded: number.fract() != 0.0 || number.abs() >= WHOLE_MAX,
        },
        ValueRef::Text(bytes) => FedCell::exact(text(bytes)?),
        ValueRef::Blob(bytes) => FedCell::exact(match Uuid::from_slice(bytes) {
            Ok(uuid) => uuid.to_string(),
            Err(_) => text(bytes)?,
        }),
    }))
}

//! Tables of MySQL and MariaDB, read on a thread of their own, all in one snapshot of the database.

use std::sync::{Arc, Mutex};

use anyhow::{Context, anyhow};
use mysql::prelude::Queryable as _;
use mysql::{Column, Conn, Opts, OptsBuilder, Value};
use uuid::Uuid;

use super::relation::Relation;
use crate::ahead::{Batches, Stop};
use crate::backfill::formats::fed::{FedCell, FedRow, FedRows, Feed};
use crate::backfill::formats::record::Fields;

/// The character set of bytes that are no text.
const BINARY: u16 = 63;
const UUID_BYTES: u32 = 16;

/// A connection in a transaction that reads one snapshot.
pub(crate) struct Mysql {
    connection: Arc<Mutex<Conn>>,
}

impl Mysql {
    /// Connects and begins the transaction. `password` is that of a URL without one.
    ///
    /// # Errors
    /// The database's error.
    pub(crate) fn open(url: &str, password: Option<&str>) -> anyhow::Result<Self> {
        // Its errors may tell the URL, and there may be a password in it.
        let url = url.replacen("mariadb://", "mysql://", 1);
        let opts = Opts::from_url(&url).map_err(|_| {
            anyhow!("expected mysql://USER@HOST:PORT/DATABASE, with ?require_ssl=true where the connection is to be encrypted")
        })?;
        let name = format!("{}/{}", opts.get_ip_or_hostname(), opts.get_db_name().unwrap_or_default());
        let password = opts.get_pass().or(password).map(str::to_owned);
        let opts = OptsBuilder::from_opts(opts).pass(password);
        let begin = || -> mysql::Result<Conn> {
            let mut connection = Conn::new(opts)?;
            // Instants with a zone are printed in UTC, and reading takes the time it takes.
            connection.query_drop("SET SESSION time_zone = '+00:00', net_write_timeout = 86400")?;
            connection.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")?;
            Ok(connection)
        };
        let connection = begin().with_context(|| format!("cannot use the database {name}"))?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// The names of all columns of a table.
    ///
    /// # Errors
    /// The database's error.
    pub(crate) fn columns(&self, relation: &Relation) -> anyhow::Result<Vec<String>> {
        let sql = format!("SELECT * FROM {} LIMIT 0", relation.from());
        let mut connection = self.connection.lock().map_err(|_| anyhow!("a thread that read it panicked"))?;
        let none = connection.query_iter(sql).with_context(|| format!("cannot read {relation}"))?;
        Ok(none.columns().as_ref().iter().map(|column| column.name_str().into_owned()).collect())
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
        let sql = relation.select(columns, '`');
        let read = move |connection: &mut Conn, batches: &_| read(connection, &sql, batches);
        FedRows::of_database(&self.connection, read, (columns, fields))
    }
}

fn read(connection: &mut Conn, sql: &str, batches: &Batches<Vec<FedRow>>) -> Result<(), Stop> {
    let mut feed = Feed::new(batches);
    let mut rows = connection.query_iter(sql).context("the database refuses")?;
    loop {
        let number = feed.last() + 1;
        let failed = || format!("after row {}", number - 1);
        let Some(row) = rows.next() else { return feed.finish() };
        let row = row.with_context(failed)?;
        let columns = row.columns();
        let cells = row.unwrap().into_iter().zip(columns.iter());
        let cells = cells.map(|(cell, column)| value(cell, column).with_context(failed));
        let cells = cells.collect::<anyhow::Result<_>>()?;
        feed.row(number)?.cells = cells;
    }
}

/// A value as the text that the database prints; 16 bytes that are no text are a UUID. `None`: it is null.
fn value(value: Value, column: &Column) -> anyhow::Result<Option<FedCell>> {
    use mysql::consts::ColumnType::{MYSQL_TYPE_STRING, MYSQL_TYPE_VAR_STRING};
    // Numbers have that character set as well, and a width.
    let is_of_bytes = matches!(column.column_type(), MYSQL_TYPE_STRING | MYSQL_TYPE_VAR_STRING);
    let is_uuid = is_of_bytes && column.character_set() == BINARY && column.column_length() == UUID_BYTES;
    Ok(match value {
        Value::NULL => None,
        Value::Bytes(bytes) => {
            Some(FedCell::exact(match Uuid::from_slice(&bytes).ok().filter(|_| is_uuid) {
                Some(uuid) => uuid.to_string(),
                None => {
                    String::from_utf8(bytes).map_err(|_| anyhow!("{}: expected UTF-8", column.name_str()))?
                }
            }))
        }
        // Values that are asked for as text come as such; these are for completeness.
        other => Some(FedCell::exact(other.as_sql(true).trim_matches('\'').to_owned())),
    })
}

//! Tables in PostgreSQL, all read in one snapshot of the database: as CSV that it copies out, row by row as it is asked for.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use anyhow::Context;
use bytes::{Buf, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::ReadyChunks;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio_postgres::{Client, CopyOutStream};

use super::relation::Relation;
use crate::input::Input;
use crate::postgres;

/// Messages of the database taken at once, where they are there; most are a row each.
const MESSAGES: usize = 1_024;
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection in a transaction that reads one snapshot.
pub(crate) struct Postgres {
    runtime: Arc<Runtime>,
    client: Client,
}

impl Postgres {
    /// Connects and begins the transaction. `password` is that of a URL without one.
    ///
    /// # Errors
    /// The database's error.
    pub(crate) fn open(url: &str, password: Option<&str>) -> anyhow::Result<Self> {
        /// Rows are printed in one form, whatever the settings of the user and the database, and reading takes the time it takes.
        const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                             SET LOCAL datestyle TO 'ISO'; SET LOCAL timezone TO 'UTC'; \
                             SET LOCAL statement_timeout TO 0; \
                             SET LOCAL idle_in_transaction_session_timeout TO 0";
        /// Makes the database report a policy that would hide rows from this user. A URL can say otherwise in
        /// its options.
        const ALL_ROWS: &str = "SET LOCAL row_security TO off";
        let config = postgres::config(url, password)?;
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
        let client = runtime.block_on(async {
            let client = postgres::connect(&config, &Arc::new(Notify::new())).await?;
            client.batch_execute(BEGIN).await?;
            if !config.get_options().unwrap_or_default().contains("row_security") {
                client.batch_execute(ALL_ROWS).await?;
            }
            anyhow::Ok(client)
        });
        let client =
            client.with_context(|| format!("cannot use the database {}", postgres::name_of(&config)))?;
        Ok(Self { runtime: Arc::new(runtime), client })
    }

    /// About how many rows a table has, by the database's own reckoning.
    ///
    /// # Errors
    /// The database's error.
    pub(crate) fn about_rows(&self, relation: &Relation) -> anyhow::Result<u64> {
        let sql = format!("EXPLAIN (FORMAT JSON) SELECT 1 FROM {}", relation.from());
        let explained = self.runtime.block_on(self.client.simple_query(&sql));
        let explained = explained.with_context(|| format!("cannot read {relation}"))?;
        let text: String = explained
            .iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            })
            .collect();
        let plan: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(plan[0]["Plan"]["Plan Rows"].as_u64().unwrap_or_default())
    }

    /// The names of all columns of a table.
    ///
    /// # Errors
    /// If the database refuses.
    pub(crate) fn columns(&self, relation: &Relation) -> anyhow::Result<Vec<String>> {
        let all = self.runtime.block_on(self.client.prepare(&format!("SELECT * FROM {}", relation.from())));
        let all = all.with_context(|| format!("cannot read {relation}"))?;
        Ok(all.columns().iter().map(|column| column.name().to_owned()).collect())
    }

    /// The rows of a table as CSV with a header: these columns, no others; true for those of ids.
    ///
    /// # Errors
    /// If the database refuses, as it does if a column is not there.
    pub(crate) fn copy(&self, relation: &Relation, columns: &[(&str, bool)]) -> anyhow::Result<Input> {
        let cannot_read = || format!("cannot read {relation}");
        let from = relation.from();
        // As text, char(n) is without what pads it.
        let cast = |is_id| if is_id { "::text" } else { "" };
        let selected = |(name, is_id): &(&str, bool)| {
            format!("{name}{} AS {name}", cast(*is_id), name = postgres::quoted(name))
        };
        let columns: Vec<String> = columns.iter().map(selected).collect();
        let sql = format!(
            "COPY (SELECT {} FROM {from}) TO STDOUT WITH (FORMAT csv, HEADER true)",
            columns.join(", ")
        );
        let stream = self.runtime.block_on(self.client.copy_out(&sql)).with_context(cannot_read)?;
        let reader = CopyReader {
            runtime: self.runtime.clone(),
            messages: Box::pin(stream).ready_chunks(MESSAGES),
            waiting: Vec::new().into_iter(),
            message: Bytes::new(),
        };
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, reader)))
    }
}

/// The bytes that a COPY sends, as they are read.
struct CopyReader {
    runtime: Arc<Runtime>,
    messages: ReadyChunks<std::pin::Pin<Box<CopyOutStream>>>,
    waiting: std::vec::IntoIter<Result<Bytes, tokio_postgres::Error>>,
    message: Bytes,
}

impl Read for CopyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.message.is_empty() {
            match self.waiting.next() {
                Some(message) => self.message = message.map_err(io::Error::other)?,
                None => match self.runtime.block_on(self.messages.next()) {
                    Some(messages) => self.waiting = messages.into_iter(),
                    None => return Ok(0),
                },
            }
        }
        let length = buffer.len().min(self.message.len());
        self.message.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

//! Rows of cells that a thread of their own reads and hands over: of sheets, and of databases whose rows cannot be asked for one by
//! one.

use std::sync::mpsc::Receiver;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
use std::sync::{Arc, Mutex};

#[cfg(any(feature = "sqlite", feature = "mysql"))]
use anyhow::{Context, anyhow};

use super::cells::Cells;
use super::record::{At, Fields, Kind, Next, Record};
#[cfg(any(feature = "sqlite", feature = "mysql"))]
use crate::ahead;
use crate::ahead::{Batches, Message, Stop};

/// Rows that are handed over at once.
const ROWS_TOGETHER: usize = 512;

/// The rows of a table.
pub(crate) struct FedRows {
    messages: Receiver<Message<Vec<FedRow>>>,
    waiting: std::vec::IntoIter<FedRow>,
    cells: Cells,
    ahead: Option<FedRow>,
    is_of_sheet: bool,
}

/// A row, by columns.
#[derive(Debug, Default)]
pub(crate) struct FedRow {
    pub(crate) number: u64,
    pub(crate) cells: Vec<Option<FedCell>>,
}

/// A value that is not null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FedCell {
    pub(crate) text: String,
    /// True for a number that may have been rounded.
    pub(crate) is_rounded: bool,
}

impl FedCell {
    pub(crate) fn exact(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_rounded: false }
    }
}

/// The end of the thread: hands rows over, some at once.
pub(crate) struct Feed<'a> {
    batches: &'a Batches<Vec<FedRow>>,
    rows: Vec<FedRow>,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(batches: &'a Batches<Vec<FedRow>>) -> Self {
        Self { batches, rows: Vec::new() }
    }

    /// Number of the last row.
    pub(crate) fn last(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.number)
    }

    /// The row with a number, which is the last one or comes next.
    ///
    /// # Errors
    /// If nobody wants more.
    pub(crate) fn row(&mut self, number: u64) -> Result<&mut FedRow, Stop> {
        if self.rows.last().is_none_or(|row| row.number != number) {
            if self.rows.len() >= ROWS_TOGETHER {
                self.batches.send(std::mem::take(&mut self.rows))?;
            }
            self.rows.push(FedRow { number, cells: Vec::new() });
        }
        let last = self.rows.len() - 1;
        Ok(&mut self.rows[last])
    }

    /// # Errors
    /// If nobody wants more.
    pub(crate) fn finish(self) -> Result<(), Stop> {
        self.batches.send(self.rows)
    }
}

impl FedRows {
    /// The rows of a sheet. `header`: the names of its columns, where its first row does not have them.
    ///
    /// # Errors
    /// The thread's error; or the sheet lacks a column.
    pub(crate) fn of_sheet(
        messages: Receiver<Message<Vec<FedRow>>>,
        (header, prefix): (Option<&[String]>, Option<char>),
        fields: &Fields,
    ) -> anyhow::Result<Self> {
        let cells = Cells { places: Vec::new(), prefix, fields: fields.clone() };
        let mut rows =
            Self { messages, waiting: Vec::new().into_iter(), cells, ahead: None, is_of_sheet: true };
        let first = rows.take()?;
        let names = if let Some(names) = header {
            rows.ahead = first;
            names.to_owned()
        } else {
            let cells = first.map_or_else(Vec::new, |first| first.cells);
            cells.into_iter().map(|cell| cell.map_or_else(String::new, |cell| cell.text)).collect()
        };
        rows.cells.places = fields.places(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(rows)
    }

    /// The rows of a database with these columns, which `read` reads while it has the connection.
    ///
    /// # Errors
    /// If there is no thread for it; or the table lacks a column.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn of_database<C: Send + 'static>(
        connection: &Arc<Mutex<C>>,
        read: impl FnOnce(&mut C, &Batches<Vec<FedRow>>) -> Result<(), Stop> + Send + 'static,
        (columns, fields): (&[&str], &Fields),
    ) -> anyhow::Result<Self> {
        let places = fields.places(columns)?;
        let connection = connection.clone();
        let messages = ahead::start(move |batches| {
            let mut connection = connection.lock().map_err(|_| anyhow!("a thread that read it panicked"))?;
            read(&mut connection, &batches)
        });
        let messages = messages.context("cannot start a thread")?;
        let cells = Cells { places, prefix: None, fields: fields.clone() };
        Ok(Self { messages, waiting: Vec::new().into_iter(), cells, ahead: None, is_of_sheet: false })
    }

    pub(crate) fn has(&self, at: At) -> bool {
        self.cells.has(at)
    }

    pub(crate) fn is_of_sheet(&self) -> bool {
        self.is_of_sheet
    }

    /// # Errors
    /// The thread's error.
    pub(crate) fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        record.clear();
        let row = match self.ahead.take() {
            Some(row) => Some(row),
            None => self.take()?,
        };
        let Some(row) = row else { return Ok(Next::End) };
        record.line = row.number;
        let cell = |at: usize| row.cells.get(at).and_then(Option::as_ref);
        let next = self.cells.fill(|at| cell(at).map(|cell| cell.text.as_bytes()), record);
        for ((at, _), place) in self.cells.fields.iter().zip(&self.cells.places) {
            let place = place.as_ref().filter(|(_, path)| path.is_none()).map(|(place, _)| *place);
            if place.and_then(cell).is_some_and(|cell| cell.is_rounded) {
                record.mark(at, Kind::Rounded);
            }
        }
        Ok(next)
    }

    fn take(&mut self) -> anyhow::Result<Option<FedRow>> {
        loop {
            if let Some(row) = self.waiting.next() {
                return Ok(Some(row));
            }
            match self.messages.recv() {
                Ok(Message::Batch(rows)) => self.waiting = rows.into_iter(),
                Ok(Message::Failed(error)) => return Err(error),
                // It has ended.
                Err(_) => return Ok(None),
            }
        }
    }
}

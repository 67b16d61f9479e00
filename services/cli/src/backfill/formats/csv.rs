//! Tables as CSV: of files with and without a header, and of a database.

use anyhow::{Context, bail};
use csv::ByteRecord;

use super::cells::Cells;
use super::quotes::Quoted;
use super::record::{At, Fault, Fields, Next, Record};
use super::rows::Layout;
use crate::input::Input;

/// Rows with fields; an empty field is null.
pub(crate) struct CsvRows {
    reader: csv::Reader<Quoted<Input>>,
    cells: Cells,
    row: ByteRecord,
    /// A row that was read to learn how long rows are.
    ahead: Option<ByteRecord>,
    /// Number of fields of a row, and how many of the last ones it may lack.
    length: usize,
    short_rows: usize,
    /// Number of rows read, if rows are known by numbers and not by lines.
    number: Option<u64>,
}

impl CsvRows {
    /// # Errors
    /// If it cannot be read, or lacks a column.
    pub(crate) fn new(input: Input, layout: &Layout, fields: &Fields) -> anyhow::Result<Self> {
        let Layout { delimiter, header, short_rows, text_prefix, .. } = layout;
        let input = Quoted::new(input, *delimiter);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(*delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(input);
        let mut first = ByteRecord::new();
        reader.read_byte_record(&mut first).map_err(|error| plain(error, None))?;
        let length = first.len();
        let (names, ahead) = if let Some(names) = header {
            if names.len() > length && length > 0 {
                bail!("--header names {} columns, and the first row has {length}", names.len());
            }
            (names.clone(), Some(first).filter(|first| !first.is_empty()))
        } else {
            let names = first.iter().map(|name| str::from_utf8(name).map(str::to_owned));
            (names.collect::<Result<_, _>>().context("line 1: expected UTF-8")?, None)
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let cells = Cells { places: fields.places(&names)?, prefix: *text_prefix, fields: fields.clone() };
        Ok(Self {
            reader,
            cells,
            row: ByteRecord::new(),
            ahead,
            length,
            short_rows: *short_rows,
            number: None,
        })
    }

    /// The rows of a database: they have numbers in place of lines.
    ///
    /// # Errors
    /// Those of [`CsvRows::new`].
    pub(crate) fn of_database(input: Input, fields: &Fields) -> anyhow::Result<Self> {
        Ok(Self { number: Some(0), ..Self::new(input, &Layout::default(), fields)? })
    }

    pub(crate) fn has(&self, at: At) -> bool {
        self.cells.has(at)
    }

    /// False if a database made it.
    pub(crate) fn is_of_file(&self) -> bool {
        self.number.is_none()
    }

    /// # Errors
    /// The input's error.
    pub(crate) fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        let read = match self.ahead.take() {
            Some(row) => {
                self.row = row;
                Ok(true)
            }
            None => self.reader.read_byte_record(&mut self.row),
        };
        let passed = self.row.position().unwrap_or_else(|| self.reader.position()).line();
        let line = self.reader.get_mut().line_of(passed);
        self.number = self.number.map(|number| number + 1);
        record.line = self.number.unwrap_or(line);
        record.clear();
        match read {
            Ok(true) => {}
            Ok(false) => return Ok(Next::End),
            Err(error) => {
                let what = if self.number.is_some() { "row" } else { "line" };
                return Err(plain(error, Some(format!("after {what} {}", record.line.saturating_sub(1)))));
            }
        }
        let (found, expected) = (self.row.len(), self.length);
        if found > expected || found + self.short_rows < expected {
            return Ok(Next::Bad(Fault::of_row(format!("expected {expected} fields, found {found}"))));
        }
        Ok(self.cells.fill(|place| self.row.get(place), record))
    }
}

/// The error of the input, with its causes.
fn plain(error: csv::Error, place: Option<String>) -> anyhow::Error {
    let error = match error.into_kind() {
        csv::ErrorKind::Io(error) => anyhow::Error::new(error),
        other => anyhow::anyhow!("{other:?}"),
    };
    match place {
        Some(place) => error.context(place),
        None => error,
    }
}

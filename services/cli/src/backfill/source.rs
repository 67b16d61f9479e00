//! Rows, wherever they come from: CSV and NDJSON of files and stdin, plain or gzipped, CSV of a database, Parquet.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, bail};
use csv::ByteRecord;
use serde_json::{Map, Value};

use super::columns::{BadColumns, COLUMNS, Column, Fault, Names, Next, Record};
use super::parquet::ParquetRows;
use super::quotes::Quoted;
use crate::args::TableFormat;
use crate::input::{self, Input};
use crate::lines::{Line, Lines};

/// The rows of a table, one after the other.
pub(super) enum Rows {
    Csv(CsvRows),
    Ndjson(NdjsonRows),
    Parquet(Box<ParquetRows>),
}

impl Rows {
    /// Returns the format of a file, by its name if nothing else says it.
    ///
    /// # Errors
    /// If its name does not say it either.
    pub(super) fn format(file: &Path, format: Option<TableFormat>) -> anyhow::Result<TableFormat> {
        format
            .or_else(|| format_of(file))
            .with_context(|| format!("--format says whether {} is csv, ndjson or parquet", file.display()))
    }

    /// The rows of a database, as CSV with a header: they have numbers in place of lines.
    ///
    /// # Errors
    /// If it cannot be read, or lacks a column.
    pub(super) fn of_database(input: Input, names: &Names) -> anyhow::Result<Self> {
        Ok(Self::Csv(CsvRows { number: Some(0), ..CsvRows::new(input, b',', names)? }))
    }

    /// Opens a file and finds the columns in it.
    ///
    /// # Errors
    /// If it cannot be read, or lacks a column.
    pub(super) fn of_file(
        file: &Path,
        (format, delimiter): (Option<TableFormat>, u8),
        names: &Names,
        bytes_read: &Arc<AtomicU64>,
    ) -> anyhow::Result<Self> {
        let format = Self::format(file, format)?;
        if format == TableFormat::Parquet {
            return ParquetRows::open(file, names).map(Box::new).map(Self::Parquet);
        }
        let cannot_read = || format!("cannot read {}", file.display());
        let input = input::open(file, bytes_read).and_then(without_mark).with_context(cannot_read)?;
        match format {
            TableFormat::Csv => CsvRows::new(Box::new(Quoted::new(input, delimiter)), delimiter, names)
                .map(Self::Csv)
                .with_context(cannot_read),
            _ => Ok(Self::Ndjson(NdjsonRows {
                lines: Lines::new(input),
                names: names.clone(),
                line: Vec::new(),
                is_checked: !input::is_stream(file),
                found: [false; COLUMNS],
                keys: None,
            })),
        }
    }

    /// Reads until every column that is named was found, where only rows tell.
    ///
    /// # Errors
    /// The input's error; or no row has a column.
    pub(super) fn check(mut self) -> anyhow::Result<()> {
        let Self::Ndjson(rows) = &mut self else { return Ok(()) };
        let mut record = Record::default();
        while !rows.has_all() && rows.next(&mut record)? != Next::End {}
        Ok(())
    }

    /// True if the table has such a column, as far as it was read.
    pub(super) fn has(&self, column: Column) -> bool {
        match self {
            Self::Csv(rows) => rows.places[column as usize].is_some(),
            Self::Ndjson(rows) => {
                rows.found[column as usize]
                    || (rows.is_checked && rows.names.used().any(|used| used.0 == column))
            }
            Self::Parquet(rows) => rows.has(column),
        }
    }

    /// Reads the next row.
    ///
    /// # Errors
    /// The input's error.
    pub(super) fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        match self {
            Self::Csv(rows) => rows.next(record),
            Self::Ndjson(rows) => rows.next(record),
            Self::Parquet(rows) => rows.next(record),
        }
    }
}

/// The text behind a byte order mark, which some programs put before it.
fn without_mark(mut input: Input) -> io::Result<Input> {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    let mut start = Vec::with_capacity(BYTE_ORDER_MARK.len());
    input.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut start)?;
    if start == BYTE_ORDER_MARK {
        start.clear();
    }
    Ok(Box::new(io::Cursor::new(start).chain(input)))
}

/// Returns the format that a file's name stands for.
fn format_of(file: &Path) -> Option<TableFormat> {
    let name = file.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "csv" => Some(TableFormat::Csv),
        "ndjson" | "jsonl" => Some(TableFormat::Ndjson),
        "parquet" => Some(TableFormat::Parquet),
        _ => None,
    }
}

/// A header and rows; an empty field, or `\N`, is null.
pub(super) struct CsvRows {
    reader: csv::Reader<Box<dyn Read + Send>>,
    places: [Option<usize>; COLUMNS],
    row: ByteRecord,
    /// Number of rows read, if rows are known by numbers and not by lines.
    number: Option<u64>,
    /// Lines that the reader has not counted yet when it says where a row begins.
    uncounted: u64,
}

impl CsvRows {
    fn new(input: Box<dyn Read + Send>, delimiter: u8, names: &Names) -> anyhow::Result<Self> {
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(input);
        let header = reader.headers()?.clone();
        let places = names.places(&header.iter().collect::<Vec<_>>())?;
        // Of CRLF it takes the CR with the row and the LF with the next one.
        let last_line = header.position().map_or(1, csv::Position::line)
            + header.iter().map(|name| name.matches('\n').count() as u64).sum::<u64>();
        let uncounted = u64::from(reader.position().line() == last_line);
        Ok(Self { reader, places, row: ByteRecord::new(), number: None, uncounted })
    }

    fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        let read = self.reader.read_byte_record(&mut self.row);
        let position = self.row.position().unwrap_or_else(|| self.reader.position());
        self.number = self.number.map(|number| number + 1);
        record.line = self.number.unwrap_or(position.line() + self.uncounted);
        record.clear();
        match read {
            Ok(true) => {}
            Ok(false) => return Ok(Next::End),
            Err(error) => {
                let before = record.line.saturating_sub(1);
                let what = if self.number.is_some() { "row" } else { "line" };
                let after = || format!("after {what} {before}");
                return match error.into_kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        Ok(Next::Bad(Fault::of_row(format!("expected {expected_len} fields, found {len}"))))
                    }
                    // The error of the input, with its causes.
                    csv::ErrorKind::Io(error) => Err(error).with_context(after),
                    other => bail!("{}: {other:?}", after()),
                };
            }
        }
        for (column, place) in Column::ALL.into_iter().zip(self.places) {
            let field = place.and_then(|place| self.row.get(place));
            let Some(field) = field.filter(|field| !field.is_empty() && *field != br"\N") else { continue };
            match str::from_utf8(field) {
                Ok(text) => record.set(column, text),
                Err(_) => return Ok(Next::Bad(Fault::of(column, "expected UTF-8"))),
            }
        }
        Ok(Next::Row)
    }
}

/// An object a line; an absent field is null, but a column that no row has is not there.
pub(super) struct NdjsonRows {
    lines: Lines<Input>,
    names: Names,
    line: Vec<u8>,
    /// True if every column is known to be in some row: a file is read up to there before it is read.
    is_checked: bool,
    /// The columns that a row had, be it null.
    found: [bool; COLUMNS],
    /// The keys of the first row.
    keys: Option<Vec<String>>,
}

impl NdjsonRows {
    fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        loop {
            self.line.clear();
            record.clear();
            let read = self.lines.read_into(&mut self.line);
            record.line = self.lines.number;
            match read.with_context(|| format!("after line {}", record.line))? {
                None => return self.end(),
                Some(Line::Blank) => {}
                Some(Line::TooLong) => return Ok(Next::Bad(Fault::of_row("expected a shorter line"))),
                Some(Line::Event) => return Ok(self.object(record)),
            }
        }
    }

    fn object(&mut self, record: &mut Record) -> Next {
        let object: Map<String, Value> = match serde_json::from_slice(&self.line) {
            Ok(object) => object,
            Err(error) => return Next::Bad(Fault::of_row(format!("expected a JSON object: {error}"))),
        };
        self.keys.get_or_insert_with(|| object.keys().cloned().collect());
        let mut fault = None;
        for (column, name) in self.names.used() {
            let Some(value) = object.get(name) else { continue };
            self.found[column as usize] = true;
            match value {
                Value::Null => {}
                Value::String(text) => record.set(column, text),
                // It may have been rounded, and two users would become one.
                Value::Number(number) if number.is_f64() => {
                    let expected = "expected text or a whole number of at most 64 bits";
                    fault = fault.or(Some(Fault::of(column, format!("{expected}, found {number}"))));
                }
                Value::Bool(_) | Value::Number(_) => record.set(column, &value.to_string()),
                Value::Array(_) | Value::Object(_) => {
                    fault = fault.or(Some(Fault::of(column, format!("expected one value, found {value}"))));
                }
            }
        }
        fault.map_or(Next::Row, Next::Bad)
    }

    fn has_all(&self) -> bool {
        self.names.used().all(|(column, _)| self.found[column as usize])
    }

    /// # Errors
    /// If there are rows, and none has a column.
    fn end(&self) -> anyhow::Result<Next> {
        let missing = self.names.used().find(|(column, _)| !self.found[*column as usize]);
        match (missing, &self.keys) {
            (Some(missing), Some(keys)) => {
                Err(BadColumns::missing(missing, keys)).context("not one line has a column, be it null")
            }
            _ => Ok(Next::End),
        }
    }
}

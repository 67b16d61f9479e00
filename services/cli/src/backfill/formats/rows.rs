//! The rows of a table, whatever the format, and how its file is laid out.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, bail};

use super::csv::CsvRows;
use super::fed::FedRows;
use super::json::{JsonRows, NdjsonRows};
use super::kind::{self, Kind};
use super::parquet::ParquetRows;
use super::record::{At, Fields, Next, Record};
use super::sheet;
use super::tsv::TsvRows;
use crate::args::TableFormat;
use crate::input;

/// The layout of a file.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The byte between the fields of CSV.
    pub(crate) delimiter: u8,
    /// The names of the columns of a file without a header.
    pub(crate) header: Option<Vec<String>>,
    /// The fields of a document that lead to the array of rows, with dots between them.
    pub(crate) array: Option<String>,
    /// The sheet of a workbook, or the table of a database that is a file.
    pub(crate) sheet: Option<String>,
    /// Number of the last fields that a row may lack.
    pub(crate) short_rows: usize,
    /// A character that stands before every text, and is not of it.
    pub(crate) text_prefix: Option<char>,
}

impl Default for Layout {
    fn default() -> Self {
        Self { delimiter: b',', header: None, array: None, sheet: None, short_rows: 0, text_prefix: None }
    }
}

/// The rows of a table, one after the other.
pub(crate) enum Rows {
    Csv(CsvRows),
    Tsv(TsvRows),
    Ndjson(NdjsonRows),
    Json(Box<JsonRows>),
    Parquet(Box<ParquetRows>),
    Fed(FedRows),
}

/// Returns the format of a file: as `told`, or by its first bytes, or by its name, or as `usual`. `is_document`: JSON is no NDJSON.
///
/// # Errors
/// If it cannot be opened, is no table, or nothing says what it is.
pub(crate) fn format_of(
    file: &Path,
    told: Option<TableFormat>,
    (usual, is_document): (Option<TableFormat>, bool),
) -> anyhow::Result<TableFormat> {
    let expected = || format!("--format says what {} is: csv, tsv, ndjson or json", file.display());
    if input::is_stream(file) {
        return told.or(usual).or_else(|| named(file)).with_context(expected);
    }
    let cannot_read = || format!("cannot read {}", file.display());
    let kind = kind::of(&start(file).with_context(cannot_read)?);
    match (kind, told) {
        (Kind::Other(what), _) => bail!("{}: it is {what}", cannot_read()),
        (Kind::Table(format), Some(told)) if format != told => {
            bail!("{}: it is {}, and --format says {}", cannot_read(), format.name(), told.name())
        }
        (_, Some(told)) => Ok(told),
        (Kind::Table(format), None) => Ok(format),
        (_, None) => {
            let named = named(file);
            let of_json = match kind {
                Kind::Lines if is_document => Some(TableFormat::Json),
                Kind::Lines => Some(TableFormat::Ndjson),
                Kind::Object if usual == Some(TableFormat::Ndjson) => usual,
                Kind::Array | Kind::Object => Some(TableFormat::Json),
                _ => None,
            };
            match named {
                Some(TableFormat::Json) => Ok(of_json.unwrap_or(TableFormat::Json)),
                Some(format) => Ok(format),
                None => of_json.or(usual).with_context(expected),
            }
        }
    }
}

/// The first bytes of a file, unpacked.
pub(crate) fn start(file: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(kind::START_BYTES);
    let input = input::open(file, &Arc::default())?;
    input.take(kind::START_BYTES as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Returns the format that a file's name stands for.
fn named(file: &Path) -> Option<TableFormat> {
    let name = file.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "csv" => Some(TableFormat::Csv),
        "tsv" | "tab" => Some(TableFormat::Tsv),
        "ndjson" | "jsonl" => Some(TableFormat::Ndjson),
        "json" => Some(TableFormat::Json),
        "parquet" => Some(TableFormat::Parquet),
        "xlsx" => Some(TableFormat::Xlsx),
        _ => None,
    }
}

impl Rows {
    /// Opens a file and finds the columns in it. `checked`: the columns that it has, if it was read before. `bytes_read` counts
    /// what is taken from files of lines.
    ///
    /// # Errors
    /// If it cannot be read, or lacks a column.
    pub(crate) fn open(
        file: &Path,
        (format, layout): (TableFormat, &Layout),
        (fields, checked): (&Fields, Option<&[bool]>),
        bytes_read: &Arc<AtomicU64>,
    ) -> anyhow::Result<Self> {
        let input = || input::open(file, bytes_read);
        let rows = || {
            Ok(match format {
                TableFormat::Csv => Self::Csv(CsvRows::new(input()?, layout, fields)?),
                TableFormat::Tsv => Self::Tsv(TsvRows::new(input()?, layout, fields)?),
                TableFormat::Ndjson => Self::Ndjson(NdjsonRows::new(input()?, checked, fields)),
                TableFormat::Json => Self::Json(Box::new(JsonRows::new(input()?, checked, layout, fields))),
                TableFormat::Parquet => Self::Parquet(Box::new(ParquetRows::open(file, fields)?)),
                TableFormat::Xlsx => Self::Fed(sheet::open(file, layout, fields)?),
                TableFormat::Sqlite => bail!("a table of SQLite is none of rows in a file"),
            })
        };
        rows().with_context(|| format!("cannot read {}", file.display()))
    }

    /// Reads a file to learn which columns it has, where only rows tell, and that it can be read as what it is.
    ///
    /// # Errors
    /// The input's error; or no row has a column.
    pub(crate) fn check(mut self, fields: &Fields) -> anyhow::Result<Vec<bool>> {
        let mut record = Record::new(fields);
        match &mut self {
            Self::Ndjson(rows) => while !rows.has_all() && rows.next(&mut record)? != Next::End {},
            // One that goes wrong further on should do so before anything is sent.
            Self::Json(rows) => while rows.next(&mut record)? != Next::End {},
            _ => {}
        }
        Ok(fields.iter().map(|(at, _)| self.has(at)).collect())
    }

    /// True if the table has such a column, as far as it was read.
    pub(crate) fn has(&self, at: At) -> bool {
        match self {
            Self::Csv(rows) => rows.has(at),
            Self::Tsv(rows) => rows.has(at),
            Self::Ndjson(rows) => rows.has(at),
            Self::Json(rows) => rows.has(at),
            Self::Parquet(rows) => rows.has(at),
            Self::Fed(rows) => rows.has(at),
        }
    }

    /// True if the columns of the table are known before its rows are read.
    pub(crate) fn knows_columns(&self) -> bool {
        !matches!(self, Self::Ndjson(_) | Self::Json(_))
    }

    /// True if the values are texts that may have been through a spreadsheet.
    pub(crate) fn is_of_cells(&self) -> bool {
        match self {
            Self::Csv(rows) => rows.is_of_file(),
            Self::Tsv(_) => true,
            Self::Fed(rows) => rows.is_of_sheet(),
            Self::Ndjson(_) | Self::Json(_) | Self::Parquet(_) => false,
        }
    }

    /// Reads the next row.
    ///
    /// # Errors
    /// The input's error.
    pub(crate) fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        match self {
            Self::Csv(rows) => rows.next(record),
            Self::Tsv(rows) => rows.next(record),
            Self::Ndjson(rows) => rows.next(record),
            Self::Json(rows) => rows.next(record),
            Self::Parquet(rows) => rows.next(record),
            Self::Fed(rows) => rows.next(record),
        }
    }
}

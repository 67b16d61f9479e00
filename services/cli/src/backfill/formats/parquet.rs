//! Tables in Parquet: the columns that are named, batch by batch, each value as text.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchReader};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use lastseen_event::UtcInstant;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use uuid::Uuid;

use super::cells::put;
use super::record::{At, Fault, Fields, Next, Places, Record};
use crate::input;

const UUID_BYTES: i32 = 16;

/// The rows of a file.
pub(crate) struct ParquetRows {
    batches: ParquetRecordBatchReader,
    /// The place of each column in a batch.
    places: Places,
    fields: Fields,
    /// The columns of a batch.
    columns: Vec<ArrayRef>,
    /// Number of rows in the batch; `row` is the next one.
    rows: usize,
    row: usize,
    /// Rows read so far.
    number: u64,
    text: String,
}

fn open(file: &Path) -> anyhow::Result<ParquetRecordBatchReaderBuilder<File>> {
    if input::is_stdin(file) {
        bail!("Parquet is read from a file, not from stdin");
    }
    Ok(ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?)
}

/// Number of rows in a file.
///
/// # Errors
/// If it is not Parquet, or cannot be read.
pub(crate) fn rows_in(file: &Path) -> anyhow::Result<u64> {
    let opened = open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(u64::try_from(opened.metadata().file_metadata().num_rows()).unwrap_or_default())
}

impl ParquetRows {
    /// # Errors
    /// If the file is not Parquet, or lacks a column.
    pub(crate) fn open(file: &Path, fields: &Fields) -> anyhow::Result<Self> {
        let builder = open(file)?;
        let there: Vec<&str> = builder.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let roots = fields.places(&there)?;
        let mask =
            ProjectionMask::roots(builder.parquet_schema(), roots.iter().flatten().map(|(place, _)| *place));
        let batches = builder.with_projection(mask).build()?;
        let schema = batches.schema();
        let there: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let places = fields.places(&there)?;
        for ((_, named), place) in fields.iter().zip(&places) {
            let Some((place, _)) = place else { continue };
            let field = schema.field(*place);
            if !is_read(&plain(field.data_type())) {
                let (name, kind) = (named.path.name(), field.data_type());
                let expected = "text, whole numbers, decimals, true and false, dates or instants";
                bail!("{name}: expected {expected}, found {kind} ({})", named.flag);
            }
        }
        Ok(Self {
            batches,
            places,
            fields: fields.clone(),
            columns: Vec::new(),
            rows: 0,
            row: 0,
            number: 0,
            text: String::new(),
        })
    }

    pub(crate) fn has(&self, at: At) -> bool {
        at.of(&self.places).is_some()
    }

    /// # Errors
    /// The decoder's error.
    pub(crate) fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        while self.row == self.rows {
            let Some(batch) = self.batches.next() else { return Ok(Next::End) };
            let unpacked = batch.and_then(|batch| unpacked(&batch));
            self.columns = unpacked.with_context(|| format!("after row {}", self.number))?;
            self.rows = self.columns.first().map_or(0, Array::len);
            self.row = 0;
        }
        let row = self.row;
        self.row += 1;
        self.number += 1;
        record.line = self.number;
        record.clear();
        for ((at, field), place) in self.fields.iter().zip(&self.places) {
            let Some((place, path)) = place else { continue };
            let array = &self.columns[*place];
            if !is_there(array, row) {
                continue;
            }
            self.text.clear();
            let fault = match write_value(array, row, &mut self.text) {
                Ok(()) => put(record, (at, field), (path.as_ref(), &self.text)),
                Err(reason) => Some(Fault::of(field, reason)),
            };
            if let Some(fault) = fault {
                return Ok(Next::Bad(fault));
            }
        }
        Ok(Next::Row)
    }
}

/// One type for all the ways in which values of it can be laid out.
fn plain(packed: &DataType) -> DataType {
    match packed {
        DataType::Dictionary(_, values) => plain(values),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// The columns in their plain types.
fn unpacked(batch: &RecordBatch) -> Result<Vec<ArrayRef>, ArrowError> {
    batch.columns().iter().map(|column| arrow_cast::cast(column, &plain(column.data_type()))).collect()
}

/// True if values of a plain type are read. Floats are not: those of ids may have been rounded, and two users
/// would become one.
fn is_read(plain: &DataType) -> bool {
    plain.is_integer()
        || plain.is_decimal()
        || matches!(plain, DataType::Null | DataType::Boolean | DataType::Utf8 | DataType::Binary)
        || matches!(plain, DataType::FixedSizeBinary(UUID_BYTES) | DataType::Timestamp(..))
        || matches!(plain, DataType::Date32 | DataType::Date64)
}

/// True if a row has a value. It may lack one by its own null or by the type of the column.
fn is_there(array: &ArrayRef, row: usize) -> bool {
    *array.data_type() != DataType::Null && array.is_valid(row)
}

/// The value of a row as text; 16 bytes are a UUID, other bytes are UTF-8, instants without a zone are UTC.
fn write_value(array: &ArrayRef, row: usize, text: &mut String) -> Result<(), String> {
    match array.data_type() {
        DataType::Utf8 => text.push_str(array.as_string::<i32>().value(row)),
        DataType::Boolean => text.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::FixedSizeBinary(UUID_BYTES) => {
            let uuid = Uuid::from_slice(array.as_fixed_size_binary().value(row)).unwrap_or_default();
            let _ = write!(text, "{uuid}");
        }
        DataType::Timestamp(unit, _) => {
            let micros = match unit {
                TimeUnit::Second => {
                    array.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000)
                }
                TimeUnit::Millisecond => {
                    array.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1_000)
                }
                TimeUnit::Microsecond => Some(array.as_primitive::<TimestampMicrosecondType>().value(row)),
                TimeUnit::Nanosecond => {
                    Some(array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000))
                }
            };
            let at = micros.map(UtcInstant::from_micros).ok_or("expected an instant of this millennium")?;
            let _ = write!(text, "{at}");
        }
        DataType::Binary => {
            let bytes = array.as_binary::<i32>().value(row);
            text.push_str(str::from_utf8(bytes).map_err(|_| "expected UTF-8".to_owned())?);
        }
        _ => {
            let formatter = ArrayFormatter::try_new(array, &FormatOptions::default());
            let formatter = formatter.map_err(|error| error.to_string())?;
            formatter.value(row).write(text).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

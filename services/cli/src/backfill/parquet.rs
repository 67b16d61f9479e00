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
use arrow_schema::{DataType, TimeUnit};
use lastseen_event::UtcInstant;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use uuid::Uuid;

use super::columns::{COLUMNS, Column, NOT_WHOLE, Names, Next, Record};
use crate::input;

/// The rows of a file.
pub(super) struct ParquetRows {
    batches: ParquetRecordBatchReader,
    /// Where each column stands in a batch.
    places: [Option<usize>; COLUMNS],
    batch: Option<RecordBatch>,
    /// The next row of the batch.
    row: usize,
    /// Rows read so far.
    number: u64,
    text: String,
}

fn open(file: &Path) -> anyhow::Result<ParquetRecordBatchReaderBuilder<File>> {
    if input::is_stdin(file) {
        bail!("Parquet is read from a file, not from stdin");
    }
    let cannot_read = || format!("cannot read {}", file.display());
    let opened = File::open(file).with_context(cannot_read)?;
    ParquetRecordBatchReaderBuilder::try_new(opened).with_context(cannot_read)
}

/// How many rows a file has.
///
/// # Errors
/// Where it is not Parquet, or cannot be read.
pub(super) fn rows_in(file: &Path) -> anyhow::Result<u64> {
    Ok(u64::try_from(open(file)?.metadata().file_metadata().num_rows()).unwrap_or_default())
}

impl ParquetRows {
    /// # Errors
    /// Where the file is not Parquet, or lacks a column.
    pub(super) fn open(file: &Path, names: &Names) -> anyhow::Result<Self> {
        let cannot_read = || format!("cannot read {}", file.display());
        let builder = open(file)?;
        let there: Vec<&str> = builder.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let roots = names.places(&there).with_context(cannot_read)?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().flatten().copied());
        let batches = builder.with_projection(mask).build().with_context(cannot_read)?;
        let there = batches.schema();
        let there: Vec<&str> = there.fields().iter().map(|field| field.name().as_str()).collect();
        let places = names.places(&there).with_context(cannot_read)?;
        Ok(Self { batches, places, batch: None, row: 0, number: 0, text: String::new() })
    }

    /// # Errors
    /// What the decoder says.
    pub(super) fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        while self.batch.as_ref().is_none_or(|batch| self.row == batch.num_rows()) {
            let Some(batch) = self.batches.next() else { return Ok(Next::End) };
            self.batch = Some(batch.with_context(|| format!("after row {}", self.number))?);
            self.row = 0;
        }
        let Some(batch) = &self.batch else { return Ok(Next::End) };
        let row = self.row;
        self.row += 1;
        self.number += 1;
        record.line = self.number;
        for (column, place) in Column::ALL.into_iter().zip(self.places) {
            let array = place.map(|place| batch.column(place)).filter(|array| is_there(array, row));
            let Some(array) = array else {
                record.set(column, None);
                continue;
            };
            self.text.clear();
            match write_value(array, row, &mut self.text) {
                Ok(()) => record.set(column, Some(&self.text)),
                Err(reason) => return Ok(Next::Bad(format!("{}: {reason}", column.default_name()))),
            }
        }
        Ok(Next::Row)
    }
}

/// Whether a row has a value, which it may lack by its own null, by that of a dictionary, or by the type of the column.
fn is_there(array: &ArrayRef, row: usize) -> bool {
    match array.data_type() {
        DataType::Null => false,
        DataType::Dictionary(..) => array.logical_nulls().is_none_or(|nulls| nulls.is_valid(row)),
        _ => array.is_valid(row),
    }
}

/// The value of a row as text; 16 bytes are a UUID, other bytes are UTF-8, instants without a zone are UTC.
fn write_value(array: &ArrayRef, row: usize, text: &mut String) -> Result<(), String> {
    match array.data_type() {
        DataType::Utf8 => text.push_str(array.as_string::<i32>().value(row)),
        DataType::Boolean => text.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::FixedSizeBinary(16) => {
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
        DataType::Float16 | DataType::Float32 | DataType::Float64 => return Err(NOT_WHOLE.to_owned()),
        _ => {
            let formatter = ArrayFormatter::try_new(array, &FormatOptions::default());
            let formatter = formatter.map_err(|error| error.to_string())?;
            formatter.value(row).write(text).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

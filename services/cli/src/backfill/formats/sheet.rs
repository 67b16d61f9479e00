//! Sheets of Excel workbooks (.xlsx), row by row as the sheet means them: dates as dates, whole numbers without a fraction.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, bail};
use calamine::{Cell, DataRef, ExcelDateTime, Reader as _, Xlsx};

use super::fed::{FedCell, FedRow, FedRows, Feed};
use super::record::Fields;
use super::rows::Layout;
use crate::ahead::{self, Batches, Stop};

/// A sheet keeps every number as a float: from here on it may have been rounded.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Opens a workbook. A row's number is that in the sheet.
///
/// # Errors
/// If it is no workbook, or has no such sheet, or the sheet lacks a column.
pub(crate) fn open(file: &Path, layout: &Layout, fields: &Fields) -> anyhow::Result<FedRows> {
    let opened = File::open(file).map(BufReader::new)?;
    let book = Xlsx::new(opened).context("it is no workbook that can be read")?;
    let sheet = sheet(&book.sheet_names(), layout.sheet.as_deref())?;
    let messages =
        ahead::start(move |batches| read(book, &sheet, &batches)).context("cannot start a thread")?;
    FedRows::of_sheet(messages, (layout.header.as_deref(), layout.text_prefix), fields)
}

/// Returns the sheet that is meant.
fn sheet(there: &[String], named: Option<&str>) -> anyhow::Result<String> {
    match (named, there) {
        (None, [only]) => Ok(only.clone()),
        (None, []) => bail!("it has no sheet"),
        (None, several) => bail!("it has several sheets: --sheet names one of {}", several.join(", ")),
        (Some(named), there) if there.iter().any(|sheet| sheet == named) => Ok(named.to_owned()),
        (Some(named), there) => bail!("there is no sheet {named} (--sheet), but {}", there.join(", ")),
    }
}

/// Reads all rows that have a cell.
fn read(mut book: Xlsx<BufReader<File>>, sheet: &str, batches: &Batches<Vec<FedRow>>) -> Result<(), Stop> {
    let mut cells = book.worksheet_cells_reader(sheet).context("cannot read the sheet")?;
    let mut feed = Feed::new(batches);
    loop {
        let cell = cells.next_cell().with_context(|| format!("after row {}", feed.last()))?;
        let Some(cell) = cell else { return feed.finish() };
        let (row, column) = cell.get_position();
        if let Some(value) = value(&cell) {
            let row = feed.row(u64::from(row) + 1)?;
            let column = column as usize;
            row.cells.resize(row.cells.len().max(column + 1), None);
            row.cells[column] = Some(value);
        }
    }
}

/// The value of a cell as text. `None`: it is empty.
fn value(cell: &Cell<DataRef<'_>>) -> Option<FedCell> {
    Some(match cell.get_value() {
        DataRef::Empty => return None,
        DataRef::Int(number) => FedCell::exact(number.to_string()),
        DataRef::Float(number) => FedCell {
            text: number.to_string(),
            is_rounded: number.fract() != 0.0 || number.abs() >= WHOLE_MAX,
        },
        DataRef::SharedString(text) => FedCell::exact((*text).to_owned()),
        DataRef::Bool(truth) => FedCell::exact(truth.to_string()),
        DataRef::DateTime(at) => FedCell::exact(instant(at)),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            FedCell::exact(text.clone())
        }
        DataRef::Error(error) => FedCell::exact(error.to_string()),
    })
    .filter(|cell| !cell.text.is_empty())
}

/// An instant as its date and time, to the millisecond; at midnight a sheet does not say whether it is a date alone: it is one.
fn instant(at: &ExcelDateTime) -> String {
    if at.is_duration() {
        return at.as_f64().to_string();
    }
    let (year, month, day, hour, minute, second, milli) = at.to_ymd_hms_milli();
    let date = format!("{year:04}-{month:02}-{day:02}");
    if (hour, minute, second, milli) == (0, 0, 0, 0) {
        return date;
    }
    format!("{date} {hour:02}:{minute:02}:{second:02}.{milli:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheet_is_the_only_one_or_named() {
        let there = ["Users", "Notes"].map(str::to_owned);
        assert_eq!(sheet(&there[..1], None).unwrap(), "Users");
        assert_eq!(sheet(&there, Some("Notes")).unwrap(), "Notes");
        for (there, named, said) in [
            (&there[..], None, "it has several sheets: --sheet names one of Users, Notes"),
            (&there[..], Some("users"), "there is no sheet users (--sheet), but Users, Notes"),
            (&[], None, "it has no sheet"),
        ] {
            assert_eq!(sheet(there, named).unwrap_err().to_string(), said);
        }
    }
}

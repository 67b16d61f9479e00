//! Rows of cells, each a text: of CSV, TSV and sheets.

use serde_json::Value;

use super::json::set;
use super::path::Path;
use super::record::{At, Fault, Field, Fields, Kind, Next, Places, Record};

/// The columns of a table of cells.
pub(super) struct Cells {
    pub(super) places: Places,
    /// A character that stands before every text, and is not of it.
    pub(super) prefix: Option<char>,
    pub(super) fields: Fields,
}

impl Cells {
    pub(super) fn has(&self, at: At) -> bool {
        at.of(&self.places).is_some()
    }

    /// Fills a record from cells by their places; an empty cell is null.
    ///
    pub(super) fn fill<'c>(&self, cell: impl Fn(usize) -> Option<&'c [u8]>, record: &mut Record) -> Next {
        for ((at, field), place) in self.fields.iter().zip(&self.places) {
            let Some((place, path)) = place else { continue };
            let Some(bytes) = cell(*place).filter(|bytes| !bytes.is_empty()) else { continue };
            let Ok(text) = str::from_utf8(bytes) else {
                return Next::Bad(Fault::of(field, "expected UTF-8"));
            };
            let text = self.prefix.and_then(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
            let fault = put(record, (at, field), (path.as_ref(), text));
            if let Some(fault) = fault {
                return Next::Bad(fault);
            }
        }
        Next::Row
    }
}

/// Sets a column to a text, or to what a path leads to in a text of JSON. Returns the fault where there is no one value.
pub(super) fn put(
    record: &mut Record,
    (at, field): (At, &Field),
    (path, text): (Option<&Path>, &str),
) -> Option<Fault> {
    let Some(path) = path else {
        record.set(at, text, Kind::Text);
        return None;
    };
    let mut fault = None;
    match serde_json::from_str::<Value>(text) {
        Ok(json) => _ = path.find_in(&json, |value| fault = fault.take().or(set(record, (at, field), value))),
        Err(error) => fault = Some(Fault::of(field, format!("expected JSON: {error}"))),
    }
    fault
}

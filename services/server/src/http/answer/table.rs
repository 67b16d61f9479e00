//! The rows of an answer as a table: CSV in place of JSON.

use super::{Header, headers_of_file};
use crate::keys::seal::ShownPosition;

/// The table of an answer: numbers and dates, so no cell is a formula for a spreadsheet.
pub(in crate::http) struct Table<A> {
    /// The name that it is saved under.
    pub(in crate::http) file: &'static str,
    /// The position that the answer reflects.
    pub(in crate::http) position: fn(&A) -> &ShownPosition,
    /// Writes the header row and all rows.
    pub(in crate::http) write: fn(&A, &mut Writer) -> csv::Result<()>,
}

/// A writer of rows; one that is serialized first has the header row written before it.
pub(in crate::http) type Writer = csv::Writer<Vec<u8>>;

impl<A> Table<A> {
    /// Headers and text. A compressed body has the same.
    pub(super) fn render(&self, answer: &A) -> ([Header; 3], Vec<u8>) {
        let mut writer = Writer::from_writer(Vec::new());
        (self.write)(answer, &mut writer).expect("rows of numbers and dates are written to memory");
        let text = writer.into_inner().expect("memory takes all of it");
        (headers_of_file("text/csv; charset=utf-8", self.file, (self.position)(answer)), text)
    }
}

//! The rows of an answer as a table: CSV in place of JSON.

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use super::{Header, POSITION, of_position};
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
        let disposition = format!("attachment; filename=\"{}\"", self.file);
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
            (CONTENT_DISPOSITION, HeaderValue::try_from(disposition).expect("plain text")),
            of_position(POSITION, (self.position)(answer)),
        ];
        (headers, text)
    }
}

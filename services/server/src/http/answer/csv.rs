//! A whole list of users as CSV, in pieces: exact, or for spreadsheets.

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use lastseen_projections::Window;
use schemars::{SchemaGenerator, json_schema};

use super::Header;
use super::stream::Pieces;
use super::user::UserRow;
use crate::http::description::Content;
use crate::keys::seal::Positions;
use crate::questions::users::UsersExport;

/// Rows turned into text at a time.
const PIECE_ROWS: usize = 1_000;

/// The dialect of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Dialect {
    /// Every id as it is.
    Exact,
    /// A byte order mark first, and an apostrophe before a cell that a spreadsheet would take for a formula.
    Spreadsheet,
}

/// A list on its way.
pub(in crate::http) struct CsvUsers {
    pub(in crate::http) export: UsersExport,
    pub(in crate::http) tenant_id: String,
    pub(in crate::http) window: Window,
    pub(in crate::http) dialect: Dialect,
    pub(in crate::http) positions: Positions,
    /// True if the header row was sent.
    pub(in crate::http) begun: bool,
}

impl CsvUsers {
    /// The headers of the answer; `Lastseen-Position` is the position at which the list was begun.
    pub(in crate::http) fn headers(&self) -> Vec<Header> {
        vec![
            (CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
            (CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"users.csv\"")),
            super::of_position(super::POSITION, &self.positions.show(self.export.position)),
        ]
    }
}

impl Pieces for CsvUsers {
    const NAME: &'static str = "Users";

    fn describe(_: &mut SchemaGenerator) -> (Content, Vec<(&'static str, &'static str)>) {
        let about = "With `format=csv` or `format=excel`: all users, with the fields of a user as columns.";
        let schema = json_schema!({ "type": "string", "description": about });
        let content = Content::new("text/csv", schema);
        (content, vec![("Lastseen-Position", "Of a CSV: the position at which the list was begun.")])
    }

    /// The header row with the first piece.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        let users = self.export.next(PIECE_ROWS);
        if users.is_empty() && self.begun {
            return Ok(None);
        }
        let mut text = Vec::new();
        if !self.begun && self.dialect == Dialect::Spreadsheet {
            text.extend_from_slice("\u{feff}".as_bytes());
        }
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(text);
        if !std::mem::replace(&mut self.begun, true) {
            writer.write_record(UserRow::COLUMNS)?;
        }
        for (user_id, state) in users {
            let mut row = UserRow::new(
                (&self.tenant_id, &user_id),
                &state,
                (self.export.since, &self.window),
                &self.positions,
            );
            if self.dialect == Dialect::Spreadsheet {
                as_text(&mut row.tenant_id);
                as_text(&mut row.user_id);
            }
            writer.serialize(row)?;
        }
        Ok(Some(writer.into_inner().map_err(csv::IntoInnerError::into_error)?))
    }
}

/// Puts an apostrophe before text that a spreadsheet would take for a formula.
fn as_text(cell: &mut String) {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        cell.insert(0, '\'');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_text_and_the_rest_stays() {
        for (cell, expected) in [
            ("=HYPERLINK(\"x\")", "'=HYPERLINK(\"x\")"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("u=1", "u=1"),
            ("8127", "8127"),
        ] {
            let mut cell = cell.to_owned();
            as_text(&mut cell);
            assert_eq!(cell, expected);
        }
    }
}

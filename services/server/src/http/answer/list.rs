//! A whole list of users or persons in pieces: CSV that is exact, CSV for spreadsheets, or a line of JSON a user.

use lastseen_projections::Window;
use schemars::{SchemaGenerator, json_schema};
use serde::Serialize;

use super::Header;
use super::person::PersonRow;
use super::stream::Pieces;
use super::user::UserRow;
use crate::http::description::Content;
use crate::keys::seal::Positions;
use crate::questions::users::{NamedUser, UsersExport};

/// Rows turned into text at a time.
const PIECE_ROWS: usize = 1_000;

/// The notation of a whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Notation {
    /// CSV with every id as it is.
    Csv,
    /// CSV with a byte order mark first, and an apostrophe before a cell that a spreadsheet would take for a formula.
    Excel,
    /// A JSON object a line.
    Ndjson,
}

/// A list on its way.
pub(in crate::http) struct WholeList {
    pub(in crate::http) export: UsersExport,
    /// True if the rows are of persons.
    pub(in crate::http) of_persons: bool,
    pub(in crate::http) window: Window,
    pub(in crate::http) notation: Notation,
    pub(in crate::http) positions: Positions,
    /// True if the header row was sent.
    pub(in crate::http) begun: bool,
}

impl WholeList {
    /// The headers of the answer; `Lastseen-Position` is the position at which the list was begun.
    pub(in crate::http) fn headers(&self) -> Vec<Header> {
        let (content_type, name) = match (self.notation, self.of_persons) {
            (Notation::Csv | Notation::Excel, false) => ("text/csv; charset=utf-8", "users.csv"),
            (Notation::Csv | Notation::Excel, true) => ("text/csv; charset=utf-8", "persons.csv"),
            (Notation::Ndjson, false) => ("application/x-ndjson", "users.ndjson"),
            (Notation::Ndjson, true) => ("application/x-ndjson", "persons.ndjson"),
        };
        super::headers_of_file(content_type, name, &self.positions.show(self.export.position)).into()
    }

    fn write(&mut self, users: &[NamedUser]) -> Result<Vec<u8>, Fault> {
        let (since, window, positions) = (self.export.since, &self.window, &self.positions);
        if self.of_persons {
            let rows = users.iter().map(|user| PersonRow::new(user, (since, window), positions));
            write(rows, self.notation, &mut self.begun)
        } else {
            let rows = users.iter().map(|user| {
                UserRow::new((&user.tenant_id, &user.user_id), &user.state, (since, window), positions)
            });
            write(rows, self.notation, &mut self.begun)
        }
    }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A row of a list.
pub(super) trait ListRow: Serialize {
    /// The names of the fields, in order.
    const COLUMNS: &'static [&'static str];

    /// The ids, which may look like formulas.
    fn ids(&mut self) -> Vec<&mut String>;
}

/// Writes rows, the header row of CSV before the first of them.
fn write<R: ListRow>(
    rows: impl Iterator<Item = R>,
    notation: Notation,
    begun: &mut bool,
) -> Result<Vec<u8>, Fault> {
    let is_first = !std::mem::replace(begun, true);
    let mut text = Vec::new();
    if notation == Notation::Ndjson {
        for row in rows {
            serde_json::to_writer(&mut text, &row)?;
            text.push(b'\n');
        }
        return Ok(text);
    }
    if is_first && notation == Notation::Excel {
        text.extend_from_slice("\u{feff}".as_bytes());
    }
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(text);
    if is_first {
        writer.write_record(R::COLUMNS)?;
    }
    for mut row in rows {
        if notation == Notation::Excel {
            row.ids().into_iter().for_each(as_text);
        }
        writer.serialize(row)?;
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

impl Pieces for WholeList {
    const NAME: &'static str = "Users";

    fn describe(_: &mut SchemaGenerator) -> (Vec<Content>, Vec<(&'static str, &'static str)>) {
        let text = |about: &str| json_schema!({ "type": "string", "description": about });
        let csv =
            text("With `format=csv` or `format=excel`: the whole list, with the fields of a row as columns.");
        let ndjson = text("With `format=ndjson`: the whole list, a row a line.");
        let content = vec![Content::new("text/csv", csv), Content::new("application/x-ndjson", ndjson)];
        (content, vec![("Lastseen-Position", "Of a whole list: the position at which it was begun.")])
    }

    /// The header row with the first piece.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let users = self.export.next(PIECE_ROWS);
        if users.is_empty() && self.begun {
            return Ok(None);
        }
        self.write(&users).map(Some)
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

//! Text without quotes: what PostgreSQL's COPY, `mysql -B` and many warehouses write. A tab stands between fields, a line feed behind a
//! row, and a backslash before what would not stand for itself.

use std::io::BufRead as _;

use anyhow::{Context, bail};

use super::cells::Cells;
use super::record::{At, Fault, Fields, Next, Record};
use super::rows::Layout;
use crate::input::Input;

/// The longest row.
const ROW_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Rows of a file; `\N` is null.
pub(crate) struct TsvRows {
    input: Input,
    cells: Cells,
    row: Vec<u8>,
    /// The end of each field in `row`, which is without escapes.
    ends: Vec<usize>,
    raw: Vec<u8>,
    line: u64,
    length: usize,
    short_rows: usize,
    /// True if lines end with CRLF, as that of the header does.
    has_returns: bool,
    /// A row that was read to learn how long rows are.
    is_ahead: bool,
    /// True behind the line that ends the data of COPY.
    has_ended: bool,
}

impl TsvRows {
    /// # Errors
    /// If it cannot be read, or lacks a column.
    pub(crate) fn new(input: Input, layout: &Layout, fields: &Fields) -> anyhow::Result<Self> {
        let Layout { header, short_rows, text_prefix, .. } = layout;
        let cells = Cells { places: Vec::new(), prefix: *text_prefix, fields: fields.clone() };
        let mut rows = Self {
            input,
            cells,
            row: Vec::new(),
            ends: Vec::new(),
            raw: Vec::new(),
            line: 0,
            length: 0,
            short_rows: *short_rows,
            has_returns: false,
            is_ahead: false,
            has_ended: false,
        };
        let is_there = rows.read_line()?;
        rows.has_returns = rows.raw.ends_with(b"\r");
        if rows.has_returns {
            rows.raw.pop();
        }
        if is_there {
            rows.split();
            rows.length = rows.ends.len();
        }
        let names = if let Some(names) = header {
            if is_there && names.len() > rows.length {
                bail!("--header names {} columns, and the first row has {}", names.len(), rows.length);
            }
            rows.is_ahead = is_there;
            names.clone()
        } else {
            let names = (0..rows.length).map(|at| str::from_utf8(rows.field(at)).map(str::to_owned));
            names.collect::<Result<_, _>>().context("line 1: expected UTF-8")?
        };
        rows.cells.places = fields.places(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(rows)
    }

    pub(crate) fn has(&self, at: At) -> bool {
        self.cells.has(at)
    }

    /// # Errors
    /// The input's error.
    pub(crate) fn next(&mut self, record: &mut Record) -> anyhow::Result<Next> {
        record.clear();
        if !std::mem::take(&mut self.is_ahead) {
            if !self.read_line()? {
                record.line = self.line;
                return Ok(Next::End);
            }
            self.split();
        }
        record.line = self.line;
        if self.has_ended {
            return Ok(Next::Bad(Fault::of_row(r"expected nothing behind \., which ends the data")));
        }
        let (found, expected) = (self.ends.len(), self.length);
        if found > expected || found + self.short_rows < expected {
            return Ok(Next::Bad(Fault::of_row(format!("expected {expected} fields, found {found}"))));
        }
        // A field that is null is none of these bytes.
        Ok(self.cells.fill(|at| (at < self.ends.len()).then(|| self.field(at)), record))
    }

    /// Reads the next line that is not blank, without its end. Returns false at the end.
    fn read_line(&mut self) -> anyhow::Result<bool> {
        loop {
            self.raw.clear();
            let mut limited = std::io::Read::take(&mut self.input, ROW_BYTES_MAX);
            let read = limited.read_until(b'\n', &mut self.raw);
            let read = read.with_context(|| format!("after line {}", self.line))?;
            if read == 0 {
                return Ok(false);
            }
            self.line += 1;
            if self.raw.last() == Some(&b'\n') {
                self.raw.pop();
            } else if read as u64 == ROW_BYTES_MAX {
                bail!("line {}: expected at most {ROW_BYTES_MAX} bytes", self.line);
            }
            if self.has_returns && self.raw.last() == Some(&b'\r') {
                self.raw.pop();
            }
            if self.raw == br"\." {
                self.has_ended = true;
            } else if !self.raw.is_empty() && self.raw != b"\r" {
                return Ok(true);
            }
        }
    }

    /// Splits the line into fields without escapes.
    fn split(&mut self) {
        self.row.clear();
        self.ends.clear();
        for field in self.raw.split(|byte| *byte == b'\t') {
            if field != br"\N" {
                unescape(field, &mut self.row);
            }
            self.ends.push(self.row.len());
        }
    }

    fn field(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.row[start..self.ends[at]]
    }
}

/// Appends a field without its escapes. A backslash before any other character is left out, as COPY does.
fn unescape(field: &[u8], row: &mut Vec<u8>) {
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        row.extend_from_slice(&rest[..at]);
        let Some(escaped) = rest.get(at + 1) else {
            row.push(b'\\');
            return;
        };
        row.push(match escaped {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'0' => 0,
            other => *other,
        });
        rest = &rest[at + 2..];
    }
    row.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of rows, with two columns each, or why they are bad.
    type Read = Vec<(u64, Result<[Option<String>; 2], String>)>;

    fn rows(text: &'static str, names: [&str; 2]) -> anyhow::Result<Read> {
        let mut fields = Fields::default();
        let columns = names.map(|name| fields.add(name, "--user-column", false));
        let mut rows = TsvRows::new(Box::new(text.as_bytes()), &Layout::default(), &fields)?;
        let mut record = Record::new(&fields);
        let mut all = Vec::new();
        loop {
            let next = rows.next(&mut record)?;
            let row = match next {
                Next::Row => Ok(columns.map(|at| record.get(at).map(str::to_owned))),
                Next::Bad(fault) => Err(fault.to_string()),
                Next::End => return Ok(all),
            };
            all.push((record.line, row));
        }
    }

    #[test]
    fn escapes_are_undone_and_quotes_are_text() {
        let text = "id\tname\n1\t\"\n\n2\tDOM\\\\anna\r\n3\t\\N\n4\ta\\tb\\nc\\qd\\\n5\t\n\\.\n";
        let row = |id: &str, name: Option<&str>| Ok([Some(id.to_owned()), name.map(str::to_owned)]);
        let expected = [
            (2, row("1", Some("\""))),
            (4, row("2", Some("DOM\\anna\r"))),
            (5, row("3", None)),
            (6, row("4", Some("a\tb\ncqd\\"))),
            (7, row("5", None)),
        ];
        assert_eq!(rows(text, ["id", "name"]).unwrap(), expected);
    }

    #[test]
    fn a_row_has_as_many_fields_as_the_header() {
        let found =
            rows("\r\nid\tname\r\n1\tx\r\n2\r\n3\ty\tz\r\n\\.\r\n4\tbehind\r\n", ["id", "name"]).unwrap();
        assert_eq!(found[0].1, Ok([Some("1".to_owned()), Some("x".to_owned())]));
        let faults: Vec<_> = found[1..].iter().map(|(line, row)| (*line, row.clone().unwrap_err())).collect();
        assert_eq!(faults[0], (4, "expected 2 fields, found 1".to_owned()));
        assert_eq!(faults[1], (5, "expected 2 fields, found 3".to_owned()));
        assert_eq!(faults[2].0, 7);
    }
}

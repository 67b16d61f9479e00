//! The kind of a file, told by its first bytes, and what to do with those that are no table.

use crate::args::TableFormat;

/// Bytes that are looked at.
pub(crate) const START_BYTES: usize = 4 * 1024;

/// The kind of a file, by its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A table in this format, for certain.
    Table(TableFormat),
    /// Text: CSV, TSV or NDJSON.
    Text,
    /// An array of JSON.
    Array,
    /// An object of JSON that is not followed by another line.
    Object,
    /// A line of NDJSON with more behind it.
    Lines,
    /// No table; what to do with it.
    Other(&'static str),
}

/// Returns the kind of a file that begins so; `start` is all of it, or [`START_BYTES`] at least.
pub(crate) fn of(start: &[u8]) -> Kind {
    const SIGNATURES: [(&[u8], Kind); 9] = [
        (b"PAR1", Kind::Table(TableFormat::Parquet)),
        (b"SQLite format 3\0", Kind::Table(TableFormat::Sqlite)),
        (b"\xff\xfe", UTF_16),
        (b"\xfe\xff", UTF_16),
        (b"\xd0\xcf\x11\xe0", Kind::Other("an old workbook (.xls): save it as .xlsx or as CSV UTF-8")),
        (b"PGDMP", Kind::Other("a dump of pg_dump: restore it, and read the database (postgres://...)")),
        (b"%PDF", Kind::Other("a PDF: export the table as CSV")),
        (b"\x28\xb5\x2f\xfd", Kind::Other("packed with zstd: unpack it, or pack it with gzip")),
        (b"BZh", Kind::Other("packed with bzip2: unpack it, or pack it with gzip")),
    ];
    if let Some((_, kind)) = SIGNATURES.iter().find(|(signature, _)| start.starts_with(signature)) {
        return *kind;
    }
    if start.starts_with(b"PK\x03\x04") {
        let is_workbook = [&b"[Content_Types].xml"[..], b"xl/", b"_rels/"]
            .iter()
            .any(|name| memchr::memmem::find(start, name).is_some());
        return if is_workbook {
            Kind::Table(TableFormat::Xlsx)
        } else {
            Kind::Other("a zip archive: unpack it, and read the file in it")
        };
    }
    if start.contains(&0) {
        let is_wide = start.len() > 3 && (start[1] == 0 && start[3] == 0 || start[0] == 0 && start[2] == 0);
        return if is_wide { UTF_16 } else { Kind::Other("no text: export the table as CSV") };
    }
    match start.trim_ascii_start() {
        [b'<', ..] => Kind::Other("HTML or XML: export the table as CSV or JSON"),
        [b'[', ..] => Kind::Array,
        text @ [b'{', ..] => {
            let (line, rest) = text.split_at(memchr::memchr(b'\n', text).unwrap_or(text.len()));
            let is_whole = serde_json::from_slice::<serde_json::Map<_, _>>(line).is_ok();
            if is_whole && !rest.trim_ascii().is_empty() { Kind::Lines } else { Kind::Object }
        }
        _ => Kind::Text,
    }
}

const UTF_16: Kind = Kind::Other("UTF-16: save it as UTF-8 (in Excel: CSV UTF-8)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_kind() {
        for (start, kind) in [
            (&b"PAR1xxx"[..], Kind::Table(TableFormat::Parquet)),
            (b"SQLite format 3\0\x10", Kind::Table(TableFormat::Sqlite)),
            (b"PK\x03\x04....[Content_Types].xml", Kind::Table(TableFormat::Xlsx)),
            (b"\xff\xfei\0d\0", UTF_16),
            (b"i\0d\0,\0", UTF_16),
            (b"\0i\0d", UTF_16),
            (b"id,name\n", Kind::Text),
            (b"", Kind::Text),
            (b"[1", Kind::Array),
            (b" {\n \"users\": [", Kind::Object),
            (b"{\"a\":1}\n", Kind::Object),
            (b"{\"a\":1}\n{\"a\":2}\n", Kind::Lines),
        ] {
            assert_eq!(of(start), kind, "{}", String::from_utf8_lossy(start));
        }
        for start in
            [&b"PK\x03\x04users.csv"[..], b"<!DOCTYPE html>", b"%PDF-1.7", b"PGDMP", b"\x01\x02\0\x03\x04"]
        {
            assert!(matches!(of(start), Kind::Other(_)), "{}", String::from_utf8_lossy(start));
        }
    }
}

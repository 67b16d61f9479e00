//! The write-ahead log on disk, layer by layer: `bytes` read and write integers, `frame` is the checksummed
//! unit, `payload` what stands in it, `file` one WAL file being written. FORMAT.md describes the bytes.

pub(crate) mod bytes;
pub(crate) mod file;
pub(crate) mod frame;
pub(crate) mod payload;

/// The folder of the WAL files.
pub(crate) const DIR: &str = "wal";

/// The path of the WAL file with this number.
pub(crate) fn path(number: u64) -> String {
    format!("{DIR}/{number:010}.wal")
}

/// The number in the name of a WAL file; `None` for other files.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_suffix(".wal")?.parse().ok().filter(|number| path(*number).ends_with(name))
}

//! The write-ahead log on disk, layer by layer: `frame` is the checksummed unit, `payload` its content, `frames` goes over
//! those of a file, `settled` says where a file ends, `file` is the one being written, `index` finds positions in it, `cursor`
//! makes of a frame what readers get. FORMAT.md describes the bytes.

pub(crate) mod cursor;
pub(crate) mod file;
pub(crate) mod frame;
pub(crate) mod frames;
pub(crate) mod index;
pub(crate) mod payload;
pub(crate) mod settled;

use std::io;

use crate::disk::Disk;

/// The folder of the WAL files.
pub(crate) const DIR: &str = "wal";

/// The path of the WAL file with this number.
pub(crate) fn path(number: u64) -> String {
    format!("{DIR}/{}", name(number))
}

/// The number in the name of a WAL file; `None` for other files.
pub(crate) fn number(found: &str) -> Option<u64> {
    found.strip_suffix(".wal")?.parse().ok().filter(|number| name(*number) == found)
}

/// The numbers of the WAL files on `disk`, ascending.
pub(crate) fn numbers(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk.list(DIR)?.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn name(number: u64) -> String {
    format!("{number:010}.wal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_name_names_a_file() {
        assert_eq!(number("0000000017.wal"), Some(17));
        assert_eq!(number("12345678901.wal"), Some(12_345_678_901));
        for other in
            ["17.wal", "+000000017.wal", "0000000017.wal.new", "0000000017.wal.64.torn", "lock", ".wal"]
        {
            assert_eq!(number(other), None, "{other}");
        }
    }
}

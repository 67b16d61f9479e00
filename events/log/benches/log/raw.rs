//! The same bytes without the log: preallocated, written at their place, synced group by group.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Writes a file of frames with these lengths, an `fdatasync` after each, and says how long that took. The file
/// is reserved and filled with zeros before, which is the best case for the disk.
pub(super) fn write_and_sync(dir: &Path, frames: &[usize]) -> Duration {
    const PIECE: usize = 1024 * 1024;
    let total: usize = frames.iter().sum();
    let bytes = vec![0xa5; frames.iter().max().copied().unwrap_or(0)];
    let path = dir.join("raw");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).expect("a file");
    for at in (0..total).step_by(PIECE) {
        file.write_all_at(&vec![0; PIECE], at as u64).expect("written");
    }
    file.sync_all().expect("synced");
    let start = Instant::now();
    let mut offset = 0;
    for len in frames {
        file.write_all_at(&bytes[..*len], offset).expect("written");
        file.sync_data().expect("synced");
        offset += *len as u64;
    }
    let spent = start.elapsed();
    std::fs::remove_file(path).expect("removed");
    spent
}

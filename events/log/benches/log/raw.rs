//! The same bytes without the log: preallocated, written at their place, synced group by group.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Writes a file of frames with these lengths, an `fdatasync` after each, and says how long that took. The file
/// is reserved and filled with zeros before, which is the best case for the disk.
pub(super) fn write_and_sync(dir: &Path, frames: &[usize]) -> Duration {
    let (file, path) = zeros(dir, frames.iter().sum());
    let bytes = vec![0xa5; frames.iter().max().copied().unwrap_or(0)];
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

/// The same batches without the log and its groups: each of `publishers` threads writes one batch of `batch_len` bytes
/// after the other into the one file, in the place that is next, and syncs it before it goes on.
pub(super) fn write_and_sync_each(dir: &Path, publishers: u64, batches: u64, batch_len: usize) -> Duration {
    let (file, path) = zeros(dir, usize::try_from(batches).expect("fits") * batch_len);
    let bytes = vec![0xa5; batch_len];
    let taken = AtomicU64::new(0);
    let publisher = || {
        loop {
            let batch = taken.fetch_add(1, Ordering::Relaxed);
            if batch >= batches {
                return;
            }
            file.write_all_at(&bytes, batch * batch_len as u64).expect("written");
            file.sync_data().expect("synced");
        }
    };
    let start = Instant::now();
    std::thread::scope(|scope| (0..publishers).for_each(|_| drop(scope.spawn(publisher))));
    let spent = start.elapsed();
    std::fs::remove_file(path).expect("removed");
    spent
}

/// A file with room for `total` bytes, all of it written and synced.
fn zeros(dir: &Path, total: usize) -> (File, PathBuf) {
    const PIECE: usize = 1024 * 1024;
    let path = dir.join("raw");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).expect("a file");
    for at in (0..total).step_by(PIECE) {
        file.write_all_at(&vec![0; PIECE], at as u64).expect("written");
    }
    file.sync_all().expect("synced");
    (file, path)
}

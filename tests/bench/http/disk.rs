//! The rate of the disk itself: write and fdatasync, one thread, nothing else.

use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Size of the file that is written over and over. Allocated before, as a log does: a growing file would pay
/// for its metadata too.
const FILE_BYTES: usize = 256 * 1024 * 1024;

/// Chunks of `chunk_bytes` a second, each followed by fdatasync, for `span`.
pub(crate) fn synced_chunks_per_second(directory: &Path, chunk_bytes: usize, span: Duration) -> f64 {
    let path = directory.join("baseline");
    let rate = write_chunks(&path, chunk_bytes, span).expect("the directory takes files");
    fs::remove_file(&path).expect("it was just written");
    rate
}

fn write_chunks(path: &Path, chunk_bytes: usize, span: Duration) -> io::Result<f64> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..FILE_BYTES / zeros.len() {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    // Bytes that no device can leave out.
    let chunk: Vec<u8> = (0..chunk_bytes).map(|at| (at * 31 % 251 + 1) as u8).collect();
    let (mut chunks, mut at) = (0_u32, FILE_BYTES);
    let started = Instant::now();
    while started.elapsed() < span {
        if at + chunk_bytes > FILE_BYTES {
            at = 0;
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&chunk)?;
        file.sync_data()?;
        at += chunk_bytes;
        chunks += 1;
    }
    Ok(f64::from(chunks) / started.elapsed().as_secs_f64())
}

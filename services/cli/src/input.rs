//! The source of lines: files or stdin, plain or gzipped, by what their first bytes say.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use flate2::read::MultiGzDecoder;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER_BYTES: usize = 256 * 1024;

/// The source of rows and lines.
pub(crate) type Input = Box<dyn BufRead + Send>;

/// True if this name stands for stdin.
pub(crate) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// True if it can be read only once: stdin, a pipe.
pub(crate) fn is_stream(file: &Path) -> bool {
    is_stdin(file) || fs::metadata(file).is_ok_and(|metadata| !metadata.is_file())
}

/// Size of all files together as they lie on disk; `None` if one of them is a stream without a known end.
/// A file that is not there fails here, before anything is sent.
pub(crate) fn total_bytes(files: &[PathBuf]) -> anyhow::Result<Option<u64>> {
    let mut total = Some(0);
    for file in files {
        let size = if is_stdin(file) {
            None
        } else {
            let metadata = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
            metadata.is_file().then_some(metadata.len())
        };
        total = total.zip(size).map(|(total, size)| total + size);
    }
    Ok(total)
}

/// Opens `file`, unpacking it if it begins as gzip does, without a byte order mark, which some programs put before text.
/// `bytes_read` counts what is taken from the file itself.
pub(crate) fn open(file: &Path, bytes_read: &Arc<AtomicU64>) -> io::Result<Input> {
    let raw: Box<dyn Read + Send> =
        if is_stdin(file) { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
    let counted = Counted { inner: raw, bytes: Arc::clone(bytes_read) };
    let mut raw = BufReader::with_capacity(BUFFER_BYTES, counted);
    let mut start = Vec::with_capacity(GZIP_MAGIC.len());
    raw.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut start)?;
    let gzipped = start == GZIP_MAGIC;
    let whole = io::Cursor::new(start).chain(raw);
    if gzipped {
        without_mark(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(whole)))
    } else {
        without_mark(whole)
    }
}

fn without_mark(mut input: impl BufRead + Send + 'static) -> io::Result<Input> {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    let mut start = Vec::with_capacity(BYTE_ORDER_MARK.len());
    input.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut start)?;
    if start == BYTE_ORDER_MARK {
        start.clear();
    }
    Ok(Box::new(io::Cursor::new(start).chain(input)))
}

struct Counted {
    inner: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let bytes_read = Arc::default();
        let mut text = String::new();
        open(file.path(), &bytes_read)?.read_to_string(&mut text)?;
        assert_eq!(bytes_read.load(Ordering::Relaxed), bytes.len() as u64);
        Ok(text)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_files_are_read_as_they_are() {
        for text in ["", "{", "{}\n{}\n"] {
            assert_eq!(read(text.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn a_byte_order_mark_is_left_out() {
        assert_eq!(read("\u{feff}{}\n".as_bytes()).unwrap(), "{}\n");
        assert_eq!(read(&gzip("\u{feff}{}\n")).unwrap(), "{}\n");
        assert_eq!(read("{}\u{feff}".as_bytes()).unwrap(), "{}\u{feff}");
    }

    #[test]
    fn gzip_is_known_by_its_first_bytes_and_may_have_several_members() {
        assert_eq!(read(&[gzip("one\n"), gzip("two\n")].concat()).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn broken_gzip_is_an_error() {
        let packed = gzip("one\ntwo\n");
        assert!(read(&packed[..packed.len() - 4]).is_err());
    }
}

//! Pages of 1 KiB with a checksum each: so that a few bytes of a large file are read and checked without the rest.
//!
//! ```text
//! page   content [1020] | crc32c u32, of the page's number (u64) and the content
//! ```
//!
//! Records of one length stand in a page one after the other, as many as fit; none goes over its end.

use std::io;

use lastseen_store::{Corruption, ReadError};

use crate::damage::corruption;
use crate::disk::{Access, Disk, DiskFile, read_exact_at};

/// Bytes of a page.
pub(crate) const PAGE_LEN: usize = 1024;

/// Bytes of its content.
pub(crate) const CONTENT_LEN: usize = PAGE_LEN - 4;

/// Pages that are read or written at once where many follow each other.
const PAGES_AT_ONCE: usize = 256;

fn checksum(number: u64, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), content)
}

/// Fills in the checksum of the page with this number in its file.
fn seal(page: &mut [u8], number: u64) {
    let (content, crc) = page.split_at_mut(CONTENT_LEN);
    crc.copy_from_slice(&checksum(number, content).to_le_bytes());
}

/// The content of a page, if it is what was written as the page with this number.
fn checked(page: &[u8], number: u64) -> Option<&[u8]> {
    let (content, crc) = page.split_at_checked(CONTENT_LEN)?;
    (crc == checksum(number, content).to_le_bytes()).then_some(content)
}

/// A file of pages, for reading.
pub(crate) struct Pages {
    file: Box<dyn DiskFile>,
    path: String,
}

impl Pages {
    /// Opens the file with this path relative to the log's directory.
    ///
    /// # Errors
    /// [`ReadError`]; that it is not there is damage, since the manifest names it as `named`.
    pub(crate) fn open(disk: &dyn Disk, path: String, named: &str) -> Result<Self, ReadError> {
        match disk.open(&path, Access::Read) {
            Ok(file) => Ok(Self { file, path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(corruption(path, 0, named, "no file").into())
            }
            Err(error) => Err(ReadError::Io { file: path, source: error.into() }),
        }
    }

    /// The length of the file in bytes.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub(crate) fn size(&self) -> Result<u64, ReadError> {
        self.file.size().map_err(|error| self.io(error))
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Reads the page with this number. Returns its content, [`CONTENT_LEN`] bytes of `page`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn read<'a>(&self, number: u64, page: &'a mut [u8; PAGE_LEN]) -> Result<&'a [u8], ReadError> {
        let whole = read_exact_at(self.file.as_ref(), page, number * PAGE_LEN as u64);
        let whole = whole.map_err(|error| self.io(error))?;
        checked(page, number).filter(|_| whole).ok_or_else(|| self.damaged(number, "other bytes").into())
    }

    /// Reads consecutive pages, from `first` on, and gives the content of each to `each`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn read_all(
        &self,
        pages: std::ops::Range<u64>,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        let mut buffer = vec![0; PAGES_AT_ONCE * PAGE_LEN];
        let mut next = pages.start;
        while next < pages.end {
            let count = usize::try_from(pages.end - next).unwrap_or(usize::MAX).min(PAGES_AT_ONCE);
            let bytes = buffer.get_mut(..count * PAGE_LEN).unwrap_or_default();
            let read = self.file.read_at(bytes, next * PAGE_LEN as u64).map_err(|error| self.io(error))?;
            for page in bytes.get(..read).unwrap_or_default().chunks(PAGE_LEN) {
                each(checked(page, next).ok_or_else(|| self.damaged(next, "other bytes"))?);
                next += 1;
            }
            if read < count * PAGE_LEN {
                return Err(self.damaged(next, "the end of the file").into());
            }
        }
        Ok(())
    }

    /// The report of damage in a page.
    pub(crate) fn damaged(&self, number: u64, found: &str) -> Corruption {
        corruption(&*self.path, number * PAGE_LEN as u64, "a page with its checksum", found)
    }

    fn io(&self, error: io::Error) -> ReadError {
        ReadError::Io { file: self.path.clone(), source: error.into() }
    }
}

/// Writes records of one length into consecutive pages.
pub(crate) struct PageWriter<'a> {
    file: &'a dyn DiskFile,
    /// Whole pages that are not written yet, and the one that is being filled.
    buffer: Vec<u8>,
    /// Bytes in the page that is being filled.
    filled: usize,
    /// The number of the first page in the buffer.
    number: u64,
}

impl<'a> PageWriter<'a> {
    /// Writes pages from number `first` on.
    pub(crate) fn new(file: &'a dyn DiskFile, first: u64) -> Self {
        Self { file, buffer: Vec::with_capacity(PAGES_AT_ONCE * PAGE_LEN), filled: 0, number: first }
    }

    /// Adds a record of at most [`CONTENT_LEN`] bytes. Returns whether it is the first of its page.
    ///
    /// # Errors
    /// The disk's answer.
    pub(crate) fn push(&mut self, record: &[u8]) -> io::Result<bool> {
        if self.filled + record.len() > CONTENT_LEN {
            self.end_page()?;
        }
        self.buffer.extend_from_slice(record);
        self.filled += record.len();
        Ok(self.filled == record.len())
    }

    fn end_page(&mut self) -> io::Result<()> {
        self.buffer.resize(self.buffer.len() + PAGE_LEN - self.filled, 0);
        self.filled = 0;
        let number = self.number + (self.buffer.len() / PAGE_LEN) as u64 - 1;
        let start = self.buffer.len() - PAGE_LEN;
        seal(&mut self.buffer[start..], number);
        if self.buffer.len() >= PAGES_AT_ONCE * PAGE_LEN {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.number * PAGE_LEN as u64)?;
        self.number += (self.buffer.len() / PAGE_LEN) as u64;
        self.buffer.clear();
        crate::thread::yield_now();
        Ok(())
    }

    /// Ends the last page and writes what is left. Returns the number of the next page.
    ///
    /// # Errors
    /// The disk's answer.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        if self.filled > 0 {
            self.end_page()?;
        }
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        Ok(self.number)
    }
}

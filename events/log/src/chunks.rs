//! The parts of a file that is made of pieces taken one after the other: each with its length and its checksum in front, and at the
//! end how many there were. What stands in front of the first is for the file to say.
//!
//! ```text
//! part   length u32 | crc32c of the bytes u32 | bytes
//! end    length 0 | number of parts u32
//! ```
//!
//! Numbers are little-endian.

use std::io::{self, ErrorKind, Read};

/// Length and checksum.
const HEAD_LEN: usize = 8;
/// The largest part is the bitmap of a day: 2^32 members at one bit each.
const LEN_MAX: usize = 1 << 30;

/// Makes room for the head of a part; its bytes go behind it.
pub fn begin(part: &mut Vec<u8>) {
    part.clear();
    part.resize(HEAD_LEN, 0);
}

/// Fills in the head of a part whose bytes are there.
///
/// # Errors
/// `FileTooLarge`.
///
/// # Panics
/// If it was not [begun](begin).
pub fn seal(part: &mut [u8]) -> io::Result<()> {
    let (head, bytes) = part.split_at_mut(HEAD_LEN);
    let len = u32::try_from(bytes.len()).map_err(|_| ErrorKind::FileTooLarge)?;
    head[..4].copy_from_slice(&len.to_le_bytes());
    head[4..].copy_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    Ok(())
}

/// Returns the end mark of a file of so many parts.
pub fn end(parts: u32) -> [u8; HEAD_LEN] {
    (u64::from(parts) << 32).to_le_bytes()
}

/// Why there is no next part.
#[derive(Debug)]
pub enum BadChunks {
    /// The bytes that begin at this offset are not as they were written.
    Damaged {
        /// In the file.
        offset: u64,
    },
    /// The file cannot be read.
    Io(io::Error),
}

/// A file on its way in.
#[derive(Debug)]
pub struct Chunks<R> {
    file: R,
    offset: u64,
    /// Offset at which the last part began.
    start: u64,
    count: u32,
}

impl<R: Read> Chunks<R> {
    /// At the beginning of the file.
    pub fn new(file: R) -> Self {
        Self { file, offset: 0, start: 0, count: 0 }
    }

    /// Bytes read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the error for a last part that is not as it was written.
    pub fn damaged(&self) -> BadChunks {
        BadChunks::Damaged { offset: self.start }
    }

    /// Fills `buffer` with what stands in front of the parts.
    ///
    /// # Errors
    /// [`BadChunks`]: the file ends before, for one.
    pub fn head(&mut self, buffer: &mut [u8]) -> Result<(), BadChunks> {
        self.start = self.offset;
        self.fill(buffer)
    }

    /// Reads the bytes of the next part into `part`. `false`: that was all, and the file ends here.
    ///
    /// # Errors
    /// [`BadChunks`].
    pub fn next(&mut self, part: &mut Vec<u8>) -> Result<bool, BadChunks> {
        self.start = self.offset;
        let mut head = [0; HEAD_LEN];
        self.fill(&mut head)?;
        let [a, b, c, d, rest @ ..] = head;
        let (len, checksum) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes(rest));
        if len == 0 {
            let at_end = self.file.read(&mut [0]).map_err(BadChunks::Io)? == 0;
            return if at_end && checksum == self.count { Ok(false) } else { Err(self.damaged()) };
        }
        if len > LEN_MAX {
            return Err(self.damaged());
        }
        part.resize(len, 0);
        self.fill(part)?;
        self.count += 1;
        if crc32c::crc32c(part) == checksum { Ok(true) } else { Err(self.damaged()) }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), BadChunks> {
        match self.file.read_exact(buffer) {
            Ok(()) => {
                self.offset += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.damaged()),
            Err(error) => Err(BadChunks::Io(error)),
        }
    }
}

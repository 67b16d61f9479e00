//! The verdict on the end of a WAL file: ended in order, torn by a power cut, or damaged.

use std::fmt;
use std::io;

use lastseen_store::Corruption;

use crate::damage::corruption;
use crate::disk::aside::Aside;
use crate::disk::{Access, Disk, StepError, SyncSite};
use crate::place::Place;
use crate::wal;
use crate::wal::frame::{FRAME_HEADER_LEN, FileHeader};
use crate::wal::frames::End;
use crate::wal::settled::{may_follow_end, next_header, used_len};

/// The torn part of a frame that a power cut left. Nobody was told that the frame was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file, relative to the store's directory.
    pub file: String,
    /// Offset of the torn bytes in the file.
    pub offset: u64,
    /// Number of torn bytes.
    pub bytes: u64,
    /// The file that keeps them, relative to the store's directory.
    pub kept_as: String,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, kept_as } = self;
        write!(f, "cut {bytes} torn bytes off {file} at byte {offset}, kept as {kept_as}")
    }
}

/// A file and where its valid frames end.
pub(super) struct FileEnd<'a> {
    pub(super) path: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) header: &'a FileHeader,
    /// The end of the last valid frame, in bytes; an end frame is one.
    pub(super) end: usize,
    pub(super) why: End,
}

impl FileEnd<'_> {
    fn is_ended(&self) -> bool {
        matches!(self.why, End::EndFrame(_))
    }

    /// The offset at which the next frame would have gone.
    pub(super) fn of_records(&self) -> usize {
        if self.is_ended() { self.end - FRAME_HEADER_LEN } else { self.end }
    }

    /// True if the file ends with its end frame, to the byte.
    pub(super) fn is_cut(&self) -> bool {
        self.is_ended() && self.end == self.bytes.len()
    }

    /// Every file but the last was ended before the next was made.
    pub(super) fn must_be_ended(&self) -> Result<(), Corruption> {
        if self.is_ended() { self.nothing_follows() } else { Err(self.damaged("a frame with its checksum")) }
    }

    fn nothing_follows(&self) -> Result<(), Corruption> {
        let rest = self.bytes.get(self.end..).unwrap_or_default();
        if may_follow_end(rest, self.bytes.len(), self.header) {
            Ok(())
        } else {
            Err(self.damaged("nothing after the end frame"))
        }
    }

    /// The verdict on the last file: `None` where it ends cleanly, the torn tail where a power cut explains what
    /// is there, corruption otherwise.
    pub(super) fn torn_tail(&self) -> Result<Option<TornTail>, Corruption> {
        if self.is_ended() {
            return self.nothing_follows().map(|()| None);
        }
        let rest = self.bytes.get(self.end..).unwrap_or_default();
        if let Some(next) = next_header(rest, self.header.log_id).map(|at| self.end + at) {
            let expected = format!("a frame with its checksum, since another follows at byte {next}");
            return Err(self.damaged(&expected));
        }
        let (len, capacity) = (self.bytes.len() as u64, self.header.capacity);
        if len != capacity {
            let expected = format!("{capacity} bytes, or an end frame");
            return Err(corruption(self.path, len, expected, "the end of the file"));
        }
        let garbage = used_len(rest);
        Ok((garbage > 0).then(|| TornTail {
            file: self.path.to_owned(),
            offset: self.end as u64,
            bytes: garbage as u64,
            kept_as: format!("{}.{}.torn", self.path, self.end),
        }))
    }

    /// Damage where the valid frames end.
    fn damaged(&self, expected: &str) -> Corruption {
        const SHOWN: usize = 8;
        let rest = self.bytes.get(self.end..).unwrap_or_default();
        let shown = rest.get(..SHOWN).unwrap_or(rest);
        let found =
            if shown.is_empty() { "the end of the file".to_owned() } else { format!("bytes {shown:02x?}") };
        corruption(self.path, self.end as u64, expected, found)
    }
}

/// Saves the torn bytes of a file next to it, whole or not at all. Those that an interrupted recovery saved before are kept:
/// they are the fuller ones.
pub(super) fn keep_aside(disk: &dyn Disk, torn: &TornTail, bytes: &[u8]) -> io::Result<()> {
    match disk.open(&torn.kept_as, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            let start = index(torn.offset);
            let torn_bytes = bytes.get(start..start + index(torn.bytes)).unwrap_or_default();
            let aside =
                Aside::make(disk, &torn.kept_as, SyncSite::Torn, |file| file.write_all_at(torn_bytes, 0));
            aside.map_err(StepError::into_io)?.put()?;
        }
        found => drop(found?),
    }
    // Also where it was found: the process that renamed it may have ended before this.
    disk.sync_dir(wal::DIR, SyncSite::TornName)
}

/// Damage of a place that does not go on where it should.
pub(super) fn expect_place((path, offset): (&str, u64), next: Place, found: Place) -> Result<(), Corruption> {
    if next == found {
        return Ok(());
    }
    let found = format!("position {}: a file is missing or stands twice", found.get());
    Err(corruption(path, offset, format!("records from position {} on", next.get()), found))
}

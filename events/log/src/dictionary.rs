//! The member dictionary on disk: written when enough members are new, read when the log is opened, so that the members
//! files of the segments need not be. It is worth only time: whatever is wrong with it, the members files say the same.
//! FORMAT.md "Dictionary".

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use lastseen_event::Position;
use parking_lot::{Mutex, RwLock};

use crate::disk::{Access, Disk, DiskFile, SyncSite, create_anew};
use crate::manifest::Manifest;
use crate::members::image::{Counts, Mark, Restoring, Taking};
use crate::members::{Members, Seed};
use crate::parts::{self, BadParts, Parts};
use crate::thread::yield_now;
use crate::wal::file::NEW_SUFFIX;
use crate::writer::next;

/// The file's path.
pub(crate) const PATH: &str = "segments/dictionary";

const MAGIC: [u8; 8] = *b"LSNNAMES";
const VERSION: u32 = 1;
const HEAD_LEN: usize = 76;

/// When the dictionary is to be written, and as of when.
pub(crate) struct Due {
    /// Least number of new members that makes it due.
    new_min: usize,
    /// So many members make it due.
    at: AtomicUsize,
    /// Waits until everything below the position is sealed.
    mark: Mutex<Option<(Position, Mark)>>,
}

impl Due {
    /// `kept` members stand in the file.
    pub(crate) fn new(new_min: usize, kept: usize) -> Self {
        let due = Self { new_min, at: AtomicUsize::new(0), mark: Mutex::new(None) };
        due.kept(kept);
        due
    }

    /// So many members stand in the file now. It is written again when an eighth more are there: over a long time eight
    /// times what all the members take, and a start reads no more than that eighth from members files.
    fn kept(&self, members: usize) {
        self.at.store(members + (members / 8).max(self.new_min), Ordering::Relaxed);
    }

    /// Marks what there is, if that is due and nothing is marked: all of it is defined by durable frames in front of `end`.
    pub(crate) fn mark(&self, members: &Members, end: Position) {
        if members.len() >= self.at.load(Ordering::Relaxed) {
            self.mark.lock().get_or_insert_with(|| (end, members.mark()));
        }
    }

    /// Takes the mark, if all in front of it is sealed.
    fn take(&self, sealed: Position) -> Option<(Position, Mark)> {
        self.mark.lock().take_if(|(end, _)| *end <= next(sealed))
    }
}

/// Writes the dictionary, if it is due and what it is due of is sealed; how many members it has.
pub(crate) fn write_due(
    due: &Due,
    members: &RwLock<Members>,
    (disk, manifest): (&dyn Disk, &Manifest),
) -> io::Result<Option<u32>> {
    let Some((end, mark)) = due.take(manifest.last()) else { return Ok(None) };
    let count = mark.counts.members;
    // Also where it does not go: that is not tried again before the next time.
    due.kept(count as usize);
    write(Taking::new(mark), end, members, (disk, manifest)).map(|()| Some(count))
}

fn write(
    mut taking: Taking,
    end: Position,
    members: &RwLock<Members>,
    (disk, manifest): (&dyn Disk, &Manifest),
) -> io::Result<()> {
    let head = Head {
        end,
        history: manifest.history(end).ok_or(io::ErrorKind::InvalidInput)?,
        seed: taking.mark().seed,
        counts: taking.mark().counts,
    };
    let new_path = format!("{PATH}{NEW_SUFFIX}");
    let file = create_anew(disk, &new_path)?;
    file.write_all_at(&head.encode(manifest), 0)?;
    let (mut part, mut at, mut count) = (Vec::new(), HEAD_LEN as u64, 0);
    loop {
        parts::begin(&mut part);
        if !taking.copy(&members.read(), &mut part) {
            break;
        }
        parts::seal(&mut part)?;
        file.write_all_at(&part, at)?;
        at += part.len() as u64;
        count += 1;
        yield_now();
    }
    file.write_all_at(&parts::end(count), at)?;
    file.sync_all(SyncSite::Dictionary)?;
    // Its name need not be durable: the one before is as good.
    disk.rename(&new_path, PATH)
}

/// The head of the file.
struct Head {
    /// The position behind the last event whose member is surely in it.
    end: Position,
    /// Of the segments up to there.
    history: u32,
    seed: Seed,
    counts: Counts,
}

impl Head {
    fn encode(&self, manifest: &Manifest) -> [u8; HEAD_LEN] {
        let Counts { tenants, persons, ordinals, members, text } = self.counts;
        let mut head = Vec::with_capacity(HEAD_LEN);
        head.extend(MAGIC);
        head.extend(VERSION.to_le_bytes());
        head.extend(manifest.log_id().0);
        head.extend(self.end.get().to_le_bytes());
        head.extend(self.history.to_le_bytes());
        head.extend(self.seed.0.to_le_bytes());
        for count in [tenants, persons, ordinals, members] {
            head.extend(count.to_le_bytes());
        }
        head.extend(text.to_le_bytes());
        head.extend(crc32c::crc32c(&head).to_le_bytes());
        head.try_into().expect("the fields above")
    }

    fn decode(bytes: &[u8; HEAD_LEN], manifest: &Manifest) -> Result<Self, Fault> {
        let u32_at = |at: usize| bytes[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let u64_at = |at: usize| bytes[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let fields = || {
            if bytes[..8] != MAGIC || u32_at(HEAD_LEN - 4)? != crc32c::crc32c(&bytes[..HEAD_LEN - 4]) {
                return None;
            }
            let counts = Counts {
                tenants: u32_at(48)?,
                persons: u32_at(52)?,
                ordinals: u32_at(56)?,
                members: u32_at(60)?,
                text: u64_at(64)?,
            };
            let head = Self {
                end: Position::new(u64_at(28)?),
                history: u32_at(36)?,
                seed: Seed(u64_at(40)?),
                counts,
            };
            Some((u32_at(8)?, head))
        };
        let (version, head) = fields().ok_or(Fault::Damaged { offset: 0 })?;
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        let same_log = bytes[12..28] == manifest.log_id().0;
        if same_log && manifest.history(head.end) == Some(head.history) {
            Ok(head)
        } else {
            Err(Fault::Foreign)
        }
    }
}

/// Why the dictionary on disk is of no use.
#[derive(Debug)]
pub(crate) enum Fault {
    Damaged {
        offset: u64,
    },
    Version(u32),
    /// Of segments that this log does not have.
    Foreign,
    Io(io::Error),
}

impl From<BadParts> for Fault {
    fn from(bad: BadParts) -> Self {
        match bad {
            BadParts::Damaged { offset } => Self::Damaged { offset },
            BadParts::Io(error) => Self::Io(error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { offset } => write!(f, "damaged at offset {offset}"),
            Self::Version(found) => write!(f, "version {found}, this program writes {VERSION}"),
            Self::Foreign => f.write_str("made of segments that this log does not have"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// The dictionary on disk and the position it is of, if there is one. Everything in front of that position is in it.
pub(crate) fn read(disk: &dyn Disk, manifest: &Manifest) -> Result<Option<(Members, Position)>, Fault> {
    let file = match disk.open(PATH, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Fault::Io)?,
    };
    let mut reading = Parts::new(Sequential { file: file.as_ref(), at: 0 });
    let mut head = [0; HEAD_LEN];
    reading.head(&mut head)?;
    let Head { end, seed, counts, .. } = Head::decode(&head, manifest)?;
    let (mut restoring, mut part) = (Restoring::new(seed, counts), Vec::new());
    while reading.next(&mut part)? {
        restoring.read(&part).ok_or_else(|| reading.damaged())?;
    }
    let members = restoring.finish().ok_or_else(|| reading.damaged())?;
    Ok(Some((members, end)))
}

/// A file read from its beginning on.
struct Sequential<'a> {
    file: &'a dyn DiskFile,
    at: u64,
}

impl Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

//! The member dictionary on disk: written when enough members are new, read when the log is opened, so that the members
//! files of the segments need not be. It is worth only time: whatever is wrong with it, the members files say the same.
//! FORMAT.md "Dictionary".

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use lastseen_store::{LogId, MemberDictionary};
use parking_lot::{Mutex, RwLock};

use crate::chunks::{self, BadChunks, Chunks};
use crate::codec::Cursor;
use crate::damage::Malformed;
use crate::disk::aside::Aside;
use crate::disk::{Access, Disk, DiskFile, StepError, SyncSite};
use crate::manifest::Manifest;
use crate::members::image::{Counts, Mark, Restoring, Taking};
use crate::members::{Members, Seed};
use crate::place::{Place, following};
use crate::segment::entry::Content;
use crate::thread::yield_now;

/// The file's path.
pub(crate) const PATH: &str = "segments/dictionary";

const MAGIC: [u8; 8] = *b"LSNNAMES";
const VERSION: u32 = 2;
const HEAD_LEN: usize = 88;

/// Version 1 told its segments by the checksum of their entries in the manifest.
const VERSION_V1: u32 = 1;
const HEAD_LEN_V1: usize = 76;

/// The dictionary on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It has so many members; none where there is no file that is of use.
    Members(usize),
    /// It is of an earlier version.
    Old,
}

/// When the dictionary is to be written, and as of when.
pub(crate) struct Due {
    /// Least number of new members that makes it due.
    new_min: usize,
    /// So many members make it due.
    at: AtomicUsize,
    /// Waits until everything in front of the place is sealed.
    mark: Mutex<Option<(Place, Mark)>>,
}

impl Due {
    /// Of a log whose file is this.
    pub(crate) fn new(new_min: usize, kept: Kept) -> Self {
        let due = Self { new_min, at: AtomicUsize::new(0), mark: Mutex::new(None) };
        match kept {
            Kept::Members(members) => due.kept(members),
            // It is written anew as soon as that is possible.
            Kept::Old => due.at.store(1, Ordering::Relaxed),
        }
        due
    }

    /// So many members stand in the file now. It is written again when an eighth more are there: over a long time eight
    /// times what all the members take, and a start reads no more than that eighth from members files.
    fn kept(&self, members: usize) {
        self.at.store(members + (members / 8).max(self.new_min), Ordering::Relaxed);
    }

    /// Marks what there is, if that is due and nothing is marked: all of it is defined by durable frames in front of `end`.
    pub(crate) fn mark(&self, members: &Members, end: Place) {
        if members.len() >= self.at.load(Ordering::Relaxed) {
            self.mark.lock().get_or_insert_with(|| (end, members.mark()));
        }
    }

    /// Takes the mark, if all in front of it is sealed, and described as it is by now.
    fn take(&self, manifest: &Manifest) -> Option<(Place, Mark)> {
        let is_sealed = |end: Place| end <= following(manifest.last());
        let is_due = |end: Place| is_sealed(end) && manifest.content_before(end).is_some();
        self.mark.lock().take_if(|(end, _)| is_due(*end))
    }
}

/// Writes the dictionary, if it is due and what it is due of is sealed; how many members it has.
pub(crate) fn write_due(
    due: &Due,
    members: &RwLock<Members>,
    (disk, manifest): (&dyn Disk, &Manifest),
) -> io::Result<Option<u32>> {
    let Some((end, mark)) = due.take(manifest) else { return Ok(None) };
    let count = mark.counts.members;
    // Also where it does not go: that is not tried again before the next time.
    due.kept(count as usize);
    write(Taking::new(mark), end, members, (disk, manifest)).map(|()| Some(count))
}

fn write(
    mut taking: Taking,
    end: Place,
    members: &RwLock<Members>,
    (disk, manifest): (&dyn Disk, &Manifest),
) -> io::Result<()> {
    let content = manifest.content_before(end).ok_or(io::ErrorKind::InvalidInput)?;
    let history = OfHistory::Content(content);
    let head = Head {
        log_id: manifest.lineage.log_id(),
        end,
        history,
        seed: taking.mark().seed,
        counts: taking.mark().counts,
    };
    let aside = Aside::make(disk, PATH, SyncSite::Dictionary, |file| {
        file.write_all_at(&head.encode(content), 0)?;
        let (mut part, mut at, mut count) = (Vec::new(), HEAD_LEN as u64, 0);
        loop {
            chunks::begin(&mut part);
            if !taking.copy(&members.read(), &mut part) {
                break;
            }
            chunks::seal(&mut part)?;
            file.write_all_at(&part, at)?;
            at += part.len() as u64;
            count += 1;
            yield_now();
        }
        file.write_all_at(&chunks::end(count), at)
    });
    // Its name need not be durable: the one before is as good.
    aside.map_err(StepError::into_io)?.put().map(drop)
}

/// The head of the file.
struct Head {
    log_id: LogId,
    /// The place after the last record whose member is surely in it.
    end: Place,
    history: OfHistory,
    seed: Seed,
    counts: Counts,
}

/// Tells the segments up to the end of a dictionary from those of any other history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OfHistory {
    Content(Content),
    /// In version 1: a checksum of the entries.
    Entries(u32),
}

impl Head {
    fn encode(&self, content: Content) -> [u8; HEAD_LEN] {
        let Counts { tenants, persons, ordinals, members, text } = self.counts;
        let mut head = Vec::with_capacity(HEAD_LEN);
        head.extend(MAGIC);
        head.extend(VERSION.to_le_bytes());
        head.extend(self.log_id.to_bytes());
        head.extend(self.end.get().to_le_bytes());
        head.extend(content.0.to_le_bytes());
        head.extend(self.seed.0.to_le_bytes());
        for count in [tenants, persons, ordinals, members] {
            head.extend(count.to_le_bytes());
        }
        head.extend(text.to_le_bytes());
        head.extend(crc32c::crc32c(&head).to_le_bytes());
        head.try_into().expect("the fields above")
    }

    /// Reads a head of this version from its fields after the magic and the version.
    fn fields(version: u32, cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let (log_id, end) = (LogId::from_bytes(cursor.array()?), Place::new(cursor.u64()?));
        let history = if version == VERSION_V1 {
            OfHistory::Entries(cursor.u32()?)
        } else {
            OfHistory::Content(Content(u128::from_le_bytes(cursor.array()?)))
        };
        let seed = Seed(cursor.u64()?);
        let counts = Counts {
            tenants: cursor.u32()?,
            persons: cursor.u32()?,
            ordinals: cursor.u32()?,
            members: cursor.u32()?,
            text: cursor.u64()?,
        };
        Ok(Self { log_id, end, history, seed, counts })
    }

    /// Reads the head of a file.
    fn read(reading: &mut Chunks<Sequential<'_>>) -> Result<Self, Fault> {
        let mut head = [0; HEAD_LEN];
        reading.head(&mut head[..HEAD_LEN_V1])?;
        let damaged = |Malformed| Fault::Damaged { offset: 0 };
        let mut cursor = Cursor::new(&head);
        let magic = cursor.array().map_err(damaged)?;
        let version = cursor.u32().map_err(damaged)?;
        let len = match version {
            VERSION => {
                reading.head(&mut head[HEAD_LEN_V1..])?;
                HEAD_LEN
            }
            _ => HEAD_LEN_V1,
        };
        let (checked, crc) = head[..len].split_at(len - 4);
        if magic != MAGIC || crc != crc32c::crc32c(checked).to_le_bytes() {
            // Of a later version only the magic is known to stand where it is.
            let is_later = magic == MAGIC && version > VERSION;
            return Err(if is_later { Fault::Version(version) } else { Fault::Damaged { offset: 0 } });
        }
        let mut cursor = Cursor::new(checked);
        cursor.slice(MAGIC.len() + 4).map_err(damaged)?;
        Self::fields(version, &mut cursor).map_err(damaged)
    }

    /// Checks that it is of the segments of a manifest.
    fn check(&self, manifest: &Manifest) -> Result<(), Fault> {
        let sealed_until = following(manifest.last());
        if self.log_id == manifest.lineage.log_id() && self.end > sealed_until {
            return Err(Fault::Beyond { end: self.end });
        }
        let is_described = |history| matches!(history, OfHistory::Entries(_)) && manifest.is_described();
        if is_described(self.history) {
            return Err(Fault::Old);
        }
        let found = match self.history {
            OfHistory::Content(_) => manifest.content_before(self.end).map(OfHistory::Content),
            OfHistory::Entries(_) => manifest.history_v1(self.end).map(OfHistory::Entries),
        };
        let is_of_log = manifest.lineage.contains(self.log_id);
        if is_of_log && found == Some(self.history) { Ok(()) } else { Err(Fault::Foreign) }
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
    /// Of version 1, and of segments that were described anew since.
    Old,
    /// Of this log when it had more segments: it was written when everything in front of `end` was sealed.
    Beyond {
        end: Place,
    },
    Io(io::Error),
}

impl From<BadChunks> for Fault {
    fn from(bad: BadChunks) -> Self {
        match bad {
            BadChunks::Damaged { offset } => Self::Damaged { offset },
            BadChunks::Io(error) => Self::Io(error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { offset } => write!(f, "damaged at offset {offset}"),
            Self::Version(found) => write!(f, "version {found}, this program writes {VERSION}"),
            Self::Foreign => f.write_str("made of segments that this log does not have"),
            Self::Old => f.write_str("of an earlier version of the log"),
            Self::Beyond { end } => {
                write!(f, "made when everything in front of position {} was sealed", end.get())
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// The dictionary on disk, the place it is of, and what it is, if there is one. Everything in front of that place is in
/// it.
pub(crate) fn read(disk: &dyn Disk, manifest: &Manifest) -> Result<Option<(Members, Place, Kept)>, Fault> {
    let file = match disk.open(PATH, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Fault::Io)?,
    };
    let mut reading = Chunks::new(Sequential { file: file.as_ref(), at: 0 });
    let head = Head::read(&mut reading)?;
    head.check(manifest)?;
    let Head { end, seed, counts, history, .. } = head;
    let (mut restoring, mut part) = (Restoring::new(manifest.id_key, seed, counts), Vec::new());
    while reading.next(&mut part)? {
        restoring.read(&part).map_err(|Malformed| reading.damaged())?;
    }
    let members = restoring.finish().map_err(|Malformed| reading.damaged())?;
    let is_old = matches!(history, OfHistory::Entries(_));
    let kept = if is_old { Kept::Old } else { Kept::Members(members.len()) };
    Ok(Some((members, end, kept)))
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

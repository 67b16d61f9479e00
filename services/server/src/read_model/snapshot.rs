//! The snapshot of the views in the data directory: written beside the fold, read at the start. It is worth nothing but
//! time: whatever is wrong with it, the views are rebuilt from the log.
//!
//! ```text
//! snapshots/views   head | part | part | ... | end
//! head              "LSNVIEWS" | version u32 | log id [16] | checkpoint u64 | id and recorded_at of the event there (16, 8 bytes) | crc32c u32
//! ```
//!
//! Parts and their end are those of [`lastseen_log::chunks`]. Numbers are little-endian. The log and the event at the checkpoint tell whether
//! the snapshot is of this log's history. One of this log that is beyond its end is evidence that events were lost.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use lastseen_event::{MemberOrdinal, MemberRef, Position};
use lastseen_log::Evidence;
use lastseen_log::chunks::{self, BadChunks, Chunks};
use lastseen_projections::{BadPart, Persons, Restoring, SNAPSHOT_VERSION, Taking, Views, ViewsBuilder};
use lastseen_store::{
    Detail, EventReader, Filter, Lineage, LogId, ReadError, RecordedBatch, Scan, StoreFault,
};
use parking_lot::RwLock;

const MAGIC: [u8; 8] = *b"LSNVIEWS";
const HEAD_BYTES: usize = 64;

/// Why there are no views from a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be read or written.
    #[error("cannot {action} {}", file.display())]
    Io {
        /// The attempt.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// The operating system's answer.
        #[source]
        source: StoreFault,
    },
    /// Written by another version.
    #[error("{} has version {found}, this program writes {SNAPSHOT_VERSION}", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Not what was written.
    #[error("{} is damaged at offset {offset}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Offset of the damaged part.
        offset: u64,
    },
    /// Of a history that this log does not have.
    #[error("{} is of another history: the log has another event at position {}", file.display(), checkpoint.get())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// The first position at which the histories differ.
        checkpoint: Position,
    },
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[from] ReadError),
}

/// Identity of the event at a position: its id, and the instant at which it was recorded.
type Identity = ([u8; 16], i64);

/// The event at a position; `None` where there is none.
fn identity_at<R: EventReader>(
    at: Position,
    scan: impl Fn(Scan) -> R,
) -> Result<Option<Identity>, ReadError> {
    let after = Position::new(at.get().saturating_sub(1));
    let mut reader = scan(Scan { after, until: Some(at), detail: Detail::Facts, filter: Filter::default() });
    while let Some(RecordedBatch { facts, retractions, .. }) = reader.next_batch()? {
        let fact = facts.iter().map(|fact| (fact.position, fact.id, fact.recorded_at));
        let retraction = retractions.iter().map(|it| (it.position, it.id, it.recorded_at));
        let found = fact.chain(retraction).find(|(position, ..)| *position == at);
        if let Some((_, id, recorded_at)) = found {
            return Ok(Some((*id.as_uuid().as_bytes(), recorded_at.as_micros())));
        }
    }
    Ok(None)
}

/// Returns the path of the snapshot in a data directory.
fn path_in(data: &Path) -> PathBuf {
    data.join("snapshots").join("views")
}

fn io_error(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let file = file.to_owned();
    move |error| SnapshotError::Io { action, file, source: error.into() }
}

/// Takes a snapshot and puts it in the place of the one before; its checkpoint, `None` if there is nothing to keep. Holds
/// the views for no more than a part.
///
/// # Errors
/// [`SnapshotError`]; the snapshot before stays.
pub(super) fn write<R: EventReader>(
    data: &Path,
    views: &RwLock<Views>,
    (lineage, scan): (&Lineage, impl Fn(Scan) -> R),
) -> Result<Option<Position>, SnapshotError> {
    let mut taking = Taking::of(&views.read());
    let checkpoint = taking.checkpoint();
    let Some(identity) = identity_at(checkpoint, scan)? else { return Ok(None) };
    let path = path_in(data);
    let aside = path.with_extension("part");
    let folder = path.parent().unwrap_or(data);
    let create = || {
        fs::create_dir_all(folder)?;
        File::create(&aside)
    };
    let mut file = BufWriter::with_capacity(1 << 20, create().map_err(io_error("create", &aside))?);
    let mut write = || {
        file.write_all(&head(lineage.log_id(), checkpoint, identity))?;
        let (mut part, mut count) = (Vec::new(), 0);
        loop {
            chunks::begin(&mut part);
            if !(taking.copy(&views.read(), &mut part) || taking.next_day(&mut part)) {
                break;
            }
            chunks::seal(&mut part)?;
            file.write_all(&part)?;
            count += 1;
        }
        file.write_all(&chunks::end(count))?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&aside, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(io_error("write", &path))?;
    Ok(Some(checkpoint))
}

fn head(log_id: LogId, checkpoint: Position, (id, recorded_at): Identity) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
    head[12..28].copy_from_slice(&log_id.to_bytes());
    head[28..36].copy_from_slice(&checkpoint.get().to_le_bytes());
    head[36..52].copy_from_slice(&id);
    head[52..60].copy_from_slice(&recorded_at.to_le_bytes());
    let checksum = crc32c::crc32c(&head[..60]);
    head[60..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// The head of a snapshot that was read.
#[derive(Clone, Copy, Debug)]
struct Head {
    log_id: LogId,
    checkpoint: Position,
    identity: Identity,
}

/// Why a head is none.
enum BadHead {
    Damaged,
    Version(u32),
}

impl Head {
    fn decode(head: &[u8; HEAD_BYTES]) -> Result<Self, BadHead> {
        if head[..8] != MAGIC {
            return Err(BadHead::Damaged);
        }
        let (version, checksum) = (number(&head[8..12]), number(&head[60..]));
        if version != SNAPSHOT_VERSION {
            return Err(BadHead::Version(version));
        }
        if checksum != crc32c::crc32c(&head[..60]) {
            return Err(BadHead::Damaged);
        }
        let wide =
            |at: usize| u64::from(number(&head[at..at + 4])) | u64::from(number(&head[at + 4..at + 8])) << 32;
        let bytes = |at: usize| {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&head[at..at + 16]);
            bytes
        };
        Ok(Self {
            log_id: LogId::from_bytes(bytes(12)),
            checkpoint: Position::new(wide(28)),
            identity: (bytes(36), wide(52).cast_signed()),
        })
    }
}

/// The position that the snapshot in a data directory proves its log to have had; `None` if there is none that can be read.
pub(crate) fn evidence(data: &Path) -> Option<Evidence> {
    let mut head = [0; HEAD_BYTES];
    File::open(path_in(data)).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    let Head { log_id, checkpoint, .. } = Head::decode(&head).ok()?;
    Some(Evidence { file: "snapshots/views".to_owned(), log_id, position: checkpoint })
}

/// A snapshot as it was read; whether it is of a log's history is not known yet.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    head: Head,
    restoring: Restoring,
    bytes: u64,
}

impl Snapshot {
    /// Reads the snapshot in a data directory; `None` if there is none.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn read(data: &Path) -> Result<Option<Self>, SnapshotError> {
        let path = path_in(data);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let mut reading = Chunks::new(BufReader::with_capacity(1 << 20, file));
        let bad = |bad: BadChunks| match bad {
            BadChunks::Damaged { offset } => SnapshotError::Damaged { file: path.clone(), offset },
            BadChunks::Io(error) => io_error("read", &path)(error),
        };
        let mut head = [0; HEAD_BYTES];
        reading.head(&mut head).map_err(bad)?;
        let head = Head::decode(&head).map_err(|found| match found {
            BadHead::Damaged => bad(reading.damaged()),
            BadHead::Version(found) => SnapshotError::Version { file: path.clone(), found },
        })?;
        let (mut restoring, mut part) = (Restoring::new(), Vec::new());
        while reading.next(&mut part).map_err(bad)? {
            restoring.read(&part).map_err(|BadPart| bad(reading.damaged()))?;
        }
        Ok(Some(Self { head, restoring, bytes: reading.offset(), path }))
    }

    /// The views, to be taken on from the snapshot's checkpoint, which is told as well. `lineage` is of the log that `scan` reads;
    /// `members` tells tenant and person of a member, and is asked for once nothing is scanned any more.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn views<R: EventReader, W: Fn(MemberOrdinal) -> Option<MemberRef>>(
        self,
        persons: Persons,
        (lineage, scan): (&Lineage, impl Fn(Scan) -> R),
        members: impl FnOnce() -> W,
    ) -> Result<(ViewsBuilder, Position), SnapshotError> {
        let Self { path: file, head: Head { log_id, checkpoint, identity }, restoring, bytes } = self;
        if !lineage.shares(log_id, checkpoint) || identity_at(checkpoint, scan)? != Some(identity) {
            return Err(SnapshotError::Foreign { file, checkpoint });
        }
        match restoring.finish(checkpoint, persons, members()) {
            Ok(builder) => Ok((builder, checkpoint)),
            Err(BadPart) => Err(SnapshotError::Damaged { file, offset: bytes }),
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

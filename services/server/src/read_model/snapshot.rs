//! The snapshot of the views in the data directory: written beside the fold, read at the start. It is worth nothing but
//! time: whatever is wrong with it, the views are rebuilt from the log.
//!
//! ```text
//! snapshots/views   head | part | part | ... | end
//! head              "LSNVIEWS" | version u32 | checkpoint u64 | id and recorded_at of the event there (16, 8 bytes) | crc32c u32
//! ```
//!
//! Parts and their end are those of [`lastseen_log::chunks`]. Numbers are little-endian. The event at the checkpoint tells whether the snapshot is of this log's history.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use lastseen_event::{MemberOrdinal, MemberRef, Position};
use lastseen_log::chunks::{self, BadChunks, Chunks};
use lastseen_projections::{BadPart, Persons, Restoring, SNAPSHOT_VERSION, Taking, Views, ViewsBuilder};
use lastseen_store::{Detail, EventReader, Filter, ReadError, RecordedBatch, Scan, StoreFault};
use parking_lot::RwLock;

const MAGIC: [u8; 8] = *b"LSNVIEWS";
const HEAD_BYTES: usize = 48;

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
    let batch = reader.next_batch()?;
    let found = batch.and_then(|RecordedBatch { facts, retractions, .. }| {
        let fact = facts.iter().map(|fact| (fact.position, fact.id, fact.recorded_at));
        let retraction = retractions.iter().map(|it| (it.position, it.id, it.recorded_at));
        fact.chain(retraction).find(|(position, ..)| *position == at)
    });
    Ok(found.map(|(_, id, recorded_at)| (*id.as_uuid().as_bytes(), recorded_at.as_micros())))
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
    scan: impl Fn(Scan) -> R,
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
        file.write_all(&head(checkpoint, identity))?;
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

fn head(checkpoint: Position, (id, recorded_at): Identity) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
    head[12..20].copy_from_slice(&checkpoint.get().to_le_bytes());
    head[20..36].copy_from_slice(&id);
    head[36..44].copy_from_slice(&recorded_at.to_le_bytes());
    let checksum = crc32c::crc32c(&head[..44]);
    head[44..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// A snapshot as it was read; whether it is of a log's history is not known yet.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    checkpoint: Position,
    identity: Identity,
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
        if head[..8] != MAGIC {
            return Err(bad(reading.damaged()));
        }
        let (version, checksum) = (number(&head[8..12]), number(&head[44..]));
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version { file: path, found: version });
        }
        if checksum != crc32c::crc32c(&head[..44]) {
            return Err(bad(reading.damaged()));
        }
        let (mut restoring, mut part) = (Restoring::new(), Vec::new());
        while reading.next(&mut part).map_err(bad)? {
            restoring.read(&part).map_err(|BadPart| bad(reading.damaged()))?;
        }
        let wide =
            |at: usize| u64::from(number(&head[at..at + 4])) | u64::from(number(&head[at + 4..at + 8])) << 32;
        let mut id = [0; 16];
        id.copy_from_slice(&head[20..36]);
        Ok(Some(Self {
            checkpoint: Position::new(wide(12)),
            identity: (id, wide(36).cast_signed()),
            restoring,
            bytes: reading.offset(),
            path,
        }))
    }

    /// The views, to be taken on from the snapshot's checkpoint, which is told as well. `whose` tells tenant and person of a
    /// member, `scan` reads the log.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn views<R: EventReader>(
        self,
        persons: Persons,
        scan: impl Fn(Scan) -> R,
        whose: impl Fn(MemberOrdinal) -> Option<MemberRef>,
    ) -> Result<(ViewsBuilder, Position), SnapshotError> {
        let Self { path: file, checkpoint, identity, restoring, bytes } = self;
        if identity_at(checkpoint, scan)? != Some(identity) {
            return Err(SnapshotError::Foreign { file, checkpoint });
        }
        match restoring.finish(checkpoint, persons, whose) {
            Ok(builder) => Ok((builder, checkpoint)),
            Err(BadPart) => Err(SnapshotError::Damaged { file, offset: bytes }),
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

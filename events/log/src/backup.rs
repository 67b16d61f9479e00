//! Copying a log, also while a server writes to it. The copy is a log of its own that holds everything that was
//! durable when the copying of its last file began: a prefix of the original.

use std::io;
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::{Corruption, StoreFault};

use crate::disk::{Access, Disk, ROOT, SyncSite, create_anew, read_all};
use crate::wal::file::{NEW_SUFFIX, end_frame};
use crate::wal::frame::FileHeader;
use crate::wal::walk::{Frames, header_behind, read_settled};
use crate::wal::{self};
use crate::writer::next;

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// WAL files.
    pub files: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes written.
    pub bytes: u64,
    /// The position of the last event, [`Position::START`] if there is none.
    pub last_position: Position,
}

/// Why a log was not copied. What was copied before opens as a shorter prefix.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory to copy to has a log already.
    #[error("the directory to copy to holds a log already; name one that is empty or does not exist")]
    NotEmpty,
    /// There is no log to copy.
    #[error("there is no log to copy")]
    NoLog,
    /// The log is damaged; see `verify`.
    #[error("the log is damaged")]
    Corrupt(#[source] Corruption),
    /// The operating system refused.
    #[error("cannot {action} {file}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder, relative to its directory.
        file: String,
        /// The operating system's answer.
        #[source]
        source: StoreFault,
    },
}

fn failed(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> BackupError {
    let file = file.to_owned();
    move |error| BackupError::Io { action, file, source: error.into() }
}

/// Copies the log on `from`, which may be in use, to `to`, which has none. Each file is whole before it has its
/// name, so a copy that was cut short opens too. `progress` is told files done and files in all.
///
/// # Errors
/// [`BackupError`].
pub fn backup(
    from: &Arc<dyn Disk>,
    to: &Arc<dyn Disk>,
    mut progress: impl FnMut(u64, u64),
) -> Result<BackedUp, BackupError> {
    // What was acknowledged before this moment is in these files; newer ones hold only what came later.
    let numbers = wal::numbers(from.as_ref()).map_err(failed("list", wal::DIR))?;
    let Some(last) = numbers.last().copied() else { return Err(BackupError::NoLog) };
    to.create_dir(wal::DIR)
        .and_then(|()| to.sync_dir(ROOT, SyncSite::Folder))
        .map_err(failed("create", wal::DIR))?;
    if !wal::numbers(to.as_ref()).map_err(failed("list", wal::DIR))?.is_empty() {
        return Err(BackupError::NotEmpty);
    }
    let mut copied = BackedUp::default();
    let mut recorded_at = UtcInstant::EARLIEST;
    for &number in &numbers {
        let path = wal::path(number);
        let whole = read_whole(from.as_ref(), (&path, number == last), &mut copied, &mut recorded_at)?;
        write_whole(to.as_ref(), &path, &whole).map_err(failed("write", &path))?;
        copied.files += 1;
        copied.bytes += whole.len() as u64;
        progress(copied.files, numbers.len() as u64);
    }
    Ok(copied)
}

/// A WAL file up to its last durable frame, with an end frame. `copied` counts its events, `recorded_at` follows its
/// frames.
fn read_whole(
    disk: &dyn Disk,
    (path, is_last): (&str, bool),
    copied: &mut BackedUp,
    recorded_at: &mut UtcInstant,
) -> Result<Vec<u8>, BackupError> {
    let file = disk.open(path, Access::Read).map_err(failed("open", path))?;
    let mut bytes = if is_last { read_settled(file.as_ref()) } else { read_all(file.as_ref()) }
        .map_err(failed("read", path))?;
    let corrupt = |offset: usize, expected: &str| {
        let (expected, found) = (expected.to_owned(), "bytes that are none".to_owned());
        BackupError::Corrupt(Corruption { file: path.to_owned(), offset: offset as u64, expected, found })
    };
    let header = FileHeader::decode(&bytes).map_err(|_| corrupt(0, "a file header of this format"))?;
    let frames = Frames::walk(&bytes, header.log_id);
    let expected = next(copied.last_position);
    if header.first_position != expected || frames.first_position.is_some_and(|first| first != expected) {
        return Err(corrupt(0, &format!("events from position {} on", expected.get())));
    }
    *recorded_at = frames.recorded_at.unwrap_or(*recorded_at);
    copied.events += frames.events;
    copied.last_position = Position::new(copied.last_position.get() + frames.events);
    if !frames.ended {
        if !is_last || header_behind(&bytes[frames.end..], header.log_id).is_some() {
            return Err(corrupt(frames.end, "a frame with its checksum"));
        }
        // What was read is durable there before it is anywhere else.
        file.sync_data(SyncSite::Frame).map_err(failed("sync", path))?;
        bytes.truncate(frames.end);
        bytes.extend(end_frame(header.log_id, next(copied.last_position), *recorded_at));
    }
    Ok(bytes)
}

/// Writes a file under another name and gives it its own when it is durable.
fn write_whole(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let new_path = format!("{path}{NEW_SUFFIX}");
    let file = create_anew(disk, &new_path)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all(SyncSite::NewFile)?;
    disk.rename(&new_path, path)?;
    disk.sync_dir(wal::DIR, SyncSite::NewFileName)
}

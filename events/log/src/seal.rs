//! Sealing: the WAL files that are ended become one immutable segment, beside appends, which never wait for it. Nothing
//! is dropped before the manifest that names the segment is durable. FORMAT.md "Sealing".

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use lastseen_event::Position;
use lastseen_store::{Clock, Corruption, StoreFault, error_chain};
use parking_lot::{Mutex, RwLock};
use parquet::errors::ParquetError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::LogOptions;
use crate::dictionary;
use crate::disk::{Access, Disk, StepError, SyncSite, create_anew, read_all};
use crate::health::{Part, Standstills};
use crate::manifest::{Entry, Manifest, Piece};
use crate::places::FilePlace;
use crate::segment::members::MembersFile;
use crate::segment::write::{Encoded, SegmentWriter};
use crate::segment::{self};
use crate::thread::yield_now;
use crate::wal::file::NEW_SUFFIX;
use crate::wal::frame::{FILE_HEADER_LEN, FRAME_HEADER_LEN, FrameHeader, FrameKind};
use crate::wal::payload::{Payload, StoredEvent};
use crate::wal::{self};
use crate::writer::{Message, Shared, next};

/// Why nothing was sealed. The events stay in the WAL, where every reader finds them.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The operating system refused. Sealing tries again.
    #[error("cannot {action} {file}")]
    Io {
        /// The step that was tried.
        action: &'static str,
        /// On which file or folder, relative to the directory.
        file: String,
        /// The operating system's answer.
        #[source]
        source: StoreFault,
    },
    /// A WAL file is not what was written. See `verify`; nothing is sealed until the log is opened again.
    #[error("the log is damaged")]
    Corrupt(#[source] Corruption),
    /// The segment could not be encoded; nothing is sealed until the log is opened again.
    #[error("cannot encode a segment")]
    Encode(#[source] ParquetError),
    /// An earlier failure left it open what is on disk, or the log is closed.
    #[error("nothing is sealed until the log is opened again")]
    Stopped,
}

fn failed(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> SealError {
    let file = file.to_owned();
    move |error| SealError::Io { action, file, source: error.into() }
}

/// The way to the writer; `None` once the log is closed.
pub(crate) type Requests = Arc<RwLock<Option<mpsc::Sender<Message>>>>;

/// The one who seals.
pub(crate) struct Sealer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) standstills: Arc<Standstills>,
    pub(crate) options: LogOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tail: watch::Receiver<Position>,
    /// Set by a failure after which another try could drop what is not durable elsewhere.
    pub(crate) stopped: bool,
}

/// The files that are sealed next.
struct Due {
    files: Vec<FilePlace>,
    /// The position behind their last event.
    end: Position,
}

impl Sealer {
    /// Seals whenever enough is ended or old, until `nudges` has no sender any more. The writer is asked to end its file when
    /// it is old.
    pub(crate) fn run(sealer: &Mutex<Self>, nudges: &Receiver<()>, requests: &Requests) {
        let (period, _watch) = {
            const PERIOD_MAX: Duration = Duration::from_mins(1);
            let sealer = sealer.lock();
            let period = (sealer.options.segment_age / 4).clamp(Duration::from_millis(10), PERIOD_MAX);
            (period, sealer.standstills.watch(Part::Sealer))
        };
        loop {
            match nudges.recv_timeout(period) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let mut sealer = sealer.lock();
            if sealer.stopped {
                continue;
            }
            let aged = match sealer.aged() {
                Ok(aged) => aged,
                Err(error) => {
                    sealer.failed(&error);
                    sealer.report(&error);
                    continue;
                }
            };
            if aged && let Some(writer) = requests.read().as_ref() {
                let (reply, _) = oneshot::channel();
                // A queue that is full has appends that end the file sooner or later.
                let _ = writer.try_send(Message::EndFile(reply));
            }
            loop {
                match sealer.seal_next(aged) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        sealer.report(&error);
                        break;
                    }
                }
            }
        }
    }

    fn report(&self, error: &SealError) {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        if self.stopped {
            tracing::error!(%error, cause, "sealing stopped; events stay in the log's WAL files until restart");
        } else {
            tracing::warn!(%error, cause, "sealing failed and will be tried again; events stay in the log's WAL files");
        }
    }

    /// Notes that nothing was sealed: for now, or for good.
    fn failed(&self, error: &SealError) {
        if self.stopped {
            self.standstills.stopped(Part::Sealer, format!("sealing stopped: {}", error_chain(error)));
        } else {
            self.standstills.failed(Part::Sealer, format!("sealing failed: {}", error_chain(error)));
        }
    }

    /// True if the oldest event that is not sealed is older than it may be.
    fn aged(&self) -> Result<bool, SealError> {
        let Some(place) = self.shared.places.read().unsealed(*self.tail.borrow()) else { return Ok(false) };
        let path = wal::path(place.number);
        let file = self.shared.disk.open(&path, Access::Read).map_err(failed("open", &path))?;
        let mut start = [0; FILE_HEADER_LEN + FRAME_HEADER_LEN];
        file.read_at(&mut start, 0).map_err(failed("read", &path))?;
        let frame = FrameHeader::decode(&start[FILE_HEADER_LEN..], self.shared.log_id);
        let recorded_at = frame.map(|(frame, _)| frame.recorded_at);
        Ok(recorded_at.is_some_and(|at| at.saturating_add(self.options.segment_age) <= self.clock.now()))
    }

    /// Makes one segment of what is due; `false` if nothing is. With `all`, whatever is ended is due.
    ///
    /// # Errors
    /// [`SealError`].
    pub(crate) fn seal_next(&mut self, all: bool) -> Result<bool, SealError> {
        if self.stopped {
            return Err(SealError::Stopped);
        }
        let Some(due) = self.due(all) else {
            // Also where an attempt has failed: what was due then is sealed by now.
            self.standstills.works(Part::Sealer);
            self.write_dictionary();
            return Ok(false);
        };
        let sealed = self.seal(&due);
        if let Err(SealError::Corrupt(_) | SealError::Encode(_)) = &sealed {
            self.stopped = true;
        }
        match &sealed {
            Ok(()) => self.standstills.works(Part::Sealer),
            Err(error) => self.failed(error),
        }
        sealed.map(|()| true)
    }

    /// Writes the dictionary, if it is due, once the segments that define it are there.
    fn write_dictionary(&self) {
        let (started, shared) = (Instant::now(), &self.shared);
        let manifest = shared.places.read().manifest.clone();
        let on = (shared.disk.as_ref(), manifest.as_ref());
        match dictionary::write_due(&shared.dictionary, &shared.members, on) {
            Ok(None) => {}
            Ok(Some(members)) => {
                self.standstills.works(Part::Dictionary);
                tracing::info!(members, seconds = started.elapsed().as_secs_f64(), "dictionary written");
            }
            Err(error) => {
                let path = dictionary::PATH;
                self.standstills.failed(Part::Dictionary, format!("the dictionary was not written: {error}"));
                tracing::warn!(%error, path, "the dictionary was not written; the next start takes longer");
            }
        }
    }

    fn due(&self, all: bool) -> Option<Due> {
        let places = self.shared.places.read();
        let first = next(places.sealed_until());
        let mut due = Due { files: Vec::new(), end: first };
        for (file, end) in places.ended() {
            due.files.push(file);
            due.end = end;
            if end.get() - first.get() >= self.options.segment_events {
                return Some(due);
            }
        }
        (all && due.end > first).then_some(due)
    }

    fn seal(&mut self, due: &Due) -> Result<(), SealError> {
        let started = Instant::now();
        let manifest = self.shared.places.read().manifest.clone();
        let first = next(manifest.last());
        let shared = self.shared.clone();
        let disk = shared.disk.as_ref();
        // Held before a name changes in it: a folder that cannot be opened is no sync that failed.
        let folder = disk.folder(segment::DIR).map_err(failed("open", segment::DIR))?;
        let (encoded, members) = self.encode(first, due)?;
        let (path, members_path) = (segment::path(first), segment::members_path(first));
        write_aside(disk, &path, &encoded.bytes, SyncSite::Segment)?;
        write_aside(disk, &members_path, &members, SyncSite::SegmentMembers)?;
        for path in [&path, &members_path] {
            disk.rename(&format!("{path}{NEW_SUFFIX}"), path).map_err(failed("rename", path))?;
        }
        let synced = folder.sync(SyncSite::SegmentName).map_err(StepError::Unsettled);
        self.settled(synced, ("sync", segment::DIR))?;
        let wal_from = due.files.last().map_or(manifest.wal_from, |last| last.number + 1);
        let manifest = manifest.with(Entry::new(first, &encoded, Piece::of(&members)), wal_from);
        manifest.prepare(disk).map_err(failed("write", crate::manifest::PATH))?;
        self.settled(Manifest::publish(disk, folder.as_ref()), ("replace", crate::manifest::PATH))?;
        let events = encoded.rows;
        self.shared.places.write().seal(manifest);
        // Readers that have one open read on; what stays after an error or a crash is removed when the log is opened.
        for file in &due.files {
            let path = wal::path(file.number);
            disk.remove(&path).map_err(failed("remove", &path))?;
        }
        tracing::info!(
            path,
            events,
            bytes = encoded.bytes.len(),
            seconds = started.elapsed().as_secs_f64(),
            "sealed"
        );
        Ok(())
    }

    /// Stops sealing where a step left it open which names are durable: a second try could succeed without
    /// making them so.
    fn settled(
        &mut self,
        step: Result<(), StepError>,
        (action, file): (&'static str, &str),
    ) -> Result<(), SealError> {
        step.map_err(|error| {
            self.stopped |= matches!(error, StepError::Unsettled(_));
            failed(action, file)(error.into_io())
        })
    }

    /// The segment of these files, and the file of the members they define.
    fn encode(&self, first: Position, due: &Due) -> Result<(Encoded, Vec<u8>), SealError> {
        let rows = due.end.get() - first.get();
        let mut encoding = Encoding {
            shared: &self.shared,
            events: SegmentWriter::new(first, rows).map_err(SealError::Encode)?,
            members: MembersFile::new(first, self.shared.log_id),
            position: first,
        };
        for file in &due.files {
            encoding.file(&wal::path(file.number))?;
        }
        let Encoding { events, members, position, .. } = encoding;
        let encoded = events.finish().map_err(SealError::Encode)?;
        if let (Some(encoded), true) = (encoded, position == due.end) {
            let recorded_at = encoded.recorded.bounds().1;
            return Ok((encoded, members.finish(recorded_at)));
        }
        Err(SealError::Corrupt(Corruption {
            file: due.files.last().map(|file| wal::path(file.number)).unwrap_or_default(),
            offset: 0,
            expected: format!("events up to position {}", due.end.get() - 1),
            found: format!("up to {}", position.get() - 1),
        }))
    }
}

/// A segment that is being made.
struct Encoding<'a> {
    shared: &'a Shared,
    events: SegmentWriter,
    members: MembersFile,
    /// The position of the next event.
    position: Position,
}

impl Encoding<'_> {
    /// Adds what is in a WAL file that was ended.
    fn file(&mut self, path: &str) -> Result<(), SealError> {
        let open = self.shared.disk.open(path, Access::Read).map_err(failed("open", path))?;
        let bytes = read_all(open.as_ref()).map_err(failed("read", path))?;
        let mut at = FILE_HEADER_LEN;
        loop {
            let damaged = || {
                let (expected, found) = ("a frame as it was written".to_owned(), "something else".to_owned());
                SealError::Corrupt(Corruption { file: path.to_owned(), offset: at as u64, expected, found })
            };
            let rest = bytes.get(at..).unwrap_or_default();
            let (frame, payload) = FrameHeader::decode_frame(rest, self.shared.log_id)
                .filter(|(frame, _)| frame.first_position == self.position)
                .ok_or_else(damaged)?;
            if frame.kind == FrameKind::End {
                return Ok(());
            }
            self.frame(&frame, payload)?.ok_or_else(damaged)?;
            at += frame.frame_len();
        }
    }

    /// Adds what is in a frame. `None`: it is not what the writer writes.
    fn frame(&mut self, frame: &FrameHeader, payload: &[u8]) -> Result<Option<()>, SealError> {
        /// Events whose members are looked up under one hold of the dictionary's lock: the writer may wait for it, and
        /// readers wait for the writer. So nothing is encoded meanwhile.
        const LOCKED_EVENTS: usize = 256;
        let mut stored: Vec<StoredEvent<'_>> = Vec::with_capacity(frame.events as usize);
        let read = Payload::new(payload).and_then(|payload| {
            payload.for_each_member(|new| {
                self.members.push(new);
                Some(())
            })?;
            payload.for_each_event(|event| {
                stored.push(event);
                Some(())
            })
        });
        if read != Some(frame.events) {
            return Ok(None);
        }
        let mut rest = &stored[..];
        while !rest.is_empty() {
            if self.events.room() == 0 {
                self.events.end_row_group().map_err(SealError::Encode)?;
            }
            let (turn, later) = rest.split_at(rest.len().min(LOCKED_EVENTS).min(self.events.room()));
            {
                let known = self.shared.members.read();
                for event in turn {
                    self.events.push(event, frame.recorded_at, &known);
                }
            }
            yield_now();
            rest = later;
        }
        self.position = frame.behind();
        Ok(Some(()))
    }
}

/// Writes a file under another name, durably.
fn write_aside(disk: &dyn Disk, path: &str, bytes: &[u8], site: SyncSite) -> Result<(), SealError> {
    /// Written at once: the page cache is filled step by step, beside the log's own writes.
    const PIECE: usize = 1024 * 1024;
    let new_path = format!("{path}{NEW_SUFFIX}");
    let written = create_anew(disk, &new_path).and_then(|file| {
        for (number, piece) in bytes.chunks(PIECE).enumerate() {
            file.write_all_at(piece, (number * PIECE) as u64)?;
            yield_now();
        }
        file.sync_all(site)
    });
    written.map_err(|error| {
        // Gives back what was taken; what stays is removed when the log is opened.
        let _ = disk.remove(&new_path);
        failed("write", &new_path)(error)
    })
}

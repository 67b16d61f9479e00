//! Sealing: the WAL files that are ended become one immutable segment, beside appends, which never wait for it. Nothing
//! is dropped before the manifest that names the segment is durable, and the segment was read back. FORMAT.md "Sealing".
//!
//! `encode` makes the bytes, `read_back` compares what the disk gives back, `index` makes and merges the runs of ids.

mod encode;
mod error;
mod index;
mod read_back;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use lastseen_store::{Clock, Part, Standstills, error_chain};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

use self::encode::Expected;
pub use self::error::SealError;
use self::error::failed;
use crate::LogOptions;
use crate::clock_watch::ClockWatch;
use crate::common::Common;
use crate::dictionary;
use crate::disk::aside::{Aside, write_in_steps};
use crate::disk::{Access, Disk, DiskState, StepError, SyncSite};
use crate::history::History;
use crate::history::places::FilePlace;
use crate::identity::Digest;
use crate::ids::run::{Run, RunEntry};
use crate::manifest::{Manifest, PATH};
use crate::origin::StampSum;
use crate::place::{Place, following};
use crate::segment;
use crate::segment::entry::{Beside, Entry, Piece};
use crate::segment::index::IndexContent;
use crate::wal;
use crate::wal::frame::{FILE_HEADER_LEN, FRAME_HEADER_LEN, FileHeader, FrameHeader};
use crate::writer::message::Message;

/// The way to the writer; `None` once the log is closed.
pub(crate) type Requests = Arc<RwLock<Option<mpsc::Sender<Message>>>>;

/// The one who seals.
pub(crate) struct Sealer {
    history: Arc<History>,
    standstills: Arc<Standstills>,
    options: LogOptions,
    clock: Arc<dyn Clock>,
    /// The last place that is in a segment.
    sealed: watch::Sender<Place>,
    /// The first place that is not sealed, and when it was first seen, by a clock that cannot jump.
    oldest: Option<(Place, Duration)>,
    watch: Arc<ClockWatch>,
    /// Set by a failure after which another try could drop what is not durable elsewhere.
    stopped: bool,
}

/// The files that are sealed next.
struct Due {
    files: Vec<FilePlace>,
    /// The place after their last record.
    end: Place,
}

impl Sealer {
    pub(crate) fn new(common: Common, clock: Arc<dyn Clock>, sealed: watch::Sender<Place>) -> Self {
        let Common { history, standstills, watch, options } = common;
        Self { history, standstills, options, clock, sealed, oldest: None, watch, stopped: false }
    }

    /// Seals nothing more.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

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
            sealer.look_around();
            if !sealer.stopped {
                sealer.turn(requests);
            }
        }
    }

    /// Looks at what nobody tells the log of: its clock, its directory, the space on its disk.
    fn look_around(&self) {
        self.watch.look(&self.standstills);
        let standing = match self.history.disk.state() {
            Ok(state) if !state.is_in_place => {
                Some("the directory of the log was moved or removed: a restart would not find it".to_owned())
            }
            Ok(DiskState { free: Some(free), .. }) if free < self.options.wal_file_bytes => {
                Some(format!("{free} bytes are left on the disk"))
            }
            Ok(_) => None,
            Err(error) => Some(format!("the directory of the log cannot be looked at: {error}")),
        };
        match standing {
            Some(cause) => self.standstills.failed(Part::Disk, cause),
            None => self.standstills.works(Part::Disk),
        }
    }

    /// Seals and indexes all that is due.
    fn turn(&mut self, requests: &Requests) {
        let aged = match self.aged() {
            Ok(aged) => aged,
            Err(error) => {
                self.failed(&error);
                return self.report(&error);
            }
        };
        if aged && let Some(writer) = requests.read().as_ref() {
            let (reply, _) = oneshot::channel();
            // A queue that is full has appends that end the file sooner or later.
            let _ = writer.try_send(Message::EndFile(reply));
        }
        loop {
            match self.seal_next(aged) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return self.report(&error),
            }
            // What is left to be indexed waits for the next start, if the log is being closed.
            let is_closing = requests.read().is_none();
            match self.index_next() {
                Ok(true) if !is_closing => {}
                Ok(_) => return,
                Err(error) => {
                    let error = error_chain(&error);
                    return tracing::warn!(
                        error,
                        "the ids of sealed events were not indexed; this is tried again"
                    );
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

    /// True if the oldest record that is not sealed is older than it may be: by the clock that recorded it, or by one that
    /// cannot jump since this log has had it.
    fn aged(&mut self) -> Result<bool, SealError> {
        let Some(place) = self.history.places.read().unsealed(self.history.last_place()) else {
            self.oldest = None;
            return Ok(false);
        };
        let (age, uptime) = (self.options.segment_age, self.clock.uptime());
        let oldest = self.oldest.filter(|(first, _)| *first == place.first_place);
        let (_, seen_at) = *self.oldest.insert(oldest.unwrap_or((place.first_place, uptime)));
        if uptime.saturating_sub(seen_at) >= age {
            return Ok(true);
        }
        if self.history.is_replica {
            // Its records were recorded elsewhere, perhaps long ago.
            return Ok(false);
        }
        let path = wal::path(place.number);
        let file = self.history.disk.open(&path, Access::Read).map_err(failed("open", &path))?;
        let mut start = [0; FILE_HEADER_LEN + FRAME_HEADER_LEN];
        file.read_at(&mut start, 0).map_err(failed("read", &path))?;
        let header = FileHeader::decode(&start).ok();
        let frame = header.and_then(|file| FrameHeader::decode(&start[FILE_HEADER_LEN..], file.log_id));
        let recorded_at = frame.map(|(frame, _)| frame.recorded_at);
        Ok(recorded_at.is_some_and(|at| at.saturating_add(age) <= self.clock.now()))
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
        let (started, history) = (Instant::now(), &self.history);
        let manifest = history.places.read().manifest.clone();
        let on = (history.disk.as_ref(), manifest.as_ref());
        match dictionary::write_due(&history.dictionary, &history.members, on) {
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
        let places = self.history.places.read();
        let first = following(places.sealed_until());
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
        let history = self.history.clone();
        let disk = history.disk.as_ref();
        let manifest = history.places.read().manifest.clone();
        let first = following(manifest.last());
        // Held before a name changes in it: a folder that cannot be opened is no sync that failed.
        let folder = disk.folder(segment::DIR).map_err(failed("open", segment::DIR))?;
        let encode::Segment { encoded, members, expected, stamps, digests } =
            encode::encode(&history, first, due)?;
        let (path, positions) = (segment::path(first), [first.get(), first.get() + encoded.rows - 1]);
        write_aside(disk, &path, &encoded.bytes, SyncSite::Segment)?;
        write_aside(disk, &segment::members_path(first), &members, SyncSite::SegmentMembers)?;
        let described = IndexContent {
            log_id: history.lineage().log_id(),
            positions,
            content: encoded.content,
            pieces: &encoded.pieces,
            batches: &encoded.batches,
            holders: &encoded.holders,
        };
        let index = index::write_index(disk, &described)?;
        let synced = folder.sync(SyncSite::SegmentName).map_err(StepError::Unsettled);
        self.settled(synced, ("sync", segment::DIR))?;
        let beside = Beside {
            index,
            bytes: encoded.bytes.len() as u64,
            batches: u32::try_from(encoded.batches.len()).unwrap_or(u32::MAX),
            content: encoded.content,
        };
        let entry = Entry {
            positions,
            shown: manifest.is_replica.then_some(encoded.shown),
            occurred: encoded.occurred,
            recorded: encoded.recorded,
            days: encoded.days,
            members: Piece::of(&members),
            pieces: Vec::new(),
            batches: Vec::new(),
            beside: Some(beside),
        };
        let (events, bytes, pieces) = (encoded.rows, encoded.bytes.len(), encoded.pieces);
        drop(encoded.bytes);
        let run = RunEntry { positions, occurred: entry.occurred, mark: index::draw_mark() };
        let entry = Arc::new(entry);
        let (run, read_back) = check(&history, (&entry, &pieces), (run, digests), (&expected, stamps))?;
        let wal_from = due.files.last().map_or(manifest.wal_from, |last| last.number + 1);
        let mut runs: Vec<_> = history.ids.sealed().runs.iter().cloned().collect();
        runs.push(run);
        let more = |manifest: &Manifest| manifest.with(entry.clone(), index::entries(&runs), wal_from);
        let publish_ids = |manifest: &Manifest| index::publish_ids(&history, manifest, runs.clone());
        let changed = history.change_manifest(folder.as_ref(), more, publish_ids);
        self.settled(changed, ("replace", PATH))?;
        self.sealed.send_replace(Place::new(positions[1]));
        // Readers that have one open read on; what stays after an error or a crash is removed when the log is opened.
        for file in &due.files {
            let path = wal::path(file.number);
            disk.remove(&path).map_err(failed("remove", &path))?;
        }
        let (seconds, read_back) = (started.elapsed().as_secs_f64(), read_back.as_secs_f64());
        tracing::info!(path, events, bytes, seconds, read_back, "sealed");
        Ok(())
    }

    /// Indexes a segment that is not, or merges the runs that are due. Returns whether there was something to do.
    ///
    /// # Errors
    /// [`SealError`]; it can be tried again, unless sealing is stopped.
    pub(crate) fn index_next(&mut self) -> Result<bool, SealError> {
        if self.stopped {
            return Err(SealError::Stopped);
        }
        let indexed = self.index();
        match &indexed {
            Ok(_) => self.standstills.works(Part::Ids),
            Err(error) => {
                let cause = format!("the ids of sealed events were not indexed: {}", error_chain(error));
                self.standstills.failed(Part::Ids, cause);
            }
        }
        indexed
    }

    fn index(&mut self) -> Result<bool, SealError> {
        let next = match index::index_next(&self.history)? {
            Some(next) => Some(next),
            None => index::merge_next(&self.history, self.options.segment_events)?,
        };
        match next {
            None => Ok(false),
            Some(next) => {
                let published = index::publish(&self.history, next);
                self.settled(published, ("replace", PATH)).map(|()| true)
            }
        }
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
}

/// Reads the segment back, and makes the run of its ids meanwhile. Returns also the time that reading back took.
fn check(
    history: &History,
    (entry, pieces): (&Arc<Entry>, &[Piece]),
    (run, digests): (RunEntry, Option<Vec<Digest>>),
    (expected, stamps): (&[Expected], StampSum),
) -> Result<(Arc<Run>, Duration), SealError> {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let making = std::thread::Builder::new()
            .name("log-ids".to_owned())
            .spawn_scoped(scope, move || {
                let digests = digests.unwrap_or_else(|| expected.iter().map(Expected::digest).collect());
                index::write_run(history, run, &digests)
            })
            .map_err(failed("start", "a thread for ids"))?;
        let (disk, key) = (history.disk.as_ref(), &history.ids.key);
        let compared = read_back::compare(disk, (entry, pieces), key, (expected, stamps));
        let read_back = started.elapsed();
        let run = making.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        compared.map(|()| (run, read_back))
    })
}

/// Writes a file durably and gives it its name. The name is durable after a sync of the folder.
fn write_aside(disk: &dyn Disk, path: &str, bytes: &[u8], site: SyncSite) -> Result<(), SealError> {
    let aside = Aside::make(disk, path, site, |file| write_in_steps(file, bytes));
    let aside = aside.map_err(|error| failed("write", path)(error.into_io()))?;
    aside.put().map(drop).map_err(failed("rename", path))
}

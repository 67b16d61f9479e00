//! The writer thread: takes waiting requests as one group, decides what is new, writes one frame, syncs once.
//! The only place that changes the log. It never answers before the sync, and after a failed one never again.
//!
//! A step that fails before the first byte of the group's frame refuses the group, and the next group tries
//! it again: opening the folder, making, reserving, naming the next file, writing the end frame of a full
//! one, writing zeros ahead. Not refused are failed syncs; the cut of a file that was ended, whose length is
//! not known then; a frame that was begun, unless space ran out. Taking the time and looking up ids cannot
//! fail here.

mod group;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lastseen_event::limits::REQUEST_EVENTS_MAX;
use std::time::{Duration, Instant};

use lastseen_event::{BatchName, Event, EventBatch, Fact, MemberRef, Position, UtcInstant};
use lastseen_store::{
    AppendError, Appended, Batches, Clock, OnRefused, ReadError, RetractOutcome, StoreFault,
};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};

use self::group::Group;
use crate::LogOptions;
use crate::batches::Numbering;
use crate::dictionary::Due;
use crate::disk::{Disk, StepError, is_no_space};
use crate::health::{Part, Standstills};
use crate::manifest::{BadManifest, Manifest};
use crate::members::Members;
use crate::places::{FilePlace, Places};
use crate::recent::RecentIds;
use crate::segment::file::damaged;
use crate::thread::yield_now;
use crate::wal::file::WalFile;
use crate::wal::frame::{FRAME_HEADER_LEN, FileHeader, FrameHeader, FrameKind, LogId, PAYLOAD_LEN_MAX};
use crate::wal::payload::{EVENT_LEN_MAX, NEW_MEMBER_LEN_MAX, NewMember, PayloadBuffer, StoredEvent};

/// An append on its way to the writer.
pub(crate) struct Request {
    pub(crate) batch: EventBatch,
    /// The members that were known when it set out, one a row.
    pub(crate) members: Vec<Option<MemberRef>>,
    pub(crate) on_refused: OnRefused,
    /// The rows that are kept already, as far as the segments tell: of the positions below `looked_up_until`.
    pub(crate) known: Vec<bool>,
    pub(crate) looked_up_until: Position,
    pub(crate) reply: Reply,
}

/// A request to the writer.
pub(crate) enum Message {
    Append(Request),
    /// Takes a batch back.
    Retract(Retract),
    /// Ends the file that is being written, so that it can be sealed.
    EndFile(oneshot::Sender<Result<(), EndError>>),
}

/// A batch that is to be retracted.
pub(crate) struct Retract {
    pub(crate) batch: Box<str>,
    /// Only if it has exactly so many events.
    pub(crate) events: Option<u64>,
    pub(crate) reply: oneshot::Sender<Result<RetractOutcome, AppendError>>,
}

type Reply = oneshot::Sender<Answer>;

/// Why the file that is being written was not ended.
#[derive(Debug)]
pub(crate) enum EndError {
    /// It goes on as it is.
    Refused(StoreFault),
    /// The writer takes no more events.
    Closed,
}

/// The outcome of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Done(Result<Appended, AppendError>),
    /// Nothing: ids left the recent window since it looked for its events in segments. It looks again.
    LookAgain(EventBatch),
}

/// A durable group, handed to whoever follows the log. Its appends wait until [`Commit::acknowledge`]; dropped
/// without it, they learn that their outcome is unknown.
#[derive(Debug)]
pub struct Commit {
    /// The new events of the group in order; empty where all were duplicates.
    pub facts: Vec<Fact>,
    /// True if the group is the retraction of a batch, and nothing else.
    pub retracted: bool,
    /// The last position that is durable.
    pub position: Position,
    /// The time that its sync took; zero where nothing was new.
    pub synced: Duration,
    answers: Vec<(Reply, Appended)>,
}

impl Commit {
    /// Tells the waiting appends that they succeeded.
    pub fn acknowledge(self) {
        for (reply, appended) in self.answers {
            // A caller that went away needs no answer.
            let _ = reply.send(Answer::Done(Ok(appended)));
        }
    }
}

/// The state that the readers of a log share with its writer.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) log_id: LogId,
    pub(crate) members: RwLock<Members>,
    /// The batches up to the tail at least.
    pub(crate) batches: RwLock<Batches>,
    pub(crate) places: RwLock<Places>,
    pub(crate) dictionary: Due,
    /// Events below this position are looked up in segments: they may not be in the recent window.
    pub(crate) recent_from: AtomicU64,
    /// True if another process may seal the files that are read here.
    pub(crate) is_foreign: bool,
}

impl Shared {
    /// True if the event at a durable position is in a segment.
    pub(crate) fn is_sealed(&self, position: Position) -> Result<bool, ReadError> {
        if self.places.read().sealed_until() >= position {
            return Ok(true);
        }
        if !self.is_foreign {
            return Ok(false);
        }
        match Manifest::read(self.disk.as_ref()) {
            Ok(Some(manifest)) => {
                let sealed = manifest.last() >= position;
                self.places.write().seal(manifest);
                Ok(sealed)
            }
            Ok(None) => Ok(false),
            Err(BadManifest::Corrupt(corruption)) => Err(ReadError::Corrupt(corruption)),
            // It was of this version when the log was opened.
            Err(BadManifest::Version(found)) => {
                Err(damaged(crate::manifest::PATH, 0, "the version it had", &found.to_string()))
            }
            Err(BadManifest::Io(error)) => {
                Err(ReadError::Io { file: crate::manifest::PATH.to_owned(), source: error.into() })
            }
        }
    }
}

/// Everything the writer thread owns.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) standstills: Arc<Standstills>,
    pub(crate) options: LogOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recent: RecentIds,
    pub(crate) tail: watch::Sender<Position>,
    pub(crate) last_recorded_at: UtcInstant,
    pub(crate) on_commit: Box<dyn FnMut(Commit) + Send>,
    /// Told when a file was ended and the next one begins.
    pub(crate) on_file_end: Box<dyn FnMut() + Send>,
    /// Made by the first append after opening, so that opening writes nothing.
    pub(crate) file: Option<WalFile>,
    /// Members that no durable frame defines yet.
    pub(crate) undefined: Vec<MemberRef>,
    pub(crate) payload: PayloadBuffer,
    /// The batches of the group that is being written.
    pub(crate) numbering: Numbering,
    /// Set by a failed write or sync: what is on disk is not known any more.
    pub(crate) failed: bool,
    /// The time that the last sync of a frame took.
    pub(crate) synced: Duration,
}

/// Why a group was not written.
enum WriteError {
    /// Nothing of it counts; the next group may succeed.
    Refused(StoreFault),
    /// Nothing of it was begun, and nothing more is written: what came before it cannot be made durable.
    Closed(StoreFault),
    /// It may or may not be durable.
    Unknown(StoreFault),
}

impl WriteError {
    /// A step before the first byte of the frame failed.
    fn before(error: io::Error) -> Self {
        Self::Refused(error.into())
    }

    /// Ending the file before it failed.
    fn of_cut(error: io::Error) -> Self {
        Self::Closed(error.into())
    }

    /// Writing the frame failed. Only for lack of space is it certain that it did not reach its end.
    fn of_frame(error: io::Error) -> Self {
        if is_no_space(error.kind()) { Self::Refused(error.into()) } else { Self::Unknown(error.into()) }
    }

    /// Syncing the frame failed, for whatever reason.
    fn of_sync(error: io::Error) -> Self {
        Self::Unknown(error.into())
    }
}

impl From<StepError> for WriteError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Refused(error) => Self::Refused(error.into()),
            StepError::Unsettled(error) => Self::Closed(error.into()),
        }
    }
}

/// Most events of a group, those of its last request apart.
const GROUP_EVENTS_MAX: usize = 16_384;

/// Events of a group that are encoded before others get a turn on this core: less than half a millisecond.
const STEP_EVENTS: usize = 512;

/// Most members that wait to be defined by the frame of the next group: those of refused groups.
const UNDEFINED_MAX: usize = 10_000;

/// The largest group fits into one frame, with all the members that wait.
const _: () = assert!(
    (GROUP_EVENTS_MAX + REQUEST_EVENTS_MAX) * (EVENT_LEN_MAX + NEW_MEMBER_LEN_MAX)
        + UNDEFINED_MAX * NEW_MEMBER_LEN_MAX
        <= PAYLOAD_LEN_MAX
);

impl Writer {
    /// Serves requests until all senders are gone, then ends the file.
    pub(crate) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let _watch = self.standstills.watch(Part::Writer);
        while let Some(first) = messages.blocking_recv() {
            let (mut group, mut events, mut retractions, mut ends) = (Vec::new(), 0, Vec::new(), Vec::new());
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Append(request) => {
                        events += request.batch.len();
                        group.push(request);
                    }
                    Message::Retract(retract) => retractions.push(retract),
                    Message::EndFile(reply) => ends.push(reply),
                }
                let full = events >= self.options.group_events.min(GROUP_EVENTS_MAX);
                next = if full { None } else { messages.try_recv().ok() };
            }
            if self.failed {
                for request in group {
                    let _ = request.reply.send(Answer::Done(Err(AppendError::Closed)));
                }
            } else if !group.is_empty() {
                self.serve(group);
            }
            for Retract { batch, events, reply } in retractions {
                let _ = reply.send(self.retract(&batch, events));
            }
            for reply in ends {
                let _ = reply.send(self.end_file());
            }
        }
        // It was said in the log why, and the next start mends it.
        let _ = self.end_file();
    }

    /// Ends the file that is being written, in order. Where the end frame cannot be written, it goes on as it
    /// is.
    fn end_file(&mut self) -> Result<(), EndError> {
        if self.failed {
            return Err(EndError::Closed);
        }
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let next_position = next(self.last_position());
        if let Err(error) = file.write_end(next_position, self.last_recorded_at) {
            self.standstills.failed(Part::Writer, format!("a file of the log was not ended: {error}"));
            tracing::warn!(%error, "a file of the log was not ended");
            self.file = Some(file);
            return Err(EndError::Refused(error.into()));
        }
        if let Err(error) = file.cut() {
            self.close(&error.into());
            return Err(EndError::Closed);
        }
        self.shared.places.write().end_last(next_position);
        self.standstills.works(Part::Writer);
        Ok(())
    }

    /// Takes no more events: what is on disk is not known any more.
    fn close(&mut self, fault: &StoreFault) {
        self.failed = true;
        self.standstills.stopped(Part::Writer, format!("the log could not be made durable: {fault}"));
        tracing::error!(error = %fault, "the log could not be made durable; it takes no more events until restart");
    }

    fn last_position(&self) -> Position {
        *self.tail.borrow()
    }

    /// Writes one group and hands it on.
    fn serve(&mut self, requests: Vec<Request>) {
        let recorded_at = self.clock.now().max(self.last_recorded_at);
        let mut group = Group::check(requests, &mut self.recent, &self.shared.batches.read());
        if group.new_events() > 0
            && self.undefined.len() > UNDEFINED_MAX
            && let Err(error) = self.define(recorded_at)
        {
            return self.refuse(group, error);
        }
        let facts = self.encode(&group, recorded_at);
        if let Some(last) = facts.last() {
            if let Err(error) = self.write(recorded_at) {
                return self.refuse(group, error);
            }
            self.committed(last.position);
        }
        let position = self.last_position();
        let answers = group.answers(position);
        let synced = if facts.is_empty() { Duration::ZERO } else { self.synced };
        (self.on_commit)(Commit { facts, retracted: false, position, synced, answers });
    }

    /// Shows readers everything up to a position: it is durable.
    fn committed(&mut self, last: Position) {
        self.commit_recent();
        self.numbering.tally.add_to(&mut self.shared.batches.write());
        self.tail.send_replace(last);
        self.shared.dictionary.mark(&self.shared.members.read(), next(last));
    }

    /// Records that a batch is taken back, in a frame of its own.
    fn retract(&mut self, name: &str, events: Option<u64>) -> Result<RetractOutcome, AppendError> {
        if self.failed {
            return Err(AppendError::Closed);
        }
        {
            let batches = self.shared.batches.read();
            let Some(batch) = batches.find(name).and_then(|batch| batches.get(batch)) else {
                return Ok(RetractOutcome::Unknown);
            };
            let found = batch.events.total();
            // Nobody but this thread adds events, so the number holds when the record is written.
            if events.is_some_and(|events| events != found) {
                return Ok(RetractOutcome::CountChanged { events: found });
            }
            if let Some(position) = batch.retracted {
                return Ok(RetractOutcome::Retracted(position));
            }
        }
        let Ok(name) = BatchName::new(name) else { return Ok(RetractOutcome::Unknown) };
        let recorded_at = self.clock.now().max(self.last_recorded_at);
        let event = StoredEvent::retraction(name, recorded_at);
        let position = next(self.last_position());
        self.payload.clear();
        self.payload.push(&event);
        self.numbering.clear();
        self.numbering.tally.count(name, event.event_type, position);
        self.recent.stage(self.recent.within("", event.id), event.fingerprint);
        if let Err(error) = self.write(recorded_at) {
            self.recent.unstage(1);
            return Err(self.refusal(error));
        }
        self.committed(position);
        let (synced, answers) = (self.synced, Vec::new());
        (self.on_commit)(Commit { facts: Vec::new(), retracted: true, position, synced, answers });
        Ok(RetractOutcome::Retracted(position))
    }

    /// Lets ids leave the window. Requests look in segments for what is below `recent_from` and then come here, so ids leave
    /// only below what it was a while ago.
    fn commit_recent(&mut self) {
        let published = self.shared.recent_from.load(Ordering::Relaxed);
        self.recent.commit(Position::new(published));
        let from = self.recent.from(self.shared.places.read().sealed_until()).get();
        if from > published + self.recent.step() / 2 {
            self.shared.recent_from.store(from, Ordering::Release);
        }
    }

    /// Resolves the members of the group's new events and puts them into the payload.
    fn encode(&mut self, group: &Group, recorded_at: UtcInstant) -> Vec<Fact> {
        let mut facts = Vec::with_capacity(group.new_events());
        self.payload.clear();
        self.numbering.clear();
        let mut position = self.last_position();
        let shared = self.shared.clone();
        let batches = shared.batches.read();
        for (number, (batch, row, known)) in group.new_rows().enumerate() {
            if number > 0 && number.is_multiple_of(STEP_EVENTS) {
                yield_now();
            }
            let event = batch.get(row);
            let member = known.unwrap_or_else(|| self.resolve_new(&event));
            self.payload.push(&StoredEvent::of(&event, batch.identity(row).1, member.member));
            position = next(position);
            let batch =
                event.batch.map(|name| self.numbering.count(&batches, (name, event.event_type), position));
            facts.push(Fact {
                position,
                id: event.id,
                occurred_at: event.occurred_at,
                recorded_at,
                member,
                event_type: event.event_type,
                created_confirmed: event.confirmed == Some(true),
                counts: event.counts,
                batch,
            });
        }
        facts
    }

    /// Adds the event's member to the dictionary, unless an event before it did.
    fn resolve_new(&mut self, event: &Event<'_>) -> MemberRef {
        let (member, is_new) = self.shared.members.write().resolve(event.tenant_id, event.user_id);
        if is_new {
            self.undefined.push(member);
        }
        member
    }

    /// Writes a frame without events that defines the members of refused groups. So what waits stays bounded however long
    /// a disk is full: no further members are resolved before these are written.
    fn define(&mut self, recorded_at: UtcInstant) -> Result<(), WriteError> {
        self.payload.clear();
        self.write(recorded_at)
    }

    /// Writes the payload and the members that wait as one frame and syncs it.
    fn write(&mut self, recorded_at: UtcInstant) -> Result<(), WriteError> {
        let first_position = next(self.last_position());
        let events = self.payload.events();
        let shared = self.shared.clone();
        let members = shared.members.read();
        let frame = self.payload.finish(self.undefined.iter().map(|new| NewMember {
            member: new.member,
            tenant_id: members.tenant_id(new.tenant),
            user_id: members.user_id(new.person),
        }));
        drop(members);
        let payload_len = frame.len() - FRAME_HEADER_LEN;
        let header =
            FrameHeader { kind: FrameKind::Events, payload_len, first_position, events, recorded_at };
        header.seal(shared.log_id, frame);
        let frame_len = frame.len();
        self.make_room(frame_len)?;
        let (Some(file), frame) = (&mut self.file, self.payload.frame()) else {
            unreachable!("make_room leaves a file");
        };
        file.write_ahead(frame_len).map_err(WriteError::before)?;
        file.write(frame).map_err(WriteError::of_frame)?;
        let syncing = Instant::now();
        file.sync(frame_len).map_err(WriteError::of_sync)?;
        self.synced = syncing.elapsed();
        self.standstills.works(Part::Writer);
        self.last_recorded_at = recorded_at;
        self.undefined.clear();
        Ok(())
    }

    /// Leaves `self.file` with room for a frame: ends a file that is full, makes the next one.
    fn make_room(&mut self, frame_len: usize) -> Result<(), WriteError> {
        if let Some(file) = &mut self.file {
            let next_position = next(*self.tail.borrow());
            let events = next_position.get() - file.first_position().get();
            if file.fits(frame_len) && events < self.options.segment_events {
                return Ok(());
            }
            file.write_end(next_position, self.last_recorded_at).map_err(WriteError::before)?;
        }
        if let Some(full) = self.file.take() {
            full.cut().map_err(WriteError::of_cut)?;
            self.shared.places.write().end_last(next(self.last_position()));
            (self.on_file_end)();
        }
        let number = self.shared.places.read().next_number();
        let header = FileHeader {
            number,
            first_position: next(self.last_position()),
            log_id: self.shared.log_id,
            capacity: self.options.wal_file_bytes.max(WalFile::capacity_for(frame_len)),
        };
        self.file = Some(WalFile::create(self.shared.disk.as_ref(), header)?);
        let first_position = header.first_position;
        self.shared.places.write().files.push(FilePlace { number, first_position, ended_at: None });
        Ok(())
    }

    fn refuse(&mut self, group: Group, error: WriteError) {
        self.recent.unstage(group.new_events());
        group.refuse(&self.refusal(error));
    }

    fn refusal(&mut self, error: WriteError) -> AppendError {
        match error {
            WriteError::Refused(fault) => {
                self.standstills.failed(Part::Writer, format!("appends are refused: {fault}"));
                tracing::debug!(error = %fault, "append refused");
                if is_no_space(fault.kind()) {
                    AppendError::NoSpace(fault)
                } else {
                    AppendError::Unavailable(fault)
                }
            }
            WriteError::Closed(fault) => {
                self.close(&fault);
                AppendError::Closed
            }
            WriteError::Unknown(fault) => {
                self.close(&fault);
                AppendError::Indeterminate(fault)
            }
        }
    }
}

/// Positions of the embedded log are dense, from 1.
pub(crate) fn next(position: Position) -> Position {
    Position::new(position.get() + 1)
}

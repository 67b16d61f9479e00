//! The writer thread: takes waiting requests as one group, decides what is new, writes one frame, syncs once.
//! The only place that changes the log. It never answers before the sync, and after a failed one never again.
//!
//! A step that fails before the first byte of the group's frame refuses the group, and the next group tries
//! it again: opening the folder, making, reserving, naming the next file, writing the end frame of a full
//! one, writing zeros ahead. Not refused are failed syncs; the cut of a file that was ended, whose length is
//! not known then; a frame that was begun, unless space ran out. Taking the time and looking up ids cannot
//! fail here.

mod group;
pub(crate) mod message;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lastseen_event::limits::REQUEST_EVENTS_MAX;
use lastseen_event::{BatchName, MemberRef, Position, UtcInstant};
use lastseen_store::{AppendError, Limit, MemberDictionary, Part, RetractOutcome, Standstills, StoreFault};
use tokio::sync::{mpsc, watch};

use self::group::{Against, Group};
use self::message::{Answer, EndError, Message, Request, Retract, WrittenGroup};
use crate::LogOptions;
use crate::batches::Tally;
use crate::clock_watch::ClockWatch;
use crate::common::Common;
use crate::disk::{StepError, is_no_space};
use crate::format::Version;
use crate::history::History;
use crate::history::places::FilePlace;
use crate::ids::recent::RecentIds;
use crate::manifest::Manifest;
use crate::origin::Stamp;
use crate::place::{LastRecord, Place, following};
use crate::record::{Record, StoredEvent, StoredRetraction};
use crate::segment;
use crate::thread::yield_now;
use crate::wal::file::WalFile;
use crate::wal::frame::{FRAME_HEADER_LEN, FileHeader, FrameHeader, FrameKind, PAYLOAD_LEN_MAX};
use crate::wal::index::{FrameIndex, Mark};
use crate::wal::payload::{EVENT_LEN_MAX, NEW_MEMBER_LEN_MAX, NewMember, PayloadBuffer, STAMP_LEN};

/// Everything the writer thread owns.
pub(crate) struct Writer {
    history: Arc<History>,
    standstills: Arc<Standstills>,
    options: LogOptions,
    watch: Arc<ClockWatch>,
    recent: RecentIds,
    /// The position that the last record shows, or one above that the log stands on.
    shown: watch::Sender<Position>,
    last_recorded_at: UtcInstant,
    /// Told of each group of events that became durable.
    on_group: Box<dyn FnMut(WrittenGroup) + Send>,
    /// Told when a file was ended and the next one begins.
    on_file_end: Box<dyn FnMut() + Send>,
    /// Made by the first append after opening, so that opening writes nothing. With its place.
    file: Option<(WalFile, FilePlace)>,
    /// Members that no durable frame defines yet.
    undefined: Vec<MemberRef>,
    payload: PayloadBuffer,
    /// The batches of the group that is being written.
    tally: Tally,
    /// Set by a failed write or sync: what is on disk is not known any more.
    failed: bool,
    /// The time that the last sync of a frame took.
    synced: Duration,
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
    (GROUP_EVENTS_MAX + REQUEST_EVENTS_MAX) * (EVENT_LEN_MAX + STAMP_LEN + NEW_MEMBER_LEN_MAX)
        + UNDEFINED_MAX * NEW_MEMBER_LEN_MAX
        <= PAYLOAD_LEN_MAX
);

impl Writer {
    /// Goes on from what was recovered: the recent window, and when the last record was recorded. `on_file_end` is told when a
    /// file was ended and the next one begins.
    pub(crate) fn new(
        common: Common,
        (recent, last_recorded_at): (RecentIds, UtcInstant),
        shown: watch::Sender<Position>,
        on_group: impl FnMut(WrittenGroup) + Send + 'static,
        on_file_end: impl FnMut() + Send + 'static,
    ) -> Self {
        let Common { history, standstills, watch, options } = common;
        Self {
            history,
            standstills,
            options,
            watch,
            recent,
            shown,
            last_recorded_at,
            on_group: Box::new(on_group),
            on_file_end: Box::new(on_file_end),
            file: None,
            undefined: Vec::new(),
            payload: PayloadBuffer::default(),
            tally: Tally::default(),
            failed: false,
            synced: Duration::ZERO,
        }
    }

    /// Serves requests until all senders are gone, then ends the file.
    pub(crate) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let _watch = self.standstills.watch(Part::Writer);
        while let Some(first) = messages.blocking_recv() {
            let (mut group, mut events, mut retractions, mut ends) = (Vec::new(), 0, Vec::new(), Vec::new());
            let mut taken_in = Position::START;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Append(request) => {
                        events += request.batch.len();
                        group.push(request);
                    }
                    Message::Retract(retract) => retractions.push(retract),
                    Message::TakenIn(position) => taken_in = taken_in.max(position),
                    Message::EndFile(reply) => ends.push(reply),
                }
                let full = events >= self.options.group_events.min(GROUP_EVENTS_MAX);
                next = if full { None } else { messages.try_recv().ok() };
            }
            // It was sent once all in front of it was answered, and before what follows it.
            self.show(taken_in);
            if self.failed {
                for request in group {
                    let _ = request.reply.send(Answer::Done(Err(AppendError::Closed)));
                }
            } else if !group.is_empty() {
                self.serve(group);
            }
            for Retract { batch, events, stamp, reply } in retractions {
                let _ = reply.send(self.retract(&batch, events, stamp));
            }
            for reply in ends {
                let _ = reply.send(self.end_file());
            }
        }
        // It was said in the log why, and the next start mends it.
        let _ = self.end_file();
    }

    /// Lets the tail stand on a position of the log that is followed: what is in front of it is kept, or never will be.
    fn show(&self, position: Position) {
        if self.history.is_replica && !self.failed {
            self.shown.send_if_modified(|shown| {
                let is_ahead = position > *shown;
                *shown = position.max(*shown);
                is_ahead
            });
        }
    }

    /// Ends the file that is being written, in order. Where the end frame cannot be written, it goes on as it
    /// is.
    fn end_file(&mut self) -> Result<(), EndError> {
        if self.failed {
            return Err(EndError::Closed);
        }
        let Some((mut file, place)) = self.file.take() else { return Ok(()) };
        let next_place = following(self.last_place());
        if let Err(error) = file.write_end(next_place, self.last_recorded_at) {
            self.standstills.failed(Part::Writer, format!("a file of the log was not ended: {error}"));
            tracing::warn!(%error, "a file of the log was not ended");
            self.file = Some((file, place));
            return Err(EndError::Refused(error.into()));
        }
        if let Err(error) = file.cut() {
            self.close(&error.into());
            return Err(EndError::Closed);
        }
        self.history.places.write().end_last(next_place);
        self.standstills.works(Part::Writer);
        Ok(())
    }

    /// Takes no more events: what is on disk is not known any more.
    fn close(&mut self, fault: &StoreFault) {
        self.failed = true;
        self.standstills.stopped(Part::Writer, format!("the log could not be made durable: {fault}"));
        tracing::error!(error = %fault, "the log could not be made durable; it takes no more events until restart");
    }

    fn last_place(&self) -> Place {
        self.history.last_place()
    }

    /// Writes one group and answers its requests.
    fn serve(&mut self, requests: Vec<Request>) {
        let recorded_at = self.record_at();
        // Before more members are made: those that wait and those of the group fit into one frame.
        if self.undefined.len() > UNDEFINED_MAX
            && let Err(error) = self.define(recorded_at)
        {
            let error = self.refusal(error);
            for request in requests {
                let _ = request.reply.send(Answer::Done(Err(error.clone())));
            }
            return;
        }
        let history = self.history.clone();
        let shown = self.last_shown();
        let mut group = {
            let batches = history.batches.read();
            let mut against = Against {
                history: &history,
                recent: &mut self.recent,
                batches: &batches,
                next: following(history.last_place()),
                batches_max: self.options.batches_max,
                shown,
            };
            Group::check(requests, &mut against)
        };
        self.undefined.append(&mut group.new_members);
        let events = group.new_events();
        if events > 0 {
            let (last, recorded_at) = self.encode(&group, recorded_at);
            if let Err(error) = self.write(FrameKind::Events, recorded_at) {
                return self.refuse(group, error);
            }
            self.committed(last);
            (self.on_group)(WrittenGroup { events, synced: self.synced });
        }
        group.succeed(self.last_shown());
    }

    /// The position that the last record shows.
    fn last_shown(&self) -> Position {
        *self.shown.borrow()
    }

    /// The instant to record a group at. It never decreases. Where another log is followed, its records have theirs.
    fn record_at(&self) -> UtcInstant {
        let now =
            if self.history.is_replica { UtcInstant::EARLIEST } else { self.watch.look(&self.standstills) };
        now.max(self.last_recorded_at)
    }

    /// Shows readers everything up to a position: it is durable.
    fn committed(&mut self, last: LastRecord) {
        self.commit_recent();
        self.tally.add_to(&mut self.history.batches.write());
        // In this order: who is told of a position finds its record.
        if self.history.is_replica {
            self.history.tail.set(last.place);
        }
        self.shown.send_replace(last.shown);
        self.history.dictionary.mark(&self.history.members.read(), following(last.place));
    }

    /// Records that a batch is taken back, in a frame of its own.
    fn retract(
        &mut self,
        name: &str,
        events: Option<u64>,
        stamp: Option<(UtcInstant, Stamp)>,
    ) -> Result<RetractOutcome, AppendError> {
        if self.failed {
            return Err(AppendError::Closed);
        }
        {
            let batches = self.history.batches.read();
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
        let Some(name) = BatchName::stored(name) else { return Ok(RetractOutcome::Unknown) };
        let place = following(self.last_place());
        if place.get() > RecentIds::POSITIONS_MAX {
            return Err(AppendError::Full(Limit::Events));
        }
        let recorded_at = self.record_at();
        let (occurred_at, Stamp { position: shown, recorded_at }) =
            stamp.unwrap_or((recorded_at, Stamp { position: place.own_position(), recorded_at }));
        let recorded_at = recorded_at.max(self.last_recorded_at);
        if shown <= self.last_shown() {
            return Ok(RetractOutcome::Unknown);
        }
        let retraction = StoredRetraction { occurred_at, batch: name };
        self.payload.clear();
        self.payload.push_retraction(&retraction);
        if self.history.is_replica {
            self.payload.push_stamp(Stamp { position: shown, recorded_at });
        }
        self.tally.clear();
        self.tally.count_record(&Record::Retraction(retraction), shown);
        let own = self.history.ids.key.of_retraction(&retraction);
        self.recent.stage(own, retraction.fingerprint());
        if let Err(error) = self.write(FrameKind::Retraction, recorded_at) {
            self.recent.unstage(1);
            return Err(self.refusal(error));
        }
        self.committed(LastRecord { place, shown });
        Ok(RetractOutcome::Retracted(shown))
    }

    /// Lets ids leave the window. Look-ups look on disk for what is below [`Ids::recent_from`](crate::ids::Ids::recent_from) and
    /// then come here, so ids leave only below what that was a while ago.
    fn commit_recent(&mut self) {
        let published = self.history.ids.recent_from();
        self.recent.commit(published);
        let from = self.recent.from(self.history.places.read().sealed_until());
        if from.get() > published.get() + self.recent.step() / 2 {
            self.history.ids.leave(from);
        }
    }

    /// Puts the group's new events into the payload. Returns the last of them, and when it was recorded: at `recorded_at`, or as
    /// its stamp says.
    fn encode(&mut self, group: &Group, mut recorded_at: UtcInstant) -> (LastRecord, UtcInstant) {
        self.payload.clear();
        self.tally.clear();
        let mut last = LastRecord { place: self.last_place(), shown: self.last_shown() };
        for (number, (batch, row, member, stamp)) in group.new_rows().enumerate() {
            if number > 0 && number.is_multiple_of(STEP_EVENTS) {
                yield_now();
            }
            let event = batch.get(row);
            self.payload.push(&StoredEvent::of(&event, batch.identity(row).1, member.member));
            last.place = following(last.place);
            last.shown = last.place.own_position();
            if let Some(stamp) = stamp {
                recorded_at = recorded_at.max(stamp.recorded_at);
                self.payload.push_stamp(Stamp { recorded_at, ..stamp });
                last.shown = stamp.position;
            }
            if let Some(name) = event.batch {
                self.tally.count(name, event.event_type, last.shown);
            }
        }
        (last, recorded_at)
    }

    /// Writes a frame without events that defines the members of refused groups. So what waits stays bounded however long
    /// a disk is full: no further members are resolved before these are written.
    fn define(&mut self, recorded_at: UtcInstant) -> Result<(), WriteError> {
        self.payload.clear();
        self.write(FrameKind::Events, recorded_at)
    }

    /// Writes the payload and the members that wait as one frame and syncs it. Readers look at the frame in the ring once the tail
    /// is above it.
    fn write(&mut self, kind: FrameKind, recorded_at: UtcInstant) -> Result<(), WriteError> {
        self.part_from_original()?;
        let first_place = following(self.last_place());
        let (records, stamp) = (self.payload.records(), self.payload.first_stamp());
        let shown = stamp.map_or_else(|| Position::new(self.last_shown().get() + 1), |stamp| stamp.position);
        let history = self.history.clone();
        let members = history.members.read();
        let frame = self.payload.finish(self.undefined.iter().map(|new| NewMember {
            member: new.member,
            tenant_id: members.tenant_id(new.tenant),
            user_id: members.user_id(new.person),
        }));
        drop(members);
        let payload_len = frame.len() - FRAME_HEADER_LEN;
        let header =
            FrameHeader { kind, payload_len, first_place, records, recorded_at, stamped: stamp.is_some() };
        header.seal(history.lineage().log_id(), frame);
        let frame_len = frame.len();
        self.make_room(frame_len)?;
        let (Some((file, place)), frame) = (&mut self.file, self.payload.frame()) else {
            unreachable!("make_room leaves a file");
        };
        file.write_ahead(frame_len).map_err(WriteError::before)?;
        file.write(frame).map_err(WriteError::of_frame)?;
        let syncing = Instant::now();
        let offset = file.sync(frame_len).map_err(WriteError::of_sync)?;
        place.frames.add(Mark { first_place, shown, offset });
        self.synced = syncing.elapsed();
        self.standstills.works(Part::Writer);
        self.last_recorded_at = recorded_at;
        if !self.history.is_replica {
            self.watch.recorded(recorded_at);
        }
        self.undefined.clear();
        if records > 0 {
            let buffer = self.history.ring.add(header, self.payload.take());
            self.payload.reuse(buffer);
        }
        Ok(())
    }

    /// Lets a copy become a log of its own before the first frame is written to it: from here on, its positions stand for other
    /// events than those of the log that it was copied from.
    fn part_from_original(&mut self) -> Result<(), WriteError> {
        let history = self.history.clone();
        let manifest = history.places.read().manifest.clone();
        // One that follows another log has the same records as that one, wherever it goes on.
        if !manifest.is_copy || manifest.is_replica {
            return Ok(());
        }
        let last = self.last_place();
        let parted = |manifest: &Manifest| Manifest {
            lineage: manifest.lineage.parted(last.own_position()),
            is_copy: false,
            ..manifest.clone()
        };
        let folder = history.disk.folder(segment::DIR).map_err(WriteError::before)?;
        history.change_manifest(folder.as_ref(), parted, |_| ())?;
        let (log_id, original) = (history.lineage().log_id(), manifest.lineage.log_id());
        tracing::info!(%log_id, %original, until = last.get(), "the copy is a log of its own now");
        Ok(())
    }

    /// Leaves `self.file` with room for a frame: ends a file that is full, makes the next one.
    fn make_room(&mut self, frame_len: usize) -> Result<(), WriteError> {
        let next_place = following(self.last_place());
        if let Some((file, _)) = &mut self.file {
            let events = next_place.get() - file.first_place().get();
            if file.fits(frame_len) && events < self.options.segment_events {
                return Ok(());
            }
            file.write_end(next_place, self.last_recorded_at).map_err(WriteError::before)?;
        }
        if let Some((full, _)) = self.file.take() {
            full.cut().map_err(WriteError::of_cut)?;
            self.history.places.write().end_last(following(self.last_place()));
            (self.on_file_end)();
        }
        let number = self.history.places.read().next_number();
        let first_place = following(self.last_place());
        let file = self.create_file(number, first_place, WalFile::capacity_for(frame_len))?;
        let place =
            FilePlace { number, first_place, ended_at: None, frames: Arc::new(FrameIndex::default()) };
        self.file = Some((file, place.clone()));
        self.history.places.write().files.push(place);
        Ok(())
    }

    /// Makes the next file. Where the disk has not room for one of its usual length, makes a shorter one.
    fn create_file(&self, number: u64, first_place: Place, least: u64) -> Result<WalFile, WriteError> {
        /// Shares of the free space: segments are written beside the WAL.
        const SHARES: u64 = 4;
        let free = self.history.disk.state().ok().and_then(|state| state.free);
        let usual = free.map_or(u64::MAX, |free| free / SHARES).min(self.options.wal_file_bytes);
        let mut capacity = usual.max(least);
        loop {
            let header = FileHeader {
                version: Version::NEWEST,
                number,
                first_place,
                log_id: self.history.lineage().log_id(),
                capacity,
            };
            match WalFile::create(self.history.disk.as_ref(), header) {
                Err(StepError::Refused(error)) if is_no_space(error.kind()) && capacity > least => {
                    capacity = (capacity / 2).max(least);
                }
                made => return Ok(made?),
            }
        }
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

//! Reads and subscriptions as steps over a store: each step gives the frames of a page. Pure; whoever sends the
//! frames waits for new commits between steps.

use std::sync::Arc;

use crate::record::{Position, Record, Ticks};
use crate::store::{
    AllPage, AllStart, BadPosition, Direction, Filter, Store, StreamRange, StreamRead, StreamStart,
};
use crate::version::ServerVersion;

/// Events of a page.
const PAGE_EVENTS: usize = 32;

/// A frame of a read or a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Event(Arc<Record>),
    /// Commit and prepare position to resume from.
    Checkpoint(Position, Position),
    /// All that was committed has been delivered.
    CaughtUp {
        position: Option<Position>,
        revision: Option<i64>,
    },
    StreamNotFound(String),
    /// Revision of the stream's last event.
    LastRevision(i64),
}

/// Why there are no more frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    BadPosition,
    StreamDeleted(String),
}

impl From<BadPosition> for Failure {
    fn from(BadPosition: BadPosition) -> Self {
        Self::BadPosition
    }
}

/// Frames, which may be none, and what comes after them.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) frames: Vec<Frame>,
    pub(crate) then: Then,
}

/// The state of a read after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// More is committed already.
    More,
    /// There is nothing until more is committed.
    Wait,
    /// The read has ended.
    End,
}

/// A filter, and how often a checkpoint comes.
#[derive(Clone, Debug)]
pub(crate) struct Filtered {
    pub(crate) filter: Filter,
    /// Records that a page looks at.
    pub(crate) window: usize,
    /// Records between two checkpoints.
    pub(crate) interval: usize,
}

/// A read or a subscription under way.
#[derive(Debug)]
pub(crate) enum Source {
    Stream(StreamReading),
    All(AllReading),
    StreamSubscription(StreamSubscription),
    AllSubscription(AllSubscription),
}

impl Source {
    /// The next frames. A page whose records do not match has none.
    pub(crate) fn step(&mut self, store: &Store, now: Ticks) -> Result<Step, Failure> {
        match self {
            Self::Stream(reading) => reading.step(store, now),
            Self::All(reading) => reading.step(store),
            Self::StreamSubscription(subscription) => subscription.step(store, now),
            Self::AllSubscription(subscription) => subscription.step(store),
        }
    }
}

fn events(records: Vec<Arc<Record>>) -> Vec<Frame> {
    records.into_iter().map(Frame::Event).collect()
}

/// A read of a stream.
#[derive(Debug)]
pub(crate) struct StreamReading {
    pub(crate) stream: String,
    pub(crate) start: StreamStart,
    pub(crate) direction: Direction,
    /// Events that are left to read.
    pub(crate) left: u64,
    /// The read ends with the revision of the stream's last event.
    pub(crate) tells_last: bool,
}

impl StreamReading {
    fn step(&mut self, store: &Store, now: Ticks) -> Result<Step, Failure> {
        let max = PAGE_EVENTS.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let range = StreamRange { start: self.start, direction: self.direction, max };
        match store.read_stream(&self.stream, range, now) {
            StreamRead::Deleted => Err(Failure::StreamDeleted(self.stream.clone())),
            StreamRead::NotFound => {
                Ok(Step { frames: vec![Frame::StreamNotFound(self.stream.clone())], then: Then::End })
            }
            StreamRead::Page(page) => {
                self.left -= page.events.len() as u64;
                let is_end = self.left == 0 || page.next.is_none();
                self.start = StreamStart::Revision(page.next.unwrap_or(page.last));
                let mut frames = events(page.events);
                if is_end && self.tells_last {
                    frames.push(Frame::LastRevision(page.last));
                }
                Ok(Step { frames, then: if is_end { Then::End } else { Then::More } })
            }
        }
    }
}

/// A read of `$all`.
#[derive(Debug)]
pub(crate) struct AllReading {
    pub(crate) start: AllStart,
    pub(crate) direction: Direction,
    pub(crate) filter: Option<Filter>,
    /// Events that are left to read.
    pub(crate) left: u64,
}

/// Records that a filtered read looks at under one lock.
const READ_WINDOW: usize = 4_096;

impl AllReading {
    fn step(&mut self, store: &Store) -> Result<Step, Failure> {
        let max = PAGE_EVENTS.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let page = store.read_all(self.start, self.direction, (max, READ_WINDOW), self.filter.as_ref())?;
        self.left -= page.events.len() as u64;
        self.start = AllStart::At(page.next);
        let is_end = page.is_end || self.left == 0;
        Ok(Step { frames: events(page.events), then: if is_end { Then::End } else { Then::More } })
    }
}

/// A subscription to a stream.
#[derive(Debug)]
pub(crate) struct StreamSubscription {
    pub(crate) version: ServerVersion,
    pub(crate) stream: String,
    /// The start; a revision is the last one that it does not want.
    pub(crate) start: StreamStart,
    pub(crate) caught_up: bool,
}

impl StreamSubscription {
    fn step(&mut self, store: &Store, now: Ticks) -> Result<Step, Failure> {
        let first = match self.start {
            StreamStart::Start | StreamStart::End => 0,
            StreamStart::Revision(revision) => revision.saturating_add(1),
        };
        let range = StreamRange {
            start: StreamStart::Revision(first),
            direction: Direction::Forwards,
            max: PAGE_EVENTS,
        };
        let mut step = Step { frames: Vec::new(), then: Then::Wait };
        match store.read_stream(&self.stream, range, now) {
            StreamRead::Deleted => return Err(Failure::StreamDeleted(self.stream.clone())),
            StreamRead::NotFound => {
                self.start = StreamStart::Revision(first - 1);
                if !self.caught_up && self.version.caught_up_tells_where() {
                    step.frames.push(Frame::CaughtUp { position: None, revision: None });
                }
                self.caught_up = true;
            }
            StreamRead::Page(page) if self.start == StreamStart::End => {
                self.start = StreamStart::Revision(page.last);
                return self.step(store, now);
            }
            StreamRead::Page(page) => {
                let last = page.events.last().and_then(|record| record.event()).map(|event| event.revision);
                self.start = StreamStart::Revision(last.unwrap_or(first - 1));
                step.frames = events(page.events);
                if page.next.is_some() {
                    step.then = Then::More;
                } else if !self.caught_up {
                    self.caught_up = true;
                    step.frames.push(Frame::CaughtUp { position: None, revision: Some(page.last) });
                }
            }
        }
        Ok(step)
    }
}

/// A subscription to `$all`.
#[derive(Debug)]
pub(crate) struct AllSubscription {
    version: ServerVersion,
    filtered: Option<Filtered>,
    next: AllStart,
    /// The first record is that of the position that was given: it is not delivered, whatever it is. If a scavenge
    /// has removed it, that is another event, which is lost. Seen on a real 23.10; kept for 24.10.
    skips_first: bool,
    /// Records looked at since the last checkpoint.
    considered: usize,
    /// Commit and prepare position that a checkpoint tells.
    place: (Position, Position),
    /// The last event that was looked at.
    seen: Option<Position>,
    caught_up: bool,
}

impl AllSubscription {
    /// Starts behind (commit, prepare), at the first event, or at what comes next.
    pub(crate) fn new(
        version: ServerVersion,
        filtered: Option<Filtered>,
        start: AllStart,
        prepare: Position,
    ) -> Self {
        let (skips_first, commit) = match start {
            AllStart::Start | AllStart::End => (false, None),
            AllStart::At(commit) => {
                (prepare == commit || version.skips_event_of_zero_prepare(), Some(commit))
            }
        };
        Self {
            version,
            filtered,
            next: start,
            skips_first,
            considered: 0,
            place: (commit.unwrap_or_default(), prepare),
            seen: commit,
            caught_up: false,
        }
    }

    fn step(&mut self, store: &Store) -> Result<Step, Failure> {
        let mut step = Step { frames: Vec::new(), then: Then::Wait };
        if self.next == AllStart::End {
            self.seen = store.last_position();
            self.next = AllStart::At(self.page(store, 0)?.next);
        }
        if self.skips_first {
            let page = self.page(store, 1)?;
            self.skips_first = page.considered == 0;
            self.next = AllStart::At(page.next);
            if self.skips_first {
                self.catch_up(&mut step);
                return Ok(step);
            }
        }
        let window = self.filtered.as_ref().map_or(usize::MAX, |filtered| filtered.window);
        let page = self.page(store, window)?;
        let start = match self.next {
            AllStart::At(position) => position,
            AllStart::Start | AllStart::End => Position(0),
        };
        if page.considered > 0 {
            self.place =
                page.events.last().map_or((start, Position(0)), |last| (last.position, last.position));
        }
        self.seen = page.last.or(self.seen);
        self.next = AllStart::At(page.next);
        self.considered += page.considered;
        step.frames = events(page.events);
        self.checkpoint(&mut step);
        if page.is_end {
            self.catch_up(&mut step);
        } else {
            step.then = Then::More;
        }
        Ok(step)
    }

    fn page(&self, store: &Store, window: usize) -> Result<AllPage, BadPosition> {
        let filter = self.filtered.as_ref().map(|filtered| &filtered.filter);
        store.read_all(self.next, Direction::Forwards, (PAGE_EVENTS, window), filter)
    }

    fn checkpoint(&mut self, step: &mut Step) {
        let Some(filtered) = &self.filtered else { return };
        if self.considered >= filtered.interval {
            self.considered %= filtered.interval;
            step.frames.push(Frame::Checkpoint(self.place.0, self.place.1));
        }
    }

    fn catch_up(&mut self, step: &mut Step) {
        if self.caught_up {
            return;
        }
        self.caught_up = true;
        if self.version.checkpoints_when_caught_up() && self.filtered.is_some() && self.considered > 0 {
            step.frames.push(Frame::Checkpoint(self.place.0, self.place.1));
        }
        step.frames.push(Frame::CaughtUp { position: self.seen, revision: None });
    }
}

//! The last groups, as the writer wrote them. Whoever follows the tail reads them from here, without I/O, and those who want
//! the same of them share one decoding.

use std::collections::VecDeque;
use std::sync::Arc;

use lastseen_event::Position;
use lastseen_store::{Detail, Filter, RecordedBatch, Scan};
use parking_lot::{Mutex, RwLock};

use crate::format::Version;
use crate::place::{Place, preceding};
use crate::wal::cursor::{BATCH_RECORDS, FrameCursor, Names};
use crate::wal::frame::FrameHeader;

/// Most frames of a ring.
const FRAMES_MAX: usize = 256;

/// The frames of the last groups, in order and without a gap up to the last one. Bounded in number and bytes; what readers
/// decoded of a frame goes with it, and takes about four times its bytes where they wanted events, half of them where facts.
pub(crate) struct Ring {
    frames: RwLock<VecDeque<Arc<RecentFrame>>>,
    bytes_max: usize,
}

impl Ring {
    /// A ring that holds frames of at most so many bytes together.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { frames: RwLock::default(), bytes_max }
    }

    /// Takes the frame of a group that is durable, with its header in it. Returns a buffer of a frame that leaves, where nobody
    /// reads it, for a later group. A frame that is too large for the ring empties it.
    pub(crate) fn add(&self, header: FrameHeader, frame: Vec<u8>) -> Vec<u8> {
        let mut left = Vec::new();
        let mut unread = Vec::new();
        {
            let mut frames = self.frames.write();
            let is_next = |last: &Arc<RecentFrame>| last.header.end() == header.first_place;
            let (fits, goes_on) = (frame.len() <= self.bytes_max, frames.back().is_none_or(is_next));
            let mut bytes: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
            let room = if fits && goes_on { self.bytes_max - frame.len() } else { 0 };
            while bytes > room || frames.len() >= FRAMES_MAX {
                let Some(oldest) = frames.pop_front() else { break };
                bytes -= oldest.bytes.len();
                left.push(oldest);
            }
            if fits {
                frames.push_back(Arc::new(RecentFrame::new(header, frame)));
            } else {
                unread = frame;
            }
        }
        // What was decoded of them is freed here, where no reader waits.
        let buffers = left.into_iter().filter_map(|frame| Some(Arc::into_inner(frame)?.bytes));
        buffers.fold(unread, |kept, buffer| if kept.capacity() > buffer.capacity() { kept } else { buffer })
    }

    /// The frame with the record at this place. `None`: it is not among the last ones.
    pub(crate) fn of(&self, place: Place) -> Option<Arc<RecentFrame>> {
        let frames = self.frames.read();
        let after = frames.partition_point(|frame| frame.header.first_place <= place);
        frames.get(after.checked_sub(1)?).filter(|frame| place < frame.header.end()).cloned()
    }
}

/// A frame, and what readers decoded of it.
pub(crate) struct RecentFrame {
    header: FrameHeader,
    /// Header and payload.
    bytes: Vec<u8>,
    /// All of it from the beginning, a batch at a time: facts, and whole events.
    shared: [Mutex<Shared>; 2],
}

/// The batches of a frame, as far as somebody wanted them.
struct Shared {
    /// At the first record that is in none of them.
    cursor: FrameCursor,
    /// With the place of the last record of each.
    batches: Vec<(Arc<RecordedBatch>, Place)>,
}

impl RecentFrame {
    fn new(header: FrameHeader, bytes: Vec<u8>) -> Self {
        let shared = || Mutex::new(Shared { cursor: Self::cursor_of(header), batches: Vec::new() });
        Self { header, bytes, shared: [shared(), shared()] }
    }

    fn cursor_of(header: FrameHeader) -> FrameCursor {
        FrameCursor::new(header, Version::NEWEST)
    }

    /// A cursor at its first record.
    pub(crate) fn cursor(&self) -> FrameCursor {
        Self::cursor_of(self.header)
    }

    /// Header and payload.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The batch that begins after `reached`, which is within the frame or just before it, and the place of its last record;
    /// decoded once for all that ask for it. `None`: no batch begins there, or more than one before it is not decoded yet, or the frame cannot be read.
    pub(crate) fn shared(
        &self,
        detail: Detail,
        reached: Place,
        names: Names<'_>,
    ) -> Option<(Arc<RecordedBatch>, Place)> {
        let before = preceding(self.header.first_place);
        let records = reached.get().checked_sub(before.get())?;
        let place = usize::try_from(records / BATCH_RECORDS).ok()?;
        let shared = match detail {
            Detail::Sightings => return None,
            Detail::Facts => &self.shared[0],
            Detail::Events => &self.shared[1],
        };
        let mut shared = shared.lock();
        if !records.is_multiple_of(BATCH_RECORDS) || place > shared.batches.len() {
            return None;
        }
        if place == shared.batches.len() {
            let scan = Scan { after: Position::START, until: None, detail, filter: Filter::default() };
            let last = preceding(self.header.end());
            // Where that fails, whoever reads the file is told what is wrong with it.
            let decoded = shared.cursor.decode(&self.bytes, (names, &scan), (reached, last)).ok()?;
            shared.batches.push((Arc::new(decoded.batch), decoded.place));
        }
        shared.batches.get(place).cloned()
    }
}

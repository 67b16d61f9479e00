//! The settings for opening a log, each with its unit and its reason.

use std::time::Duration;

use crate::members::MemberLimits;

/// Settings of a log. The files do not depend on them: they may change from one opening to the next.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Length of a WAL file in bytes, reserved when it is made. A frame that needs more gets a file of its own size; where the
    /// disk has not so much, files are shorter.
    pub wal_file_bytes: u64,
    /// Ids remembered for duplicates and conflicts, about 40 bytes each.
    pub recent_ids: usize,
    /// Requests that may wait for the writer, at least 1.
    pub queue_requests: usize,
    /// Bytes of requests that may wait for the writer or be written, about as many as they take in memory. A larger request goes
    /// alone.
    pub queue_bytes: usize,
    /// A group is written once it has this many events or nobody else is waiting; 16,384 at most, so that every group
    /// fits into one frame.
    pub group_events: usize,
    /// A segment is made of at least this many events, at least 1 and at most [`LogOptions::SEGMENT_EVENTS_MAX`]; WAL
    /// files end with the group that reaches it.
    pub segment_events: u64,
    /// Appends are refused while more events than this are in no segment: sealing stands still, or is slower than they come.
    pub unsealed_events_max: u64,
    /// Events older than this are sealed, however few there are.
    pub segment_age: Duration,
    /// The dictionary is written to disk when at least so many members are new, and an eighth of those it has.
    pub dictionary_members: usize,
    /// Names of backfill batches that the log takes, dead ones included.
    pub batches_max: usize,
    /// Members that the log takes.
    pub members: MemberLimits,
    /// Memory for filters over the ids of sealed events, in bytes: 1.5 an event. Those that find no room are read from disk,
    /// page by page.
    pub filter_bytes: u64,
    /// Memory for the last groups as they were written, in bytes: whoever follows the tail reads them from there. What readers
    /// decode of them takes about four times as much. 0: there is none.
    pub ring_bytes: usize,
    /// The one who seals.
    pub sealing: Sealing,
}

/// The one who seals the WAL files that are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// A thread of the log's.
    Background,
    /// Nobody, until [`Log::seal`](crate::Log::seal) is called.
    OnDemand,
}

impl LogOptions {
    /// The most events of a segment: sealing holds it in memory.
    pub const SEGMENT_EVENTS_MAX: u64 = 10_000_000;
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            wal_file_bytes: 64 * 1024 * 1024,
            recent_ids: 2_000_000,
            queue_requests: 1_024,
            queue_bytes: 256 * 1024 * 1024,
            group_events: 16_384,
            segment_events: 1_000_000,
            unsealed_events_max: 20_000_000,
            segment_age: Duration::from_hours(24),
            dictionary_members: 65_536,
            batches_max: 10_000,
            members: MemberLimits::default(),
            filter_bytes: 256 * 1024 * 1024,
            ring_bytes: 4 * 1024 * 1024,
            sealing: Sealing::Background,
        }
    }
}

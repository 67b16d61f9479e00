//! The settings for opening a log, each with its unit and its reason.

use std::time::Duration;

/// Settings of a log. The files do not depend on them: they may change from one opening to the next.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Length of a WAL file in bytes, reserved when it is made. A frame that needs more gets a file of its own size.
    pub wal_file_bytes: u64,
    /// Ids remembered for duplicates and conflicts, about 40 bytes each.
    pub recent_ids: usize,
    /// Requests that may wait for the writer, at least 1.
    pub queue_requests: usize,
    /// A group is written once it has this many events or nobody else is waiting; 16,384 at most, so that every group
    /// fits into one frame.
    pub group_events: usize,
    /// A segment is made of at least this many events, at least 1 and at most [`LogOptions::SEGMENT_EVENTS_MAX`]; WAL
    /// files end with the group that reaches it.
    pub segment_events: u64,
    /// Events older than this are sealed, however few there are.
    pub segment_age: Duration,
    /// The dictionary is written to disk when at least so many members are new, and an eighth of those it has.
    pub dictionary_members: usize,
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
            group_events: 16_384,
            segment_events: 1_000_000,
            segment_age: Duration::from_hours(24),
            dictionary_members: 65_536,
            sealing: Sealing::Background,
        }
    }
}

//! What can be set when a log is opened, with its unit and its reason.

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
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            wal_file_bytes: 64 * 1024 * 1024,
            recent_ids: 2_000_000,
            queue_requests: 1_024,
            group_events: 16_384,
        }
    }
}

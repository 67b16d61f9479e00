//! What a server can be told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The data directory; made if it is not there.
    pub data: PathBuf,
    /// Where to listen. Only loopback addresses: without API keys nobody else may come in.
    pub listen: SocketAddr,
    /// Whether equal user ids in several tenants are one person.
    pub persons: Persons,
    /// How far ahead of the server's clock `occurred_at` may lie.
    pub future_tolerance: Duration,
    /// How many events make a segment of sealed history.
    pub segment_events: u64,
    /// When events are sealed at the latest.
    pub segment_age: Duration,
    /// How many events make a snapshot of the views due.
    pub snapshot_events: u64,
}

pub use lastseen_projections::Persons;

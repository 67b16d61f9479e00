//! What a server can be told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::http::origin::Origin;

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
    /// Limits of connections: their number, and the time for which they may keep the server waiting.
    pub connections: ConnectionLimits,
    /// Sites whose pages may use the API through a browser. Pages of other sites are refused.
    pub cors_origins: Vec<Origin>,
}

/// Limits of connections. Times are at most [`ConnectionLimits::TIME_MAX`].
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Time for the head of a request, from its first byte on; that of a connection's first one from
    /// accepting on.
    pub head_timeout: Duration,
    /// Time that a connection may wait between an answer and the first byte of the next request.
    pub idle_timeout: Duration,
    /// Time for which the peer may take not one byte of an answer.
    pub stall_timeout: Duration,
    /// Time for requests under way once the server stops; then they are cut off.
    pub drain_timeout: Duration,
    /// Connections at once. Lowered where the limit of file descriptors does not allow as many.
    pub connections_max: usize,
}

impl ConnectionLimits {
    /// The longest limit of time.
    pub const TIME_MAX: Duration = Duration::from_hours(24);
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(10),
            connections_max: 1024,
        }
    }
}

/// What a `user_id` means across tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Persons {
    /// The same `user_id` in several tenants is one person.
    #[default]
    UserId,
    /// User ids mean something within their tenant only; answers leave persons out.
    Off,
}

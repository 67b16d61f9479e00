//! Settings of a server: every limit with its unit.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use lastseen_projections::Persons;

use crate::origin::{ListenAddress, Origin};
use crate::tls::TlsFiles;

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The data directory; made if it is not there.
    pub data: PathBuf,
    /// The cluster that has the truth: then the log in the data directory is a copy of its history. `None`: the log has it.
    pub cluster: Option<ClusterConfig>,
    /// The file of the API keys, which must be there. `None`: `keys.json` in the data directory, if it is there.
    pub keys: Option<PathBuf>,
    /// The addresses to listen on, at least one. Without API keys only loopback addresses: nobody else may come in.
    pub listen: Vec<ListenAddress>,
    /// Addresses for health and metrics alone, in clear text and without keys: for whoever only operators reach.
    pub metrics_listen: Vec<ListenAddress>,
    /// Certificate and key. `None`: connections are in clear text.
    pub tls: Option<TlsFiles>,
    /// The URLs under which others reach the server, such as that of a proxy in front of it. Where there are any, and API
    /// keys, it answers under no other host but those of this machine.
    pub public_urls: Vec<Origin>,
    /// Networks of proxies whose `X-Forwarded-For` tells the address of a client.
    pub trusted_proxies: Vec<IpNet>,
    /// The meaning of a `user_id` across tenants.
    pub persons: Persons,
    /// Greatest distance of `occurred_at` ahead of the server's clock.
    pub future_tolerance: Duration,
    /// Events that make a segment of sealed history.
    pub segment_events: u64,
    /// Events are sealed after this time at the latest.
    pub segment_age: Duration,
    /// Names of backfill batches that the log takes, dead ones included.
    pub batches_max: usize,
    /// Memory for filters over the ids of sealed events, in bytes.
    pub id_filter_bytes: usize,
    /// Events that make a snapshot of the views due.
    pub snapshot_events: u64,
    /// Bounds on costly work and on memory.
    pub limits: Limits,
    /// Limits of connections: their number, and the time for which they may keep the server waiting.
    pub connections: ConnectionLimits,
    /// Sites whose pages may use the API through a browser. Pages of other sites are refused.
    pub cors_origins: Vec<Origin>,
}

/// A cluster of EventStoreDB or KurrentDB.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Its address, such as `esdb://host1:2113,host2:2113,host3:2113?tls=true`.
    pub address: String,
    /// The user that asks it, and the file of its password: all of it but one line end at its end. `None`: nobody in particular, or
    /// whoever the certificate that the address names is of.
    pub user: Option<(String, PathBuf)>,
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

/// Bounds on costly work and on memory. The defaults fit a container of 1 GiB.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory of all request bodies and answers under way, in bytes. Beyond it a request is refused.
    pub memory_bytes: usize,
    /// Scans of history at once: `known_at`, `types`, `provenance`, other time zones, lists of the past.
    pub scans: usize,
    /// Series, and numbers as of an instant, that are counted at once. Cohorts may take half of these places.
    pub counts: usize,
    /// Pages of large lists that are put together at once.
    pub lists: usize,
    /// Replays and whole lists (CSV) that are sent at once.
    pub downloads: usize,
    /// Large bodies that are decoded at once.
    pub decodes: usize,
    /// Costly questions of one kind that may wait for a place; one more is refused.
    pub waiting: usize,
    /// Longest wait for a place or for memory; then the question is refused.
    pub wait: Duration,
    /// Longest time to work on one question; then it is broken off.
    pub deadline: Duration,
    /// Definitions of activity whose days are kept up besides that of UTC: each a zone, the types that count, and
    /// whether estimates do.
    pub definitions: usize,
    /// Most memory of their days, and most of the past that is kept from question to question, in bytes. `None`: 64 MiB
    /// and 256 bytes a member for either.
    pub kept_bytes: Option<usize>,
    /// Longest time for a request body to arrive.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            scans: 1,
            counts: 2,
            lists: 2,
            downloads: 16,
            decodes: 8,
            waiting: 256,
            wait: Duration::from_secs(5),
            deadline: Duration::from_mins(2),
            definitions: 16,
            kept_bytes: None,
            body_timeout: Duration::from_secs(30),
        }
    }
}

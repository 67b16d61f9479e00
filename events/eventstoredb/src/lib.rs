//! An event store of Lastseen over a cluster of EventStoreDB or KurrentDB.
//!
//! The client is the crate `kurrentdb` under the name `eventstore`: the maintained successor of the crate `eventstore`, by the
//! same authors, from the same repository, for the same servers. `eventstore` 4.0 is frozen, cannot filter `$all`, ends its own
//! task where another part of the process chose a TLS provider, and stands on a library of certificates that is not maintained.
//! Nothing outside of this crate sees the client.
//!
//! The truth is in the cluster, one stream a member; a [`Log`](lastseen_log::Log) that follows the cluster has a copy of it, and
//! everything that is read is read there.
//!
//! 1. [`ClusterStore::append`](lastseen_store::EventStore::append) takes the ids of the batch (`claims`), leaves out those that the
//!    copy has, and sends the others as `codec` writes them, each into the stream that `names` says;
//! 2. `writer` sends them through one pipelined session (`session`) and sends again whatever it has no answer for;
//! 3. `supervisor` makes clients and replaces those that failed: the client itself does not come back from a lost leader;
//! 4. `reader` checks that the cluster is the one that the copy is of (`identity`), reads on where the copy ends, and lets the log
//!    take in what comes (`frames`); `lag` knows how far the copy is behind;
//! 5. an append succeeds once the cluster has the events on a majority of its nodes, and this node's copy has them.

mod claims;
mod codec;
mod frames;
mod grant;
mod identity;
mod lag;
mod names;
mod reader;
mod session;
mod settings;
mod store;
mod supervisor;
mod under_way;
mod writer;

pub use grant::grant_read;
pub use settings::{ClusterSettings, Credentials, SettingsError, Timing};
pub use store::{ClusterStore, OpenStoreError};
pub use supervisor::Fault;

//! A protocol emulator of EventStoreDB and KurrentDB for tests: not a database, not a real cluster. It answers as real
//! servers were seen to answer; LEDGER.md says which rule comes from where.
//!
//! A change takes this path: `grpc` reads it, `cluster` finds the leader, `store` decides, the leader and those that
//! follow write it, the heart syncs `disk` and commits, `grpc` answers. A read takes frames from a `subscription` over
//! the committed part of a node's `store`. `faults` and `gate` let things go wrong.

mod clock;
mod cluster;
mod control;
mod disk;
mod faults;
mod gate;
mod grpc;
mod options;
pub mod proto;
mod record;
mod store;
mod subscription;
mod version;

pub use cluster::{Cluster, NodeHandle, StartError};
pub use control::{COMMANDS, execute, send_control, serve_control};
pub use faults::{AppendFault, FAULTS_MAX, Faults};
pub use options::{Options, Timing, TlsFiles, User};
pub use record::{
    Body, ContentType, Event, METADATA_PREFIX, METADATA_TYPE, Payload, Position, Record, TOMBSTONE_REVISION,
    TOMBSTONE_TYPE, Ticks,
};
pub use store::RECENT_BYTES_MAX;
pub use version::{ServerVersion, UnknownVersion};

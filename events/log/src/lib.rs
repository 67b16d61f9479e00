//! The embedded event store: one directory, one process, one writer.
//!
//! 1. [`Log::append`](lastseen_store::EventStore::append) puts a request into a bounded queue;
//! 2. the writer thread takes what waits as a group, finds duplicates, resolves members to ordinals,
//! 3. writes one checksummed frame into the preallocated WAL file and syncs once (group commit),
//! 4. hands the durable group to `on_commit`, which applies it and acknowledges it;
//! 5. WAL files that are full become Parquet segments in the background, and are dropped;
//! 6. readers walk segments and WAL files up to the durable tail.
//!
//! FORMAT.md describes every byte on disk, and what recovery makes of bytes that are not as they should be.

mod backup;
mod batches;
mod dictionary;
mod disk;
mod error;
mod foreign;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod health;
mod known;
mod log;
mod manifest;
mod members;
mod options;
pub mod parts;
mod places;
mod reader;
mod recent;
mod recovery;
mod seal;
mod sealed;
mod segment;
mod verify;

/// Threads, or those of a scheduler that tries many orders of events (tests/shuttle).
///
/// Long work calls `yield_now` between its steps, while no lock is held that others wait for: a thread that wakes up to
/// make an append durable or to answer a request then waits for one step, not for a slice of the scheduler.
mod thread {
    #[cfg(shuttle)]
    pub(crate) use shuttle::thread::{Builder, JoinHandle, yield_now};
    #[cfg(not(shuttle))]
    pub(crate) use std::thread::{Builder, JoinHandle, yield_now};
}

mod wal;
mod writer;

pub use backup::{BackedUp, BackupError, backup};
pub use disk::{Access, Disk, DiskFile, Folder, OsDisk, ROOT, SyncSite};
#[cfg(feature = "fault")]
pub use disk::{Fault, FaultDisk, Operation};
pub use error::OpenError;
pub use foreign::ReadOnlyLog;
pub use health::{Health, Part, Standstill};
pub use log::{LockedDisk, Log};
pub use members::Members;
pub use options::{LogOptions, Sealing};
pub use reader::LogReader;
pub use recovery::TornTail;
pub use seal::SealError;
pub use verify::{Finding, FindingKind, Verified, VerifyError, verify};
pub use wal::frame::LogId;
pub use writer::Commit;

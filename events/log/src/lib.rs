//! The embedded event store: one directory, one process, one writer.
//!
//! An event's way, from `append` to disk to reader:
//!
//! 1. [`Log::append`](lastseen_store::EventStore::append) looks its id up (`ids`) and puts the request into a bounded queue;
//! 2. the `writer` thread takes what waits as a group, sorts out duplicates, resolves `members` to ordinals,
//! 3. writes one checksummed frame of `record`s into the preallocated `wal` file and syncs once (group commit),
//! 4. keeps it in a ring of the last groups (`history`), moves the tail, and answers the requests;
//! 5. the `sealer` thread makes Parquet `segment`s of WAL files that are full, reads them back, names them in the
//!    `manifest`, and drops the files;
//! 6. a `reader` walks segments and WAL files up to the durable tail; who follows the tail reads the ring.
//!
//! A log may follow another one instead of taking appends ([`Log::follow`], `origin`): readers are shown the positions and instants
//! of that one, and inside everything goes by dense places, as in every log.
//!
//! `open` takes up what is on disk, `verify` checks it, `backup` copies it. All of them go through `disk`, and share the
//! `history`. FORMAT.md describes every byte, and what recovery makes of bytes that are not as they should be.

mod backup;
mod batches;
mod beyond;
pub mod chunks;
mod clock_watch;
mod codec;
mod common;
mod damage;
mod dictionary;
mod disk;
mod error;
mod filter;
mod format;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod history;
mod identity;
mod ids;
mod log;
mod manifest;
mod members;
mod open;
mod options;
mod origin;
mod pages;
mod place;
mod read_only;
mod reader;
mod record;
mod sealer;
mod segment;
mod touch;
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
pub use disk::{Access, Disk, DiskFile, DiskState, Folder, OsDisk, ROOT, SyncSite};
#[cfg(feature = "fault")]
pub use disk::{Fault, FaultDisk, Operation};
pub use error::OpenError;
pub use log::{LockedDisk, Log};
pub use members::MemberLimits;
pub use open::{Evidence, TornTail};
pub use options::{LogOptions, Sealing};
pub use origin::{Followed, Kept, Stamp};
pub use read_only::ReadOnlyLog;
pub use reader::LogReader;
pub use sealer::SealError;
pub use verify::{Finding, FindingKind, Verified, VerifyError, verify};
pub use writer::message::{ToldApart, WrittenGroup};

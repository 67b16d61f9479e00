//! The port of the event store: what every store promises, and how the promise is checked.
//!
//! 1. a publisher's request arrives as an [`EventBatch`](lastseen_event::EventBatch);
//! 2. [`EventStore::append`] makes it durable, all or nothing, and says how much of it was new;
//! 3. [`EventStore::scan`] walks the history, or the part of it that a [`Filter`] keeps, from any position, in order;
//! 4. [`EventStore::tail`] tells when there is more; [`Subscription`] joins the two.
//!
//! [`MemoryStore`] is the reference: the shortest code that keeps the promise. `contract` (feature `contract`)
//! is the suite that it and every other store must pass.

mod batches;
mod clock;
mod error;
mod health;
mod lineage;
mod members;
mod memory;
mod port;
mod scan;
mod subscription;

#[cfg(feature = "contract")]
pub mod contract;

pub use batches::{Batch, Batches, TypeCounts};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{AppendError, Corruption, Limit, ReadError, StoreFault, error_chain};
pub use health::{Health, Part, Standstill, Standstills, Watch};
pub use lineage::{Ancestor, Lineage, LogId};
pub use members::MemberDictionary;
pub use memory::MemoryStore;
pub use port::{
    Appended, Detail, EventReader, EventStore, Gauges, Guard, Lag, OnRefused, Pending, RecordedBatch,
    RefusedRows, RetractOutcome, Tail,
};
pub use scan::{EventTypes, Filter, Scan};
pub use subscription::Subscription;

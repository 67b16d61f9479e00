//! The vocabulary of Lastseen: what an event is, what its parts may hold, and how it looks on the wire.
//!
//! The data path through this crate:
//!
//! 1. [`wire::decode_json`] and [`wire::decode_ndjson`] read a request body without allocating per field;
//! 2. each event is validated into an [`EventBatch`], one text buffer for the whole request;
//! 3. every refused event becomes [`EventFault`]s that name index, id, field and code;
//! 4. a store turns the batch into [`Fact`]s: what a fold sees of a recorded event;
//! 5. [`Event`] is the borrowed view of one event of a batch.
//!
//! Pure: no tokio, no I/O, no clock. "Now" is an argument.

mod batch;
mod event;
mod event_type;
mod fact;
mod fault;
mod id;
mod instant;
pub mod limits;
mod rows;
mod text;
pub mod wire;

pub use batch::EventBatch;
pub use event::Event;
pub use event_type::{EventType, Provenance};
pub use fact::{
    BatchOrdinal, Fact, MemberOrdinal, MemberRef, PersonOrdinal, Position, Retraction, Sighting,
    TenantOrdinal,
};
pub use fault::{EventFault, FaultCode, Refusal};
pub use id::{EventId, InvalidEventId};
pub use instant::{InvalidInstant, UtcInstant};
pub use rows::{EventRows, RecordedEvent};
pub use text::{BatchName, NameError, SessionId, TenantId, UserId};

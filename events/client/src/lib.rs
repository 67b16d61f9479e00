//! Publish who was seen to Lastseen, from Rust: nothing is dropped on the way.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lastseen_client::{Event, Publisher};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let publisher = Publisher::to("http://127.0.0.1:8080")
//!     .key("ls_...")
//!     .outbox("/var/lib/shop/lastseen", 256 << 20)
//!     .start()?;
//!
//! // In the handler of a login: takes a microsecond, whether the server is there or not.
//! publisher.publish(Event::login("8127", "usr_01JK").session("s-1").build()?).await?;
//!
//! // At the end of the service.
//! publisher.close(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```
//!
//! # What happens to an event
//!
//! 1. [`Event::login`] and its like write it; `build` checks it by the rules of the server.
//! 2. [`Publisher::publish`] puts it into a buffer, bounded in bytes. At the bound it waits; [`Publisher::try_publish`]
//!    hands the event back.
//! 3. With an [outbox](Options::outbox), a thread writes it to disk and syncs, many events at a time. From then on it
//!    survives the death of the process. [`Publisher::keep`] waits for that.
//! 4. Another thread sends it, many at a time, in order, until the server answers. [`Publisher::flush`] waits for that. The
//!    server keeps an id for ever: an event that is sent again adds nothing.
//! 5. An event that the server refuses is handed to [`Options::on_refused`], with its faults. It is not sent again. A key
//!    or an address that is wrong is no fault of an event: it is told in the log, and events wait.
//!
//! Without an outbox, events are in memory alone until they are answered: [`Publisher::close`] hands back those that were
//! not. Whoever must keep a login and its event together writes a row in the login's own transaction instead.
//!
//! # Ids
//!
//! Without [`Draft::id`] an event has a UUID of version 7. Where the same renewal of a session may be published by several
//! processes, [`Draft::of_token`] makes the id follow from the session and the version of its token.

mod batch;
mod event;
mod outbox;
mod publisher;
pub mod queries;
mod queue;
mod sender;
#[doc(hidden)]
pub mod transport;

pub use lastseen_event::{EventId, EventType, InvalidEventId, InvalidInstant, NameError, UtcInstant};

pub use crate::event::{Activity, Draft, Event, InvalidEvent, Membership, Profile};
pub use crate::outbox::OutboxError;
#[doc(hidden)]
pub use crate::publisher::write_metric;
pub use crate::publisher::{
    Closed, Fault, FlushError, Metrics, NotTaken, Options, Publisher, Refused, StartError, Undelivered,
};
pub use crate::transport::Problem;

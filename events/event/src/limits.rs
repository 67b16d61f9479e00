//! Every limit of the wire in one place, with its unit and its reason.

use std::time::Duration;

/// Longest tenant id, user id, session id or batch name, in bytes. UUIDs, e-mail addresses and prefixed ids
/// fit with room to spare; one byte of length is enough on disk.
pub const NAME_BYTES_MAX: usize = 128;

/// Most events in one request. One request is one atomic append, so this bounds a frame of the log.
pub const REQUEST_EVENTS_MAX: usize = 10_000;

/// Largest request body after decompression, in bytes. Bounds the memory one request can hold.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Largest single event on the wire, in bytes. A valid event is far smaller; this bounds one line.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;

/// Default for the time that `occurred_at` may lie ahead of the store's clock. One event far in the future
/// would keep a user active for ever.
pub const FUTURE_TOLERANCE: Duration = Duration::from_mins(5);

const _: () = assert!(NAME_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(EVENT_BYTES_MAX <= REQUEST_BYTES_MAX);

/// Most bytes of a name as a store can hold it: its length stands in one byte.
pub const STORED_NAME_BYTES_MAX: usize = 255;

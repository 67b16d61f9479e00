//! The wall clock: the instant that events are created at.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::record::Ticks;

/// Now, in ticks of 100 ns.
#[expect(
    clippy::disallowed_methods,
    reason = "the one clock of the emulator: a leader stamps events with it"
)]
pub(crate) fn now() -> Ticks {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ticks(i64::try_from(since.as_nanos() / 100).unwrap_or(i64::MAX))
}

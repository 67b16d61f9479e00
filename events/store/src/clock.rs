//! The clock behind `recorded_at` and "now": injected, so that tests own the time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lastseen_event::UtcInstant;

/// The source of "now".
pub trait Clock: Send + Sync {
    /// The present instant. May step backwards, as system clocks do.
    fn now(&self) -> UtcInstant;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> UtcInstant {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        UtcInstant::from_micros(0).saturating_add(since_epoch)
    }
}

/// A clock that stands still until it is set.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: UtcInstant) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    /// Makes the clock show `now`, earlier or later than before.
    pub fn set(&self, now: UtcInstant) {
        self.0.store(now.as_micros(), Ordering::Release);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UtcInstant {
        UtcInstant::from_micros(self.0.load(Ordering::Acquire))
    }
}

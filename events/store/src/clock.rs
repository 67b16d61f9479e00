//! The clock behind `recorded_at` and "now": injected, so that tests own the time.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lastseen_event::UtcInstant;

/// The source of "now".
pub trait Clock: Send + Sync {
    /// The present instant. May step backwards, as system clocks do.
    fn now(&self) -> UtcInstant;

    /// Time since some moment in the past, by a clock that is never set and never steps.
    fn uptime(&self) -> Duration;
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

    fn uptime(&self) -> Duration {
        static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
        STARTED.elapsed()
    }
}

/// A clock that stands still until it is set.
#[derive(Debug)]
pub struct ManualClock(Mutex<(UtcInstant, Duration)>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: UtcInstant) -> Self {
        Self(Mutex::new((now, Duration::ZERO)))
    }

    /// Lets time pass until `now`. Where that is earlier than what the clock shows, this is a jump.
    pub fn set(&self, now: UtcInstant) {
        let (before, uptime) = *self.lock();
        let passed = now.as_micros().saturating_sub(before.as_micros());
        let passed = Duration::from_micros(u64::try_from(passed).unwrap_or(0));
        *self.lock() = (now, uptime + passed);
    }

    /// Sets the clock to `now`, earlier or later than before, without any time passing.
    pub fn jump(&self, now: UtcInstant) {
        self.lock().0 = now;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (UtcInstant, Duration)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UtcInstant {
        self.lock().0
    }

    fn uptime(&self) -> Duration {
        self.lock().1
    }
}

//! Limits of one key: requests and events a second, costly questions at once. Each server counts for itself, from its start on.

use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::asker::AskersPlaces;

/// The limits of a key, as they are stored. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLimits {
    /// Requests a second, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// Published events a second, at least 1; duplicates and refused ones count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
    /// Costly questions under way at once, at least 1: those that wait, those that run and downloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costly_at_once: Option<u32>,
}

impl KeyLimits {
    /// True if there is no limit.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// True if nothing could ever pass.
    pub(super) fn is_zero(self) -> bool {
        [self.requests_per_second, self.events_per_second, self.costly_at_once].contains(&Some(0))
    }
}

/// The limits of a key that is in use.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) requests: Option<Bucket>,
    pub(super) events: Option<Bucket>,
    pub(super) askers: AskersPlaces,
}

impl Counters {
    pub(super) fn new(limits: KeyLimits) -> Self {
        let bucket = |rate: Option<u32>| rate.map(Bucket::new);
        let askers = limits.costly_at_once.map(|places| AskersPlaces::new(places as usize));
        Self {
            requests: bucket(limits.requests_per_second),
            events: bucket(limits.events_per_second),
            askers: askers.unwrap_or_default(),
        }
    }
}

/// A limit was reached. The time after which to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitReached(pub(crate) Duration);

/// A bucket of tokens: so many come in a second, and as many fit in. Whoever finds one may take more than there are; the
/// debt is paid before the next one. So a large batch passes, and the rate holds over time.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: f64,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: u32) -> Self {
        let rate = f64::from(rate);
        Self { rate, state: Mutex::new(State { tokens: rate, at: Instant::now() }) }
    }

    /// Takes `count` tokens, if there is one.
    ///
    /// # Errors
    /// [`LimitReached`]; nothing was taken.
    pub(super) fn take(&self, count: u32) -> Result<(), LimitReached> {
        let mut state = self.state.lock();
        let now = Instant::now();
        let come = (now - state.at).as_secs_f64() * self.rate;
        *state = State { tokens: (state.tokens + come).min(self.rate), at: now };
        if state.tokens < 1.0 {
            return Err(LimitReached(Duration::from_secs_f64((1.0 - state.tokens) / self.rate)));
        }
        state.tokens -= f64::from(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_gives_as_many_as_the_rate_and_not_more_are_saved_up() {
        let bucket = Bucket::new(10);
        let taken = || (0..100).filter(|_| bucket.take(1).is_ok()).count();
        assert_eq!(taken(), 10);
        assert_eq!(bucket.take(1), Err(LimitReached(Duration::from_millis(100))));
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!(taken(), 3);
        tokio::time::advance(Duration::from_mins(10)).await;
        assert_eq!(taken(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_batch_passes_and_is_paid_back() {
        let bucket = Bucket::new(1_000);
        assert_eq!(bucket.take(10_000), Ok(()));
        let Err(LimitReached(wait)) = bucket.take(1) else { panic!("there is a debt") };
        assert!((9.0..9.1).contains(&wait.as_secs_f64()), "{wait:?}");
        tokio::time::advance(wait).await;
        assert_eq!(bucket.take(1), Ok(()));
    }
}

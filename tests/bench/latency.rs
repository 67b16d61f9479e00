//! Latencies of a measurement, all of them.

use std::fmt;
use std::time::Duration;

/// Every latency, sorted once it is complete.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The least latency that `per_mille` thousandths do not exceed; 0 if there is none.
    pub(crate) fn at(&self, per_mille: usize) -> Millis {
        let rank = (self.0.len() * per_mille).div_ceil(1_000).max(1);
        Millis(self.0.get(rank - 1).copied().unwrap_or_default())
    }
}

/// A duration in milliseconds with as many digits as mean something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.3} ms", self.0.as_secs_f64() * 1_000.0))
    }
}

//! Latencies of a measurement, all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::figures::print_row;

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

    /// Number of latencies from each power of two of microseconds up to the next, by exponent.
    fn octaves(&self) -> BTreeMap<u32, usize> {
        let mut octaves = BTreeMap::new();
        for latency in &self.0 {
            *octaves.entry(latency.as_micros().max(1).ilog2()).or_default() += 1;
        }
        octaves
    }
}

/// A line for every power of two from the least latency to the greatest, with a count for each column.
pub(crate) fn print_histogram(columns: &[&Latencies]) {
    let columns: Vec<_> = columns.iter().map(|latencies| latencies.octaves()).collect();
    let octaves: BTreeSet<u32> = columns.iter().flat_map(|octaves| octaves.keys().copied()).collect();
    let (Some(&first), Some(&last)) = (octaves.first(), octaves.last()) else { return };
    for octave in first..=last {
        let upper = Millis(Duration::from_micros(2 << octave));
        let counts = columns.iter().map(|octaves| octaves.get(&octave).copied().unwrap_or_default());
        print_row(&format!("    below {upper}"), counts);
    }
}

/// A duration in milliseconds with as many digits as mean something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Millis(pub(crate) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.3} ms", self.0.as_secs_f64() * 1_000.0))
    }
}

//! What became of the lines so far, as the last line of an import tells it.

use std::fmt;
use std::time::Duration;

use indicatif::HumanCount;

/// Lines by what became of them; together, all lines that were dealt with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) stored: u64,
    pub(super) duplicates: u64,
    pub(super) refused: u64,
}

impl Tally {
    pub(super) fn events(self) -> u64 {
        self.stored + self.duplicates + self.refused
    }

    /// Whole events a second over `elapsed`.
    pub(super) fn rate(self, elapsed: Duration) -> u64 {
        let micros = elapsed.as_micros().max(1);
        u64::try_from(u128::from(self.events()) * 1_000_000 / micros).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [stored, duplicates, refused] = [self.stored, self.duplicates, self.refused].map(HumanCount);
        write!(f, "stored {stored}, duplicates {duplicates}, refused {refused}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let tally = Tally { stored: 85_444, duplicates: 0, refused: 1_000 };
        assert_eq!(tally.to_string(), "stored 85,444, duplicates 0, refused 1,000");
        assert_eq!(tally.rate(Duration::from_secs(2)), 43_222);
        assert_eq!(tally.rate(Duration::ZERO), 86_444_000_000);
    }
}

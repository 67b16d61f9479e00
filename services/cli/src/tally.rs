//! The counts of the events so far, for the last line of a command that sends them.

use std::fmt;
use std::time::Duration;

use indicatif::HumanCount;

use crate::upload::Answer;

/// Events by what became of them; together, all that were dealt with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) stored: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
}

impl Tally {
    /// Counts an answered batch.
    pub(crate) fn add(&mut self, answer: &Answer) {
        self.stored += answer.stored;
        self.duplicates += answer.duplicates;
        self.refused += answer.refused_events().count() as u64;
    }

    /// Returns the last line of a finished command: the numbers, how long it took, and the rate.
    pub(crate) fn result(self, elapsed: Duration) -> String {
        let (seconds, rate) = (elapsed.as_secs_f64(), HumanCount(self.rate(elapsed)));
        format!("{self} in {seconds:.1} s ({rate} events/s)")
    }

    pub(crate) fn events(self) -> u64 {
        self.stored + self.duplicates + self.refused
    }

    /// Whole events a second over `elapsed`.
    pub(crate) fn rate(self, elapsed: Duration) -> u64 {
        rate(self.events(), elapsed)
    }
}

/// Whole things a second, of so many over `elapsed`.
pub(crate) fn rate(count: u64, elapsed: Duration) -> u64 {
    let micros = elapsed.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
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
    fn an_event_with_several_faults_is_one_refused_event() {
        let answer = r#"{"stored":2,"duplicates":1,"refused":[
            {"index":3,"code":"empty","field":"user_id","detail":"expected a name"},
            {"index":3,"code":"missing_field","field":"id","detail":"expected an id"},
            {"index":5,"code":"invalid_json","detail":"expected an object"}]}"#;
        let answer: Answer = serde_json::from_str(answer).unwrap();
        let mut tally = Tally::default();
        tally.add(&answer);
        assert_eq!(tally.to_string(), "stored 2, duplicates 1, refused 2");
        let faults: Vec<_> = answer.refused.iter().map(|refused| refused.fault.to_string()).collect();
        assert_eq!(faults[0], "empty user_id: expected a name");
        assert_eq!(faults[2], "invalid_json: expected an object");
    }

    #[test]
    fn numbers_are_grouped() {
        let tally = Tally { stored: 85_444, duplicates: 0, refused: 1_000 };
        assert_eq!(tally.to_string(), "stored 85,444, duplicates 0, refused 1,000");
        assert_eq!(tally.rate(Duration::from_secs(2)), 43_222);
        assert_eq!(tally.rate(Duration::ZERO), 86_444_000_000);
    }
}

//! The identity of a log: its id, and the ids of the logs whose history it continues.

use std::fmt;

use lastseen_event::Position;

/// The id of one log: drawn at random when the log is made, and when a copy of one goes on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId([u8; 16]);

impl LogId {
    /// Draws the id of a log that is being made.
    pub fn draw() -> Self {
        Self(uuid::Uuid::new_v4().into_bytes())
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, in the order of a UUID.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Reads the id as it is printed: a hyphenated UUID. `None`: it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        const HYPHENATED_LEN: usize = 36;
        let uuid = uuid::Uuid::try_parse(text).ok().filter(|_| text.len() == HYPHENATED_LEN)?;
        Some(Self(uuid.into_bytes()))
    }
}

impl fmt::Display for LogId {
    /// A UUID.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

/// A log whose history another log continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Its id.
    pub log_id: LogId,
    /// The last position that both have. Above it, their positions stand for different events.
    pub until: Position,
}

/// The id of a log and of those that it continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    log_id: LogId,
    /// From the oldest to the one this log parted from, so that `until` never decreases.
    ancestors: Vec<Ancestor>,
}

impl Lineage {
    /// A log that continues no other.
    pub fn new(log_id: LogId) -> Self {
        Self { log_id, ancestors: Vec::new() }
    }

    /// A log that continues these. `None`: positions at which logs part never decrease from one to the next.
    pub fn with(log_id: LogId, ancestors: Vec<Ancestor>) -> Option<Self> {
        ancestors.is_sorted_by_key(|ancestor| ancestor.until).then_some(Self { log_id, ancestors })
    }

    /// The log that continues this one above `until`, under a new id.
    #[must_use]
    pub fn parted(&self, until: Position) -> Self {
        let mut ancestors = self.ancestors.clone();
        ancestors.push(Ancestor { log_id: self.log_id, until });
        Self { log_id: LogId::draw(), ancestors }
    }

    /// The id of the log.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The logs that it continues, the oldest first.
    pub fn ancestors(&self) -> &[Ancestor] {
        &self.ancestors
    }

    /// The log that wrote a position.
    pub fn of(&self, position: Position) -> LogId {
        let writer = self.ancestors.iter().find(|ancestor| position <= ancestor.until);
        writer.map_or(self.log_id, |ancestor| ancestor.log_id)
    }

    /// True if the log `log_id` may have written a file whose records are those from `first` on and below `end`: it wrote the first
    /// of them, or it went on from there without a record, and another log continued it.
    pub fn may_hold(&self, log_id: LogId, first: Position, end: Position) -> bool {
        let parted =
            |ancestor: &Ancestor| ancestor.log_id == log_id && ancestor.until.get() + 1 == first.get();
        self.of(first) == log_id || (first == end && self.ancestors.iter().any(parted))
    }

    /// True if the log is this one, or one that it continues.
    pub fn contains(&self, log_id: LogId) -> bool {
        log_id == self.log_id || self.ancestors.iter().any(|ancestor| ancestor.log_id == log_id)
    }

    /// True if a log with this id has the same events up to `position` as this one.
    pub fn shares(&self, log_id: LogId, position: Position) -> bool {
        let parted = self.ancestors.iter().find(|ancestor| ancestor.log_id == log_id);
        log_id == self.log_id || parted.is_some_and(|ancestor| position <= ancestor.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_belongs_to_the_log_that_wrote_it() {
        let first = Lineage::new(LogId([1; 16]));
        let second = first.parted(Position::new(5));
        // A copy that was never written to in between.
        let third = second.parted(Position::new(5));
        let fourth = third.parted(Position::new(9));
        for (position, log_id) in
            [(1, first.log_id), (5, first.log_id), (6, third.log_id), (9, third.log_id), (10, fourth.log_id)]
        {
            assert_eq!(fourth.of(Position::new(position)), log_id, "{position}");
        }
        for (log_id, position, shared) in [
            (first.log_id, 5, true),
            (first.log_id, 6, false),
            (second.log_id, 5, true),
            (third.log_id, 9, true),
            (third.log_id, 10, false),
            (fourth.log_id, 1_000, true),
            (LogId([2; 16]), 1, false),
        ] {
            assert_eq!(fourth.shares(log_id, Position::new(position)), shared, "{position}");
        }
        assert!(fourth.contains(second.log_id) && !second.contains(fourth.log_id));
        assert_eq!(Lineage::with(fourth.log_id, fourth.ancestors.clone()), Some(fourth.clone()));
        let disordered = fourth.ancestors.iter().rev().copied().collect();
        assert_eq!(Lineage::with(fourth.log_id, disordered), None);
        assert_eq!(LogId::parse(&first.log_id.to_string()), Some(first.log_id));
        assert_eq!(LogId::parse("01010101010101010101010101010101"), None);
    }
}

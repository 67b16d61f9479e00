//! A segment as the manifest names it: where it is in the history, and what its bytes are.

use lastseen_event::{Position, UtcInstant};
use serde::{Deserialize, Serialize};

use crate::batches::BatchEntry;
use crate::place::Place;

/// One segment. Its paths follow from its first place and its generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Of its first and its last record.
    pub(crate) positions: [u64; 2],
    /// The stamps' positions of its first and its last record. `None`: its records have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<[u64; 2]>,
    /// Least and greatest `occurred_at`.
    pub(crate) occurred: Span,
    /// Those of its first and its last record.
    pub(crate) recorded: Span,
    /// Days since 1970 in UTC on which one of its records occurred, as ranges `[first, last]`, ascending.
    pub(crate) days: Vec<[i32; 2]>,
    /// The file of new members, as one piece.
    pub(crate) members: Piece,
    /// The segment, cut into what is read as one, from its first byte to its last. Empty where the index file has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pieces: Vec<Piece>,
    /// The batches that its records name, in order of first appearance. Empty where the index file has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) batches: Vec<BatchEntry>,
    /// The files beside the segment. `None`: it is of version 1, where the pieces and the batches stood here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beside: Option<Beside>,
}

/// The index file of a segment, and its content in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beside {
    /// The index file, as one piece.
    pub(crate) index: Piece,
    /// Bytes of the segment.
    pub(crate) bytes: u64,
    /// Batches that its records name.
    pub(crate) batches: u32,
    /// The content of its records; see [`Content`].
    pub(crate) content: Content,
}

/// The content of a run of records, as a sum over them: of 128 bits of a hash of each one's place, id and fingerprint.
/// Two runs that follow each other have the sum of both, so it stays the same when segments are merged.
///
/// It tells histories apart that differ by accident. It is no signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content(pub(crate) u128);

impl Content {
    /// Adds a record.
    pub(crate) fn add(&mut self, place: Place, (id, fingerprint): (lastseen_event::EventId, u64)) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&place.get().to_le_bytes());
        bytes[8..24].copy_from_slice(id.as_uuid().as_bytes());
        bytes[24..].copy_from_slice(&fingerprint.to_le_bytes());
        self.0 = self.0.wrapping_add(xxhash_rust::xxh3::xxh3_128(&bytes));
    }

    /// The content of this run and of one that follows it.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl Serialize for Content {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const DIGITS: usize = 32;
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        let content = u128::from_str_radix(&text, 16).ok().filter(|_| text.len() == DIGITS);
        content.map(Self).ok_or_else(|| serde::de::Error::custom("expected 32 hexadecimal digits"))
    }
}

/// A run of bytes: `[length, crc32c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece(pub(crate) u64, pub(crate) u32);

impl Piece {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.len() as u64, crc32c::crc32c(bytes))
    }
}

/// Least and greatest instant, both inclusive, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span(i64, i64);

impl Span {
    pub(crate) fn at(at: UtcInstant) -> Self {
        Self(at.as_micros(), at.as_micros())
    }

    pub(crate) fn include(&mut self, at: UtcInstant) {
        *self = Self(self.0.min(at.as_micros()), self.1.max(at.as_micros()));
    }

    /// The span of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0.min(other.0), self.1.max(other.1))
    }

    pub(crate) fn contains(self, at: UtcInstant) -> bool {
        (self.0..=self.1).contains(&at.as_micros())
    }

    pub(crate) fn bounds(self) -> (UtcInstant, UtcInstant) {
        (UtcInstant::from_micros(self.0), UtcInstant::from_micros(self.1))
    }
}

impl Entry {
    pub(crate) fn first(&self) -> Place {
        Place::new(self.positions[0])
    }

    pub(crate) fn last(&self) -> Place {
        Place::new(self.positions[1])
    }

    /// The position that its last record shows: that of its stamp, or its place.
    pub(crate) fn last_shown(&self) -> Position {
        self.shown.map_or(self.last().own_position(), |shown| Position::new(shown[1]))
    }

    pub(crate) fn rows(&self) -> u64 {
        self.positions[1] + 1 - self.positions[0]
    }

    /// The length of the segment.
    pub(crate) fn bytes(&self) -> u64 {
        let pieces = || self.pieces.iter().map(|piece| piece.0).sum();
        self.beside.map_or_else(pieces, |beside| beside.bytes)
    }

    /// The length of all its files.
    pub(crate) fn bytes_of_all(&self) -> u64 {
        self.bytes() + self.members.0 + self.beside.map_or(0, |beside| beside.index.0)
    }

    /// True if a record that occurred at `at` may be in the segment.
    pub(crate) fn may_hold(&self, at: UtcInstant) -> bool {
        self.occurred.contains(at) && self.may_hold_any(Some(at), Some(at))
    }

    /// True if its days leave room for a record that occurred between these instants, both inclusive.
    pub(crate) fn may_hold_any(&self, since: Option<UtcInstant>, until: Option<UtcInstant>) -> bool {
        let first = since.map_or(i32::MIN, day_of);
        let last = until.map_or(i32::MAX, day_of);
        let range = self.days.partition_point(|range| range[1] < first);
        self.days.get(range).is_some_and(|range| range[0] <= last)
    }
}

/// Days as ranges, ascending, from the days themselves, ascending.
pub(crate) fn day_ranges(days: impl Iterator<Item = i32>) -> Vec<[i32; 2]> {
    let mut ranges: Vec<[i32; 2]> = Vec::new();
    for day in days {
        match ranges.last_mut() {
            Some(range) if range[1] + 1 == day => range[1] = day,
            _ => ranges.push([day, day]),
        }
    }
    ranges
}

/// The day in UTC, counted from 1970-01-01.
///
/// # Panics
/// Never: the microseconds of an instant are fewer than 2^31 days.
pub(crate) fn day_of(at: UtcInstant) -> i32 {
    const DAY_US: i64 = 86_400_000_000;
    i32::try_from(at.as_micros().div_euclid(DAY_US)).expect("2^63 microseconds are 107 million days")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_may_hold_the_days_it_names() {
        const DAY_US: i64 = 86_400_000_000;
        let span = Span(0, 3 * DAY_US);
        let entry = Entry {
            positions: [1, 5],
            shown: None,
            occurred: span,
            recorded: span,
            days: day_ranges([0, 1, 3].into_iter()),
            members: Piece(0, 0),
            pieces: Vec::new(),
            batches: Vec::new(),
            beside: None,
        };
        for (micros, held) in [
            (-1, false),
            (0, true),
            (2 * DAY_US - 1, true),
            (2 * DAY_US, false),
            (3 * DAY_US, true),
            (3 * DAY_US + 1, false),
        ] {
            assert_eq!(entry.may_hold(UtcInstant::from_micros(micros)), held, "{micros}");
        }
    }

    #[test]
    fn the_content_of_two_runs_is_that_of_both_as_one() {
        let id = |number: u128| lastseen_event::EventId::stored(uuid::Uuid::from_u128(number));
        let content = |positions: std::ops::RangeInclusive<u64>| {
            let mut content = Content::default();
            positions.for_each(|at| content.add(Place::new(at), (id(u128::from(at) * 7), at * 3)));
            content
        };
        assert_eq!(content(1..=5).and(content(6..=9)), content(1..=9));
        let mut swapped = Content::default();
        swapped.add(Place::new(1), (id(14), 6));
        swapped.add(Place::new(2), (id(7), 3));
        assert_ne!(swapped, content(1..=2), "the order counts");
    }
}

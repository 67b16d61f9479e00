//! Numbers that look random and depend on nothing but what they are about: a hash, then `SplitMix64`. They must never
//! change from one run to the next, so no library's generator is used.

use std::ops::Range;

use super::Millis;

/// The purpose of drawn numbers: each draws its own. A new one comes last, since its place is part of the hash.
#[derive(Clone, Copy, Debug)]
pub(super) enum Topic {
    Arrival,
    Life,
    Place,
    Day,
    FirstVisit,
    EventId,
    SessionId,
    UserName,
    Tenant,
    AnyHour,
}

/// A source of numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The source of these numbers about this topic.
    pub(super) fn of<const N: usize>(seed: u64, topic: Topic, about: [u64; N]) -> Self {
        let start = mix(seed.wrapping_add(GAMMA)).wrapping_add(topic as u64);
        Self(about.into_iter().fold(mix(start), |hash, number| mix(hash.wrapping_add(GAMMA) ^ number)))
    }

    /// The next 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// A number below `bound`, which must not be 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// True so many times of a thousand.
    pub(super) fn chance(&mut self, permille: u32) -> bool {
        self.below(1_000) < u64::from(permille)
    }

    /// A number of a range that is not empty.
    pub(super) fn between(&mut self, range: Range<Millis>) -> Millis {
        range.start + self.below((range.end - range.start).cast_unsigned()).cast_signed()
    }

    /// One of `choices`.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len() as u64);
        choices[usize::try_from(at).unwrap_or_default()]
    }
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A permutation of all 64-bit numbers, the last step of `SplitMix64`.
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

//! Tenants: how large they are, and when people work there.

use super::random::{Random, Topic};
use super::{DAY, HOUR, MINUTE, Millis};

/// East of UTC, in hours, of the places where tenants are; none is further east than [`EAST_MAX`].
const OFFSETS_HOURS: [Millis; 10] = [-8, -6, -5, -5, 0, 1, 1, 2, 8, 9];
/// No local day begins earlier before the day of UTC.
pub(super) const EAST_MAX: Millis = 9 * HOUR;
/// Minutes after which applications renew a session.
const REFRESH_MINUTES: [Millis; 5] = [4, 5, 5, 10, 15];

/// All tenants, by number.
#[derive(Debug)]
pub(super) struct Tenants {
    seed: u64,
    /// `up_to[tenant]` is the sum of the weights of the tenants up to this one: Zipf's law with exponent 1.
    up_to: Vec<u64>,
}

/// When people work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// Local time minus UTC.
    pub(super) east: Millis,
    /// When work begins, after local midnight.
    pub(super) opens: Millis,
    /// The length of the working day.
    pub(super) lasts: Millis,
    /// Of a thousand users who would come on a workday, the number who come on a Saturday or Sunday.
    pub(super) weekend_permille: u32,
    /// After how long the application renews a session.
    pub(super) refresh: Millis,
}

impl Tenants {
    /// There must be at least one.
    pub(super) fn new(seed: u64, count: u32) -> Self {
        const LARGEST: u64 = 1 << 32;
        let up_to = (1..=u64::from(count)).scan(0, |sum, rank| {
            *sum += LARGEST / rank;
            Some(*sum)
        });
        Self { seed, up_to: up_to.collect() }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.up_to.len()).unwrap_or(u32::MAX)
    }

    /// One of them, the larger the likelier.
    pub(super) fn draw(&self, random: &mut Random) -> u32 {
        let all = self.up_to.last().copied().unwrap_or(1);
        let drawn = random.below(all);
        u32::try_from(self.up_to.partition_point(|up_to| *up_to <= drawn)).unwrap_or_default()
    }

    pub(super) fn rhythm(&self, tenant: u32) -> Rhythm {
        let mut random = Random::of(self.seed, Topic::Tenant, [u64::from(tenant)]);
        Rhythm {
            east: random.pick(&OFFSETS_HOURS) * HOUR,
            opens: random.between(14..19) * HOUR / 2,
            lasts: random.between(16..21) * HOUR / 2,
            weekend_permille: 50 + u32::try_from(random.below(150)).unwrap_or_default(),
            refresh: random.pick(&REFRESH_MINUTES) * MINUTE,
        }
    }
}

impl Rhythm {
    /// The working hours of a local day, counted from 1970, in UTC: when they begin.
    pub(super) fn opening(&self, day: i64) -> Millis {
        day * DAY - self.east + self.opens
    }

    /// The local day of an instant, counted from 1970.
    pub(super) fn day(&self, at: Millis) -> i64 {
        (at + self.east).div_euclid(DAY)
    }
}

/// Days since Monday of a day counted from 1970, a Thursday.
pub(super) fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7)
}

/// True if it is a Saturday or Sunday.
pub(super) fn is_weekend(day: i64) -> bool {
    weekday(day) >= 5
}

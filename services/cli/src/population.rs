//! Users of an application that never was, and what they do: tenants of very different sizes, invitations and sign-ups,
//! sessions in working hours, quiet weekends, users of several tenants, some who leave and some who return.
//!
//! 1. a [`Plan`] says how many there are, and when their past ends;
//! 2. a [`Population`] knows each of them, by a hash of the seed and the user's number: it holds no state per user;
//! 3. a [`Timeline`] tells what happens, in order of time across all users, a day at a time, without an end;
//! 4. [`Population::encode`] writes an [`Occurrence`] as the line that a service would publish.
//!
//! The same plan gives the same events with the same ids. No clock, no I/O.

mod life;
mod names;
mod occurrence;
mod random;
mod tenants;
mod timeline;
mod visits;

use lastseen_event::UtcInstant;

pub use self::occurrence::Occurrence;
use self::random::{Random, Topic};
use self::tenants::Tenants;
pub use self::timeline::Timeline;

/// Instants and spans within the generator: all of its instants are whole milliseconds, as most publishers send them.
type Millis = i64;

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;
/// After everything.
const NEVER: Millis = Millis::MAX;

/// The time it takes to bring in the users who are there from the beginning.
const MIGRATION: Millis = HOUR;
/// The most by which a newcomer's arrival is moved to fall into working hours.
const ARRIVAL_MOVED_MAX: Millis = 3 * DAY;

/// The parameters of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Another seed gives other users with other lives.
    pub seed: u64,
    /// Number of users at the end of the past, 1 to [`Plan::USERS_MAX`]. Some are in several tenants.
    pub users: u32,
    /// Number of tenants of these users, 1 to `users`.
    pub tenants: u32,
    /// Number of days of 24 hours that the past has, at least 1.
    pub days: u32,
    /// The end of the past, inclusive; life goes on after it. Truncated to milliseconds.
    pub until: UtcInstant,
    /// The frequency of users' visits, in thousandths of the usual.
    pub visits_permille: u32,
    /// Number of additional visits that a user makes, once the past is over, on each day on which it would come if all were
    /// workdays: at any hour, so that there is something to look at on a Sunday night. 0: life goes on as before.
    pub visits_at_any_hour: u32,
}

/// The plan cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// No users, or too many.
    #[error("expected 1 to {} users", Plan::USERS_MAX)]
    Users,
    /// No tenants, or more than users.
    #[error("expected 1 to {users} tenants, as many as users at most")]
    Tenants {
        /// Number of users.
        users: u32,
    },
    /// The past is empty, or begins before any event may have occurred.
    #[error("expected a past of at least one day that begins in {} or later", UtcInstant::EARLIEST)]
    Days,
}

impl Plan {
    /// Most users: what happens on one day is held in memory.
    pub const USERS_MAX: u32 = 10_000_000;

    /// The first instant of the past.
    pub fn since(&self) -> UtcInstant {
        UtcInstant::from_micros(self.since_ms().saturating_mul(1_000))
    }

    fn until_ms(&self) -> Millis {
        self.until.as_micros().div_euclid(1_000)
    }

    fn since_ms(&self) -> Millis {
        self.until_ms().saturating_sub(self.span())
    }

    fn span(&self) -> Millis {
        Millis::from(self.days) * DAY
    }
}

/// The users and their tenants. Users have numbers in the order in which they arrive; after the past more of
/// them arrive, without an end.
#[derive(Debug)]
pub struct Population {
    plan: Plan,
    tenants: Tenants,
    /// Users who are there from the beginning.
    founders: u32,
}

impl Population {
    /// The population of `plan`.
    ///
    /// # Errors
    /// [`InvalidPlan`] says what is out of range.
    pub fn new(plan: Plan) -> Result<Self, InvalidPlan> {
        if !(1..=Plan::USERS_MAX).contains(&plan.users) {
            return Err(InvalidPlan::Users);
        }
        if !(1..=plan.users).contains(&plan.tenants) {
            return Err(InvalidPlan::Tenants { users: plan.users });
        }
        if plan.days == 0 || plan.since() < UtcInstant::EARLIEST {
            return Err(InvalidPlan::Days);
        }
        let tenants = Tenants::new(plan.seed, plan.tenants);
        Ok(Self { plan, tenants, founders: (plan.users * 6).div_ceil(10) })
    }

    /// The plan it was made from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The number of the tenant that `occurrence` is about, from 0; the first ones are the largest.
    pub fn tenant(&self, occurrence: &Occurrence) -> u32 {
        self.place(occurrence.user, occurrence.place)
    }

    fn random(&self, topic: Topic, user: u32, day: i64) -> Random {
        Random::of(
            self.plan.seed,
            topic,
            [u64::from(self.plan.tenants), u64::from(user), day.cast_unsigned()],
        )
    }

    /// When `user` arrives, before working hours are looked at. Never decreases with the user's number.
    fn due(&self, user: u32) -> Millis {
        let Plan { users, .. } = self.plan;
        let (from, span) = (self.plan.since_ms(), self.plan.span());
        let Some(newcomer) = user.checked_sub(self.founders) else {
            return from + MIGRATION * Millis::from(user) / Millis::from(self.founders);
        };
        let newcomers = users - self.founders;
        if newcomers == 0 {
            return NEVER;
        }
        let (pasts, of_past) = (Millis::from(newcomer / newcomers), Millis::from(newcomer % newcomers));
        let newcomers = Millis::from(newcomers);
        let jitter = self.random(Topic::Arrival, user, 0).between(0..(span / newcomers).max(1));
        from + pasts * span + of_past * span / newcomers + jitter
    }
}

#[cfg(test)]
mod tests;

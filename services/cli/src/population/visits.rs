//! The occurrences of a user, a day at a time: a pure function of the population, the user and the day.

use lastseen_event::EventType;

use super::life::{Entrance, Life, PLACES_MAX};
use super::occurrence::{Fact, Occurrence};
use super::random::{Random, Topic};
use super::tenants::{Rhythm, is_weekend};
use super::{DAY, HOUR, MINUTE, Millis, NEVER, Population, SECOND};

/// The least length of a visit, and the most that is added to it.
const VISIT_MIN: Millis = 5 * MINUTE;
const VISIT_MORE: Millis = 3 * HOUR;
/// Of a thousand renewals of somebody who is in several tenants, how many are a switch to another one.
const SWITCH_PERMILLE: u32 = 150;
/// Of a thousand days on which a user comes, how many see its role or profile change.
const CHANGE_PERMILLE: u32 = 10;

impl Population {
    /// Adds, in any order, what happens to `user` on a day of UTC counted from 1970, and the visits that begin on
    /// that day of its own calendar.
    pub(super) fn live(&self, user: u32, day: i64, out: &mut Vec<Occurrence>) {
        let life = self.life(user);
        if life.places()[0].created >= (day + 2) * DAY {
            return;
        }
        let today = day * DAY..(day + 1) * DAY;
        life.milestones(user, |occurrence| {
            if today.contains(&occurrence.at) {
                out.push(occurrence);
            }
        });
        let rhythm = self.tenants.rhythm(life.places()[0].tenant);
        let mut visits = Visits { user, life: &life, rhythm, out };
        if today.contains(&life.places()[0].opens) {
            visits.first(&mut self.random(Topic::FirstVisit, user, 0));
        }
        let mut random = self.random(Topic::Day, user, day);
        let weekend = if is_weekend(day) { u64::from(rhythm.weekend_permille) } else { 1_000 };
        let likely = u64::from(life.visits_permille) * u64::from(self.plan.visits_permille) * weekend;
        if random.below(1_000_000_000) < likely {
            visits.of_day(day, &mut random);
        }
        if day * DAY + DAY > self.plan.until_ms() {
            let mut random = self.random(Topic::AnyHour, user, day);
            if random.chance(life.visits_permille) {
                visits.at_any_hour(day, (self.plan.visits_at_any_hour, self.plan.until_ms()), &mut random);
            }
        }
    }
}

impl Life {
    /// Everything that happens to the user, in any order, its visits apart.
    fn milestones(&self, user: u32, mut tell: impl FnMut(Occurrence)) {
        let mut tell = |event_type, place, at, facts: &[Fact]| {
            if at != NEVER {
                tell(Occurrence::new(event_type, (user, place), at).with(facts));
            }
        };
        for (number, place) in (0_u8..).zip(self.places()) {
            let entrance = if number == 0 { self.entrance } else { Entrance::Invited };
            let facts: &[Fact] = match entrance {
                Entrance::Migrated { .. } => &[Fact::Confirmed, Fact::Migrated],
                Entrance::MigratedPending => &[Fact::Migrated],
                Entrance::SignedUp => &[Fact::Confirmed],
                Entrance::Invited | Entrance::InvitedToSignUp => &[],
            };
            tell(EventType::UserCreated, number, place.created, facts);
            match entrance {
                Entrance::Migrated { estimated: true } => {
                    tell(EventType::EstimatedActivity, number, place.created, &[Fact::Migrated]);
                }
                Entrance::Invited | Entrance::MigratedPending => {
                    tell(EventType::UserConfirmed, number, place.opens, &[]);
                }
                // Their sign-up is the beginning of their first visit.
                Entrance::Migrated { .. } | Entrance::SignedUp | Entrance::InvitedToSignUp => {}
            }
            if place.created < self.deleted {
                tell(EventType::UserDeleted, number, self.deleted, &[]);
                tell(EventType::UserRestored, number, self.restored, &[]);
            }
        }
    }
}

/// Adds the visits of one user.
struct Visits<'a> {
    user: u32,
    life: &'a Life,
    rhythm: Rhythm,
    out: &'a mut Vec<Occurrence>,
}

impl Visits<'_> {
    /// The visit that begins with the sign-up or the confirmation.
    fn first(&mut self, random: &mut Random) {
        let opens = self.life.places()[0].opens;
        match self.life.entrance {
            Entrance::SignedUp | Entrance::InvitedToSignUp => {
                self.visit(EventType::SignupComplete, opens, random);
            }
            Entrance::Invited | Entrance::MigratedPending => {
                self.visit(EventType::Login, opens + random.between(SECOND..30 * SECOND), random);
            }
            Entrance::Migrated { .. } => {}
        }
    }

    fn of_day(&mut self, day: i64, random: &mut Random) {
        let work = self.rhythm.opening(day);
        for _ in 0..random.pick(&[1, 1, 2, 3]) {
            let begins = if random.chance(850) {
                work + random.between(0..self.rhythm.lasts)
            } else {
                // At any hour of the same local day.
                work - self.rhythm.opens + random.between(0..DAY)
            };
            self.visit(EventType::Login, begins, random);
        }
        let changed = work + random.between(0..self.rhythm.lasts);
        if random.chance(CHANGE_PERMILLE) && self.life.is_around(changed) {
            self.out.push(Occurrence::new(EventType::UserChanged, (self.user, 0), changed));
        }
    }

    /// Up to `count` visits that begin on a day of UTC, those that would begin before the past has ended left out.
    fn at_any_hour(&mut self, day: i64, (count, past_until): (u32, Millis), random: &mut Random) {
        for _ in 0..count {
            let begins = day * DAY + random.between(0..DAY);
            if begins > past_until {
                self.visit(EventType::Login, begins, random);
            }
        }
    }

    /// A session: an event that begins it, renewals and switches until it ends, or until the user is gone.
    fn visit(&mut self, begin: EventType, begins: Millis, random: &mut Random) {
        const STEPS: u64 = 1 << 10;
        let session = Fact::Session(((random.bits() >> 32) as u32).max(1));
        let drawn = random.below(STEPS);
        let ends =
            begins + VISIT_MIN + (drawn * drawn).cast_signed() * VISIT_MORE / (STEPS * STEPS).cast_signed();
        let (mut event_type, mut from, mut at, mut place) = (begin, Fact::From(0), begins, 0);
        while at <= ends && self.life.is_around(at) {
            self.out.push(Occurrence::new(event_type, (self.user, place), at).with(&[session, from]));
            at += self.rhythm.refresh + random.between(0..20 * SECOND);
            (event_type, from) = (EventType::TokenRefresh, Fact::From(0));
            if self.life.places().len() > 1 && random.chance(SWITCH_PERMILLE) {
                let next = self.elsewhere(place, at, random);
                if next != place {
                    (event_type, from, place) = (EventType::TenantSwitch, Fact::From(place), next);
                }
            }
        }
    }

    /// Another place that the user can work in by then; the same one where there is none.
    fn elsewhere(&self, place: u8, at: Millis, random: &mut Random) -> u8 {
        let mut open = [0; PLACES_MAX];
        let mut count = 0;
        for (number, candidate) in (0_u8..).zip(self.life.places()) {
            if number != place && candidate.opens <= at {
                open[count] = number;
                count += 1;
            }
        }
        if count == 0 { place } else { random.pick(&open[..count]) }
    }
}

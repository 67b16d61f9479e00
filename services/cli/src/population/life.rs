//! A user's life: when and how it came, when it stays away, how it ended. Computed anew wherever it is needed.

use std::ops::Range;

use super::random::{Random, Topic};
use super::tenants::{is_weekend, weekday};
use super::{DAY, HOUR, MINUTE, Millis, NEVER, Population};

/// Most tenants of one user.
pub(super) const PLACES_MAX: usize = 3;

/// All that does not depend on the day.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) entrance: Entrance,
    /// The tenants that the user is in, its first one in front.
    places: [Place; PLACES_MAX],
    count: usize,
    /// Left for good.
    gone: Millis,
    /// Away, and back later: on leave, and while deleted by mistake.
    away: [Range<Millis>; 2],
    pub(super) deleted: Millis,
    pub(super) restored: Millis,
    /// Of a thousand workdays, how many the user comes on.
    pub(super) visits_permille: u32,
}

/// The way in which a user came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    /// Was there before Lastseen, and was brought in by a backfill.
    Migrated {
        /// True if the backfill could guess when the user was last seen.
        estimated: bool,
    },
    /// Was there before Lastseen, invited and not confirmed.
    MigratedPending,
    /// Signed up.
    SignedUp,
    /// Was invited, and confirms the address.
    Invited,
    /// Was invited, and completes a sign-up.
    InvitedToSignUp,
}

/// A user in one tenant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) tenant: u32,
    /// When the user was created there.
    pub(super) created: Millis,
    /// When the user can begin to work there; [`NEVER`] for a user who stays pending.
    pub(super) opens: Millis,
}

impl Life {
    /// Returns the tenants that the user is in, its first one in front.
    pub(super) fn places(&self) -> &[Place] {
        &self.places[..self.count]
    }

    /// True if the user may come at this instant.
    pub(super) fn is_around(&self, at: Millis) -> bool {
        (self.places[0].opens..self.gone).contains(&at) && !self.away.iter().any(|away| away.contains(&at))
    }
}

impl Population {
    /// The tenant of a user's place; those of one user differ as long as there are enough.
    pub(super) fn place(&self, user: u32, place: u8) -> u32 {
        let count = self.tenants.count();
        let drawn = |place| self.tenants.draw(&mut self.random(Topic::Place, user, i64::from(place)));
        // Every tenant has somebody.
        let home = if user < count { user } else { drawn(0) };
        let mut taken = [home; PLACES_MAX];
        for place in 1..=place {
            let mut tenant = drawn(place);
            while taken[..usize::from(place)].contains(&tenant) {
                tenant = (tenant + 1) % count;
            }
            taken[usize::from(place)] = tenant;
        }
        taken[usize::from(place)]
    }

    /// The life of `user`.
    pub(super) fn life(&self, user: u32) -> Life {
        let mut random = self.random(Topic::Life, user, 0);
        let (created, entrance) = (self.arrival(user), self.entrance(user, &mut random));
        let opens = opens(entrance, created, &mut random);
        let home = Place { tenant: self.place(user, 0), created, opens };
        let mut life = Life {
            entrance,
            places: [home; PLACES_MAX],
            count: 1,
            gone: NEVER,
            away: [NEVER..NEVER, NEVER..NEVER],
            deleted: NEVER,
            restored: NEVER,
            visits_permille: random.pick(&[850, 850, 850, 450, 450, 450, 450, 80, 80, 15]),
        };
        if opens == NEVER {
            // Some invitations are cleaned up.
            if random.chance(200) {
                life.deleted = created + random.between(14 * DAY..40 * DAY);
            }
            return life;
        }
        life.draw_fate(opens, &mut random);
        self.add_places(user, &mut life, &mut random);
        life
    }

    /// When `user` arrives: newcomers mostly on workdays, in the working hours of their tenant.
    fn arrival(&self, user: u32) -> Millis {
        let due = self.due(user);
        if user < self.founders || due == NEVER {
            return due;
        }
        let rhythm = self.tenants.rhythm(self.place(user, 0));
        let mut day = rhythm.day(due);
        if is_weekend(day) && !user.is_multiple_of(8) {
            day -= weekday(day) - 4;
        }
        let of_day = (due + rhythm.east).rem_euclid(DAY);
        let moved = rhythm.opening(day) + of_day * rhythm.lasts / DAY;
        // Whoever is due within the past arrives within it, and nobody else.
        let past = self.plan.since_ms()..=self.plan.until_ms();
        if past.contains(&moved) == past.contains(&due) { moved } else { due }
    }

    fn entrance(&self, user: u32, random: &mut Random) -> Entrance {
        let drawn = random.below(100);
        match drawn {
            // Whoever is the first of a tenant is no guest there.
            _ if user < self.tenants.count() && user >= self.founders => Entrance::SignedUp,
            0..8 if user < self.founders && user >= self.tenants.count() => Entrance::MigratedPending,
            _ if user < self.founders => Entrance::Migrated { estimated: drawn < 70 },
            0..50 => Entrance::SignedUp,
            50..80 => Entrance::Invited,
            _ => Entrance::InvitedToSignUp,
        }
    }

    fn add_places(&self, user: u32, life: &mut Life, random: &mut Random) {
        let wanted = random.pick(&[1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3]).min(self.tenants.count() as usize);
        for place in (1_u8..).take(wanted - 1) {
            let created = life.places[0].opens + random.between(0..60 * DAY);
            let opens = created + random.between(MINUTE..2 * HOUR);
            if !life.is_around(created) {
                break;
            }
            let opens = if random.chance(850) && life.is_around(opens) { opens } else { NEVER };
            life.places[life.count] = Place { tenant: self.place(user, place), created, opens };
            life.count += 1;
        }
    }
}

impl Life {
    fn draw_fate(&mut self, opens: Millis, random: &mut Random) {
        if random.chance(300) {
            self.gone = opens + random.between(2 * DAY..150 * DAY);
            if random.chance(400) {
                self.deleted = self.gone + random.between(HOUR..10 * DAY);
            }
        } else if random.chance(15) {
            self.deleted = opens + random.between(DAY..90 * DAY);
            self.restored = self.deleted + random.between(HOUR..72 * HOUR);
            self.away[1] = self.deleted..self.restored;
        }
        if random.chance(250) {
            let leaves = opens + random.between(2 * DAY..70 * DAY);
            self.away[0] = leaves..leaves + random.between(14 * DAY..50 * DAY);
        }
    }
}

/// When a user who was created then can begin to work; [`NEVER`] if it stays pending.
fn opens(entrance: Entrance, created: Millis, random: &mut Random) -> Millis {
    let (answers_permille, within) = match entrance {
        Entrance::Migrated { .. } => return created,
        Entrance::MigratedPending => (200, 30 * DAY),
        Entrance::SignedUp => (1_000, 10 * MINUTE),
        Entrance::Invited | Entrance::InvitedToSignUp => (750, 5 * DAY),
    };
    if random.chance(answers_permille) { created + random.between(MINUTE..within) } else { NEVER }
}

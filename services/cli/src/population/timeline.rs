//! The occurrences of all users, in order of time. They are made a day at a time. An occurrence waits for the
//! next day if that may still bring an earlier one.

use std::sync::Arc;

use lastseen_event::UtcInstant;

use super::occurrence::Occurrence;
use super::tenants::EAST_MAX;
use super::{ARRIVAL_MOVED_MAX, DAY, Millis, Population};

/// Everything that happens from the beginning of the past on, without an end, in an order that is always the same.
///
/// Memory is that of the occurrences of two days, 24 bytes each.
#[derive(Debug)]
pub struct Timeline {
    population: Arc<Population>,
    /// In order from `next` on.
    made: Vec<Occurrence>,
    next: usize,
    /// Nothing that is not made yet happens before this instant.
    complete: Millis,
    /// The first day that is not made yet.
    day: i64,
    /// Users below this number may have arrived.
    arrived: u32,
}

impl Timeline {
    /// The timeline of `population`.
    pub fn new(population: Arc<Population>) -> Self {
        // Local days are up to a day ahead of those of UTC.
        let day = population.plan.since_ms().div_euclid(DAY) - 1;
        Self { population, made: Vec::new(), next: 0, complete: day * DAY - EAST_MAX, day, arrived: 0 }
    }

    /// Whom it is about.
    pub fn population(&self) -> &Arc<Population> {
        &self.population
    }

    /// Returns the next occurrence if it is by `until`, inclusive.
    pub fn next_until(&mut self, until: UtcInstant) -> Option<Occurrence> {
        let until = until.as_micros().div_euclid(1_000);
        loop {
            match self.made.get(self.next) {
                Some(next) if next.at < self.complete => {
                    self.next += usize::from(next.at <= until);
                    return (next.at <= until).then_some(*next);
                }
                _ if self.complete > until => return None,
                _ => self.make_day(),
            }
        }
    }

    fn make_day(&mut self) {
        let population = &self.population;
        self.made.drain(..self.next);
        self.next = 0;
        while population.due(self.arrived) < (self.day + 1) * DAY + ARRIVAL_MOVED_MAX {
            self.arrived += 1;
        }
        for user in 0..self.arrived {
            population.live(user, self.day, &mut self.made);
        }
        let from = population.plan.since_ms();
        self.made.retain(|occurrence| occurrence.at >= from);
        self.made.sort_unstable();
        self.day += 1;
        self.complete = self.day * DAY - EAST_MAX;
    }
}

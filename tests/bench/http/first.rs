//! The first events of the server: every member once.

use lastseen_event::EventType;
use lastseen_tests::Seeded;
use lastseen_tests::instant::{DAY, HOUR, now};

use crate::harness::workload::{Ids, LINE_BYTES, Population};

/// Bodies of `size` events that show every member once, three of five within the last 30 days.
pub(crate) fn first_events(population: &Population, size: usize) -> impl Iterator<Item = Vec<u8>> {
    let (mut random, mut ids) = (Seeded::new(2), Ids::new(0));
    let newest = now() - 3 * HOUR;
    (0..population.len()).step_by(size).map(move |first| {
        let mut body = Vec::with_capacity(size * LINE_BYTES);
        for index in first..(first + size).min(population.len()) {
            let member = index * 982_451_653 % population.len();
            let age = i64::try_from(random.below((50 * DAY).unsigned_abs())).expect("50 days are few");
            let (id, _) = population.write(&mut body, member, EventType::Login, newest - age);
            ids.patch(&mut body, id);
            body.push(b'\n');
        }
        body
    })
}

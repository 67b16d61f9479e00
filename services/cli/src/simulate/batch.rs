//! The occurrences of a simulation, cut into requests.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use lastseen::population::Timeline;
use lastseen_event::{EventType, UtcInstant};

use crate::ahead::QUEUE_BATCHES;
use crate::upload::BODY_BYTES_MAX;

/// More than any line takes.
const LINE_BYTES: usize = 512;

/// One request.
pub(super) struct Batch {
    /// NDJSON, never empty.
    pub(super) body: Vec<u8>,
    /// The tenants of the users who are created in it, by number.
    pub(super) created: Vec<u32>,
    /// When the last of it happens.
    pub(super) until: UtcInstant,
}

impl Batch {
    /// Makes a batch of the next occurrences, by `until` and at most `events_max` of them. `None` if there
    /// are none.
    pub(super) fn make(timeline: &mut Timeline, until: UtcInstant, events_max: usize) -> Option<Self> {
        let first = timeline.next_until(until)?;
        let mut batch = Self { body: Vec::new(), created: Vec::new(), until };
        let (mut next, mut events) = (Some(first), 0);
        while let Some(occurrence) = next {
            let population = timeline.population();
            population.encode(&occurrence, &mut batch.body);
            if occurrence.event_type() == EventType::UserCreated {
                batch.created.push(population.tenant(&occurrence));
            }
            batch.until = occurrence.at();
            events += 1;
            let is_full = events >= events_max || batch.body.len() + LINE_BYTES > BODY_BYTES_MAX;
            next = if is_full { None } else { timeline.next_until(until) };
        }
        Some(batch)
    }
}

/// The thread that makes batches ahead, as long as somebody takes them.
pub(super) struct Bulk {
    batches: Receiver<Batch>,
    thread: JoinHandle<Timeline>,
}

impl Bulk {
    /// Makes all that happens by `until`.
    pub(super) fn start(mut timeline: Timeline, until: UtcInstant, events_max: usize) -> io::Result<Self> {
        let (made, batches) = sync_channel(QUEUE_BATCHES);
        let thread = thread::Builder::new().name("population".to_owned()).spawn(move || {
            while let Some(batch) = Batch::make(&mut timeline, until, events_max) {
                if made.send(batch).is_err() {
                    break;
                }
            }
            timeline
        })?;
        Ok(Self { batches, thread })
    }

    /// Disconnected once all are made.
    pub(super) fn batches(&self) -> &Receiver<Batch> {
        &self.batches
    }

    /// Returns the rest of the timeline. All batches must have been taken.
    pub(super) fn finish(self) -> Timeline {
        self.thread.join().expect("making batches does not panic")
    }
}

//! Counting events by the batch they name: what a group, a frame or a segment adds to the batches of the log.

use std::collections::HashMap;

use lastseen_event::{BatchName, EventType, Position};
use lastseen_store::{Batches, TypeCounts};
use serde::{Deserialize, Serialize};

use crate::damage::Malformed;
use crate::record::Record;

/// The events that a run of the log adds to each batch it names, in order of first appearance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    batches: Vec<Tallied>,
    places: HashMap<String, usize>,
    /// The batch that was named last.
    last: usize,
}

#[derive(Clone, Debug)]
struct Tallied {
    name: String,
    events: TypeCounts,
    retracted: Option<Position>,
}

impl Tally {
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.places.clear();
    }

    /// Counts a record, if it names a batch.
    pub(crate) fn count_record(&mut self, record: &Record<'_>, position: Position) {
        if let Some((batch, event_type)) = record.batch() {
            self.count(batch, event_type, position);
        }
    }

    /// Counts an event of a batch, or its retraction, which is none of them.
    pub(crate) fn count(&mut self, batch: BatchName<'_>, event_type: EventType, position: Position) {
        let place = self.place(batch.as_str());
        let batch = &mut self.batches[place];
        if event_type == EventType::BackfillRetracted {
            batch.retracted.get_or_insert(position);
        } else {
            batch.events.add(event_type, 1);
        }
    }

    fn place(&mut self, name: &str) -> usize {
        // Events of one batch come one after the other.
        if self.batches.get(self.last).is_none_or(|last| last.name != name) {
            self.last = self.places.get(name).copied().unwrap_or_else(|| {
                let events = TypeCounts::default();
                self.batches.push(Tallied { name: name.to_owned(), events, retracted: None });
                self.places.insert(name.to_owned(), self.batches.len() - 1);
                self.batches.len() - 1
            });
        }
        self.last
    }

    /// Adds it to the batches of the log; those that are new get their numbers in order.
    pub(crate) fn add_to(&self, batches: &mut Batches) {
        for Tallied { name, events, retracted } in &self.batches {
            let batch = batches.resolve(BatchName::stored(name).expect("it was counted as one"));
            for (event_type, events) in events.iter() {
                batches.add(batch, event_type, events);
            }
            if let Some(position) = retracted {
                batches.retract(batch, *position);
            }
        }
    }

    /// Returns the batches as they stand beside a segment.
    pub(crate) fn entries(&self) -> Vec<BatchEntry> {
        let entry = |Tallied { name, events, retracted }: &Tallied| {
            let events = events.iter().map(|(event_type, events)| (event_type.code(), events));
            BatchEntry(name.clone(), events.collect(), retracted.map(Position::get))
        };
        self.batches.iter().map(entry).collect()
    }
}

/// A batch as it stands beside a segment, and in the manifest of version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchEntry(
    /// Its name.
    pub(crate) String,
    /// Events of each type, by the code of the type.
    pub(crate) Vec<(u8, u64)>,
    /// The position of its retraction.
    pub(crate) Option<u64>,
);

impl BatchEntry {
    /// Adds it to the batches of the log.
    ///
    /// # Errors
    /// [`Malformed`]: it is not one that the log writes.
    pub(crate) fn add_to(&self, batches: &mut Batches) -> Result<(), Malformed> {
        let Self(name, events, retracted) = self;
        let batch = batches.resolve(BatchName::stored(name).ok_or(Malformed)?);
        for (code, events) in events {
            batches.add(batch, EventType::from_code(*code).ok_or(Malformed)?, *events);
        }
        if let Some(position) = retracted {
            batches.retract(batch, Position::new(*position));
        }
        Ok(())
    }
}

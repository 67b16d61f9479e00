//! The backfill batches of a store: their names by number, how many events of each type they have, which were taken back.

use std::collections::HashMap;

use lastseen_event::{BatchName, BatchOrdinal, EventType, Position};

/// Number of events of each type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeCounts([u64; EventType::ALL.len()]);

impl TypeCounts {
    /// Counts so many more events of a type.
    pub fn add(&mut self, event_type: EventType, events: u64) {
        self.0[event_type as usize - 1] += events;
    }

    /// The types that there are events of, with their number, in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = (EventType, u64)> {
        EventType::ALL.into_iter().zip(self.0).filter(|(_, events)| *events > 0)
    }

    /// Events of all types.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// One batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    name: Box<str>,
    /// The events that name it, whether or not it was taken back.
    pub events: TypeCounts,
    /// The position of its [`Retraction`](lastseen_event::Retraction).
    pub retracted: Option<Position>,
}

impl Batch {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// All batches, by number: in order of first appearance.
#[derive(Clone, Debug, Default)]
pub struct Batches {
    numbers: HashMap<Box<str>, BatchOrdinal>,
    all: Vec<Batch>,
    retracted: usize,
}

impl Batches {
    /// Number of batches.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True if there are no batches.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The number of the batch of this name. `None`: no event names it.
    pub fn find(&self, name: &str) -> Option<BatchOrdinal> {
        self.numbers.get(name).copied()
    }

    /// The batch with this number, if there is one.
    pub fn get(&self, batch: BatchOrdinal) -> Option<&Batch> {
        self.all.get(batch.index())
    }

    /// Every batch with its number, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (BatchOrdinal, &Batch)> {
        self.all.iter().enumerate().map(|(index, batch)| (number(index), batch))
    }

    /// Those that were taken back, in order.
    pub fn retracted(&self) -> impl Iterator<Item = BatchOrdinal> {
        self.iter().filter(|(_, batch)| batch.retracted.is_some()).map(|(number, _)| number)
    }

    /// True if a batch of this name was taken back. Costs nothing if no batch was.
    pub fn is_retracted(&self, name: BatchName<'_>) -> bool {
        let retracted = |batch| self.get(batch).is_some_and(|batch| batch.retracted.is_some());
        self.retracted > 0 && self.find(name.as_str()).is_some_and(retracted)
    }

    /// The number of the batch of this name; that of a new one if there was none.
    ///
    /// # Panics
    /// If there are 2^32 batches.
    pub fn resolve(&mut self, name: BatchName<'_>) -> BatchOrdinal {
        if let Some(known) = self.find(name.as_str()) {
            return known;
        }
        let new = number(self.all.len());
        let name: Box<str> = name.as_str().into();
        self.all.push(Batch { name: name.clone(), events: TypeCounts::default(), retracted: None });
        self.numbers.insert(name, new);
        new
    }

    /// Counts so many more events of a batch that there is.
    ///
    /// # Panics
    /// If there is no such batch.
    pub fn add(&mut self, batch: BatchOrdinal, event_type: EventType, events: u64) {
        self.all[batch.index()].events.add(event_type, events);
    }

    /// Notes that a batch that there is was taken back. What was noted first stays.
    ///
    /// # Panics
    /// If there is no such batch.
    pub fn retract(&mut self, batch: BatchOrdinal, at: Position) {
        let batch = &mut self.all[batch.index()];
        if batch.retracted.is_none() {
            batch.retracted = Some(at);
            self.retracted += 1;
        }
    }
}

fn number(index: usize) -> BatchOrdinal {
    BatchOrdinal::new(u32::try_from(index).expect("fewer than 2^32 batches"))
}

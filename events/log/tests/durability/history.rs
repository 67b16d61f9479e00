//! A history as a plain `Vec`, and a log compared with it: what was acknowledged is there, once, in order,
//! identical; what was in doubt is there whole or not at all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lastseen_event::{BatchName, EventBatch, Fact, Position, UtcInstant};
use lastseen_log::{Disk, FaultDisk, Log, verify};
use lastseen_store::contract::Source;
use lastseen_store::{
    AppendError, Batch, Detail, EventReader, EventStore, RecordedBatch, RetractOutcome, TypeCounts,
    error_chain,
};

const SOURCE: Source = Source { series: 0 };

/// The event with this number, this much later than by default: equal items, equal events; equal numbers, equal
/// ids. Or the retraction of its batch, which has no other event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) number: u64,
    pub(crate) shift_us: i64,
}

impl Item {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, shift_us: 0 }
    }

    pub(crate) fn retraction(number: u64) -> Self {
        Self { number, shift_us: i64::MIN }
    }

    pub(crate) fn is_retraction(self) -> bool {
        self.shift_us == i64::MIN
    }

    /// The batch of the event with this number.
    pub(crate) fn batch_name(self) -> String {
        format!("run {}", self.number)
    }

    /// True if the event with this number has a batch.
    pub(crate) fn has_batch(self) -> bool {
        batch(&[Item::new(self.number)]).batch_name(0).is_some()
    }
}

/// Takes the batch of this event back.
pub(crate) fn retract(log: &Log, item: Item) -> Result<Option<Position>, AppendError> {
    let name = item.batch_name();
    let batch = BatchName::new(&name).expect("valid");
    let outcome = crate::support::wait(log.retract(batch, None))?;
    Ok(match outcome {
        RetractOutcome::Retracted(position) => Some(position),
        RetractOutcome::Unknown => None,
        RetractOutcome::CountChanged { .. } => panic!("no number was expected"),
    })
}

pub(crate) fn batch(items: &[Item]) -> EventBatch {
    let mut batch = EventBatch::default();
    for item in items.iter().filter(|item| !item.is_retraction()) {
        SOURCE.push(&mut batch, item.number, item.shift_us);
    }
    batch
}

/// The expected content of the log, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) items: Vec<Item>,
    /// The facts read when each append was acknowledged.
    pub(crate) facts: Vec<Fact>,
}

/// A batch whose outcome nobody was told.
#[derive(Clone, Debug)]
pub(crate) struct InDoubt {
    /// The items of the batch that are new.
    pub(crate) items: Vec<Item>,
    pub(crate) recorded_at: UtcInstant,
}

impl History {
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.items.iter().any(|item| item.number == number && !item.is_retraction())
    }

    /// Returns the position at which the batch of this event was taken back.
    pub(crate) fn retracted(&self, number: u64) -> Option<Position> {
        let at = self.items.iter().position(|item| *item == Item::retraction(number))?;
        Some(Position::new(at as u64 + 1))
    }

    /// The events whose batch is not taken back.
    pub(crate) fn alive(&self, items: &[Item]) -> Vec<Item> {
        let is_alive = |item: &&Item| !item.is_retraction() && self.retracted(item.number).is_none();
        items.iter().filter(is_alive).copied().collect()
    }

    /// Adds the retraction of this event's batch to the history. Returns the answer that the log has to give.
    pub(crate) fn retract(&mut self, item: Item) -> Option<Position> {
        if !(self.contains(item.number) && item.has_batch()) {
            return None;
        }
        let before = self.retracted(item.number);
        if before.is_none() {
            self.items.push(Item::retraction(item.number));
        }
        before.or(Some(self.position()))
    }

    /// The items that are new, each once.
    pub(crate) fn new_of(&self, items: &[Item]) -> Vec<Item> {
        let mut new: Vec<Item> = Vec::new();
        for item in items {
            if !self.contains(item.number) && new.iter().all(|other| other.number != item.number) {
                new.push(*item);
            }
        }
        new
    }

    pub(crate) fn position(&self) -> Position {
        Position::new(self.items.len() as u64)
    }

    /// Compares with what a log holds and returns it: this, or this and all of what is in doubt.
    ///
    /// # Errors
    /// The first difference.
    pub(crate) fn compare(&self, log: &Log, in_doubt: Option<&InDoubt>) -> Result<Self, String> {
        let found = read_above(log, Position::START).map_err(|error| format!("cannot be read: {error}"))?;
        let mut items = self.items.clone();
        let count = found.facts.len() + found.retractions.len();
        if count > items.len() {
            let doubt = in_doubt.ok_or_else(|| format!("{} events too many", count - items.len()))?;
            items.extend(&doubt.items);
            let recorded =
                found.facts[self.facts.len()..].iter().all(|fact| fact.recorded_at == doubt.recorded_at);
            check(recorded, || "recorded_at of the last group changed".to_owned())?;
        }
        let expected = batch(&items);
        check(count == items.len(), || format!("{count} events, acknowledged were {}", self.items.len()))?;
        check(found.facts.len() == expected.len(), || "a retraction is taken for an event".to_owned())?;
        let places = |retractions: bool| {
            let places = items.iter().zip(1..).filter(move |(item, _)| item.is_retraction() == retractions);
            places.map(|(_, position)| Position::new(position))
        };
        for (at, (event, expected)) in found.events.iter().zip(expected.iter()).enumerate() {
            check(event == expected, || format!("event {at} is not the one that was appended"))?;
        }
        check(found.facts.starts_with(&self.facts), || "a fact changed".to_owned())?;
        let recorded = found.facts.iter().map(|fact| fact.recorded_at);
        check(recorded.is_sorted(), || "recorded_at steps back".to_owned())?;
        let members = log.members();
        let places_of_events = places(false);
        for ((at, place), (fact, event)) in
            places_of_events.enumerate().zip(found.facts.iter().zip(found.events.iter()))
        {
            let names = (event.tenant_id.as_str(), event.user_id.as_str());
            let same = fact.position == place
                && (fact.id, fact.occurred_at, fact.event_type)
                    == (event.id, event.occurred_at, event.event_type)
                && members.find(names.0, names.1) == Some(fact.member);
            check(same, || format!("fact {at} does not belong to its event"))?;
        }
        drop(members);
        let found_at = found.retractions.iter().map(|retraction| retraction.position);
        check(found_at.eq(places(true)), || "a retraction stands elsewhere".to_owned())?;
        check(batches(log) == expected_batches(&items, &expected), || {
            "the batches are counted otherwise".to_owned()
        })?;
        check(log.tail().position() == Position::new(items.len() as u64), || {
            "the tail is elsewhere".to_owned()
        })?;
        Ok(Self { items, facts: found.facts })
    }
}

/// Name, events by type and retraction of every batch of a log, in the order of their numbers.
type BatchList = Vec<(String, TypeCounts, Option<Position>)>;

fn batches(log: &Log) -> BatchList {
    let as_listed = |batch: &Batch| (batch.name().to_owned(), batch.events, batch.retracted);
    log.batches().iter().map(|(_, batch)| as_listed(batch)).collect()
}

/// The same of these items; `events` are those of them that are no retractions.
fn expected_batches(items: &[Item], events: &EventBatch) -> BatchList {
    let (mut list, mut places) = (BatchList::new(), HashMap::new());
    let mut events = events.iter();
    for (item, position) in items.iter().zip(1..) {
        if item.is_retraction() {
            let place: usize = places[&item.batch_name()];
            list[place].2 = Some(Position::new(position));
            continue;
        }
        let event = events.next().expect("one for each item");
        let Some(name) = event.batch.map(|name| name.as_str().to_owned()) else { continue };
        let place = *places.entry(name).or_insert_with_key(|name| {
            list.push((name.clone(), TypeCounts::default(), None));
            list.len() - 1
        });
        list[place].1.add(event.event_type, 1);
    }
    list
}

/// The check that writes nothing finds something exactly where opening finds damage: in one of `damaged`, or nowhere.
///
/// # Errors
/// The difference, in words.
pub(crate) fn check_verified(disk: &FaultDisk, damaged: Option<&BTreeSet<&str>>) -> Result<(), String> {
    if disk.files().is_empty() {
        return Ok(());
    }
    let verified = verify(&(Arc::new(disk.clone()) as Arc<dyn Disk>), 1_000, |_, _| {})
        .map_err(|error| error_chain(&error))?;
    let found = verified.findings.first().map(|finding| finding.place.to_string()).unwrap_or_default();
    match damaged {
        None => check(verified.findings.is_empty(), || format!("opens, and still: {found}")),
        Some(damaged) => check(
            verified.findings.iter().any(|finding| damaged.contains(finding.place.file.as_str())),
            || format!("refused, and the check finds only: {found}"),
        ),
    }
}

pub(crate) fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Everything above a position, with the cursor's own batches joined.
pub(crate) fn read_above(log: &Log, after: Position) -> Result<RecordedBatch, lastseen_store::ReadError> {
    drain(&mut log.read(after, Detail::Events))
}

pub(crate) fn drain(reader: &mut impl EventReader) -> Result<RecordedBatch, lastseen_store::ReadError> {
    let mut all = RecordedBatch::default();
    while let Some(batch) = reader.next_batch()? {
        for event in batch.events.iter() {
            all.events.push(&event);
        }
        all.facts.extend(batch.facts);
        all.retractions.extend(batch.retractions);
    }
    Ok(all)
}

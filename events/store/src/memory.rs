//! The in-memory reference: the shortest code that keeps the promise of the port, durability apart. Tests
//! compare other stores with it; it is not built for speed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lastseen_event::{
    BatchName, EventBatch, EventId, Fact, MemberOrdinal, MemberRef, PersonOrdinal, Position, Retraction,
    Sighting, TenantOrdinal, UtcInstant,
};
use tokio::sync::watch;

use crate::{
    AppendError, Appended, Batches, Clock, Detail, EventReader, EventStore, OnRefused, ReadError,
    RecordedBatch, RefusedRows, RetractOutcome, Scan, Tail,
};

/// Keeps everything in memory; idempotent for ever.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    tail: watch::Sender<Position>,
}

#[derive(Default)]
struct State {
    facts: Vec<Fact>,
    events: EventBatch,
    batches: Batches,
    retractions: Vec<Retraction>,
    /// By tenant and id.
    fingerprints: HashMap<(String, EventId), u64>,
    tenants: HashMap<String, TenantOrdinal>,
    persons: HashMap<String, PersonOrdinal>,
    members: HashMap<(TenantOrdinal, PersonOrdinal), MemberOrdinal>,
}

/// The result of looking up an event's id before the event is appended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    New,
    Duplicate,
    Conflict,
    Retracted,
}

impl MemoryStore {
    /// An empty store that records by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default(), tail: watch::channel(Position::START).0 }
    }

    fn append_now(&self, batch: &EventBatch, on_refused: OnRefused) -> Result<Appended, AppendError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let standings = state.standings(batch);
        let rows = |wanted: Standing| {
            standings.iter().enumerate().filter(move |(_, found)| **found == wanted).map(|(row, _)| row)
        };
        let refused = RefusedRows {
            conflicts: rows(Standing::Conflict).collect(),
            retracted: rows(Standing::Retracted).collect(),
        };
        if on_refused.refuses(&refused) {
            return Err(AppendError::Refused(refused));
        }
        let recorded_at = state.record_at(self.clock.now());
        for row in rows(Standing::New) {
            state.add(batch, row, recorded_at);
        }
        let position = state.last_position();
        self.tail.send_replace(position);
        let (stored, duplicates) = (rows(Standing::New).count(), rows(Standing::Duplicate).count());
        Ok(Appended { stored, duplicates, refused, position })
    }

    fn retract_now(&self, name: BatchName<'_>, events: Option<u64>) -> RetractOutcome {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(batch) = state.batches.find(name.as_str()) else { return RetractOutcome::Unknown };
        let found = state.batches.get(batch);
        let count = found.map_or(0, |batch| batch.events.total());
        if events.is_some_and(|events| events != count) {
            return RetractOutcome::CountChanged { events: count };
        }
        if let Some(retracted) = found.and_then(|batch| batch.retracted) {
            return RetractOutcome::Retracted(retracted);
        }
        let (now, position) = (self.clock.now(), state.next_position());
        let recorded_at = state.record_at(now);
        let id = EventId::of_retraction(name);
        state.retractions.push(Retraction { position, id, occurred_at: now, recorded_at, batch });
        state.batches.retract(batch, position);
        self.tail.send_replace(position);
        RetractOutcome::Retracted(position)
    }
}

impl State {
    /// One standing a row; a row is compared with the rows before it as well.
    fn standings(&self, batch: &EventBatch) -> Vec<Standing> {
        let mut within = HashMap::new();
        (0..batch.len())
            .map(|row| {
                if batch.batch_name(row).is_some_and(|name| self.batches.is_retracted(name)) {
                    return Standing::Retracted;
                }
                let (id, fingerprint) = batch.identity(row);
                let id = (batch.names(row).0.as_str().to_owned(), id);
                match self.fingerprints.get(&id).or_else(|| within.get(&id)) {
                    Some(known) if *known == fingerprint => Standing::Duplicate,
                    Some(_) => Standing::Conflict,
                    None => {
                        within.insert(id, fingerprint);
                        Standing::New
                    }
                }
            })
            .collect()
    }

    fn last_position(&self) -> Position {
        Position::new((self.facts.len() + self.retractions.len()) as u64)
    }

    fn next_position(&self) -> Position {
        Position::new(self.last_position().get() + 1)
    }

    /// `recorded_at` of what is recorded now.
    fn record_at(&self, now: UtcInstant) -> UtcInstant {
        let fact = self.facts.last().map_or(now, |fact| fact.recorded_at.max(now));
        self.retractions.last().map_or(fact, |retraction| retraction.recorded_at.max(fact))
    }

    fn add(&mut self, batch: &EventBatch, row: usize, recorded_at: UtcInstant) {
        let event = batch.get(row);
        let (id, fingerprint) = batch.identity(row);
        let tenant = number(&mut self.tenants, event.tenant_id.as_str().to_owned(), TenantOrdinal::new);
        let person = number(&mut self.persons, event.user_id.as_str().to_owned(), PersonOrdinal::new);
        let member = number(&mut self.members, (tenant, person), MemberOrdinal::new);
        let batch = event.batch.map(|name| self.batches.resolve(name));
        if let Some(batch) = batch {
            self.batches.add(batch, event.event_type, 1);
        }
        self.facts.push(Fact {
            position: self.next_position(),
            id,
            occurred_at: event.occurred_at,
            recorded_at,
            member: MemberRef { member, tenant, person },
            event_type: event.event_type,
            created_confirmed: event.confirmed == Some(true),
            counts: event.counts,
            batch,
        });
        self.events.push(&event).expect("the event comes from a valid batch");
        self.fingerprints.insert((event.tenant_id.as_str().to_owned(), id), fingerprint);
    }
}

/// The number of `key`, the next free one if it is new.
fn number<K: Eq + std::hash::Hash, N: Copy>(map: &mut HashMap<K, N>, key: K, new: impl Fn(u32) -> N) -> N {
    let next = new(u32::try_from(map.len()).expect("fewer than 2^32 names"));
    *map.entry(key).or_insert(next)
}

impl EventStore for MemoryStore {
    type Reader = MemoryReader;

    async fn append(&self, batch: EventBatch, on_refused: OnRefused) -> Result<Appended, AppendError> {
        self.append_now(&batch, on_refused)
    }

    async fn retract(
        &self,
        batch: BatchName<'_>,
        events: Option<u64>,
    ) -> Result<RetractOutcome, AppendError> {
        Ok(self.retract_now(batch, events))
    }

    fn with_batches<T>(&self, look: impl FnOnce(&Batches) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner).batches)
    }

    fn scan(&self, scan: Scan) -> MemoryReader {
        MemoryReader { state: self.state.clone(), scan }
    }

    fn tail(&self) -> Tail {
        Tail::new(self.tail.subscribe())
    }
}

/// A cursor over a [`MemoryStore`].
pub struct MemoryReader {
    state: Arc<Mutex<State>>,
    /// `after` moves on.
    scan: Scan,
}

impl EventReader for MemoryReader {
    fn next_batch(&mut self) -> Result<Option<RecordedBatch>, ReadError> {
        const EVENTS_MAX: u64 = 1_000;
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Scan { after, until, detail, filter } = self.scan;
        let tail = state.last_position();
        let end = until.map_or(tail, |until| until.min(tail));
        if after >= end {
            return Ok(None);
        }
        let reached = end.min(Position::new(after.get() + EVENTS_MAX));
        self.scan.after = reached;
        let wanted = |position: Position| position > after && position <= reached;
        let mut batch = RecordedBatch { reached, ..RecordedBatch::default() };
        let start = state.facts.partition_point(|fact| fact.position <= after);
        let rows = start..state.facts.partition_point(|fact| fact.position <= reached);
        let rows = rows.filter(|row| filter.keeps(&state.facts[*row]));
        if detail == Detail::Sightings {
            batch.sightings.extend(rows.filter_map(|row| Sighting::of(&state.facts[row])));
            return Ok(Some(batch));
        }
        let retractions = state.retractions.iter().filter(|retraction| wanted(retraction.position));
        batch.retractions.extend(retractions.filter(|retraction| filter.keeps_retraction(retraction)));
        for row in rows {
            batch.facts.push(state.facts[row]);
            if detail == Detail::Events {
                batch.events.push(&state.events.get(row));
            }
        }
        Ok(Some(batch))
    }

    fn next_recent(&mut self) -> Option<Arc<RecordedBatch>> {
        self.next_batch().ok().flatten().map(Arc::new)
    }
}

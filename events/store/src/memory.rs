//! The in-memory reference: the shortest code that keeps the promise of the port, durability apart. Tests
//! compare other stores with it; it is not built for speed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lastseen_event::{
    EventBatch, EventId, Fact, MemberOrdinal, MemberRef, PersonOrdinal, Position, TenantOrdinal, UtcInstant,
};
use tokio::sync::watch;

use crate::{
    AppendError, Appended, Clock, Detail, EventReader, EventStore, OnConflict, ReadError, RecordedBatch,
    Scan, Tail,
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
    fingerprints: HashMap<EventId, u64>,
    tenants: HashMap<String, TenantOrdinal>,
    persons: HashMap<String, PersonOrdinal>,
    members: HashMap<(TenantOrdinal, PersonOrdinal), MemberOrdinal>,
}

/// Where an id stands before its event is appended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    New,
    Duplicate,
    Conflict,
}

impl MemoryStore {
    /// An empty store that records by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default(), tail: watch::channel(Position::START).0 }
    }

    fn append_now(&self, batch: &EventBatch, on_conflict: OnConflict) -> Result<Appended, AppendError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let standings = state.standings(batch);
        let rows = |wanted: Standing| {
            standings.iter().enumerate().filter(move |(_, found)| **found == wanted).map(|(row, _)| row)
        };
        let conflicts: Vec<usize> = rows(Standing::Conflict).collect();
        if on_conflict.refuses(&conflicts) {
            return Err(AppendError::Conflicts { rows: conflicts });
        }
        let before = state.last_recorded_at();
        let recorded_at = before.map_or(self.clock.now(), |before| before.max(self.clock.now()));
        for row in rows(Standing::New) {
            state.add(batch, row, recorded_at);
        }
        let position = state.facts.last().map_or(Position::START, |fact| fact.position);
        self.tail.send_replace(position);
        let (stored, duplicates) = (rows(Standing::New).count(), rows(Standing::Duplicate).count());
        Ok(Appended { stored, duplicates, conflicts, position })
    }
}

impl State {
    /// One standing a row; a row is compared with the rows before it as well.
    fn standings(&self, batch: &EventBatch) -> Vec<Standing> {
        let mut within = HashMap::new();
        (0..batch.len())
            .map(|row| {
                let (id, fingerprint) = batch.identity(row);
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

    fn last_recorded_at(&self) -> Option<UtcInstant> {
        self.facts.last().map(|fact| fact.recorded_at)
    }

    fn add(&mut self, batch: &EventBatch, row: usize, recorded_at: UtcInstant) {
        let event = batch.get(row);
        let (id, fingerprint) = batch.identity(row);
        let tenant = number(&mut self.tenants, event.tenant_id.as_str().to_owned(), TenantOrdinal::new);
        let person = number(&mut self.persons, event.user_id.as_str().to_owned(), PersonOrdinal::new);
        let member = number(&mut self.members, (tenant, person), MemberOrdinal::new);
        self.facts.push(Fact {
            position: Position::new(self.facts.len() as u64 + 1),
            id,
            occurred_at: event.occurred_at,
            recorded_at,
            member: MemberRef { member, tenant, person },
            event_type: event.event_type,
            created_confirmed: event.confirmed == Some(true),
        });
        self.events.push(&event).expect("the event comes from a valid batch");
        self.fingerprints.insert(id, fingerprint);
    }
}

/// The number of `key`, the next free one if it is new.
fn number<K: Eq + std::hash::Hash, N: Copy>(map: &mut HashMap<K, N>, key: K, new: impl Fn(u32) -> N) -> N {
    let next = new(u32::try_from(map.len()).expect("fewer than 2^32 names"));
    *map.entry(key).or_insert(next)
}

impl EventStore for MemoryStore {
    type Reader = MemoryReader;

    async fn append(&self, batch: EventBatch, on_conflict: OnConflict) -> Result<Appended, AppendError> {
        self.append_now(&batch, on_conflict)
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
        const EVENTS_MAX: usize = 1_000;
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Scan { after, until, detail, filter } = self.scan;
        let start = state.facts.partition_point(|fact| fact.position <= after);
        let end = until.map_or(state.facts.len(), |until| {
            state.facts.partition_point(|fact| fact.position <= until).max(start)
        });
        let rows = start..end.min(start + EVENTS_MAX);
        let Some(last) = state.facts[rows.clone()].last() else { return Ok(None) };
        self.scan.after = last.position;
        let mut batch = RecordedBatch { reached: last.position, ..RecordedBatch::default() };
        for row in rows.filter(|row| filter.keeps(&state.facts[*row])) {
            batch.facts.push(state.facts[row]);
            if detail == Detail::Events {
                batch.events.push(&state.events.get(row));
            }
        }
        Ok(Some(batch))
    }
}

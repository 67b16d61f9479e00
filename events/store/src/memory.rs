//! The in-memory reference: the shortest code that keeps the promise of the port, durability apart. Tests
//! compare other stores with it; it is not built for speed.

use std::collections::HashMap;
use std::sync::Arc;

use lastseen_event::{
    BatchName, EventBatch, EventId, Fact, MemberOrdinal, MemberRef, PersonOrdinal, Position, Retraction,
    Sighting, TenantId, TenantOrdinal, UserId, UtcInstant,
};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::watch;

use crate::{
    AppendError, Appended, Batches, Clock, Detail, EventReader, EventStore, Gauges, Guard, Health, Lineage,
    LogId, MemberDictionary, OnRefused, Part, Pending, ReadError, RecordedBatch, RefusedRows, RetractOutcome,
    Scan, Standstills, Tail,
};

/// Keeps everything in memory; idempotent for ever.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Arc<RwLock<State>>,
    tail: watch::Receiver<Position>,
    lineage: Arc<Lineage>,
    standstills: Standstills,
}

struct State {
    /// `None` once the store is closed.
    tail: Option<watch::Sender<Position>>,
    facts: Vec<Fact>,
    events: EventBatch,
    batches: Batches,
    retractions: Vec<Retraction>,
    /// By tenant and id.
    fingerprints: HashMap<(String, EventId), u64>,
    names: Names,
}

/// The dictionary: each thing at the place of its number, and back.
#[derive(Default)]
struct Names {
    tenants: Numbered<String>,
    persons: Numbered<String>,
    members: Numbered<(TenantOrdinal, PersonOrdinal)>,
}

/// Things with numbers, from 0, in the order in which they came.
struct Numbered<T>(Vec<T>, HashMap<T, u32>);

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
        let (sender, tail) = watch::channel(Position::START);
        let state = State {
            tail: Some(sender),
            facts: Vec::new(),
            events: EventBatch::default(),
            batches: Batches::default(),
            retractions: Vec::new(),
            fingerprints: HashMap::new(),
            names: Names::default(),
        };
        Self {
            standstills: Standstills::new(clock.clone()),
            clock,
            state: Arc::new(RwLock::new(state)),
            tail,
            lineage: Arc::new(Lineage::new(LogId::draw())),
        }
    }

    fn append_now(&self, batch: &EventBatch, on_refused: OnRefused) -> Result<Appended, AppendError> {
        let mut state = self.state.write();
        if state.tail.is_none() {
            return Err(AppendError::Closed);
        }
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
        let position = state.tell_tail();
        let (stored, duplicates) = (rows(Standing::New).count(), rows(Standing::Duplicate).count());
        Ok(Appended { stored, duplicates, refused, position })
    }

    fn retract_now(&self, name: BatchName<'_>, events: Option<u64>) -> Result<RetractOutcome, AppendError> {
        let mut state = self.state.write();
        if state.tail.is_none() {
            return Err(AppendError::Closed);
        }
        let Some(batch) = state.batches.find(name.as_str()) else { return Ok(RetractOutcome::Unknown) };
        let found = state.batches.get(batch);
        let count = found.map_or(0, |batch| batch.events.total());
        if events.is_some_and(|events| events != count) {
            return Ok(RetractOutcome::CountChanged { events: count });
        }
        if let Some(retracted) = found.and_then(|batch| batch.retracted) {
            return Ok(RetractOutcome::Retracted(retracted));
        }
        let (now, position) = (self.clock.now(), state.next_position());
        let recorded_at = state.record_at(now);
        let id = EventId::of_retraction(name);
        state.retractions.push(Retraction { position, id, occurred_at: now, recorded_at, batch });
        state.batches.retract(batch, position);
        state.tell_tail();
        Ok(RetractOutcome::Retracted(position))
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

    /// Lets those who follow know of all that is here.
    fn tell_tail(&self) -> Position {
        let position = self.last_position();
        if let Some(tail) = &self.tail {
            tail.send_replace(position);
        }
        position
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
        let tenant = TenantOrdinal::new(self.names.tenants.number(event.tenant_id.as_str().to_owned()));
        let person = PersonOrdinal::new(self.names.persons.number(event.user_id.as_str().to_owned()));
        let member = MemberOrdinal::new(self.names.members.number((tenant, person)));
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

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self(Vec::new(), HashMap::new())
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    /// The number of a thing, the next free one if it is new.
    fn number(&mut self, thing: T) -> u32 {
        let Self(things, numbers) = self;
        *numbers.entry(thing).or_insert_with_key(|thing| {
            things.push(thing.clone());
            u32::try_from(things.len() - 1).expect("fewer than 2^32 names")
        })
    }
}

impl MemberDictionary for Names {
    fn len(&self) -> usize {
        self.members.0.len()
    }

    fn tenant(&self, tenant_id: &str) -> Option<TenantOrdinal> {
        self.tenants.1.get(tenant_id).copied().map(TenantOrdinal::new)
    }

    fn find_person(&self, user_id: &str) -> Option<PersonOrdinal> {
        self.persons.1.get(user_id).copied().map(PersonOrdinal::new)
    }

    fn find(&self, tenant_id: &str, user_id: &str) -> Option<MemberRef> {
        let (tenant, person) = (self.tenant(tenant_id)?, self.find_person(user_id)?);
        let member = MemberOrdinal::new(*self.members.1.get(&(tenant, person))?);
        Some(MemberRef { member, tenant, person })
    }

    fn member_ref(&self, member: MemberOrdinal) -> Option<MemberRef> {
        let (tenant, person) = *self.members.0.get(member.index())?;
        Some(MemberRef { member, tenant, person })
    }

    fn tenant_id(&self, tenant: TenantOrdinal) -> TenantId<'_> {
        TenantId::stored(&self.tenants.0[tenant.index()]).expect("only names are added")
    }

    fn user_id(&self, person: PersonOrdinal) -> UserId<'_> {
        UserId::stored(&self.persons.0[person.index()]).expect("only names are added")
    }
}

impl EventStore for MemoryStore {
    fn append(&self, batch: EventBatch, on_refused: OnRefused) -> Pending<'_, Appended> {
        Box::pin(async move { self.append_now(&batch, on_refused) })
    }

    fn retract<'a>(&'a self, batch: BatchName<'a>, events: Option<u64>) -> Pending<'a, RetractOutcome> {
        Box::pin(async move { self.retract_now(batch, events) })
    }

    fn batches(&self) -> Guard<'_, Batches> {
        RwLockReadGuard::map(self.state.read(), |state| &state.batches)
    }

    fn members(&self) -> Guard<'_, dyn MemberDictionary> {
        RwLockReadGuard::map(self.state.read(), |state| &state.names as &dyn MemberDictionary)
    }

    fn scan(&self, scan: Scan) -> Box<dyn EventReader> {
        Box::new(MemoryReader { state: self.state.clone(), scan })
    }

    fn parts(&self) -> Vec<Position> {
        vec![Position::START]
    }

    fn records_after(&self, position: Position) -> u64 {
        // Its positions are dense.
        self.state.read().last_position().get().saturating_sub(position.get())
    }

    fn tail(&self) -> Tail {
        Tail::new(self.tail.clone())
    }

    fn lineage(&self) -> Arc<Lineage> {
        self.lineage.clone()
    }

    fn health(&self) -> Health {
        Health { standstills: self.standstills.all(), unsealed_events: 0 }
    }

    fn gauges(&self) -> Gauges {
        Gauges::default()
    }

    fn close(&self) {
        self.state.write().tail = None;
        self.standstills.stopped(Part::Writer, "the store is closed".to_owned());
    }
}

/// A cursor over a [`MemoryStore`].
struct MemoryReader {
    state: Arc<RwLock<State>>,
    /// `after` moves on.
    scan: Scan,
}

impl EventReader for MemoryReader {
    fn next_batch(&mut self) -> Result<Option<RecordedBatch>, ReadError> {
        const EVENTS_MAX: u64 = 1_000;
        let state = self.state.read();
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

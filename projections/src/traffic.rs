//! Traffic: how many events of each type occurred on each day of a calendar, over all tenants and in each.
//!
//! Every event counts by its own instant, whoever it is of: a deletion does not rewrite how many logged in that day.
//! Counting is no join: each fact has to come once.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{EventType, Fact, TenantOrdinal, UtcInstant};

use crate::bytes::{BadPart, Bytes};
use crate::calendar::{Calendar, Day};
use crate::{Retracted, Scope};

/// The number of event types.
const TYPES: usize = EventType::ALL.len();

/// Parts of a day, so that a change beside a reader copies little.
const SHARDS: usize = 64;

/// Events that wait: many at once are counted at a fraction of the cost, and a reader looks through all of them.
const WAITING_MAX: usize = 1024;

/// Events by type, in the order of their codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts([u64; TYPES]);

impl EventCounts {
    /// The number of events of a type.
    pub fn of(&self, event_type: EventType) -> u64 {
        self.0[event_type as usize - 1]
    }

    fn add(&mut self, event_type: EventType, events: u64) {
        self.0[event_type as usize - 1] += events;
    }
}

/// The events by day. Some 16 bytes for each tenant and type with an event on a day.
#[derive(Clone, Debug)]
pub struct Traffic {
    calendar: Arc<Calendar>,
    retracted: Retracted,
    days: BTreeMap<Day, Arc<DayTraffic>>,
    waiting: Waiting,
}

/// Events of the latest day, the running one, that are not among its others.
#[derive(Clone, Debug)]
struct Waiting {
    day: Day,
    /// The instants in microseconds that show the day, or some of them: those of most events.
    instants: RangeInclusive<i64>,
    events: Vec<(TenantOrdinal, EventType)>,
}

/// The events of a day.
#[derive(Clone, Debug)]
struct DayTraffic {
    all: EventCounts,
    /// By tenant and type.
    shards: Box<[Arc<Shard>]>,
}

type Shard = HashMap<Key, u32, BuildHasherDefault<Mixed>>;

/// A tenant and a type.
type Key = u64;

/// Spreads numbers that are given out densely.
#[derive(Clone, Copy, Debug, Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 32;
    }
}

impl Default for DayTraffic {
    fn default() -> Self {
        Self { all: EventCounts::default(), shards: vec![Arc::default(); SHARDS].into() }
    }
}

fn key(tenant: TenantOrdinal, event_type: EventType) -> Key {
    u64::from(tenant.get()) << u8::BITS | u64::from(event_type.code())
}

fn shard_of(tenant: TenantOrdinal) -> usize {
    tenant.index() % SHARDS
}

impl DayTraffic {
    fn count(&mut self, tenant: TenantOrdinal, event_type: EventType, events: u32) {
        self.all.add(event_type, events.into());
        add(Arc::make_mut(&mut self.shards[shard_of(tenant)]), key(tenant, event_type), events);
    }

    fn count_all(&mut self, events: impl Iterator<Item = (TenantOrdinal, EventType)>) {
        let mut shards: Vec<&mut Shard> = self.shards.iter_mut().map(Arc::make_mut).collect();
        for (tenant, event_type) in events {
            self.all.add(event_type, 1);
            add(shards[shard_of(tenant)], key(tenant, event_type), 1);
        }
    }
}

fn add(shard: &mut Shard, key: Key, events: u32) {
    let count = shard.entry(key).or_default();
    *count = count.saturating_add(events);
}

impl Traffic {
    /// No events yet. The events of these batches will be left out.
    pub fn new(calendar: Arc<Calendar>, retracted: Retracted) -> Self {
        let (day, instants) = calendar.day_around(UtcInstant::from_micros(0));
        let waiting = Waiting { day, instants, events: Vec::new() };
        Self { calendar, retracted, days: BTreeMap::new(), waiting }
    }

    /// Counts a fact that was not counted before.
    pub fn count(&mut self, fact: &Fact) {
        if self.retracted.has(fact) {
            return;
        }
        let (at, tenant) = (fact.occurred_at, fact.member.tenant);
        if !self.waiting.instants.contains(&at.as_micros()) {
            let (day, instants) = self.calendar.day_around(at);
            if day < self.waiting.day {
                return Arc::make_mut(self.days.entry(day).or_default()).count(tenant, fact.event_type, 1);
            }
            self.settle();
            (self.waiting.day, self.waiting.instants) = (day, instants);
        }
        self.waiting.events.push((tenant, fact.event_type));
        if self.waiting.events.len() >= WAITING_MAX {
            self.settle();
        }
    }

    /// Counts the events that wait among the others of their day.
    pub(crate) fn settle(&mut self) {
        if !self.waiting.events.is_empty() {
            let day = self.days.entry(self.waiting.day).or_default();
            Arc::make_mut(day).count_all(self.waiting.events.drain(..));
        }
    }

    pub(crate) fn calendar(&self) -> &Arc<Calendar> {
        &self.calendar
    }

    pub(crate) fn retracted(&self) -> &Retracted {
        &self.retracted
    }

    /// The events of a scope on these days.
    pub fn counts(&self, scope: Scope, days: RangeInclusive<Day>) -> EventCounts {
        let mut counts = EventCounts::default();
        if days.contains(&self.waiting.day) {
            for (tenant, event_type) in &self.waiting.events {
                if matches!(scope, Scope::All) || scope == Scope::Tenant(*tenant) {
                    counts.add(*event_type, 1);
                }
            }
        }
        for day in self.days.range(days).map(|(_, day)| day) {
            for event_type in EventType::ALL {
                let events = match scope {
                    Scope::All => day.all.of(event_type),
                    Scope::Tenant(tenant) => {
                        let shard = &day.shards[shard_of(tenant)];
                        shard.get(&key(tenant, event_type)).copied().unwrap_or_default().into()
                    }
                };
                counts.add(event_type, events);
            }
        }
        counts
    }

    /// Bytes of what is kept, about.
    pub fn bytes(&self) -> usize {
        let entry = size_of::<(Key, u32)>() + 1;
        let of_day = |day: &Arc<DayTraffic>| {
            let entries: usize = day.shards.iter().map(|shard| shard.capacity()).sum();
            size_of::<DayTraffic>() + SHARDS * size_of::<Shard>() + entries * entry
        };
        self.days.values().map(of_day).sum::<usize>()
            + self.waiting.events.capacity() * size_of::<(TenantOrdinal, EventType)>()
    }

    /// The days, for a snapshot, where no event [waits](Self::settle).
    pub(crate) fn days(&self) -> impl Iterator<Item = Day> {
        self.days.keys().copied()
    }

    /// Encodes a day: the number of its entries, then tenant, type and number of each.
    pub(crate) fn encode(&self, day: Day, part: &mut Vec<u8>) {
        let Some(traffic) = self.days.get(&day) else { return };
        part.extend_from_slice(&day.number().to_le_bytes());
        let entries: usize = traffic.shards.iter().map(|shard| shard.len()).sum();
        part.extend_from_slice(&(entries as u64).to_le_bytes());
        for shard in &traffic.shards {
            for (key, events) in &**shard {
                part.extend_from_slice(&key.to_le_bytes());
                part.extend_from_slice(&events.to_le_bytes());
            }
        }
    }

    /// Adds a day.
    pub(crate) fn decode(&mut self, bytes: &mut Bytes<'_>) -> Result<(), BadPart> {
        let day = Day::new(bytes.i32()?);
        let traffic = Arc::make_mut(self.days.entry(day).or_default());
        for _ in 0..bytes.u64()? {
            let (key, events) = (bytes.u64()?, bytes.u32()?);
            let event_type = EventType::from_code((key & 0xff) as u8).ok_or(BadPart)?;
            let tenant = TenantOrdinal::new(u32::try_from(key >> u8::BITS).map_err(|_| BadPart)?);
            traffic.count(tenant, event_type, events);
        }
        Ok(())
    }

    /// The batches that are left out.
    pub(crate) fn leave_out(&mut self, retracted: Retracted) {
        self.retracted = retracted;
    }
}

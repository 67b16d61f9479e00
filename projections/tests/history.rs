//! Random histories: several tenants, users that are in more than one of them, few distinct instants and ids so
//! that ties are common, and positions that say nothing about when something happened.

use lastseen_event::{
    EventId, EventType, Fact, MemberOrdinal, MemberRef, PersonOrdinal, Position, TenantOrdinal, UtcInstant,
};
use lastseen_projections::{Selection, TypeSet};
use proptest::prelude::*;

pub(crate) const TENANTS: u32 = 4;
const USERS: u32 = 6;

/// 2026-01-06T16:00:00Z.
const NOON: i64 = 1_767_715_200_000_000;
const DAY: i64 = 86_400_000_000;

/// The observed types.
pub(crate) const OBSERVED: [EventType; 4] =
    [EventType::Login, EventType::TokenRefresh, EventType::TenantSwitch, EventType::SignupComplete];

/// A member with an ordinal as a store would give it: blocks of two per tenant.
pub(crate) fn member(tenant: u32, user: u32) -> MemberRef {
    let block = user / 2 * TENANTS + tenant;
    MemberRef {
        member: MemberOrdinal::new(block * 2 + user % 2),
        tenant: TenantOrdinal::new(tenant),
        person: PersonOrdinal::new(user),
    }
}

/// The event id of a number; ids have the order of their numbers.
pub(crate) fn event_id(number: u64) -> EventId {
    EventId::parse(&format!("00000000-0000-7000-8000-{:012x}", number + 1)).unwrap()
}

/// One event without its place in the order.
#[derive(Clone, Copy, Debug)]
struct Unplaced {
    member: MemberRef,
    event_type: EventType,
    occurred_at: UtcInstant,
    id: EventId,
    confirmed: bool,
    counts: Option<bool>,
    /// Microseconds that the store's clock went on before.
    waited: i64,
}

fn instant() -> impl Strategy<Value = UtcInstant> {
    prop_oneof![
        8 => 0..4_i64,
        2 => (-2..3_i64).prop_map(|days| days * DAY),
        1 => (-2..3_i64).prop_map(|fortnights| fortnights * 14 * DAY + 1),
    ]
    .prop_map(|after| UtcInstant::from_micros(NOON + after))
}

fn event_type() -> impl Strategy<Value = EventType> {
    use EventType::{
        EstimatedActivity, Login, SignupComplete, TenantSwitch, TokenRefresh, UserChanged, UserConfirmed,
        UserCreated, UserDeleted, UserRestored,
    };
    prop_oneof![
        4 => prop::sample::select(vec![Login, TokenRefresh, TenantSwitch, SignupComplete]),
        3 => Just(EstimatedActivity),
        3 => prop::sample::select(vec![UserDeleted, UserRestored]),
        3 => prop::sample::select(vec![UserCreated, UserConfirmed, UserChanged]),
    ]
}

fn unplaced() -> impl Strategy<Value = Unplaced> {
    let counts = prop::option::of(any::<bool>());
    (0..TENANTS, 0..USERS, event_type(), instant(), 0..5_u64, (any::<bool>(), counts), 0..2_i64).prop_map(
        |(tenant, user, event_type, occurred_at, id, (confirmed, counts), waited)| Unplaced {
            member: member(tenant, user),
            event_type,
            occurred_at,
            id: event_id(id),
            confirmed: confirmed && event_type == EventType::UserCreated,
            counts: counts.filter(|_| matches!(event_type, EventType::UserCreated | EventType::UserChanged)),
            waited,
        },
    )
}

/// Up to `events` facts in the order of their positions, which have gaps.
pub(crate) fn history(events: usize) -> impl Strategy<Value = Vec<Fact>> {
    prop::collection::vec(unplaced(), 0..=events).prop_map(placed)
}

/// The same of so many events.
pub(crate) fn long_history(events: usize) -> impl Strategy<Value = Vec<Fact>> {
    prop::collection::vec(unplaced(), events).prop_map(placed)
}

fn placed(all: Vec<Unplaced>) -> Vec<Fact> {
    let (mut position, mut recorded) = (0, NOON);
    let place = |event: Unplaced| {
        position += 3;
        recorded += event.waited;
        Fact {
            position: Position::new(position),
            id: event.id,
            occurred_at: event.occurred_at,
            recorded_at: UtcInstant::from_micros(recorded),
            member: event.member,
            event_type: event.event_type,
            created_confirmed: event.confirmed,
            counts: event.counts,
            batch: None,
        }
    };
    all.into_iter().map(place).collect()
}

/// One event of one member at noon of each day counted from the sixth of January, in this order.
pub(crate) fn events_on_days(days: &[(i64, EventType)]) -> Vec<Fact> {
    let fact = |(at, (day, event_type)): (usize, &(i64, EventType))| Fact {
        position: Position::new(at as u64 + 1),
        id: event_id(at as u64),
        occurred_at: UtcInstant::from_micros(NOON + day * DAY),
        recorded_at: UtcInstant::from_micros(NOON),
        member: member(0, 0),
        event_type: *event_type,
        created_confirmed: false,
        counts: None,
        batch: None,
    };
    days.iter().enumerate().map(fact).collect()
}

/// The same facts in another order, some of them twice.
pub(crate) fn disorder(facts: &[Fact]) -> impl Strategy<Value = Vec<Fact>> + use<> {
    let again = prop::sample::subsequence(facts.to_vec(), 0..=facts.len());
    let facts = facts.to_vec();
    again.prop_map(move |again| [facts.clone(), again].concat()).prop_shuffle()
}

/// A [`Selection`] in words that a recount can follow without asking the crate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    pub(crate) occurred_until: Option<UtcInstant>,
    pub(crate) position_until: Option<Position>,
    pub(crate) recorded_until: Option<UtcInstant>,
    /// `None`: all, estimates included.
    pub(crate) types: Option<Vec<EventType>>,
    pub(crate) observed_only: bool,
    pub(crate) everyone: bool,
}

impl Choice {
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            occurred_until: self.occurred_until,
            position_until: self.position_until,
            recorded_until: self.recorded_until,
            types: self.types.clone().map_or_else(TypeSet::all, TypeSet::of),
            observed_only: self.observed_only,
            everyone: self.everyone,
        }
    }
}

pub(crate) fn choice() -> impl Strategy<Value = Choice> {
    let types = prop::sample::subsequence(OBSERVED.to_vec(), 0..=OBSERVED.len());
    (
        prop::option::of(instant()),
        prop::option::weighted(0.3, (0..120_u64).prop_map(Position::new)),
        prop::option::weighted(0.3, (0..25_i64).prop_map(|after| UtcInstant::from_micros(NOON + after))),
        prop::option::of(types),
        (any::<bool>(), any::<bool>()),
    )
        .prop_map(|(occurred_until, position_until, recorded_until, types, flags)| Choice {
            occurred_until,
            position_until,
            recorded_until,
            types,
            observed_only: flags.0,
            everyone: flags.1,
        })
}

/// Instants worth asking about: both ends, and each that occurs with its two neighbours.
pub(crate) fn edges(facts: &[Fact]) -> Vec<UtcInstant> {
    let around = |fact: &Fact| [-1, 0, 1].map(|off| fact.occurred_at.as_micros() + off);
    let mut edges: Vec<_> = facts.iter().flat_map(around).chain([i64::MIN, i64::MAX]).collect();
    edges.sort_unstable();
    edges.dedup();
    edges.into_iter().map(UtcInstant::from_micros).collect()
}

//! The part of a recorded event that a fold sees, and the dense numbers that stand for names behind the log.

use crate::{EventId, EventType, UtcInstant};

/// Place of an event in the store-wide order.
///
/// Strictly increasing, **not dense**: a store may leave gaps and never fills them later, so `b - a` is not a
/// count and this type has no arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        number!(@impl $name, $inner);
    };
    (@impl $name:ident, $inner:ty) => {
        impl $name {
            /// From the number as the store hands it out.
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The number itself.
            pub const fn get(self) -> $inner {
                self.0
            }
        }
    };
}

number!(@impl Position, u64);

/// [`Position::START`].
impl Default for Position {
    fn default() -> Self {
        Self::START
    }
}

impl Position {
    /// Before every event: what an empty store has reached.
    pub const START: Self = Self(0);
}

number! {
    /// The dense number of a member, handed out by the store on the way in, in blocks per tenant.
    MemberOrdinal, u32
}
number! {
    /// The dense number of a tenant, in order of first appearance.
    TenantOrdinal, u32
}
number! {
    /// The dense number of a person (a `user_id`, whatever the tenant), in order of first appearance.
    PersonOrdinal, u32
}

macro_rules! index {
    ($($name:ident),*) => {$(
        impl $name {
            /// The number as an index of an array with one slot per ordinal.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}
index!(MemberOrdinal, TenantOrdinal, PersonOrdinal, BatchOrdinal);

number! {
    /// The dense number of a backfill batch, in order of first appearance.
    BatchOrdinal, u32
}

/// A member with the tenant and the person it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberRef {
    /// The member.
    pub member: MemberOrdinal,
    /// Its tenant.
    pub tenant: TenantOrdinal,
    /// The person behind it.
    pub person: PersonOrdinal,
}

/// The part of one recorded event that a fold sees: no strings, `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its place in the order.
    pub position: Position,
    /// The publisher's id.
    pub id: EventId,
    /// The publisher's clock.
    pub occurred_at: UtcInstant,
    /// The store's clock when it took the event in; never decreases with the position.
    pub recorded_at: UtcInstant,
    /// Whom it is about.
    pub member: MemberRef,
    /// The kind of the event.
    pub event_type: EventType,
    /// True if `user_created` said `confirmed: true`; false on every other type.
    pub created_confirmed: bool,
    /// True if the member counts, false if it is left out, where `user_created` or `user_changed` says so.
    pub counts: Option<bool>,
    /// The backfill it came with.
    pub batch: Option<BatchOrdinal>,
}

/// The part of an activity event that tells when its member was seen: what days are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The member that was seen.
    pub member: MemberOrdinal,
    /// The kind of the event, which is [activity](EventType::activity).
    pub event_type: EventType,
    /// The publisher's clock.
    pub occurred_at: UtcInstant,
    /// The backfill it came with.
    pub batch: Option<BatchOrdinal>,
}

impl Sighting {
    /// The sighting that a fact is. `None`: the event is not activity.
    pub fn of(fact: &Fact) -> Option<Self> {
        let Fact { member, event_type, occurred_at, batch, .. } = *fact;
        event_type.activity().map(|_| Self { member: member.member, event_type, occurred_at, batch })
    }
}

/// The record that a batch was taken back. It stands among the events; from then on the name of the batch is
/// dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retraction {
    /// Its place in the order.
    pub position: Position,
    /// [`EventId::of_retraction`].
    pub id: EventId,
    /// When it was asked for.
    pub occurred_at: UtcInstant,
    /// The store's clock when it was recorded.
    pub recorded_at: UtcInstant,
    /// The batch that was taken back.
    pub batch: BatchOrdinal,
}

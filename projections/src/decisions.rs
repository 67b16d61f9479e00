//! Every deletion and restoration of a member, kept: what a member was at an instant depends on all up to it.

use std::collections::BTreeMap;

use lastseen_event::{EventType, Fact, MemberOrdinal, UtcInstant};

/// A deletion or a restoration, ordered as they decide: the greatest up to an instant is what holds then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decision {
    at: UtcInstant,
    /// The event id, as its order is.
    id: (u64, u64),
    /// Of one id for both, beyond the store's memory of ids, the deletion stands, whichever came first.
    pub(crate) deletes: bool,
}

impl Decision {
    /// What a fact decides.
    pub(crate) fn of(fact: &Fact) -> Option<Self> {
        let deletes = match fact.event_type {
            EventType::UserDeleted => true,
            EventType::UserRestored => false,
            _ => return None,
        };
        Some(Self { at: fact.occurred_at, id: fact.id.as_uuid().as_u64_pair(), deletes })
    }

    pub(crate) fn at(&self) -> UtcInstant {
        self.at
    }
}

/// The decisions about all members. Few members are ever deleted: the others have no place here.
#[derive(Debug, Default)]
pub(crate) struct Decisions(BTreeMap<MemberOrdinal, Vec<Decision>>);

impl Decisions {
    /// Adds a decision, unless it is there.
    pub(crate) fn insert(&mut self, member: MemberOrdinal, decision: Decision) {
        let all = self.0.entry(member).or_default();
        if let Err(at) = all.binary_search(&decision) {
            all.insert(at, decision);
        }
    }

    /// The decisions about one member, ascending.
    pub(crate) fn of(&self, member: MemberOrdinal) -> &[Decision] {
        self.0.get(&member).map_or(&[], Vec::as_slice)
    }
}

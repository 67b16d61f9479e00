//! Every deletion and restoration of a member, kept: what a member was at an instant depends on all up to it.

use std::collections::BTreeMap;
use std::ops::Range;

use lastseen_event::{EventType, Fact, MemberOrdinal, UtcInstant};

use crate::snapshot::{BadPart, Bytes};

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

    /// The decisions about some members: how many, then each.
    pub(crate) fn encode(&self, members: Range<MemberOrdinal>, part: &mut Vec<u8>) {
        let of_members = || self.0.range(members.clone());
        let count: usize = of_members().map(|(_, all)| all.len()).sum();
        part.extend_from_slice(&u32::try_from(count).expect("fewer than 2^32 in memory").to_le_bytes());
        for (member, all) in of_members() {
            for decision in all {
                part.extend_from_slice(&member.get().to_le_bytes());
                part.extend_from_slice(&decision.at.as_micros().to_le_bytes());
                part.extend_from_slice(&decision.id.0.to_le_bytes());
                part.extend_from_slice(&decision.id.1.to_le_bytes());
                part.push(u8::from(decision.deletes));
            }
        }
    }

    pub(crate) fn decode(&mut self, bytes: &mut Bytes<'_>) -> Result<(), BadPart> {
        for _ in 0..bytes.u32()? {
            let member = MemberOrdinal::new(bytes.u32()?);
            let at = UtcInstant::from_micros(bytes.i64()?);
            let id = (bytes.u64()?, bytes.u64()?);
            let [deletes] = bytes.take()?;
            self.insert(member, Decision { at, id, deletes: deletes != 0 });
        }
        Ok(())
    }

    /// The decisions about one member, ascending.
    pub(crate) fn of(&self, member: MemberOrdinal) -> &[Decision] {
        self.0.get(&member).map_or(&[], Vec::as_slice)
    }
}

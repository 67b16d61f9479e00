//! Every decision about a member, kept: whether it is deleted or left out at an instant depends on all up to it.
//!
//! [`Decisions::holds_at`] is the one definition of both. Each call looks at one neighbour, so many decisions
//! about one member cost no more a step than few.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};
use std::ops::Range;

use lastseen_event::{EventType, Fact, MemberOrdinal, UtcInstant};

use crate::bytes::{BadPart, Bytes};

/// A statement about a member that holds until a later one about the same, in the order in which they decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decision {
    at: UtcInstant,
    /// Both halves of the event id, which have its order.
    id: (u64, u64),
    /// Last in the order: if a yes and a no share an id, the yes decides.
    yes: bool,
}

/// The questions about a member that the latest decision answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matter {
    /// The member is deleted: `user_deleted` against `user_restored`.
    Deletion,
    /// The member is left out of the numbers: `counts: false` against `counts: true`.
    LeavingOut,
}

impl Decision {
    const LEAST: Self = Self { at: UtcInstant::from_micros(i64::MIN), id: (0, 0), yes: false };

    /// The decision of a fact, and its matter; `None` for a fact that decides nothing.
    pub(crate) fn of(fact: &Fact) -> Option<(Matter, Self)> {
        let (matter, yes) = match (fact.event_type, fact.counts) {
            (EventType::UserDeleted, _) => (Matter::Deletion, true),
            (EventType::UserRestored, _) => (Matter::Deletion, false),
            (_, Some(counts)) => (Matter::LeavingOut, !counts),
            (_, None) => return None,
        };
        Some((matter, Self { at: fact.occurred_at, id: fact.id.as_uuid().as_u64_pair(), yes }))
    }

    pub(crate) fn at(&self) -> UtcInstant {
        self.at
    }

    /// True if the matter holds once it decides.
    pub(crate) fn holds(&self) -> bool {
        self.yes
    }

    /// No decision at this instant is greater.
    fn greatest_at(at: UtcInstant) -> Self {
        Self { at, id: (u64::MAX, u64::MAX), yes: true }
    }
}

/// The decisions about all members in one matter: some 60 bytes each, nothing for a member without one.
#[derive(Debug, Default)]
pub(crate) struct Decisions(BTreeSet<(MemberOrdinal, Decision)>);

impl Decisions {
    /// Adds a decision. `false`: it was known.
    pub(crate) fn insert(&mut self, member: MemberOrdinal, decision: Decision) -> bool {
        self.0.insert((member, decision))
    }

    /// True if the greatest decision about the member up to an instant is a yes.
    pub(crate) fn holds_at(&self, member: MemberOrdinal, at: UtcInstant) -> bool {
        self.last_by(member, at).is_some_and(|decision| decision.yes)
    }

    /// The greatest decision about a member up to an instant.
    fn last_by(&self, member: MemberOrdinal, at: UtcInstant) -> Option<Decision> {
        let up_to = (member, Decision::LEAST)..=(member, Decision::greatest_at(at));
        self.0.range(up_to).next_back().map(|(_, decision)| *decision)
    }

    /// The instant of the greatest decision about a member up to an instant, if it is a yes.
    pub(crate) fn holds_since(&self, member: MemberOrdinal, at: UtcInstant) -> Option<UtcInstant> {
        self.last_by(member, at).filter(|decision| decision.yes).map(|decision| decision.at)
    }

    /// The least decision about a member that is greater than this one.
    pub(crate) fn after(&self, member: MemberOrdinal, decision: Decision) -> Option<Decision> {
        let (of, next) = self.0.range((Excluded((member, decision)), Unbounded)).next()?;
        (*of == member).then_some(*next)
    }

    /// The decisions about one member, ascending.
    pub(crate) fn of(&self, member: MemberOrdinal) -> impl Iterator<Item = &Decision> {
        let all =
            (member, Decision::LEAST)..=(member, Decision::greatest_at(UtcInstant::from_micros(i64::MAX)));
        self.0.range(all).map(|(_, decision)| decision)
    }

    /// All decisions, by member and ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(MemberOrdinal, Decision)> {
        self.0.iter()
    }

    /// The decisions about some members, by member and ascending.
    pub(crate) fn of_all(&self, members: Range<u32>) -> impl Iterator<Item = &(MemberOrdinal, Decision)> {
        let [first, end] = [members.start, members.end].map(MemberOrdinal::new);
        self.0.range((first, Decision::LEAST)..(end, Decision::LEAST))
    }

    /// Encodes the decisions about some members: their number, then each.
    pub(crate) fn encode(&self, members: Range<MemberOrdinal>, part: &mut Vec<u8>) {
        let of_members = || self.0.range((members.start, Decision::LEAST)..(members.end, Decision::LEAST));
        let count = u32::try_from(of_members().count()).expect("fewer than 2^32 in memory");
        part.extend_from_slice(&count.to_le_bytes());
        for (member, decision) in of_members() {
            part.extend_from_slice(&member.get().to_le_bytes());
            part.extend_from_slice(&decision.at.as_micros().to_le_bytes());
            part.extend_from_slice(&decision.id.0.to_le_bytes());
            part.extend_from_slice(&decision.id.1.to_le_bytes());
            part.push(u8::from(decision.yes));
        }
    }

    /// Adds the decisions of a part.
    pub(crate) fn decode(&mut self, bytes: &mut Bytes<'_>) -> Result<(), BadPart> {
        for _ in 0..bytes.u32()? {
            let member = MemberOrdinal::new(bytes.u32()?);
            let at = UtcInstant::from_micros(bytes.i64()?);
            let id = (bytes.u64()?, bytes.u64()?);
            let yes = bytes.u8()? != 0;
            self.insert(member, Decision { at, id, yes });
        }
        Ok(())
    }
}

impl FromIterator<(MemberOrdinal, Decision)> for Decisions {
    fn from_iter<I: IntoIterator<Item = (MemberOrdinal, Decision)>>(decisions: I) -> Self {
        Self(decisions.into_iter().collect())
    }
}

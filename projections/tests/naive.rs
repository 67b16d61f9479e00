//! The numbers recounted from a list of facts, each line straight from its definition. It shares no code with
//! the crate but the types of the answers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use lastseen_event::{
    EventType, Fact, MemberOrdinal, PersonOrdinal, Position, Provenance, TenantOrdinal, UtcInstant,
};
use lastseen_projections::{Condition, MemberState, Overall, PersonNumbers, Scope, Seen, Summary};

use crate::history::Choice;

/// A member with its tenant, its person and what is true of it.
pub(crate) struct Known {
    pub(crate) tenant: TenantOrdinal,
    pub(crate) person: PersonOrdinal,
    pub(crate) state: MemberState,
}

/// The expected state after some facts.
pub(crate) struct Naive {
    pub(crate) members: BTreeMap<MemberOrdinal, Known>,
    pub(crate) position: Position,
}

impl Naive {
    pub(crate) fn new(facts: &[Fact]) -> Self {
        Self::choosing(facts, &Choice::default())
    }

    pub(crate) fn choosing(facts: &[Fact], choice: &Choice) -> Self {
        let kept: Vec<Fact> = facts
            .iter()
            .filter(|fact| choice.occurred_until.is_none_or(|until| fact.occurred_at <= until))
            .filter(|fact| choice.position_until.is_none_or(|until| fact.position <= until))
            .filter(|fact| choice.recorded_until.is_none_or(|until| fact.recorded_at <= until))
            .copied()
            .collect();
        let ordinals: BTreeSet<_> = kept.iter().map(|fact| fact.member.member).collect();
        let known = |ordinal| {
            let mine: Vec<Fact> = kept.iter().filter(|fact| fact.member.member == ordinal).copied().collect();
            let who = mine[0].member;
            (ordinal, Known { tenant: who.tenant, person: who.person, state: state(&mine, choice) })
        };
        Self {
            members: ordinals.into_iter().map(known).collect(),
            position: kept.iter().map(|fact| fact.position).max().unwrap_or(Position::START),
        }
    }

    pub(crate) fn summary(&self, scope: Scope, since: UtcInstant) -> Summary {
        let within = |known: &&Known| match scope {
            Scope::All => true,
            Scope::Tenant(tenant) => known.tenant == tenant,
        };
        let members: Vec<&Known> = self.members.values().filter(within).collect();
        let is_present = |known: &&&Known| is_present(&known.state);
        let total: Vec<_> = members.iter().filter(is_present).collect();
        let active: Vec<_> =
            total.iter().filter(|known| meets(&known.state, Condition::Active, since)).collect();
        let count =
            |condition| members.iter().filter(|known| meets(&known.state, condition, since)).count() as u64;
        let by = |provenance| {
            let seen =
                |known: &&&&&Known| known.state.last_seen.unwrap().event_type.activity() == Some(provenance);
            active.iter().filter(seen).count() as u64
        };
        let overall = || Overall {
            tenants: total.iter().map(|known| known.tenant).collect::<BTreeSet<_>>().len() as u64,
            active_tenants: active.iter().map(|known| known.tenant).collect::<BTreeSet<_>>().len() as u64,
            persons: Some(PersonNumbers {
                total_persons: total.iter().map(|known| known.person).collect::<BTreeSet<_>>().len() as u64,
                active_persons: active.iter().map(|known| known.person).collect::<BTreeSet<_>>().len() as u64,
            }),
        };
        Summary {
            total_users: total.len() as u64,
            pending_users: count(Condition::Pending),
            never_seen_users: count(Condition::NeverSeen),
            active_users: active.len() as u64,
            inactive_users: count(Condition::Inactive),
            deleted_users: count(Condition::Deleted),
            observed_users: by(Provenance::Observed),
            estimated_users: by(Provenance::Estimated),
            left_out_users: count(Condition::LeftOut),
            last_estimate_at: active
                .iter()
                .filter_map(|known| known.state.last_seen)
                .filter(|seen| seen.event_type == EventType::EstimatedActivity)
                .map(|seen| seen.at)
                .max(),
            overall: (scope == Scope::All).then(overall),
        }
    }
}

/// The table of the numbers, row by row.
fn meets(state: &MemberState, condition: Condition, since: UtcInstant) -> bool {
    let present = is_present(state);
    let last_seen = state.last_seen.map(|seen| seen.at);
    match condition {
        Condition::Active => {
            present && state.confirmed_from.is_some() && last_seen.is_some_and(|at| at >= since)
        }
        Condition::Inactive => present && last_seen.is_some_and(|at| at < since),
        Condition::Pending => present && state.confirmed_from.is_none(),
        Condition::NeverSeen => present && last_seen.is_none(),
        Condition::Deleted => state.deleted_at.is_some() && state.left_out_at.is_none(),
        Condition::LeftOut => state.left_out_at.is_some(),
    }
}

fn is_present(state: &MemberState) -> bool {
    state.deleted_at.is_none() && state.left_out_at.is_none()
}

/// Returns the state of one member, recounted from its facts.
fn state(mine: &[Fact], choice: &Choice) -> MemberState {
    let observed = |fact: &&Fact| fact.event_type.activity() == Some(Provenance::Observed);
    let estimated = |fact: &&Fact| fact.event_type == EventType::EstimatedActivity;
    let chosen = |fact: &&Fact| match &choice.types {
        Some(types) => types.contains(&fact.event_type),
        None => observed(fact) || (estimated(fact) && !choice.observed_only),
    };
    let confirms = |fact: &&Fact| {
        observed(fact)
            || estimated(fact)
            || fact.event_type == EventType::UserConfirmed
            || (fact.event_type == EventType::UserCreated && fact.created_confirmed)
    };
    let seen: Vec<Fact> = mine.iter().filter(chosen).copied().collect();
    let decisions = [EventType::UserDeleted, EventType::UserRestored];
    // Of one id for both, the deletion decides.
    let deciding = mine
        .iter()
        .filter(|fact| decisions.contains(&fact.event_type))
        .max_by_key(|fact| (fact.occurred_at, fact.id, fact.event_type == EventType::UserDeleted));
    // Of one id for both, the one that leaves out decides.
    let counting = mine
        .iter()
        .filter(|fact| fact.counts.is_some() && !choice.everyone)
        .max_by_key(|fact| (fact.occurred_at, fact.id, fact.counts == Some(false)));
    MemberState {
        exists_from: mine.iter().map(|fact| fact.occurred_at).min().unwrap(),
        confirmed_from: mine.iter().filter(confirms).map(|fact| fact.occurred_at).min(),
        deleted_at: deciding
            .filter(|fact| fact.event_type == EventType::UserDeleted)
            .map(|fact| fact.occurred_at),
        left_out_at: counting.filter(|fact| fact.counts == Some(false)).map(|fact| fact.occurred_at),
        last_seen: greatest(seen.iter().filter(observed)).or_else(|| greatest(seen.iter().filter(estimated))),
        first_seen_at: seen.iter().map(|fact| fact.occurred_at).min(),
        events: u32::try_from(mine.len()).unwrap(),
    }
}

/// The latest; of one instant the type listed first; of one type the least position.
fn greatest<'a>(facts: impl Iterator<Item = &'a Fact>) -> Option<Seen> {
    facts.max_by_key(|fact| (fact.occurred_at, Reverse(fact.event_type.code()), Reverse(fact.position))).map(
        |fact| Seen {
            at: fact.occurred_at,
            event_type: fact.event_type,
            position: fact.position,
            batch: fact.batch,
        },
    )
}

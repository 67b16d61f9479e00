//! One user explained: the events that decide its state.

use std::sync::Arc;

use lastseen_event::{EventType, Fact, Position, Provenance, UtcInstant};
use lastseen_projections::{MemberState, Selection};
use lastseen_store::{Detail, EventReader, Filter, Scan};

use super::Questions;
use super::admission::{Cost, Kind};
use super::error::QuestionError;
use super::question::Question;
use super::scan;
use crate::read_model::Reading;

/// The events that decide the state of a user. Each rule is that of the state: docs/SEMANTICS.md, "The fold is a join".
#[derive(Clone, Debug, Default)]
pub(crate) struct Deciding {
    /// From which on it exists.
    pub(crate) created: Option<Fact>,
    /// From which on it is confirmed.
    pub(crate) confirmed: Option<Fact>,
    /// The latest deletion or restoration.
    pub(crate) deletion: Option<Fact>,
    /// The latest that says whether it counts.
    pub(crate) counting: Option<Fact>,
    /// Last seen.
    pub(crate) last_seen: Option<Fact>,
}

/// A user, its state, and the events that decide it.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    pub(crate) state: MemberState,
    pub(crate) deciding: Deciding,
    /// The last position that it reflects.
    pub(crate) position: Position,
}

impl Questions {
    /// The events that decide the state of a user.
    ///
    /// # Errors
    /// [`QuestionError::UnknownTenant`], [`QuestionError::UnknownUser`]; others where history is read.
    pub(crate) async fn why(
        self: &Arc<Self>,
        reading: &Reading,
        names: (&str, &str),
        question: &Question,
    ) -> Result<Why, QuestionError> {
        let selection = self.by_position(reading, question.selection).await?;
        let selection = question.of(selection).known_until(reading.position).selection;
        self.scope(reading, Some(names.0), question.is_known_whole())?;
        let member = self.model.log().members().find(names.0, names.1);
        let member = member.ok_or(QuestionError::UnknownUser)?.member;
        let key = (format!("why {member:?} {selection:?}"), reading);
        let cost = Cost { kind: Kind::List, bytes: 0 };
        let is_unbounded = question.is_known_whole();
        let why = self.shared(&self.flights.why, key, cost, move |asking, reading, permit| {
            let (log, deadline) = (asking.model.log(), permit.deadline());
            // Without a bound it is about what counts now; the position only holds the answer still.
            let retracted = if is_unbounded {
                reading.retracted.clone()
            } else {
                asking.retracted_by(&reading, &selection)
            };
            let state = scan::fold_member(log, (member, selection), retracted.clone(), deadline)?;
            let Some(state) = state else { return Ok(None) };
            let filter = Filter { member: Some(member), ..Filter::default() };
            let (after, until) = (Position::START, selection.position_until);
            let mut reader = log.scan(Scan { after, until, detail: Detail::Facts, filter });
            let mut deciding = Deciding::default();
            while let Some(batch) = reader.next_batch()? {
                deadline.check()?;
                let counting =
                    batch.facts.iter().filter(|fact| selection.keeps(fact) && !retracted.has(fact));
                counting.for_each(|fact| deciding.look_at(fact, &selection));
            }
            let position = selection.position_until.unwrap_or(reading.position).min(reading.position);
            Ok(Some(Why { state, deciding, position }))
        });
        why.await?.ok_or(QuestionError::UnknownUser)
    }
}

impl Deciding {
    fn look_at(&mut self, fact: &Fact, selection: &Selection) {
        let least = |slot: &mut Option<Fact>| {
            let key = |fact: &Fact| (fact.occurred_at, fact.position);
            if slot.is_none_or(|known| key(fact) < key(&known)) {
                *slot = Some(*fact);
            }
        };
        least(&mut self.created);
        let is_activity = fact.event_type.activity().is_some();
        if is_activity || fact.event_type == EventType::UserConfirmed || fact.created_confirmed {
            least(&mut self.confirmed);
        }
        let greatest = |slot: &mut Option<Fact>, yes: fn(&Fact) -> bool| {
            let key = |fact: &Fact| (fact.occurred_at, fact.id, yes(fact));
            if slot.is_none_or(|known| key(fact) > key(&known)) {
                *slot = Some(*fact);
            }
        };
        match fact.event_type {
            EventType::UserDeleted | EventType::UserRestored => {
                greatest(&mut self.deletion, |fact| fact.event_type == EventType::UserDeleted);
            }
            _ if fact.counts.is_some() && !selection.everyone => {
                greatest(&mut self.counting, |fact| fact.counts == Some(false));
            }
            _ => {}
        }
        if selection.counted().contains(fact.event_type) {
            let key = |fact: &Fact| {
                let is_observed = fact.event_type.activity() == Some(Provenance::Observed);
                let first = std::cmp::Reverse((fact.event_type.code(), fact.position));
                (is_observed, fact.occurred_at, first)
            };
            if self.last_seen.is_none_or(|known| key(fact) > key(&known)) {
                self.last_seen = Some(*fact);
            }
        }
    }

    /// The instant from which on the user is in the state of this event; of all of them the latest.
    pub(crate) fn since(fact: Option<&Fact>) -> Option<UtcInstant> {
        fact.map(|fact| fact.occurred_at)
    }
}

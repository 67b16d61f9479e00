//! One user, and many users of one tenant by their ids.

use std::sync::Arc;

use lastseen_event::{MemberOrdinal, Position};
use lastseen_projections::{MemberState, Persons, Scope, Selection};

use super::Questions;
use super::admission::{Cost, Kind};
use super::error::QuestionError;
use super::question::Question;
use super::scan;
use super::views::Source;
use crate::read_model::Reading;
use crate::tasks;

/// The users of a look-up.
#[derive(Debug)]
pub(crate) struct LookedUp {
    /// In the order they were asked for.
    pub(crate) users: Vec<(String, MemberState)>,
    /// The ids that no event of the tenant names, in the order they were asked for.
    pub(crate) unknown: Vec<String>,
    /// The last position that the answer reflects.
    pub(crate) position: Position,
}

/// Ids that are looked up where they are asked for, in less than a millisecond.
const SMALL_LOOKUP: usize = 200;

/// Bytes of a large look-up's answer.
const LOOKUP_BYTES: usize = 1 << 20;

/// One user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) state: MemberState,
    /// The backfill that last seen came with.
    pub(crate) last_seen_batch: Option<Box<str>>,
    /// The memberships of the same person in other tenants, by bytes of the tenant id. `None`: persons are off, or these
    /// are more than [`OTHERS_MAX`].
    pub(crate) others: Option<Vec<(Box<str>, MemberState)>>,
    /// The last position that it reflects.
    pub(crate) position: Position,
}

/// Most memberships in other tenants that are told with a user.
const OTHERS_MAX: usize = 100;

impl Questions {
    /// One user.
    ///
    /// # Errors
    /// [`QuestionError::UnknownTenant`], [`QuestionError::UnknownUser`]; others where history is read.
    pub(crate) async fn user(
        self: &Arc<Self>,
        reading: &Reading,
        names: (&str, &str),
        question: &Question,
    ) -> Result<User, QuestionError> {
        let (state, others, position) = if question.is_live() {
            let (state, position) = self.user_now(reading, names)?;
            (state, self.others_now(reading, names), position)
        } else if self.persons == Persons::Off {
            let (state, position) = self.user_then(reading, names, question).await?;
            (state, None, position)
        } else {
            self.scope(reading, Some(names.0), question.is_known_whole())?;
            let person = self.person(reading, names.1, question).await?;
            let is_this = |membership: &&(Box<str>, MemberState)| &*membership.0 == names.0;
            let state = person.memberships.iter().find(is_this).map(|(_, state)| *state);
            let others = person.memberships.iter().filter(|of| !is_this(of)).cloned().collect();
            (state.ok_or(QuestionError::UnknownUser)?, Some(others), person.position)
        };
        let last_seen_batch = state
            .last_seen
            .and_then(|seen| seen.batch)
            .and_then(|batch| self.model.log().batches().get(batch).map(|batch| batch.name().into()));
        let others = others.filter(|others| others.len() <= OTHERS_MAX);
        Ok(User { state, last_seen_batch, others, position })
    }

    /// The memberships of the same person in other tenants; `None` where persons are off, or they are many.
    fn others_now(
        &self,
        reading: &Reading,
        (tenant_id, user_id): (&str, &str),
    ) -> Option<Vec<(Box<str>, MemberState)>> {
        let member = self.model.log().members().find(tenant_id, user_id)?.member;
        if self.persons == Persons::Off {
            return None;
        }
        let views = reading.views();
        let others = views.memberships(member).filter(|(other, _)| *other != member);
        let others: Vec<_> = others.take(OTHERS_MAX + 1).collect();
        let members = self.model.log().members();
        let named = |(other, state): &(MemberOrdinal, MemberState)| {
            let tenant = members.member_ref(*other)?.tenant;
            Some((members.tenant_id(tenant).as_str().into(), *state))
        };
        let mut others: Vec<(Box<str>, MemberState)> = others.iter().filter_map(named).collect();
        others.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Some(others)
    }

    /// The state of one user of the past, by its own events alone.
    async fn user_then(
        self: &Arc<Self>,
        reading: &Reading,
        names: (&str, &str),
        question: &Question,
    ) -> Result<(MemberState, Position), QuestionError> {
        let selection = self.by_position(reading, question.selection).await?;
        let selection = question.of(selection).known_until(reading.position).selection;
        let position = selection.position_until.unwrap_or(reading.position).min(reading.position);
        let member = {
            let members = self.model.log().members();
            let tenant = members.tenant(names.0).ok_or(QuestionError::UnknownTenant)?;
            let member = members.find(names.0, names.1);
            member.ok_or_else(|| unknown(reading.views().knows_tenant(tenant)))?
        };
        let kept = self.kept.folded(Scope::Tenant(member.tenant), selection);
        let state = match kept {
            Some(folded) => folded.views.member(member.member),
            None => self.folded_member(reading, member.member, selection).await?,
        };
        let state = state.ok_or_else(|| unknown(reading.views().knows_tenant(member.tenant)))?;
        Ok((state, position))
    }

    /// The present state of one user, and the last position that it reflects.
    ///
    /// # Errors
    /// [`QuestionError::UnknownTenant`], [`QuestionError::UnknownUser`].
    pub(super) fn user_now(
        &self,
        reading: &Reading,
        (tenant_id, user_id): (&str, &str),
    ) -> Result<(MemberState, Position), QuestionError> {
        let log = self.model.log();
        reading.tenant(log, tenant_id).ok_or(QuestionError::UnknownTenant)?;
        let member = log.members().find(tenant_id, user_id).ok_or(QuestionError::UnknownUser)?;
        let views = reading.views();
        let state = views.member(member.member).ok_or(QuestionError::UnknownUser)?;
        Ok((state, views.position()))
    }

    /// Folds the events of one member.
    async fn folded_member(
        self: &Arc<Self>,
        reading: &Reading,
        member: MemberOrdinal,
        selection: Selection,
    ) -> Result<Option<MemberState>, QuestionError> {
        let key = (format!("{member:?} {selection:?}"), reading);
        let cost = Cost { kind: Kind::List, bytes: 0 };
        self.shared(&self.flights.member, key, cost, move |asking, reading, permit| {
            let retracted = asking.retracted_by(&reading, &selection);
            scan::fold_member(asking.model.log(), (member, selection), retracted, permit.deadline())
        })
        .await
    }

    /// The states of many users.
    ///
    /// # Errors
    /// [`QuestionError::UnknownTenant`]; [`QuestionError::Overloaded`] for a large one; others where history is read.
    pub(crate) async fn look_up(
        self: &Arc<Self>,
        reading: &Reading,
        (tenant_id, user_ids): (String, Vec<String>),
        question: &Question,
    ) -> Result<LookedUp, QuestionError> {
        let scope = self.scope(reading, Some(&tenant_id), question.is_known_whole())?;
        let source = self.source(reading, scope, question).await?;
        if user_ids.len() <= SMALL_LOOKUP {
            return Ok(self.look_up_in(&source, &tenant_id, user_ids));
        }
        let permit =
            self.admission.enter_for(reading.asker(), Cost { kind: Kind::List, bytes: LOOKUP_BYTES }).await?;
        let asking = self.clone();
        let looked_up = tasks::blocking(move || {
            let _permit = permit;
            asking.look_up_in(&source, &tenant_id, user_ids)
        });
        Ok(looked_up.await)
    }

    fn look_up_in(&self, source: &Source, tenant_id: &str, user_ids: Vec<String>) -> LookedUp {
        let found: Vec<_> = {
            let members = self.model.log().members();
            let find = |user_id: String| {
                let member = members.find(tenant_id, &user_id);
                (user_id, member)
            };
            user_ids.into_iter().map(find).collect()
        };
        let position = source.position_of_now();
        let views = source.hold();
        let (mut users, mut unknown) = (Vec::with_capacity(found.len()), Vec::new());
        for (user_id, member) in found {
            match member.and_then(|member| views.member(member.member)) {
                Some(state) => users.push((user_id, state)),
                None => unknown.push(user_id),
            }
        }
        LookedUp { users, unknown, position }
    }
}

fn unknown(is_tenant_known: bool) -> QuestionError {
    if is_tenant_known { QuestionError::UnknownUser } else { QuestionError::UnknownTenant }
}

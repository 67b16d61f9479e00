//! One user, and many users of one tenant by their ids.

use std::sync::Arc;

use lastseen_event::Position;
use lastseen_projections::MemberState;

use super::Questions;
use super::admission::{Cost, Kind};
use super::error::QuestionError;
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

impl Questions {
    /// The state of one user, and the last position that it reflects.
    ///
    /// # Errors
    /// [`QuestionError::UnknownTenant`], [`QuestionError::UnknownUser`].
    pub(crate) fn user(
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

    /// The states of many users.
    ///
    /// # Errors
    /// [`QuestionError::UnknownTenant`]; [`QuestionError::Overloaded`] for a large one.
    pub(crate) async fn look_up(
        self: &Arc<Self>,
        reading: &Reading,
        tenant_id: String,
        user_ids: Vec<String>,
    ) -> Result<LookedUp, QuestionError> {
        reading.tenant(self.model.log(), &tenant_id).ok_or(QuestionError::UnknownTenant)?;
        if user_ids.len() <= SMALL_LOOKUP {
            return Ok(self.look_up_now(reading, &tenant_id, user_ids));
        }
        let permit =
            self.admission.enter_for(reading.asker(), Cost { kind: Kind::List, bytes: LOOKUP_BYTES }).await?;
        let (asking, reading) = (self.clone(), reading.clone());
        let looked_up = tasks::blocking(move || {
            let _permit = permit;
            asking.look_up_now(&reading, &tenant_id, user_ids)
        });
        Ok(looked_up.await)
    }

    fn look_up_now(&self, reading: &Reading, tenant_id: &str, user_ids: Vec<String>) -> LookedUp {
        let found: Vec<_> = {
            let members = self.model.log().members();
            let find = |user_id: String| {
                let member = members.find(tenant_id, &user_id);
                (user_id, member)
            };
            user_ids.into_iter().map(find).collect()
        };
        let views = reading.views();
        let (mut users, mut unknown) = (Vec::with_capacity(found.len()), Vec::new());
        for (user_id, member) in found {
            match member.and_then(|member| views.member(member.member)) {
                Some(state) => users.push((user_id, state)),
                None => unknown.push(user_id),
            }
        }
        LookedUp { users, unknown, position: views.position() }
    }
}

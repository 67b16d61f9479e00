//! A whole list, sent in pieces: four bytes a user while it is sent, whoever reads it and however slowly.

use std::sync::Arc;

use lastseen_event::{MemberOrdinal, Position, UtcInstant};

use super::super::Questions;
use super::super::admission::{Cost, Deadline, Kind, Permit};
use super::super::error::QuestionError;
use super::super::views::Source;
use super::{Listed, NamedUser, Pass, UsersQuestion, Whom, named, names};
use crate::memory::Reserved;
use crate::read_model::Reading;
use crate::tasks;

/// Bytes a member while the order is found: last seen, ordinal, and names of users with the same last seen.
const SORTING_BYTES_A_MEMBER: usize = 64;

/// Users with equal last seen whose names are read under one hold of the dictionary.
const TURN_NAMES: usize = 4_096;

/// A list on its way. The order is that of the moment it was begun; each row tells its user as of the moment the row
/// is made.
pub(crate) struct UsersExport {
    questions: Arc<Questions>,
    source: Source,
    whom: Whom,
    /// In order.
    members: Vec<MemberOrdinal>,
    /// Rows that were sent.
    sent: usize,
    /// The position at which the list was begun.
    pub(crate) position: Position,
    /// The lower edge of the window, inclusive.
    pub(crate) since: UtcInstant,
    _memory: Reserved,
}

impl Questions {
    /// Begins to send a whole list. The place among downloads is the caller's to hold.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub(crate) async fn export(
        self: &Arc<Self>,
        reading: &Reading,
        asked: UsersQuestion,
    ) -> Result<UsersExport, QuestionError> {
        let scope = asked.whom.scope();
        let source = self.source(reading, scope, &asked.question).await?;
        let members = self.members_of(reading, scope);
        let cost = Cost { kind: Kind::List, bytes: members * SORTING_BYTES_A_MEMBER };
        let permit = self.admission.enter_for(reading.asker(), cost).await?;
        let (asking, now) = (self.clone(), reading.at);
        tasks::blocking(move || asking.begin_export(source, &asked, now, permit)).await
    }

    fn begin_export(
        self: Arc<Self>,
        source: Source,
        asked: &UsersQuestion,
        now: UtcInstant,
        mut permit: Permit,
    ) -> Result<UsersExport, QuestionError> {
        let since = asked.question.since(asked.question.at(now));
        let (position, mut found) = {
            let position = source.position_of_now();
            let mut found: Vec<(Option<UtcInstant>, MemberOrdinal)> = Vec::new();
            let pass = Pass { questions: &self, asked, since };
            pass.each(&source, Some(permit.deadline()), |_, listed| {
                found.push((asked.sort.key(&listed.state), listed.member));
            })?;
            (position, found)
        };
        found.sort_unstable_by(|a, b| asked.sort.by_key(a.0, b.0));
        for equal in found.chunk_by_mut(|a, b| a.0 == b.0) {
            self.sort_by_name(equal, permit.deadline())?;
        }
        let members: Vec<_> = found.into_iter().map(|(_, member)| member).collect();
        permit.memory().shrink_to(members.len() * size_of::<MemberOrdinal>());
        let (memory, whom) = (permit.into_memory(), asked.whom);
        Ok(UsersExport { questions: self, source, whom, members, sent: 0, position, since, _memory: memory })
    }

    /// Sorts users by name. Names are copied a turn at a time, so the writer never waits for a sort.
    fn sort_by_name(
        &self,
        users: &mut [(Option<UtcInstant>, MemberOrdinal)],
        deadline: Deadline,
    ) -> Result<(), QuestionError> {
        if users.len() < 2 {
            return Ok(());
        }
        let mut named: Vec<(Box<str>, Box<str>, MemberOrdinal)> = Vec::with_capacity(users.len());
        for turn in users.chunks(TURN_NAMES) {
            deadline.check()?;
            let members = self.model.log().members();
            named.extend(turn.iter().map(|(_, member)| {
                let (user_id, tenant_id) = names(&*members, *member);
                (user_id.into(), tenant_id.into(), *member)
            }));
        }
        named.sort_unstable_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        for (user, (.., member)) in users.iter_mut().zip(named) {
            user.1 = member;
        }
        Ok(())
    }
}

impl UsersExport {
    /// The next users in order, at most `rows`; empty at the end. Blocks for less than a millisecond.
    pub(crate) fn next(&mut self, rows: usize) -> Vec<NamedUser> {
        let end = self.members.len().min(self.sent + rows);
        let turn = &self.members[self.sent..end];
        self.sent = end;
        let views = self.source.hold();
        let members = self.questions.model.log().members();
        let user = |member: &MemberOrdinal| {
            let state = match self.whom {
                Whom::Members(_) => views.member(*member),
                Whom::Persons => views.person(*member),
            };
            Some(named(&views, &*members, self.whom, Listed { member: *member, state: state? }))
        };
        turn.iter().filter_map(user).collect()
    }
}

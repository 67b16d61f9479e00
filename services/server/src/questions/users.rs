//! Lists of users: the members of a tenant that meet a filter, in order of last seen, page by page or all at once.
//!
//! A page is one pass over the tenant's records; only candidates for the page are kept. An export keeps four bytes a
//! user, in order, and reads each user again when its row is sent.

mod export;

use std::cmp::Ordering;
use std::sync::Arc;

use lastseen_event::{MemberOrdinal, Position, TenantOrdinal, UtcInstant};
use lastseen_log::Members;
use lastseen_projections::{Condition, MemberState, Scope};

pub(crate) use self::export::UsersExport;
use super::Questions;
use super::admission::{Cost, Deadline, Kind};
use super::error::QuestionError;
use super::place::Place;
use super::question::Question;
use super::views::{Source, members_of_tenant};
use crate::read_model::Reading;
use crate::tasks;

/// Order by last seen. Never-seen users are last either way; ties go by the bytes of `user_id`, ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Sort {
    OldestFirst,
    #[default]
    NewestFirst,
}

impl Sort {
    fn by_last_seen(self, a: Option<UtcInstant>, b: Option<UtcInstant>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) if self == Self::OldestFirst => a.cmp(&b),
            (Some(a), Some(b)) => b.cmp(&a),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

/// The users that belong on a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct UsersFilter {
    /// Any of these; empty: all but those that are deleted or left out.
    pub(crate) conditions: Vec<Condition>,
    /// Inclusive; leaves out never-seen users.
    pub(crate) seen_since: Option<UtcInstant>,
    /// Exclusive; leaves out never-seen users.
    pub(crate) seen_before: Option<UtcInstant>,
}

impl UsersFilter {
    /// True if a member belongs on the list; `since` is the lower edge of the window, inclusive.
    fn admits(&self, state: &MemberState, since: UtcInstant) -> bool {
        let met = if self.conditions.is_empty() {
            !state.meets(Condition::Deleted, since) && !state.meets(Condition::LeftOut, since)
        } else {
            self.conditions.iter().any(|condition| state.meets(*condition, since))
        };
        let seen = |holds: &dyn Fn(UtcInstant) -> bool| state.last_seen.is_some_and(|seen| holds(seen.at));
        met && self.seen_since.is_none_or(|since| seen(&|at| at >= since))
            && self.seen_before.is_none_or(|before| seen(&|at| at < before))
    }
}

/// A question for a list of one tenant's users.
#[derive(Clone, Debug)]
pub(crate) struct UsersQuestion {
    pub(crate) tenant: TenantOrdinal,
    pub(crate) question: Question,
    pub(crate) filter: UsersFilter,
    pub(crate) sort: Sort,
    /// "Now" of the first page. `None`: this is the first page.
    pub(crate) now: Option<UtcInstant>,
    /// The last row of the page before.
    pub(crate) after: Option<Place>,
    /// Most rows of a page.
    pub(crate) limit: usize,
}

/// The id of a user and its state.
pub(crate) type NamedUser = (Box<str>, MemberState);

/// A page of a list.
#[derive(Debug)]
pub(crate) struct UsersPage {
    /// User id and state, in order.
    pub(crate) users: Vec<NamedUser>,
    /// True if more follow.
    pub(crate) more: bool,
    /// The last position they reflect.
    pub(crate) position: Position,
    /// "Now" of all pages.
    pub(crate) now: UtcInstant,
    /// True if the list is of the past, and stands still at its position.
    pub(crate) stands_still: bool,
}

impl UsersPage {
    /// The place of the last row. `None`: nothing follows.
    pub(crate) fn next(&self) -> Option<Place> {
        let (user_id, state) = self.users.last().filter(|_| self.more)?;
        let key = state.last_seen.map(|seen| seen.at.as_micros());
        Some(Place { key, name: user_id.to_string() })
    }
}

/// Members looked at before the fold and those who wait for names get a turn.
const TURN_MEMBERS: u32 = 4_096;

/// A page of a tenant with at most so many members is put together where it is asked for: in less than a millisecond.
const SMALL_TENANT_MEMBERS: usize = 4_096;
/// The same for the rows of a page.
const SMALL_PAGE_ROWS: usize = 200;

/// Bytes of a page: rows, names and their text.
const PAGE_BYTES: usize = 1 << 20;

impl Questions {
    /// A page of a list.
    ///
    /// # Errors
    /// [`QuestionError`] where the tenant is large, or history is read.
    pub(crate) async fn users(
        self: &Arc<Self>,
        reading: &Reading,
        asked: UsersQuestion,
    ) -> Result<Arc<UsersPage>, QuestionError> {
        let scope = Scope::Tenant(asked.tenant);
        let source = self.source(reading, scope, &asked.question).await?;
        let members = members_of_tenant(&source.hold(), asked.tenant);
        if members <= SMALL_TENANT_MEMBERS && asked.limit <= SMALL_PAGE_ROWS {
            return Ok(Arc::new(self.users_page(&source, &asked, reading.at, None)?));
        }
        let folded = match source {
            Source::Live(_) => None,
            folded @ Source::Folded(_) => Some(folded),
        };
        let key = (format!("{asked:?}"), reading);
        let cost = Cost { kind: Kind::List, bytes: PAGE_BYTES };
        self.shared(&self.flights.users, key, cost, move |asking, reading, permit| {
            let now = reading.at;
            let source = folded.unwrap_or(Source::Live(reading));
            asking.users_page(&source, &asked, now, Some(permit.deadline())).map(Arc::new)
        })
        .await
    }

    fn users_page(
        &self,
        source: &Source,
        asked: &UsersQuestion,
        now: UtcInstant,
        deadline: Option<Deadline>,
    ) -> Result<UsersPage, QuestionError> {
        let now = asked.now.unwrap_or(now);
        let pass = Pass { questions: self, asked, since: asked.question.since(asked.question.at(now)) };
        let position = source.position_of_now();
        let (users, more) = pass.page(source, deadline)?;
        let stands_still = matches!(source, Source::Folded(_));
        Ok(UsersPage { users, more, position, now, stands_still })
    }
}

/// A user of the list.
#[derive(Clone, Copy)]
struct Listed {
    member: MemberOrdinal,
    state: MemberState,
}

impl Listed {
    fn last_seen_at(&self) -> Option<UtcInstant> {
        self.state.last_seen.map(|seen| seen.at)
    }

    fn user_id<'a>(&self, members: &'a Members) -> &'a str {
        user_id(members, self.member)
    }
}

fn user_id(members: &Members, member: MemberOrdinal) -> &str {
    let member = members.member_ref(member).expect("views know only members of the log");
    members.user_id(member.person).as_str()
}

/// A pass over the members of a tenant.
struct Pass<'a> {
    questions: &'a Questions,
    asked: &'a UsersQuestion,
    /// The lower edge of the window, inclusive.
    since: UtcInstant,
}

impl Pass<'_> {
    /// Finds the first `limit` users after the page before. Returns also whether there are more.
    fn page(
        &self,
        source: &Source,
        deadline: Option<Deadline>,
    ) -> Result<(Vec<NamedUser>, bool), QuestionError> {
        let UsersQuestion { after, limit, .. } = self.asked;
        let wanted = limit + 1;
        let mut best: Vec<Listed> = Vec::with_capacity(wanted * 2);
        self.each(source, deadline, |members, listed| {
            if after.as_ref().is_some_and(|after| !self.is_after(members, &listed, after)) {
                return;
            }
            if best.len() == wanted * 2 {
                best.select_nth_unstable_by(*limit, |a, b| self.compare(members, a, b));
                best.truncate(wanted);
            }
            best.push(listed);
        })?;
        let members = self.questions.model.log().members();
        best.sort_unstable_by(|a, b| self.compare(&members, a, b));
        let more = best.len() > *limit;
        best.truncate(*limit);
        let named = best.iter().map(|listed| (listed.user_id(&members).into(), listed.state)).collect();
        Ok((named, more))
    }

    /// Calls `take` with every user of the list, in no order. Views are not held through a large tenant, so each user
    /// is as of one moment from the beginning on.
    fn each(
        &self,
        source: &Source,
        deadline: Option<Deadline>,
        mut take: impl FnMut(&Members, Listed),
    ) -> Result<(), QuestionError> {
        let log = self.questions.model.log();
        let runs: Vec<_> = source.hold().runs_of(self.asked.tenant).collect();
        for run in runs {
            let (first, last) = (run.start().get(), run.end().get());
            for from in (first..=last).step_by(TURN_MEMBERS as usize) {
                if let Some(deadline) = deadline {
                    deadline.check()?;
                    tasks::give_way();
                }
                // In this order everywhere: in another one, two readers and two writers could wait for each other.
                let views = source.hold();
                let members = log.members();
                let turn = from..=last.min(from.saturating_add(TURN_MEMBERS - 1));
                for member in turn.map(MemberOrdinal::new) {
                    let state = views.member(member);
                    if let Some(state) = state.filter(|state| self.asked.filter.admits(state, self.since)) {
                        take(&members, Listed { member, state });
                    }
                }
            }
        }
        Ok(())
    }

    /// Compares two users as the list sorts them; reads names for ties only.
    fn compare(&self, members: &Members, a: &Listed, b: &Listed) -> Ordering {
        let order = self.asked.sort.by_last_seen(a.last_seen_at(), b.last_seen_at());
        order.then_with(|| a.user_id(members).cmp(b.user_id(members)))
    }

    fn is_after(&self, members: &Members, listed: &Listed, after: &Place) -> bool {
        let key = after.key.map(UtcInstant::from_micros);
        let order = self.asked.sort.by_last_seen(listed.last_seen_at(), key);
        order.then_with(|| listed.user_id(members).cmp(&after.name)).is_gt()
    }
}

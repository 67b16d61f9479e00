//! Lists of users: the members of a tenant or of all, or the persons behind them, that meet a filter, in order, page by
//! page or all at once.
//!
//! A page is one pass over the records; only candidates for the page are kept. An export keeps four bytes a user, in
//! order, and reads each user again when its row is sent.

mod export;

use std::cmp::Ordering;
use std::sync::Arc;

use lastseen_event::{MemberOrdinal, Position, UtcInstant};
use lastseen_projections::{Condition, MemberState, Scope, Views};
use lastseen_store::MemberDictionary;

pub(crate) use self::export::UsersExport;
use super::Questions;
use super::admission::{Cost, Deadline, Kind};
use super::error::QuestionError;
use super::place::Place;
use super::question::Question;
use super::views::{Source, members_of_tenant};
use crate::read_model::Reading;
use crate::tasks;

/// The column that a list is sorted by. Ties go by the bytes of `user_id`, then of `tenant_id`, ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum UsersColumn {
    /// Users who were never seen are last in both directions.
    #[default]
    LastSeen,
    CreatedAt,
    UserId,
}

/// The order of a list of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sort {
    pub(crate) column: UsersColumn,
    /// Only of the columns with instants.
    pub(crate) descending: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self { column: UsersColumn::LastSeen, descending: true }
    }
}

impl Sort {
    /// The instant that the list is sorted by. `None`: the list is sorted by name, or the user has none.
    fn key(self, state: &MemberState) -> Option<UtcInstant> {
        match self.column {
            UsersColumn::LastSeen => state.last_seen.map(|seen| seen.at),
            UsersColumn::CreatedAt => Some(state.exists_from),
            UsersColumn::UserId => None,
        }
    }

    fn by_key(self, a: Option<UtcInstant>, b: Option<UtcInstant>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) if self.descending => b.cmp(&a),
            (Some(a), Some(b)) => a.cmp(&b),
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
    /// Inclusive.
    pub(crate) created_since: Option<UtcInstant>,
    /// Exclusive.
    pub(crate) created_before: Option<UtcInstant>,
    /// The beginning of the user id; empty: any.
    pub(crate) prefix: String,
}

impl UsersFilter {
    /// True if a user of this state belongs on the list, whatever its id is; `since` is the lower edge of the window,
    /// inclusive.
    fn admits(&self, state: &MemberState, since: UtcInstant) -> bool {
        let met = if self.conditions.is_empty() {
            state.is_present()
        } else {
            self.conditions.iter().any(|condition| state.meets(*condition, since))
        };
        let seen = |holds: &dyn Fn(UtcInstant) -> bool| state.last_seen.is_some_and(|seen| holds(seen.at));
        met && self.seen_since.is_none_or(|since| seen(&|at| at >= since))
            && self.seen_before.is_none_or(|before| seen(&|at| at < before))
            && self.created_since.is_none_or(|since| state.exists_from >= since)
            && self.created_before.is_none_or(|before| state.exists_from < before)
    }
}

/// Those whom a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Whom {
    /// The members of a scope.
    Members(Scope),
    /// The persons of all tenants.
    Persons,
}

impl Whom {
    /// The scope of the views that know them.
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Members(scope) => scope,
            Self::Persons => Scope::All,
        }
    }
}

/// A question for a list of users.
#[derive(Clone, Debug)]
pub(crate) struct UsersQuestion {
    pub(crate) whom: Whom,
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

/// A user of a list: its names and its state.
#[derive(Clone, Debug)]
pub(crate) struct NamedUser {
    /// The name of the member that stands for a person.
    pub(crate) tenant_id: Box<str>,
    pub(crate) user_id: Box<str>,
    pub(crate) state: MemberState,
    /// Number of memberships; 1 for a member.
    pub(crate) memberships: usize,
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct UsersPage {
    /// In order.
    pub(crate) users: Vec<NamedUser>,
    /// The place of the last row. `None`: nothing follows.
    pub(crate) next: Option<Place>,
    /// Users of the whole list.
    pub(crate) total: u64,
    /// The last position they reflect.
    pub(crate) position: Position,
    /// "Now" of all pages.
    pub(crate) now: UtcInstant,
    /// True if the list is of the past, and stands still at its position.
    pub(crate) stands_still: bool,
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
    /// [`QuestionError`] where there are many users, or history is read.
    pub(crate) async fn users(
        self: &Arc<Self>,
        reading: &Reading,
        asked: UsersQuestion,
    ) -> Result<Arc<UsersPage>, QuestionError> {
        let source = self.source(reading, asked.whom.scope(), &asked.question).await?;
        let is_small = match asked.whom {
            Whom::Members(Scope::Tenant(tenant)) => {
                members_of_tenant(&source.hold(), tenant) <= SMALL_TENANT_MEMBERS
            }
            Whom::Members(Scope::All) | Whom::Persons => {
                source.hold().slots() as usize <= SMALL_TENANT_MEMBERS
            }
        };
        if is_small && asked.limit <= SMALL_PAGE_ROWS {
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
        pass.page(source, now, deadline)
    }
}

/// A user of the list.
#[derive(Clone, Copy)]
struct Listed {
    member: MemberOrdinal,
    state: MemberState,
}

/// The user id and the tenant id of a member.
fn names(members: &dyn MemberDictionary, member: MemberOrdinal) -> (&str, &str) {
    let member = members.member_ref(member).expect("views know only members of the log");
    (members.user_id(member.person).as_str(), members.tenant_id(member.tenant).as_str())
}

/// A pass over the users of a list.
struct Pass<'a> {
    questions: &'a Questions,
    asked: &'a UsersQuestion,
    /// The lower edge of the window, inclusive.
    since: UtcInstant,
}

impl Pass<'_> {
    /// Finds the first `limit` users after the page before, and counts all of the list.
    fn page(
        &self,
        source: &Source,
        now: UtcInstant,
        deadline: Option<Deadline>,
    ) -> Result<UsersPage, QuestionError> {
        let UsersQuestion { after, limit, .. } = self.asked;
        let (wanted, position) = (limit + 1, source.position_of_now());
        let mut best: Vec<Listed> = Vec::with_capacity(wanted * 2);
        let mut total = 0;
        self.each(source, deadline, |members, listed| {
            total += 1;
            if after.as_ref().is_some_and(|after| !self.is_after(members, &listed, after)) {
                return;
            }
            if best.len() == wanted * 2 {
                best.select_nth_unstable_by(*limit, |a, b| self.compare(members, a, b));
                best.truncate(wanted);
            }
            best.push(listed);
        })?;
        let views = source.hold();
        let members = self.questions.model.log().members();
        best.sort_unstable_by(|a, b| self.compare(&*members, a, b));
        let more = best.len() > *limit;
        best.truncate(*limit);
        let next = best.last().filter(|_| more).map(|last| self.place(&*members, last));
        let named = |listed: &Listed| named(&views, &*members, self.asked.whom, *listed);
        let (users, stands_still) = (best.iter().map(named).collect(), matches!(source, Source::Folded(_)));
        Ok(UsersPage { users, next, total, position, now, stands_still })
    }

    fn place(&self, members: &dyn MemberDictionary, listed: &Listed) -> Place {
        let (user_id, tenant_id) = names(members, listed.member);
        let key = self.asked.sort.key(&listed.state).map(UtcInstant::as_micros);
        Place { key, name: user_id.to_owned(), of: tenant_id.to_owned() }
    }

    /// Calls `take` with every user of the list, in no order. Views are not held through many members, so each user is as
    /// of one moment from the beginning on.
    fn each(
        &self,
        source: &Source,
        deadline: Option<Deadline>,
        mut take: impl FnMut(&dyn MemberDictionary, Listed),
    ) -> Result<(), QuestionError> {
        let log = self.questions.model.log();
        let UsersQuestion { whom, filter, .. } = self.asked;
        let runs: Vec<_> = match whom {
            Whom::Members(Scope::Tenant(tenant)) => source.hold().runs_of(*tenant).collect(),
            Whom::Members(Scope::All) | Whom::Persons => match source.hold().slots() {
                0 => Vec::new(),
                slots => vec![MemberOrdinal::new(0)..=MemberOrdinal::new(slots - 1)],
            },
        };
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
                    let state = match whom {
                        Whom::Members(_) => views.member(member),
                        Whom::Persons => views.person(member),
                    };
                    let admitted = state.filter(|state| filter.admits(state, self.since));
                    let is_named =
                        || filter.prefix.is_empty() || names(&*members, member).0.starts_with(&filter.prefix);
                    if let Some(state) = admitted.filter(|_| is_named()) {
                        take(&*members, Listed { member, state });
                    }
                }
            }
        }
        Ok(())
    }

    /// Compares two users as the list sorts them; reads names for ties only.
    fn compare(&self, members: &dyn MemberDictionary, a: &Listed, b: &Listed) -> Ordering {
        let sort = self.asked.sort;
        let order = sort.by_key(sort.key(&a.state), sort.key(&b.state));
        order.then_with(|| names(members, a.member).cmp(&names(members, b.member)))
    }

    fn is_after(&self, members: &dyn MemberDictionary, listed: &Listed, after: &Place) -> bool {
        let sort = self.asked.sort;
        let order = sort.by_key(sort.key(&listed.state), after.key.map(UtcInstant::from_micros));
        // A person has one row, in whichever tenants it is.
        let after_name = match self.asked.whom {
            Whom::Members(_) => (after.name.as_str(), after.of.as_str()),
            Whom::Persons => (after.name.as_str(), names(members, listed.member).1),
        };
        order.then_with(|| names(members, listed.member).cmp(&after_name)).is_gt()
    }
}

fn named(
    views: &Views,
    members: &dyn MemberDictionary,
    whom: Whom,
    Listed { member, state }: Listed,
) -> NamedUser {
    let (user_id, tenant_id) = names(members, member);
    let memberships = match whom {
        Whom::Members(_) => 1,
        Whom::Persons => views.memberships(member).count(),
    };
    NamedUser { tenant_id: tenant_id.into(), user_id: user_id.into(), state, memberships }
}

//! Which users a list shows, in which order, and which of them stand on a page. One pass over the tenant's
//! members; only candidates for the page are kept.

use std::cmp::Ordering;

use lastseen_event::{MemberOrdinal, TenantOrdinal, UtcInstant};
use lastseen_log::{Log, Members};
use lastseen_projections::{Condition, MemberState};

use super::cursor::Place;
use super::scope::Answering;

/// Order by last seen. Never-seen users stand last either way; ties go by the bytes of `user_id`, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    OldestFirst,
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

/// Which users belong on a list.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// Any of these; empty: all but the deleted ones.
    pub(crate) conditions: Vec<Condition>,
    /// Inclusive; leaves out never-seen users.
    pub(crate) seen_since: Option<UtcInstant>,
    /// Exclusive; leaves out never-seen users.
    pub(crate) seen_before: Option<UtcInstant>,
    /// Lower edge of the window, inclusive.
    pub(crate) since: UtcInstant,
}

impl Filter {
    fn admits(&self, state: &MemberState) -> bool {
        let met = if self.conditions.is_empty() {
            !state.meets(Condition::Deleted, self.since)
        } else {
            self.conditions.iter().any(|condition| state.meets(*condition, self.since))
        };
        let seen = |holds: &dyn Fn(UtcInstant) -> bool| state.last_seen.is_some_and(|seen| holds(seen.at));
        met && self.seen_since.is_none_or(|since| seen(&|at| at >= since))
            && self.seen_before.is_none_or(|before| seen(&|at| at < before))
    }
}

/// A user of the list.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) member: MemberOrdinal,
    pub(crate) state: MemberState,
}

impl Listed {
    fn last_seen_at(&self) -> Option<UtcInstant> {
        self.state.last_seen.map(|seen| seen.at)
    }

    pub(crate) fn user_id<'a>(&self, members: &'a Members) -> &'a str {
        let member = members.member_ref(self.member).expect("views know only members of the log");
        members.user_id(member.person).as_str()
    }

    pub(crate) fn place(&self, members: &Members) -> Place {
        Place { key: self.last_seen_at().map(UtcInstant::as_micros), name: self.user_id(members).to_owned() }
    }
}

/// Members looked at before those who wait for the views or the names get a turn.
const TURN_MEMBERS: u32 = 4_096;

/// Lists of one tenant.
pub(crate) struct Lister<'a> {
    pub(crate) log: &'a Log,
    pub(crate) tenant: TenantOrdinal,
    pub(crate) filter: &'a Filter,
    pub(crate) sort: Sort,
}

impl Lister<'_> {
    /// The first `limit` users behind `after` in order, and whether there are more.
    pub(crate) fn page(
        &self,
        views: &mut Answering<'_>,
        after: Option<&Place>,
        limit: usize,
    ) -> (Vec<Listed>, bool) {
        let wanted = limit + 1;
        let mut best: Vec<Listed> = Vec::with_capacity(wanted * 2);
        self.each(views, |members, listed| {
            if after.is_some_and(|after| !self.is_behind(members, &listed, after)) {
                return;
            }
            if best.len() == wanted * 2 {
                best.select_nth_unstable_by(limit, |a, b| self.compare(members, a, b));
                best.truncate(wanted);
            }
            best.push(listed);
        });
        let members = self.log.members();
        best.sort_unstable_by(|a, b| self.compare(&members, a, b));
        let more = best.len() > limit;
        best.truncate(limit);
        (best, more)
    }

    /// Calls `take` with every user of the list, in no order. Each is as of one moment from the beginning on: the views are
    /// not held through a large tenant.
    pub(crate) fn each(&self, views: &mut Answering<'_>, mut take: impl FnMut(&Members, Listed)) {
        let runs: Vec<_> = views.runs_of(self.tenant).collect();
        for run in runs {
            let (first, last) = (run.start().get(), run.end().get());
            for from in (first..=last).step_by(TURN_MEMBERS as usize) {
                {
                    let members = self.log.members();
                    for member in
                        (from..=last.min(from.saturating_add(TURN_MEMBERS - 1))).map(MemberOrdinal::new)
                    {
                        if let Some(state) = views.member(member).filter(|state| self.filter.admits(state)) {
                            take(&members, Listed { member, state });
                        }
                    }
                }
                views.give_turn();
            }
        }
    }

    /// Names are looked at for ties only.
    fn compare(&self, members: &Members, a: &Listed, b: &Listed) -> Ordering {
        let order = self.sort.by_last_seen(a.last_seen_at(), b.last_seen_at());
        order.then_with(|| a.user_id(members).cmp(b.user_id(members)))
    }

    fn is_behind(&self, members: &Members, listed: &Listed, after: &Place) -> bool {
        let order = self.sort.by_last_seen(listed.last_seen_at(), after.key.map(UtcInstant::from_micros));
        order.then_with(|| listed.user_id(members).cmp(&after.name)).is_gt()
    }
}

/// Puts places in order.
pub(crate) fn compare_places(
    sort: Sort,
    a: (Option<UtcInstant>, &str),
    b: (Option<UtcInstant>, &str),
) -> Ordering {
    sort.by_last_seen(a.0, b.0).then_with(|| a.1.cmp(b.1))
}

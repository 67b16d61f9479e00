//! The list of tenants with their numbers, sorted by any of them, page by page.
//!
//! A page is one pass over all tenants; only candidates for the page are kept.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono_tz::Tz;
use lastseen_event::{Position, TenantOrdinal, UtcInstant};
use lastseen_projections::{Calendar, Day, Period, Periods, Scope, Summary};
use lastseen_store::MemberDictionary;

use super::Questions;
use super::admission::{Cost, Deadline, Kind};
use super::as_of;
use super::error::QuestionError;
use super::place::Place;
use super::question::{Question, Way};
use super::span::Span;
use super::views::Source;
use crate::read_model::Reading;
use crate::tasks;

/// The column that tenants are sorted by; ties go by name, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Column {
    TenantId,
    TotalUsers,
    PendingUsers,
    NeverSeenUsers,
    ActiveUsers,
    ObservedUsers,
    EstimatedUsers,
    InactiveUsers,
    DeletedUsers,
    LeftOutUsers,
}

impl Column {
    /// All columns.
    pub(crate) const ALL: [Self; 10] = [
        Self::TenantId,
        Self::TotalUsers,
        Self::PendingUsers,
        Self::NeverSeenUsers,
        Self::ActiveUsers,
        Self::ObservedUsers,
        Self::EstimatedUsers,
        Self::InactiveUsers,
        Self::DeletedUsers,
        Self::LeftOutUsers,
    ];

    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TenantId => "tenant_id",
            Self::TotalUsers => "total_users",
            Self::PendingUsers => "pending_users",
            Self::NeverSeenUsers => "never_seen_users",
            Self::ActiveUsers => "active_users",
            Self::ObservedUsers => "observed_users",
            Self::EstimatedUsers => "estimated_users",
            Self::InactiveUsers => "inactive_users",
            Self::DeletedUsers => "deleted_users",
            Self::LeftOutUsers => "left_out_users",
        }
    }

    /// The number in this column. `None`: the column has names.
    fn of(self, summary: &Summary) -> Option<i64> {
        let count = match self {
            Self::TenantId => return None,
            Self::TotalUsers => summary.total_users,
            Self::PendingUsers => summary.pending_users,
            Self::NeverSeenUsers => summary.never_seen_users,
            Self::ActiveUsers => summary.active_users,
            Self::ObservedUsers => summary.observed_users,
            Self::EstimatedUsers => summary.estimated_users,
            Self::InactiveUsers => summary.inactive_users,
            Self::DeletedUsers => summary.deleted_users,
            Self::LeftOutUsers => summary.left_out_users,
        };
        Some(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

/// The order of a list of tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TenantSort {
    pub(crate) column: Column,
    pub(crate) descending: bool,
}

impl Default for TenantSort {
    fn default() -> Self {
        Self { column: Column::ActiveUsers, descending: true }
    }
}

impl TenantSort {
    fn compare(self, a: (Option<i64>, &str), b: (Option<i64>, &str)) -> Ordering {
        let (by_key, by_name) = (a.0.cmp(&b.0), a.1.cmp(b.1));
        match (self.column, self.descending) {
            (Column::TenantId, true) => by_name.reverse(),
            (Column::TenantId, false) => by_name,
            (_, true) => by_key.reverse().then(by_name),
            (_, false) => by_key.then(by_name),
        }
    }
}

/// A question for the list of tenants.
#[derive(Clone, Debug)]
pub(crate) struct TenantsQuestion {
    pub(crate) question: Question,
    pub(crate) sort: TenantSort,
    /// "Now" of the first page. `None`: this is the first page.
    pub(crate) now: Option<UtcInstant>,
    /// The last row of the page before.
    pub(crate) after: Option<Place>,
    /// Most rows of a page.
    pub(crate) limit: usize,
    /// The list has the row of this tenant alone.
    pub(crate) only: Option<TenantOrdinal>,
    /// True if the numbers of one window before are asked for.
    pub(crate) with_previous: bool,
    /// The number of days that are over whose active users are asked for.
    pub(crate) trend_days: u32,
}

/// A tenant of the list.
#[derive(Clone, Debug)]
pub(crate) struct TenantRow {
    tenant: TenantOrdinal,
    /// Its place among all tenants, from 1.
    pub(crate) rank: u64,
    pub(crate) tenant_id: Box<str>,
    pub(crate) summary: Summary,
    /// The greatest last seen of its users. `None`: nobody was seen.
    pub(crate) last_seen_at: Option<UtcInstant>,
    /// The first event about one of its users.
    pub(crate) created_at: Option<UtcInstant>,
    /// The numbers of one window before, where they were asked for.
    pub(crate) previous: Option<Summary>,
    /// The active users of the last days that are over, the earliest first; empty where they were not asked for.
    pub(crate) trend: Vec<u64>,
}

/// A page of the list.
#[derive(Clone, Debug)]
pub(crate) struct TenantsPage {
    /// In order.
    pub(crate) tenants: Vec<TenantRow>,
    /// The place of the last row. `None`: nothing follows.
    pub(crate) next: Option<Place>,
    /// Tenants of the whole list.
    pub(crate) total: u64,
    /// The position of the first row.
    pub(crate) position: Position,
    /// "Now" of all pages.
    pub(crate) now: UtcInstant,
    /// True if the list is of the past, and stands still at its position.
    pub(crate) stands_still: bool,
}

/// Tenants counted under one hold of the views.
const TURN_TENANTS: u32 = 64;

/// Bytes of a page: twice its rows while it is put together, and their text.
const PAGE_BYTES: usize = 1 << 20;

/// A tenant that may be on the page.
struct Candidate {
    tenant: TenantOrdinal,
    key: Option<i64>,
    summary: Summary,
}

impl Candidate {
    fn place<'a>(&self, members: &'a dyn MemberDictionary) -> (Option<i64>, &'a str) {
        (self.key, members.tenant_id(self.tenant).as_str())
    }
}

impl Questions {
    /// A page of the tenants that have a member in `total_users`.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub(crate) async fn tenants(
        self: &Arc<Self>,
        reading: &Reading,
        asked: TenantsQuestion,
    ) -> Result<Arc<TenantsPage>, QuestionError> {
        let asked = TenantsQuestion {
            question: asked.question.of(self.by_position(reading, asked.question.selection).await?),
            ..asked
        };
        let folded = match self.source(reading, Scope::All, &asked.question).await? {
            Source::Live(_) => None,
            folded @ Source::Folded(_) => Some(folded),
        };
        let key = (format!("{asked:?}"), reading);
        let cost = Cost { kind: Kind::List, bytes: PAGE_BYTES };
        let page = self.shared(&self.flights.tenants, key, cost, {
            let asked = asked.clone();
            move |asking, reading, permit| {
                let now = asked.now.unwrap_or(reading.at);
                let source = folded.unwrap_or(Source::Live(reading));
                asking.tenants_page(&source, &asked, now, permit.deadline()).map(Arc::new)
            }
        });
        let page = page.await?;
        if !asked.with_previous && asked.trend_days == 0 {
            return Ok(page);
        }
        let mut page = TenantsPage::clone(&page);
        if asked.with_previous {
            self.add_previous(reading, &asked.question, &mut page).await?;
        }
        if asked.trend_days > 0 {
            self.add_trends(reading, &asked, &mut page).await?;
        }
        Ok(Arc::new(page))
    }

    /// Adds the numbers of one window before.
    async fn add_previous(
        self: &Arc<Self>,
        reading: &Reading,
        question: &Question,
        page: &mut TenantsPage,
    ) -> Result<(), QuestionError> {
        let earlier = question.previous(question.at(page.now));
        let at = earlier.at(page.now);
        let since = earlier.since(at);
        if earlier.way() == Way::AsOf {
            let asked = earlier.asked(Scope::All, at);
            let bytes = self.members_of(reading, Scope::All) * super::summary::AS_OF_BYTES_A_MEMBER;
            let key = (format!("tenants {asked:?}"), reading);
            let cost = Cost { kind: Kind::Count, bytes };
            let then = self.shared(&self.flights.tenants_as_of, key, cost, move |asking, reading, permit| {
                let log = asking.model.log();
                as_of::active(log, &reading, &asked, permit.deadline()).map(|(active, _)| Arc::new(active))
            });
            let then = then.await?;
            let tenants: Vec<_> = page.tenants.iter().map(|row| row.tenant).collect();
            let cost = Cost { kind: Kind::List, bytes: PAGE_BYTES };
            let permit = self.admission.enter_for(reading.asker(), cost).await?;
            let reading = reading.clone();
            let summaries = tasks::blocking(move || {
                let Some(then) = &*then else { return Ok(Vec::new()) };
                let mut summaries = Vec::with_capacity(tenants.len());
                for tenant in tenants {
                    permit.deadline().check()?;
                    summaries.push(then.tenant(&reading.views(), tenant));
                    tasks::give_way();
                }
                Ok::<_, QuestionError>(summaries)
            });
            for (row, summary) in page.tenants.iter_mut().zip(summaries.await?) {
                row.previous = Some(summary);
            }
            return Ok(());
        }
        // At the position of the page.
        let source = self.source(reading, Scope::All, &earlier.known_until(page.position)).await?;
        for row in &mut page.tenants {
            row.previous = Some(source.hold().summary(Scope::Tenant(row.tenant), since));
        }
        Ok(())
    }

    /// Adds the active users of the last days that are over.
    async fn add_trends(
        self: &Arc<Self>,
        reading: &Reading,
        asked: &TenantsQuestion,
        page: &mut TenantsPage,
    ) -> Result<(), QuestionError> {
        let calendar = Arc::new(Calendar::utc());
        let last = asked.question.at(page.now);
        let days = Day::new(0)..=Day::new(0);
        let span = Span {
            periods: Periods { days, period: Period::Day },
            zone: Tz::UTC,
            calendar,
            of_persons: false,
            selection: asked.question.selection,
        };
        let last = span.open(last).plus(-1);
        let days = i32::try_from(asked.trend_days).unwrap_or(i32::MAX);
        let periods = Periods { days: last.plus(1 - days)..=last, period: Period::Day };
        let span = Arc::new(span.of(periods.clone()));
        let days = self.days_of(reading, Scope::All, &span).await?;
        let tenants: Vec<_> = page.tenants.iter().map(|row| row.tenant).collect();
        let cost = Cost { kind: Kind::List, bytes: PAGE_BYTES };
        let permit = self.admission.enter_for(reading.asker(), cost).await?;
        let (asking, reading) = (self.clone(), reading.clone());
        let trends = tasks::blocking(move || {
            let mut trends = Vec::with_capacity(tenants.len());
            for tenant in tenants {
                permit.deadline().check()?;
                let scope = Scope::Tenant(tenant);
                let sets = asking.sets((&reading, &days), (scope, &span), &periods, permit.deadline())?;
                trends.push(sets.map(|(sets, ..)| sets.active_counts()).unwrap_or_default());
                tasks::give_way();
            }
            Ok::<_, QuestionError>(trends)
        });
        for (row, trend) in page.tenants.iter_mut().zip(trends.await?) {
            row.trend = trend;
        }
        Ok(())
    }

    /// The place of a tenant in the list.
    fn place_of(
        &self,
        source: &Source,
        tenant: TenantOrdinal,
        (sort, since): (TenantSort, UtcInstant),
    ) -> Place {
        let summary = source.hold().summary(Scope::Tenant(tenant), since);
        let name = self.model.log().members().tenant_id(tenant).as_str().to_owned();
        Place { key: sort.column.of(&summary), name, of: String::new() }
    }

    fn tenants_page(
        &self,
        source: &Source,
        asked: &TenantsQuestion,
        now: UtcInstant,
        deadline: Deadline,
    ) -> Result<TenantsPage, QuestionError> {
        let TenantsQuestion { question, sort, limit, only, .. } = asked;
        let since = question.since(question.at(now));
        let position = source.position_of_now();
        let tenants = u32::try_from(source.hold().tenants()).unwrap_or(u32::MAX);
        let (wanted, log) = (limit + 1, self.model.log());
        let mut best: Vec<Candidate> = Vec::with_capacity(wanted * 2 + TURN_TENANTS as usize);
        let (mut total, mut before) = (0, 0);
        // The page is of tenants after this place, or of the one in it.
        let place = only.map_or_else(
            || asked.after.clone(),
            |tenant| Some(self.place_of(source, tenant, (*sort, since))),
        );
        for first in (0..tenants).step_by(TURN_TENANTS as usize) {
            deadline.check()?;
            let turn: Vec<Candidate> = {
                let views = source.hold();
                let turn = (first..tenants.min(first + TURN_TENANTS)).map(TenantOrdinal::new);
                let counted = turn.map(|tenant| (tenant, views.summary(Scope::Tenant(tenant), since)));
                let counted = counted.filter(|(_, summary)| summary.total_users > 0);
                let candidate =
                    |(tenant, summary)| Candidate { tenant, key: sort.column.of(&summary), summary };
                counted.map(candidate).collect()
            };
            tasks::give_way();
            total += turn.len() as u64;
            let members = log.members();
            for candidate in turn {
                let order = place.as_ref().map_or(Ordering::Greater, |place| {
                    sort.compare(candidate.place(&*members), (place.key, &place.name))
                });
                let is_shown = only.map_or(order.is_gt(), |only| candidate.tenant == only);
                before += u64::from(!is_shown && order.is_le());
                if is_shown {
                    best.push(candidate);
                }
            }
            if best.len() > wanted * 2 {
                best.select_nth_unstable_by(*limit, |a, b| {
                    sort.compare(a.place(&*members), b.place(&*members))
                });
                best.truncate(wanted);
            }
        }
        let views = source.hold();
        let members = log.members();
        best.sort_unstable_by(|a, b| sort.compare(a.place(&*members), b.place(&*members)));
        let more = best.len() > *limit;
        best.truncate(*limit);
        let next = best.last().filter(|_| more).map(|last| {
            let (key, name) = last.place(&*members);
            Place { key, name: name.to_owned(), of: String::new() }
        });
        let named = |(rank, it): (u64, &Candidate)| {
            let (created_at, last_seen_at) = views.tenant_life(it.tenant);
            TenantRow {
                tenant: it.tenant,
                rank,
                tenant_id: members.tenant_id(it.tenant).as_str().into(),
                summary: it.summary,
                last_seen_at,
                created_at,
                previous: None,
                trend: Vec::new(),
            }
        };
        let ranked = (before + 1..).zip(&best);
        let (tenants, stands_still) = (ranked.map(named).collect(), matches!(source, Source::Folded(_)));
        Ok(TenantsPage { tenants, next, total, position, now, stands_still })
    }
}

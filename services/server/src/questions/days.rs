//! The days that rows and cohorts are counted from: those that the live views follow, or those of a scan.

use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{
    Calendar, Cut, Day, DaySets, DaysAsked, Definition, Periods, Scope, Selection, Subject,
};
use lastseen_store::{Detail, EventReader, Filter, Scan};

use super::Questions;
use super::admission::{Cost, Deadline, Kind};
use super::error::QuestionError;
use super::kept::Scanned;
use super::scan::{self, tenant_of};
use super::span::{ScanKey, Span};
use crate::read_model::Reading;
use crate::read_model::definitions::Followed;
use crate::tasks;

/// The origin of the days of a span.
#[derive(Clone, Debug)]
pub(super) enum DaysOf {
    /// The live views follow them.
    Live,
    /// A scan made them.
    Scanned(Arc<Scanned>),
}

/// Bytes that a definition takes a member while it is made: bits of the days that are open in each half of history, bitmaps of
/// the others, the first day, the state of its estimates.
const MAKING_BYTES_A_MEMBER: usize = 48;

/// Bytes of the days of a scan a member.
const SCAN_BYTES_A_MEMBER: usize = 64;

impl Questions {
    /// Makes sure that there are days to answer a span from.
    ///
    /// # Errors
    /// [`QuestionError`] where history is read.
    pub(super) async fn days_of(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        span: &Arc<Span>,
    ) -> Result<DaysOf, QuestionError> {
        if !span.is_known_whole() {
            return self.scanned(reading, scope, span.clone()).await.map(DaysOf::Scanned);
        }
        let definition = span.definition();
        if definition == Definition::UTC || self.model.follows(Subject::Activity(definition)) {
            return Ok(DaysOf::Live);
        }
        match self.follow(reading, Subject::Activity(definition), span.calendar.clone()).await? {
            Followed::Yes => Ok(DaysOf::Live),
            Followed::TooLarge => {
                let selection = span.selection;
                let until = selection.position_until.unwrap_or(reading.position);
                let selection = Selection { position_until: Some(until), ..selection };
                let bounded = Arc::new(Span { selection, ..Span::clone(span) });
                self.scanned(reading, scope, bounded).await.map(DaysOf::Scanned)
            }
        }
    }

    /// Follows again what was followed before the start, one after the other, as if somebody asked for it. What has no room is
    /// left to those who do.
    pub(crate) async fn follow_again(self: Arc<Self>) {
        while let Some(subject) = self.model.next_expected() {
            let (Subject::Activity(Definition { zone, .. }) | Subject::Traffic(zone)) = subject;
            let making = self.clone();
            let calendar = tasks::blocking(move || making.calendars.make(zone)).await;
            match self.follow(&self.model.reading(), subject, calendar).await {
                Ok(Followed::Yes) => tracing::debug!(?subject, "followed again"),
                Ok(Followed::TooLarge) => tracing::info!(?subject, "there is no room to follow it again"),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::info!(error, ?subject, "not followed again: the next question makes its days");
                }
            }
            let model = self.model.clone();
            tasks::blocking(move || model.was_tried(subject)).await;
        }
    }

    /// Lets the live views follow a subject. The calendar is that of its zone.
    pub(super) async fn follow(
        self: &Arc<Self>,
        reading: &Reading,
        subject: Subject,
        calendar: Arc<Calendar>,
    ) -> Result<Followed, QuestionError> {
        let bytes = self.model.log().members().len() * MAKING_BYTES_A_MEMBER;
        let key = (format!("{subject:?}"), reading);
        self.shared(
            &self.flights.followed,
            key,
            Cost { kind: Kind::Scan, bytes },
            move |asking, _, permit| {
                let deadline = permit.deadline();
                asking.model.follow(subject, &calendar, || deadline.check())
            },
        )
        .await
    }

    /// Folds the days of a span from history.
    pub(super) async fn scanned(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        span: Arc<Span>,
    ) -> Result<Arc<Scanned>, QuestionError> {
        let key = span.scan_key(scope);
        let scanned = match self.kept.scanned(&key) {
            Some(scanned) => scanned,
            None => self.scan(reading, (scope, span, key)).await?,
        };
        match scope {
            // A tenant that counts now, or counted then.
            Scope::Tenant(tenant) if scanned.days.is_empty() && !reading.views().knows_tenant(tenant) => {
                Err(QuestionError::UnknownTenant)
            }
            Scope::Tenant(_) | Scope::All => Ok(scanned),
        }
    }

    async fn scan(
        self: &Arc<Self>,
        reading: &Reading,
        (scope, span, key): (Scope, Arc<Span>, ScanKey),
    ) -> Result<Arc<Scanned>, QuestionError> {
        let (bytes, bytes_max) = (self.members_of(reading, scope) * SCAN_BYTES_A_MEMBER, self.kept_bytes());
        let flight = (format!("{key:?}"), reading);
        let cost = Cost { kind: Kind::Scan, bytes };
        self.shared(&self.flights.scanned, flight, cost, move |asking, reading, permit| {
            let retracted = asking.retracted_by(&reading, &span.selection);
            let mut scanned = scan::days(asking.model.log(), (scope, &span), retracted, permit.deadline())?;
            scanned.memory = (bytes > bytes_max).then(|| permit.into_memory());
            let scanned = Arc::new(scanned);
            asking.kept.keep_scanned(key, scanned.clone(), (bytes, bytes_max));
            Ok(scanned)
        })
        .await
        .inspect(|_| self.expire_later())
    }

    /// The days that rows of these periods are counted from, the position that they reflect, and the first day that is
    /// not over. `None`: the views follow the definition no longer.
    ///
    /// # Errors
    /// [`QuestionError`] where history is read.
    pub(super) fn sets(
        &self,
        (reading, days): (&Reading, &DaysOf),
        (scope, span): (Scope, &Span),
        periods: &Periods,
        deadline: Deadline,
    ) -> Result<Option<(DaySets, Position, Day)>, QuestionError> {
        let open = span.open(span.at(reading.at));
        if let DaysOf::Scanned(scanned) = days {
            // Days of all are cut down to those of a tenant.
            let members = if scanned.scope == scope { None } else { reading.views().members_of_scope(scope) };
            return Ok(Some((scanned.days.days(periods, members), scanned.position, open)));
        }
        let asked = span.of(periods.clone()).asked(scope);
        match span.selection.occurred_until {
            Some(at) if *periods.reach().end() >= open => {
                self.sets_as_of(reading, (&asked, span), at, deadline)
            }
            // All of the periods are over by then, whatever came later.
            Some(_) | None => {
                let views = reading.views();
                Ok(views.days(&asked).map(|sets| (sets, views.position(), open)))
            }
        }
    }

    /// The days as of an instant within a day.
    fn sets_as_of(
        &self,
        reading: &Reading,
        (asked, span): (&DaysAsked, &Span),
        at: UtcInstant,
        deadline: Deadline,
    ) -> Result<Option<(DaySets, Position, Day)>, QuestionError> {
        let (mut cut, mut reached) = {
            let views = reading.views();
            (Cut::new(&views, asked.definition, span.calendar.clone(), at), views.position())
        };
        let read = |cut: &mut Cut, after: Position, until: Position| {
            let Some(instants) = cut.instants() else { return Ok(()) };
            // Events after this position occurred later.
            let until = reading.views().reach_of(*instants.end()).min(until);
            let filter = Filter {
                tenant: tenant_of(asked.scope),
                occurred_since: Some(*instants.start()),
                occurred_until: Some(*instants.end()),
                ..Filter::default()
            };
            let of_day = Scan { after, until: Some(until), detail: Detail::Facts, filter };
            let mut reader = self.model.log().scan(of_day);
            while let Some(batch) = reader.next_batch()? {
                deadline.check()?;
                for fact in &batch.facts {
                    cut.see(fact);
                }
                tasks::give_way();
            }
            Ok::<_, QuestionError>(())
        };
        read(&mut cut, Position::START, reached)?;
        loop {
            let views = reading.views();
            let position = views.position();
            if cut.catch_up(&views) {
                let days = views.days(asked);
                drop(views);
                let open = cut.open();
                return Ok(days.map(|days| (days.cut(cut), position, open)));
            }
            drop(views);
            // More came than is at hand.
            read(&mut cut, reached, position)?;
            reached = position;
        }
    }
}

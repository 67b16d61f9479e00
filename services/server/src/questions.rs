//! Questions: plain typed requests and answers, without HTTP.
//!
//! A question is asked of a [`Reading`] of the views. Cheap ones are answered at once; costly ones go through one
//! [`admission`], and equal ones under way share one computation ([`single_flight`]). All of them have one error,
//! [`QuestionError`].

pub(crate) mod admission;
mod as_of;
pub(crate) mod backfills;
pub(crate) mod cohorts;
pub(crate) mod corrections;
mod days;
pub(crate) mod decay;
pub(crate) mod error;
pub(crate) mod events;
mod kept;
pub(crate) mod live;
pub(crate) mod moment;
mod person;
pub(crate) mod place;
pub(crate) mod question;
mod scan;
pub(crate) mod series;
pub(crate) mod sessions;
mod single_flight;
pub(crate) mod span;
pub(crate) mod summary;
pub(crate) mod tenants;
pub(crate) mod traffic;
pub(crate) mod user;
pub(crate) mod users;
mod views;
pub(crate) mod why;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lastseen_event::Position;
use lastseen_projections::{AsOf, MemberState, Persons, Scope, Selection, Traffic};
use tracing::Instrument;

use self::admission::{Admission, Cost, Kind, Permit};
use self::cohorts::Cohorts;
use self::corrections::Corrections;
use self::decay::Decay;
pub(crate) use self::error::QuestionError;
use self::kept::{Folded, Kept, Scanned};
use self::series::{Series, SeriesCache};
use self::sessions::Session;
use self::single_flight::Flights;
use self::span::{Calendars, Dates, Span};
use self::tenants::TenantsPage;
use self::users::UsersPage;
use self::why::Why;
use crate::asker::Asker;
use crate::config::Limits;
use crate::memory::Memory;
use crate::metrics::QuestionWaits;
use crate::read_model::definitions::{DefinitionLimits, Followed};
use crate::read_model::{ReadModel, Reading};
use crate::tasks;

/// Everything that answers questions.
pub(crate) struct Questions {
    model: Arc<ReadModel>,
    admission: Admission,
    flights: AllFlights,
    series_rows: SeriesCache,
    calendars: Calendars,
    persons: Persons,
    kept: Kept,
    kept_limits: DefinitionLimits,
}

/// The questions under way, by sort.
#[derive(Default)]
struct AllFlights {
    folded: Flights<Arc<Folded>>,
    as_of: Flights<Arc<as_of::Counted>>,
    followed: Flights<Followed>,
    recorded: Flights<Position>,
    member: Flights<Option<MemberState>>,
    why: Flights<Option<Why>>,
    sessions: Flights<(Arc<[Session]>, Position)>,
    scanned: Flights<Arc<Scanned>>,
    tenants_as_of: Flights<Arc<Option<AsOf>>>,
    decay: Flights<Arc<Decay>>,
    traffic: Flights<(Arc<Traffic>, Position)>,
    series: Flights<Option<Arc<Series>>>,
    cohorts: Flights<Option<Arc<Cohorts>>>,
    corrections: Flights<Arc<Corrections>>,
    users: Flights<Arc<UsersPage>>,
    tenants: Flights<Arc<TenantsPage>>,
}

/// Longest wait for a position that a question asks for.
const POSITION_PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a download on its way: a piece of text that is made, one that waits, and the batch it comes from.
const DOWNLOAD_BYTES: usize = 4 << 20;

impl Questions {
    pub(crate) fn new(
        model: Arc<ReadModel>,
        limits: Limits,
        (memory, waits): (Memory, QuestionWaits),
        persons: Persons,
    ) -> Arc<Self> {
        Arc::new(Self {
            model,
            admission: Admission::new(limits, memory, waits),
            flights: AllFlights::default(),
            series_rows: SeriesCache::default(),
            calendars: Calendars::default(),
            persons,
            kept: Kept::default(),
            kept_limits: DefinitionLimits { number: limits.definitions, bytes: limits.kept_bytes },
        })
    }

    /// Of each kind of costly question its name, its places, those that are taken, and the questions that wait.
    pub(crate) fn places(&self) -> Vec<(&'static str, usize, usize, usize)> {
        self.admission.places()
    }

    /// Bytes of the past that is kept from question to question.
    pub(crate) fn kept_past_bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// A reading of the views, once they reflect the position that the asker wants.
    ///
    /// # Errors
    /// [`QuestionError::PositionNotReached`].
    pub(crate) async fn reading(&self, min_position: Option<Position>) -> Result<Reading, QuestionError> {
        match min_position {
            Some(position) if !self.model.reach(position, POSITION_PATIENCE).await => {
                Err(QuestionError::PositionNotReached)
            }
            _ => Ok(self.model.reading()),
        }
    }

    /// The members that a question is about: of the tenant of this name, or of all. Where it is not about all that is
    /// recorded by now, the tenant may have counted then; whether it did is found out on the way.
    ///
    /// # Errors
    /// [`QuestionError::UnknownTenant`].
    pub(crate) fn scope(
        &self,
        reading: &Reading,
        tenant_id: Option<&str>,
        is_known_whole: bool,
    ) -> Result<Scope, QuestionError> {
        let Some(tenant_id) = tenant_id else { return Ok(Scope::All) };
        let tenant = self.model.log().members().tenant(tenant_id).ok_or(QuestionError::UnknownTenant)?;
        let is_known = !is_known_whole || reading.views().knows_tenant(tenant);
        is_known.then_some(Scope::Tenant(tenant)).ok_or(QuestionError::UnknownTenant)
    }

    /// Answers a costly question: by equal work under way, or by `work` once it has a place and its memory.
    /// `key` is all that the answer depends on, besides the events up to the position of the reading. The asker
    /// takes one of its own places meanwhile.
    ///
    /// # Errors
    /// [`QuestionError::AskerIsBusy`]; those of admission and of `work`; [`QuestionError::Panicked`].
    async fn shared<V: Clone + Send + Sync + 'static>(
        self: &Arc<Self>,
        flights: &Flights<V>,
        (key, asked): (String, &Reading),
        cost: Cost,
        work: impl FnOnce(&Self, Reading, Permit) -> Result<V, QuestionError> + Send + 'static,
    ) -> Result<V, QuestionError> {
        let askers = asked.asker().enter()?;
        let (admitting, model, asking) = (self.clone(), self.model.clone(), self.clone());
        let span = tracing::debug_span!("question", kind = ?cost.kind, memory_bytes = cost.bytes);
        let waiting = tracing::debug_span!(parent: &span, "wait");
        let admitted = async move { admitting.admission.enter(cost).await }.instrument(waiting);
        let work = move |reading, permit| {
            // It goes on where the asker leaves.
            let _askers = askers;
            span.in_scope(|| work(&asking, reading, permit))
        };
        flights.answer((key, asked.position), admitted, move || model.reading(), work).await
    }

    /// A place among the downloads, and one of the asker.
    ///
    /// # Errors
    /// [`QuestionError::AskerIsBusy`], [`QuestionError::Overloaded`].
    pub(crate) async fn download(&self, asker: &Asker) -> Result<Permit, QuestionError> {
        self.admission.enter_for(asker, Cost { kind: Kind::Download, bytes: DOWNLOAD_BYTES }).await
    }

    /// Resolves the dates of a series against the instant and the log of a reading.
    ///
    /// # Errors
    /// [`QuestionError::EmptySpan`], [`QuestionError::LongSpan`], [`QuestionError::NoPersons`]; others where it has to be
    /// found out what was on record at an instant.
    pub(crate) async fn span(
        self: &Arc<Self>,
        dates: Dates,
        reading: &Reading,
    ) -> Result<Arc<Span>, QuestionError> {
        if dates.of_persons && self.persons == Persons::Off {
            return Err(QuestionError::NoPersons);
        }
        let calendar = if let Some(calendar) = self.calendars.known(dates.zone) {
            calendar
        } else {
            let (asking, zone) = (self.clone(), dates.zone);
            tasks::blocking(move || asking.calendars.make(zone)).await
        };
        let mut span = dates.at(reading.at, calendar)?;
        span.selection = self.by_position(reading, span.selection).await?;
        Ok(Arc::new(span))
    }

    /// The same part of history with its last position in place of the instant by which it was recorded: positions and
    /// instants of recording have one order.
    ///
    /// # Errors
    /// [`QuestionError`] where history is read.
    pub(crate) async fn by_position(
        self: &Arc<Self>,
        reading: &Reading,
        selection: Selection,
    ) -> Result<Selection, QuestionError> {
        let Some(at) = selection.recorded_until else { return Ok(selection) };
        let cost = Cost { kind: Kind::Count, bytes: 0 };
        let key = (format!("{at:?}"), reading);
        let by_then = self.shared(&self.flights.recorded, key, cost, move |asking, reading, permit| {
            scan::recorded_by(asking.model.log(), (at, reading.position), permit.deadline())
        });
        let by_then = by_then.await?;
        let until = selection.position_until.map_or(by_then, |until| until.min(by_then));
        Ok(Selection { recorded_until: None, position_until: Some(until), ..selection })
    }
}

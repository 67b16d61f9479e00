//! Questions: plain typed requests and answers, without HTTP.
//!
//! A question is asked of a [`Reading`] of the views. Cheap ones are answered at once; costly ones go through one
//! [`admission`], and equal ones under way share one computation ([`single_flight`]). All of them have one error,
//! [`QuestionError`].

pub(crate) mod admission;
mod as_of;
pub(crate) mod backfills;
pub(crate) mod cohorts;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod place;
pub(crate) mod question;
mod scan;
pub(crate) mod series;
mod single_flight;
pub(crate) mod span;
pub(crate) mod summary;
pub(crate) mod tenants;
mod user;
pub(crate) mod users;
mod views;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Persons, Scope};
use tracing::Instrument;

use self::admission::{Admission, Cost, Kind, Permit};
use self::as_of::AsOfAnswer;
use self::cohorts::Cohorts;
pub(crate) use self::error::QuestionError;
use self::scan::Folded;
use self::series::{Series, SeriesCache};
use self::single_flight::Flights;
use self::span::{Calendars, Dates, Span};
use self::tenants::TenantsPage;
use self::users::UsersPage;
use crate::asker::Asker;
use crate::config::Limits;
use crate::memory::Memory;
use crate::metrics::QuestionWaits;
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
}

/// The questions under way, by sort.
#[derive(Default)]
struct AllFlights {
    folded: Flights<Arc<Folded>>,
    as_of: Flights<AsOfAnswer>,
    series: Flights<Arc<Series>>,
    cohorts: Flights<Arc<Cohorts>>,
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
        })
    }

    /// Of each kind of costly question its name, its places, those that are taken, and the questions that wait.
    pub(crate) fn places(&self) -> Vec<(&'static str, usize, usize, usize)> {
        self.admission.places()
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

    /// The members that a question is about: of the tenant of this name, or of all.
    ///
    /// # Errors
    /// [`QuestionError::UnknownTenant`].
    pub(crate) fn scope(&self, reading: &Reading, tenant_id: Option<&str>) -> Result<Scope, QuestionError> {
        let Some(tenant_id) = tenant_id else { return Ok(Scope::All) };
        let tenant = reading.tenant(self.model.log(), tenant_id);
        tenant.map(Scope::Tenant).ok_or(QuestionError::UnknownTenant)
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

    /// Resolves the dates of a series against `now`.
    ///
    /// # Errors
    /// [`QuestionError::EmptySpan`], [`QuestionError::LongSpan`].
    pub(crate) async fn span(
        self: &Arc<Self>,
        dates: Dates,
        now: UtcInstant,
    ) -> Result<Arc<Span>, QuestionError> {
        let calendar = if let Some(calendar) = self.calendars.known(dates.zone) {
            calendar
        } else {
            let (asking, zone) = (self.clone(), dates.zone);
            tasks::blocking(move || asking.calendars.make(zone)).await
        };
        dates.at(now, calendar).map(Arc::new)
    }
}

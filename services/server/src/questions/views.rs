//! The views that answer a question: the live ones where everything counts and now is meant, or views of their own
//! that are folded from history.

use std::ops::Deref;
use std::sync::Arc;

use lastseen_event::{Position, TenantOrdinal};
use lastseen_projections::{Scope, Selection, Views};
use parking_lot::RwLockReadGuard;

use super::Questions;
use super::admission::{Cost, Kind};
use super::error::QuestionError;
use super::question::Question;
use super::scan::{self, Folded};
use crate::read_model::Reading;

/// Views to answer from, live or folded.
#[derive(Clone)]
pub(crate) enum Source {
    Live(Reading),
    Folded(Arc<Folded>),
}

/// Views that are held for some steps of an answer.
pub(crate) enum HeldViews<'a> {
    Live(RwLockReadGuard<'a, Views>),
    Folded(&'a Views),
}

impl Source {
    pub(crate) fn hold(&self) -> HeldViews<'_> {
        match self {
            Self::Live(reading) => HeldViews::Live(reading.views()),
            Self::Folded(folded) => HeldViews::Folded(&folded.views),
        }
    }

    /// The last position that the views reflect now: live ones go on.
    pub(crate) fn position_of_now(&self) -> Position {
        match self {
            Self::Live(reading) => reading.views().position(),
            Self::Folded(folded) => folded.position,
        }
    }
}

impl Deref for HeldViews<'_> {
    type Target = Views;

    fn deref(&self) -> &Views {
        match self {
            Self::Live(views) => views,
            Self::Folded(views) => views,
        }
    }
}

/// Bytes of folded views a member, ids left out: what the bench of a large history measures, rounded up.
const VIEW_BYTES_A_MEMBER: usize = 160;

impl Questions {
    /// The views that answer `question` about the members of `scope`, and about no other.
    ///
    /// # Errors
    /// [`QuestionError`] where history is read.
    pub(crate) async fn source(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        question: &Question,
    ) -> Result<Source, QuestionError> {
        if question.is_live() {
            return Ok(Source::Live(reading.clone()));
        }
        self.folded(reading, scope, question.selection).await.map(Source::Folded)
    }

    /// Folds the part of history that `selection` chooses; equal folds under way are shared.
    async fn folded(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        selection: Selection,
    ) -> Result<Arc<Folded>, QuestionError> {
        let cost = Cost { kind: Kind::Scan, bytes: self.members_of(reading, scope) * VIEW_BYTES_A_MEMBER };
        let key = (format!("{scope:?} {selection:?}"), reading);
        self.shared(&self.flights.folded, key, cost, move |asking, reading, permit| {
            let deadline = permit.deadline();
            let left_out = (reading.retracted, asking.persons);
            let (views, position) = scan::fold(asking.model.log(), (scope, selection), left_out, deadline)?;
            Ok(Arc::new(Folded { views, position, _memory: permit.into_memory() }))
        })
        .await
    }

    /// Counts the members of a scope, deleted ones included.
    pub(super) fn members_of(&self, reading: &Reading, scope: Scope) -> usize {
        match scope {
            Scope::All => self.model.log().members().len(),
            Scope::Tenant(tenant) => members_of_tenant(&reading.views(), tenant),
        }
    }
}

/// Counts the members of a tenant, deleted ones included.
pub(super) fn members_of_tenant(views: &Views, tenant: TenantOrdinal) -> usize {
    views.runs_of(tenant).map(|run| (run.end().get() - run.start().get()) as usize + 1).sum()
}

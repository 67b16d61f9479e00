//! The views that answer a question: the live ones where everything counts and now is meant, or views of their own
//! that are folded from history, and kept for a while.

use std::ops::Deref;
use std::sync::Arc;

use lastseen_event::{Position, TenantOrdinal};
use lastseen_projections::{Retracted, Scope, Selection, Views};
use parking_lot::RwLockReadGuard;

use super::Questions;
use super::admission::{Cost, Kind};
use super::error::QuestionError;
use super::kept::{Folded, KEPT_FOR};
use super::question::Question;
use super::scan;
use crate::read_model::Reading;
use crate::tasks;

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
const VIEW_BYTES_A_MEMBER: usize = 128;

impl Questions {
    /// The views that answer `question` about the members of `scope`, and about no other.
    ///
    /// # Errors
    /// [`QuestionError`] where history is read; [`QuestionError::UnknownTenant`] where it did not name the tenant.
    pub(crate) async fn source(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        question: &Question,
    ) -> Result<Source, QuestionError> {
        if question.is_live() {
            return Ok(Source::Live(reading.clone()));
        }
        let question = question.of(self.by_position(reading, question.selection).await?);
        // Views of a fixed position can be kept.
        let folded = self.folded(reading, scope, question.known_until(reading.position).selection).await?;
        match scope {
            // A tenant that counts now, or counted then.
            Scope::Tenant(tenant)
                if !folded.views.knows_tenant(tenant) && !reading.views().knows_tenant(tenant) =>
            {
                Err(QuestionError::UnknownTenant)
            }
            Scope::Tenant(_) | Scope::All => Ok(Source::Folded(folded)),
        }
    }

    /// Folds the part of history that `selection` chooses, up to a fixed position; equal folds under way are shared.
    async fn folded(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        selection: Selection,
    ) -> Result<Arc<Folded>, QuestionError> {
        if let Some(folded) = self.kept.folded(scope, selection) {
            return Ok(folded);
        }
        let bytes_max = self.kept_bytes();
        let of_all = self.members_of(reading, Scope::All) * VIEW_BYTES_A_MEMBER;
        // Whoever asks for a second tenant goes through all of them: one scan serves the others.
        let scope = match scope {
            Scope::Tenant(tenant) if of_all <= bytes_max && self.kept.has_of_another(tenant, selection) => {
                Scope::All
            }
            scope => scope,
        };
        let bytes = self.members_of(reading, scope) * VIEW_BYTES_A_MEMBER;
        let key = (format!("{scope:?} {selection:?}"), reading);
        let cost = Cost { kind: Kind::Scan, bytes };
        self.shared(&self.flights.folded, key, cost, move |asking, reading, permit| {
            let retracted = asking.retracted_by(&reading, &selection);
            let folded = (scope, selection);
            let left_out = (retracted, asking.persons);
            let mut folded = scan::fold(asking.model.log(), folded, left_out, permit.deadline())?;
            folded.memory = (bytes > bytes_max).then(|| permit.into_memory());
            let folded = Arc::new(folded);
            asking.kept.keep_folded((scope, selection), folded.clone(), (bytes, bytes_max));
            Ok(folded)
        })
        .await
        .inspect(|_| self.expire_later())
    }

    /// Lets go what scans made, once it was not asked for in a while.
    pub(super) fn expire_later(self: &Arc<Self>) {
        if self.kept.is_expiring() {
            return;
        }
        let asking = self.clone();
        tasks::task(async move {
            while !asking.kept.expire() {
                tokio::time::sleep(KEPT_FOR / 4).await;
            }
        });
    }

    /// The batches that a part of history leaves out.
    pub(super) fn retracted_by(&self, reading: &Reading, selection: &Selection) -> Retracted {
        scan::retracted_by(self.model.log(), selection.position_until, &reading.retracted)
    }

    /// Counts the members of a scope, deleted ones included.
    pub(super) fn members_of(&self, reading: &Reading, scope: Scope) -> usize {
        match scope {
            Scope::All => self.model.log().members().len(),
            Scope::Tenant(tenant) => members_of_tenant(&reading.views(), tenant),
        }
    }

    /// Most bytes of what scans made that is kept.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_limits.bytes_of(self.model.log().members().len())
    }
}

/// Counts the members of a tenant, deleted ones included.
pub(super) fn members_of_tenant(views: &Views, tenant: TenantOrdinal) -> usize {
    views.runs_of(tenant).map(|run| (run.end().get() - run.start().get()) as usize + 1).sum()
}

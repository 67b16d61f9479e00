//! One reading of the views: everything that one answer is made of.

use lastseen_event::{Position, TenantOrdinal, UtcInstant};
use lastseen_projections::{Retracted, Views};
use lastseen_store::{EventStore, LogId};
use parking_lot::RwLockReadGuard;

use super::live::{self, SharedViews};
use crate::asker::Asker;

/// The views that one answer comes from. Views are replaced as a whole after a retraction; a reading keeps those
/// it began with, so no answer mixes two.
#[derive(Clone)]
pub(crate) struct Reading {
    views: SharedViews,
    /// The log that the views are folded from.
    pub(crate) log_id: LogId,
    /// The position that the views reflected at `at`; the live views go on from there.
    pub(crate) position: Position,
    /// The batches that the views leave out.
    pub(crate) retracted: Retracted,
    /// The server's clock when the reading was taken: "now" of every question asked of it.
    pub(crate) at: UtcInstant,
    /// Whoever asks questions of it.
    asker: Asker,
}

impl Reading {
    /// The same for this asker.
    pub(crate) fn for_asker(self, asker: Asker) -> Self {
        Self { asker, ..self }
    }

    pub(crate) fn asker(&self) -> &Asker {
        &self.asker
    }

    pub(super) fn of(views: SharedViews, log_id: LogId, at: UtcInstant) -> Self {
        let (position, retracted) = {
            let views = live::hold(&views);
            (views.position(), views.retracted().clone())
        };
        Self { views, log_id, position, retracted, at, asker: Asker::default() }
    }

    /// Holds the views; the fold waits meanwhile. Hold them for less than a millisecond, or let the fold go on
    /// with [`RwLockReadGuard::bump`].
    pub(crate) fn views(&self) -> RwLockReadGuard<'_, Views> {
        live::hold(&self.views)
    }

    /// The tenant of this name. `None`: no event that the views reflect names it.
    pub(crate) fn tenant(&self, log: &dyn EventStore, tenant_id: &str) -> Option<TenantOrdinal> {
        let tenant = log.members().tenant(tenant_id)?;
        self.views().knows_tenant(tenant).then_some(tenant)
    }
}

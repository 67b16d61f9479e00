//! Everything that changes the store: appends, and retractions of batches. Handlers reach it only through a route
//! whose access allows that.

use std::sync::Arc;
use std::time::Duration;

use lastseen_event::{BatchName, EventBatch, Position, UtcInstant};
use lastseen_store::{AppendError, Appended, OnRefused, RetractOutcome};

use crate::read_model::ReadModel;

/// Time that a success may wait for the fold; then its outcome counts as unknown.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// The way into the store.
pub(crate) struct Publishing(Arc<ReadModel>);

/// A retraction that was not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RetractError {
    /// No event names the batch.
    #[error("no event names this batch")]
    UnknownBatch,
    /// The batch has another number of events than the caller was told. Ask again, then decide.
    #[error("the batch has {found} events")]
    CountChanged { found: u64 },
    /// The store did not record it.
    #[error("the retraction was not recorded")]
    Append(#[from] AppendError),
}

impl Publishing {
    pub(crate) fn new(model: Arc<ReadModel>) -> Self {
        Self(model)
    }

    /// The present instant.
    pub(crate) fn now(&self) -> UtcInstant {
        self.0.now()
    }

    /// The last position that the views reflect.
    pub(crate) fn position(&self) -> Position {
        self.0.position()
    }

    /// Appends events; a success is durable and in the views, unless they follow a cluster and are behind.
    ///
    /// # Errors
    /// [`AppendError`].
    pub(crate) async fn append(
        &self,
        batch: EventBatch,
        on_refused: OnRefused,
    ) -> Result<Appended, AppendError> {
        let appended = self.0.log().append(batch, on_refused).await?;
        // A copy of a cluster that is behind has waited already. The events are in the cluster, and other nodes have them.
        let is_behind =
            self.0.log().gauges().lag.is_some() && self.0.log().tail().position() < appended.position;
        if is_behind || self.0.reach(appended.position, VISIBLE_WITHIN).await {
            return Ok(appended);
        }
        let late = std::io::Error::other("the events are stored; the views do not have them yet");
        Err(AppendError::Indeterminate(late.into()))
    }

    /// Records that a batch with exactly `events` events counts no more; its events go on counting until the views
    /// are rebuilt. A batch that was retracted before stays so.
    ///
    /// # Errors
    /// [`RetractError`].
    pub(crate) async fn retract(&self, name: &str, events: u64) -> Result<(), RetractError> {
        let batch = BatchName::new(name).map_err(|_| RetractError::UnknownBatch)?;
        match self.0.log().retract(batch, Some(events)).await? {
            RetractOutcome::Retracted(_) => Ok(()),
            RetractOutcome::Unknown => Err(RetractError::UnknownBatch),
            RetractOutcome::CountChanged { events: found } => Err(RetractError::CountChanged { found }),
        }
    }
}

//! Whoever asks a question, as far as questions care: how many costly ones it may have under way.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places for costly questions of one asker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asker(Option<Arc<Semaphore>>);

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct AskersPlace {
    _place: Option<OwnedSemaphorePermit>,
}

/// All places of the asker are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AskerIsBusy;

impl Asker {
    /// An asker with so many places.
    pub(crate) fn with_places(places: usize) -> Self {
        Self(Some(Arc::new(Semaphore::new(places))))
    }

    /// Takes a place; one without a limit always gets one.
    ///
    /// # Errors
    /// [`AskerIsBusy`].
    pub(crate) fn enter(&self) -> Result<AskersPlace, AskerIsBusy> {
        let Some(places) = &self.0 else { return Ok(AskersPlace { _place: None }) };
        let place = places.clone().try_acquire_owned().map_err(|_| AskerIsBusy)?;
        Ok(AskersPlace { _place: Some(place) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_shared_by_clones() {
        let asker = Asker::with_places(2);
        let (first, _second) = (asker.enter().unwrap(), asker.clone().enter().unwrap());
        assert_eq!(asker.enter().err(), Some(AskerIsBusy));
        drop(first);
        assert!(asker.enter().is_ok());
        let free = Asker::default();
        assert!((0..100).map(|_| free.enter()).collect::<Result<Vec<_>, _>>().is_ok());
    }
}

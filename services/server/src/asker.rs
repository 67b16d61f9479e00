//! Whoever asks questions, as far as they care: how many costly ones it may have under way.
//!
//! A request takes one place at its first costly step and keeps it: for its other steps, and for work that goes on
//! after it has left.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places for costly requests of one asker.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskersPlaces(Option<Arc<Semaphore>>);

/// One request of an asker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asker {
    places: AskersPlaces,
    taken: Arc<Mutex<Option<AskersPlace>>>,
}

/// A place that is taken until the request and its work have dropped it.
#[derive(Clone, Debug)]
pub(crate) struct AskersPlace {
    _place: Option<Arc<OwnedSemaphorePermit>>,
}

/// All places of the asker are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AskerIsBusy;

impl AskersPlaces {
    pub(crate) fn new(places: usize) -> Self {
        Self(Some(Arc::new(Semaphore::new(places))))
    }

    /// The asker of one more request.
    pub(crate) fn asker(&self) -> Asker {
        Asker { places: self.clone(), taken: Arc::default() }
    }
}

impl Asker {
    /// Takes a place, or the one that the request has. One without a limit always gets one.
    ///
    /// # Errors
    /// [`AskerIsBusy`].
    pub(crate) fn enter(&self) -> Result<AskersPlace, AskerIsBusy> {
        let Some(places) = &self.places.0 else { return Ok(AskersPlace { _place: None }) };
        let mut taken = self.taken.lock();
        if let Some(place) = &*taken {
            return Ok(place.clone());
        }
        let place = places.clone().try_acquire_owned().map_err(|_| AskerIsBusy)?;
        Ok(taken.insert(AskersPlace { _place: Some(Arc::new(place)) }).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_place_until_it_and_its_work_have_ended() {
        let places = AskersPlaces::new(2);
        let (first, second, third) = (places.asker(), places.asker(), places.asker());
        let work = first.enter().unwrap();
        let step = first.clone().enter().unwrap();
        let other = second.enter().unwrap();
        assert_eq!(third.enter().err(), Some(AskerIsBusy), "two requests, each with one place");
        drop((first, step));
        assert_eq!(third.enter().err(), Some(AskerIsBusy), "the work of the first one goes on");
        drop(work);
        assert!(third.enter().is_ok());
        drop((second, other));
        let free = AskersPlaces::default();
        assert!((0..100).map(|_| free.asker().enter()).collect::<Result<Vec<_>, _>>().is_ok());
    }
}

//! Equal questions under way share one computation.
//!
//! Work waits for admission first. When every asker has left by then, it is dropped; once begun, it ends without
//! them. An asker joins work that has not begun, or that reads the views at the asker's position or later: what was
//! acknowledged before the question is in every answer.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use lastseen_event::Position;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::admission::Permit;
use super::error::QuestionError;
use crate::read_model::Reading;
use crate::tasks;

/// The questions of one sort that are being answered.
pub(crate) struct Flights<V>(Arc<Mutex<HashMap<String, Arc<Flight<V>>>>>);

struct Flight<V> {
    answer: watch::Sender<Option<Result<V, QuestionError>>>,
    /// The position of the reading that the work began with.
    began: OnceLock<Position>,
}

impl<V> Default for Flights<V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// One computation on its way. Dropping it takes it off the list, also after a panic.
struct Flying<V> {
    flights: Arc<Mutex<HashMap<String, Arc<Flight<V>>>>>,
    key: String,
    flight: Arc<Flight<V>>,
}

impl<V> Drop for Flying<V> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if flights.get(&self.key).is_some_and(|listed| Arc::ptr_eq(listed, &self.flight)) {
            flights.remove(&self.key);
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Flights<V> {
    /// Answers the question `key`, asked at position `asked`: by work under way, or by `work` on a thread of its own
    /// with a reading that is taken once `admitted` resolves. Equal keys must mean equal questions.
    ///
    /// # Errors
    /// Those of `admitted` and `work`; [`QuestionError::Panicked`].
    pub(crate) async fn answer(
        &self,
        (key, asked): (String, Position),
        admitted: impl Future<Output = Result<Permit, QuestionError>> + Send + 'static,
        reading: impl FnOnce() -> Reading + Send + 'static,
        work: impl FnOnce(Reading, Permit) -> Result<V, QuestionError> + Send + 'static,
    ) -> Result<V, QuestionError> {
        let mut answer = {
            let mut flights = self.0.lock();
            let joinable = |flight: &&Arc<Flight<V>>| flight.began.get().is_none_or(|began| *began >= asked);
            if let Some(flight) = flights.get(&key).filter(joinable) {
                flight.answer.subscribe()
            } else {
                let flight = Arc::new(Flight { answer: watch::Sender::new(None), began: OnceLock::new() });
                let answer = flight.answer.subscribe();
                flights.insert(key.clone(), flight.clone());
                let flying = Flying { flights: self.0.clone(), key, flight };
                tasks::task(flying.run(admitted, reading, work));
                answer
            }
        };
        let answered = answer.wait_for(Option::is_some).await;
        answered.ok().and_then(|answer| answer.clone()).unwrap_or(Err(QuestionError::Panicked))
    }
}

impl<V: Send + Sync + 'static> Flying<V> {
    async fn run(
        self,
        admitted: impl Future<Output = Result<Permit, QuestionError>> + Send,
        reading: impl FnOnce() -> Reading + Send,
        work: impl FnOnce(Reading, Permit) -> Result<V, QuestionError> + Send + 'static,
    ) {
        let mut admitted = std::pin::pin!(admitted);
        let permit = loop {
            tokio::select! {
                biased;
                permit = &mut admitted => break permit,
                () = self.flight.answer.closed() => {
                    let mut flights = self.flights.lock();
                    // Under the lock: nobody joins between this look and the removal.
                    if self.flight.answer.receiver_count() == 0 {
                        flights.remove(&self.key);
                        return;
                    }
                }
            }
        };
        let answer = match permit {
            Ok(permit) => {
                let reading = {
                    let _flights = self.flights.lock();
                    let reading = reading();
                    let _ = self.flight.began.set(reading.position);
                    reading
                };
                tasks::blocking(move || work(reading, permit)).await
            }
            Err(error) => Err(error),
        };
        self.flight.answer.send_replace(Some(answer));
    }
}

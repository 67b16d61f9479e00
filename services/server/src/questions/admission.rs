//! Admission: one gate for all costly work. A question waits for a place of its kind and for memory, both for a
//! bounded time, and the number of those that wait is bounded. Cheap questions never come here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{Overload, QuestionError};
use crate::asker::{Asker, AskersPlace};
use crate::config::Limits;
use crate::memory::{Memory, Reserved};
use crate::metrics::QuestionWaits;

/// The kind of some work. Each kind has places of its own, so slow kinds do not hold up quick ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Folds history: takes a core or two for seconds.
    Scan,
    /// Counts cohorts: a core for up to a second.
    Cohorts,
    /// Counts rows of a series, or numbers as of an instant: tens of milliseconds.
    Count,
    /// Puts a page of a large list together: tens of milliseconds.
    List,
    /// Sends a list or history piece by piece, as fast as its reader takes it.
    Download,
}

/// Costs of some work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) kind: Kind,
    /// Memory that it takes until its answer is sent.
    pub(crate) bytes: usize,
}

/// The gate.
#[derive(Debug)]
pub(crate) struct Admission {
    /// By [`Kind`].
    pools: [Pool; 5],
    memory: Memory,
    limits: Limits,
    waits: QuestionWaits,
}

#[derive(Debug)]
struct Pool {
    places: Arc<Semaphore>,
    places_max: usize,
    waiting: AtomicUsize,
}

/// A place, some memory, and the time until which the work must be done.
#[derive(Debug)]
pub(crate) struct Permit {
    _place: OwnedSemaphorePermit,
    /// `None`: somebody else holds the place of the asker, or several share the work.
    _askers: Option<AskersPlace>,
    memory: Reserved,
    deadline: Deadline,
}

/// The time until which some work must be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    until: Instant,
    seconds: u64,
}

impl Deadline {
    /// # Errors
    /// [`QuestionError::DeadlinePassed`].
    pub(crate) fn check(&self) -> Result<(), QuestionError> {
        if Instant::now() > self.until {
            return Err(QuestionError::DeadlinePassed { seconds: self.seconds });
        }
        Ok(())
    }
}

impl Permit {
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Gives the place back and keeps the memory.
    pub(crate) fn into_memory(self) -> Reserved {
        self.memory
    }

    pub(crate) fn memory(&mut self) -> &mut Reserved {
        &mut self.memory
    }
}

/// Counts one that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Kind {
    /// In the order of the pools.
    const ALL: [(Self, &'static str); 5] = [
        (Self::Scan, "scan"),
        (Self::Cohorts, "cohorts"),
        (Self::Count, "count"),
        (Self::List, "list"),
        (Self::Download, "download"),
    ];
}

impl Admission {
    /// Of each kind its name, its places, those that are taken, and the questions that wait.
    pub(crate) fn places(&self) -> Vec<(&'static str, usize, usize, usize)> {
        let of = |(kind, name): (Kind, &'static str)| {
            let Pool { places, places_max, waiting } = &self.pools[kind as usize];
            let running = places_max.saturating_sub(places.available_permits());
            (name, *places_max, running, waiting.load(Ordering::Relaxed))
        };
        Kind::ALL.into_iter().map(of).collect()
    }

    pub(crate) fn new(limits: Limits, memory: Memory, waits: QuestionWaits) -> Self {
        let Limits { scans, counts, lists, downloads, .. } = limits;
        let pools = [scans, counts.div_ceil(2), counts, lists, downloads].map(|places| Pool {
            places: Arc::new(Semaphore::new(places.max(1))),
            places_max: places.max(1),
            waiting: AtomicUsize::new(0),
        });
        Self { pools, memory, limits, waits }
    }

    /// Waits for a place and for memory. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`QuestionError::Overloaded`]; nothing was begun.
    pub(crate) async fn enter(&self, Cost { kind, bytes }: Cost) -> Result<Permit, QuestionError> {
        let Pool { places, waiting, .. } = &self.pools[kind as usize];
        let started = Instant::now();
        let waits = Waiting(waiting);
        if waiting.fetch_add(1, Ordering::AcqRel) >= self.limits.waiting {
            return Err(QuestionError::Overloaded(Overload::Queue));
        }
        let place = tokio::time::timeout(self.limits.wait, places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(QuestionError::Overloaded(Overload::Wait)) };
        drop(waits);
        let left = self.limits.wait.saturating_sub(started.elapsed());
        let memory = self.memory.for_answer(bytes, left).await;
        let memory = memory.ok_or(QuestionError::Overloaded(Overload::Memory))?;
        let (_, name) = Kind::ALL[kind as usize];
        self.waits.waited(name, started.elapsed());
        Ok(Permit { _place: place, _askers: None, memory, deadline: self.deadline() })
    }

    /// The same for one asker, who takes one of its own places as well.
    ///
    /// # Errors
    /// [`QuestionError::AskerIsBusy`] and those of [`Admission::enter`].
    pub(crate) async fn enter_for(&self, asker: &Asker, cost: Cost) -> Result<Permit, QuestionError> {
        let askers = asker.enter()?;
        Ok(Permit { _askers: Some(askers), ..self.enter(cost).await? })
    }

    fn deadline(&self) -> Deadline {
        Deadline { until: Instant::now() + self.limits.deadline, seconds: self.limits.deadline.as_secs() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission(waiting: usize, wait: Duration) -> Admission {
        let limits = Limits { scans: 1, counts: 2, waiting, wait, ..Limits::default() };
        Admission::new(limits, Memory::new(limits.memory_bytes), QuestionWaits::default())
    }

    fn scan(bytes: usize) -> Cost {
        Cost { kind: Kind::Scan, bytes }
    }

    fn overload(result: Result<Permit, QuestionError>) -> Overload {
        match result {
            Err(QuestionError::Overloaded(overload)) => overload,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_wait_is_bounded_in_time_and_number_and_kinds_do_not_wait_for_each_other() {
        let admission = admission(1, Duration::from_millis(20));
        let held = admission.enter(scan(0)).await.unwrap();
        let (first, second) = tokio::join!(admission.enter(scan(0)), admission.enter(scan(0)));
        assert_eq!(overload(first), Overload::Wait);
        assert_eq!(overload(second), Overload::Queue, "one may wait");
        assert!(admission.enter(Cost { kind: Kind::Count, bytes: 0 }).await.is_ok());
        drop(held);
        assert!(admission.enter(scan(0)).await.is_ok());
    }

    #[tokio::test]
    async fn whoever_leaves_the_queue_takes_no_place() {
        let admission = admission(1, Duration::from_mins(1));
        let held = admission.enter(scan(0)).await.unwrap();
        {
            let leaving = admission.enter(scan(0));
            assert!(tokio::time::timeout(Duration::from_millis(1), leaving).await.is_err());
        }
        drop(held);
        // Both the place and the only place in the queue are free again.
        let permit = admission.enter(scan(0)).await.unwrap();
        drop(permit);
    }

    #[tokio::test]
    async fn memory_is_part_of_the_cost_and_can_outlive_the_place() {
        let admission = admission(8, Duration::from_millis(5));
        let most = Limits::default().memory_bytes;
        let kept = admission.enter(scan(most)).await.unwrap().into_memory();
        assert_eq!(overload(admission.enter(scan(1 << 20)).await), Overload::Memory);
        drop(kept);
        assert!(admission.enter(scan(1 << 20)).await.is_ok());
    }
}

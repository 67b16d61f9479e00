//! The threads of a publisher: one keeps events in the outbox, one sends them.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::batch::Batch;
use crate::outbox::{Cursor, NotKept};
use crate::publisher::{Fault, Inner, Options, Refused, count};
use crate::queue::Bounds;
use crate::transport::{Outcome, Problem, Transport};

/// Most bytes of a request: an eighth of those that the server takes.
const BATCH_BYTES: usize = 1 << 20;
/// The pause after a write to the outbox that failed, or had no room.
const KEEP_AGAIN: Duration = Duration::from_millis(100);

/// Keeps events in the outbox until the publisher is closed.
pub(crate) fn keep(inner: &Inner) {
    let _worker = inner.queue.work();
    let mut has_told = false;
    while let Some(kept) = inner.queue.keep_some() {
        match kept {
            Ok(()) => has_told = false,
            Err(NotKept::Full) => {
                if !std::mem::replace(&mut has_told, true) {
                    tracing::warn!("the outbox is full: events wait in memory until some are answered");
                }
            }
            Err(NotKept::Failed(error)) => {
                count(&inner.counters.outbox_failures, 1);
                if !std::mem::replace(&mut has_told, true) {
                    tracing::error!(%error, "the outbox cannot be written: events wait in memory");
                }
            }
        }
        if has_told && !inner.queue.pause(KEEP_AGAIN) {
            return;
        }
    }
}

/// The thread that sends.
pub(crate) struct Sender {
    pub(crate) inner: Arc<Inner>,
    pub(crate) transport: Transport,
    pub(crate) options: Options,
}

/// The answer to a batch.
#[derive(Deserialize)]
struct Answer {
    stored: u64,
    duplicates: u64,
    /// Ascending by index; an event with several faults is there several times.
    refused: Vec<RefusedEvent>,
}

#[derive(Deserialize)]
struct RefusedEvent {
    index: usize,
    #[serde(flatten)]
    fault: Fault,
}

/// Pauses between attempts: they double, and have a random part, so that publishers do not come back all at once.
struct Pauses {
    next: Duration,
    longest: Duration,
    random: RandomState,
    attempt: u64,
}

impl Pauses {
    fn new((first, longest): (Duration, Duration)) -> Self {
        Self { next: first, longest, random: RandomState::new(), attempt: 0 }
    }

    /// Between a half and the whole of the next pause; at least as long as the server asks for.
    fn next(&mut self, asked: Option<Duration>) -> Duration {
        let whole = self.next.min(self.longest);
        self.next = (self.next * 2).min(self.longest);
        self.attempt += 1;
        let random = u32::try_from(self.random.hash_one(self.attempt) % 1_001).expect("it is at most 1,000");
        let jittered = whole / 2 + whole / 2 * random / 1_000;
        asked.map_or(jittered, |asked| asked + jittered / 4)
    }
}

impl Sender {
    /// Sends batch by batch until the publisher is closed.
    pub(crate) fn run(mut self) {
        let inner = self.inner.clone();
        let _worker = inner.queue.work();
        let mut cursor = Cursor::default();
        let Options { batch_events: events, linger, .. } = self.options;
        let bytes = BATCH_BYTES;
        let mut pauses = Pauses::new(self.options.pause);
        loop {
            match inner.queue.next_batch(&mut cursor, Bounds { events, bytes, linger }) {
                Ok(Some(batch)) => {
                    if !self.send(&batch) {
                        return;
                    }
                    pauses = Pauses::new(self.options.pause);
                }
                Ok(None) => return,
                Err(error) => {
                    count(&inner.counters.outbox_failures, 1);
                    tracing::error!(%error, "the outbox cannot be read: nothing is sent until it can");
                    cursor = Cursor::default();
                    if !inner.queue.pause(pauses.next(None)) {
                        return;
                    }
                }
            }
        }
    }

    /// Sends a batch until it is answered. `false`: the publisher was closed first.
    fn send(&mut self, batch: &Batch) -> bool {
        let mut pauses = Pauses::new(self.options.pause);
        let mut part = batch.clone();
        let mut has_told = false;
        loop {
            let sent =
                self.transport.post("/v1/events?on_invalid=skip", ("application/x-ndjson", part.body()));
            let (problem, asked) = match sent {
                Outcome::Answered(answer) => {
                    if has_told {
                        tracing::info!("the server answers again");
                    }
                    self.settle(&part, &answer);
                    return true;
                }
                Outcome::Refused(problem) if is_of_the_event(&problem) && part.len() == 1 => {
                    let fault = Fault {
                        field: None,
                        code: problem.code.unwrap_or_else(|| problem.status.to_string()),
                        detail: problem.detail,
                    };
                    let refused = vec![RefusedEvent { index: 0, fault }];
                    self.settle(&part, &Answer { stored: 0, duplicates: 0, refused });
                    return true;
                }
                // One of them is at fault, or all together are too large for a proxy: each half is tried on its own.
                Outcome::Refused(problem) if is_of_the_event(&problem) => {
                    part = part.first_half();
                    continue;
                }
                // A key or an address that is wrong says nothing about events: they wait until somebody mends it.
                Outcome::Refused(problem) => (problem, None),
                Outcome::Later(problem, asked) => (problem, asked),
            };
            count(&self.inner.counters.failed_attempts, 1);
            if !std::mem::replace(&mut has_told, true) {
                tracing::warn!(status = problem.status, %problem, "events are not taken; trying again");
            }
            if !self.inner.queue.pause(pauses.next(asked)) {
                return false;
            }
        }
    }

    fn settle(&mut self, batch: &Batch, answer: &Answer) {
        let counters = &self.inner.counters;
        count(&counters.stored, answer.stored);
        count(&counters.duplicates, answer.duplicates);
        for faults in answer.refused.chunk_by(|a, b| a.index == b.index) {
            count(&counters.refused, 1);
            let event = batch.line(faults[0].index).unwrap_or_default().to_owned();
            let faults = faults.iter().map(|refused| refused.fault.clone()).collect();
            (self.options.on_refused.0)(Refused { event, faults });
        }
        if let Err(error) = self.inner.queue.answer(batch.last()) {
            count(&counters.outbox_failures, 1);
            tracing::error!(%error, "the outbox cannot note what was answered: it may be sent again, which adds nothing");
        }
    }
}

/// True if the server refuses what is in the request, not whoever sends it.
fn is_of_the_event(problem: &Problem) -> bool {
    matches!(problem.status, 400 | 409 | 413 | 422) && problem.code.as_deref() != Some("unknown_parameter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_are_random_and_heed_the_server() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut pauses = Pauses::new((first, longest));
        for whole in [100, 200, 400, 800, 1_000, 1_000].map(Duration::from_millis) {
            let pause = pauses.next(None);
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
        let asked = Duration::from_secs(7);
        let pause = pauses.next(Some(asked));
        assert!(pause >= asked && pause <= asked + longest / 4, "{pause:?}");
        let others: std::collections::BTreeSet<_> =
            (0..20).map(|_| Pauses::new((longest, longest)).next(None)).collect();
        assert!(others.len() > 5, "{others:?}");
    }
}

//! Taking batches back: the views are rebuilt from the log without them, on a thread of its own, while the live ones go on
//! answering and following. Then the fold thread puts the new ones in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, channel};
use std::time::{Duration, Instant};

use lastseen_event::Position;
use lastseen_log::Log;
use lastseen_projections::{Persons, Retracted, Selection, Views, ViewsBuilder};
use lastseen_store::{Detail, EventReader, EventStore, ReadError, RecordedBatch, Scan};

use crate::fold::{Rebuilt, Work};
use crate::live::Live;
use crate::tasks;

/// Events that the fold thread may have to fold before it puts rebuilt views in place; appends wait for it.
const LEFT_MAX: u64 = 4_096;

/// How often the log is read on while more comes, before the rest is left to the fold thread however much it is.
const CATCH_UPS_MAX: usize = 64;

/// After the log could not be read, it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// How often it is looked whether the views before are in use by anybody.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Rebuilds the views whenever they have a batch that was taken back.
pub(crate) struct Rebuilds {
    pub(crate) log: Arc<Log>,
    pub(crate) live: Arc<Live>,
    pub(crate) fold: SyncSender<Work>,
}

/// Why there are no rebuilt views.
enum Unfinished {
    /// Nobody wants them any more.
    Stopped,
    Read(ReadError),
}

/// The batches of a store that were taken back.
pub(crate) fn retracted_in(store: &impl EventStore) -> Retracted {
    store.with_batches(|batches| batches.retracted().collect())
}

impl Rebuilds {
    /// Until the other side of `nudges` is gone.
    pub(crate) fn run(self, nudges: &Receiver<()>) {
        let mut retry = None;
        loop {
            let wake = match retry {
                None => nudges.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(after) => nudges.recv_timeout(after),
            };
            if wake == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            retry = match self.rebuild(nudges) {
                Ok(()) => None,
                Err(Unfinished::Stopped) => return,
                Err(Unfinished::Read(error)) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(
                        error,
                        "a batch was taken back and is still in the views: the log cannot be read"
                    );
                    Some(RETRY_AFTER)
                }
            };
        }
    }

    /// Rebuilds and hands over until nothing that was taken back is in the views.
    fn rebuild(&self, nudges: &Receiver<()>) -> Result<(), Unfinished> {
        loop {
            let wanted = retracted_in(self.log.as_ref());
            let before = self.live.get();
            if wanted == *before.read().retracted() {
                return Ok(());
            }
            let started = Instant::now();
            tracing::info!(
                batches = wanted.len(),
                "rebuilding the views without the batches that were taken back"
            );
            let persons = before.read().persons();
            let (views, reached) = self.build(wanted, persons, nudges)?;
            let (replaced, answer) = channel();
            let work = Work::Replace(Rebuilt { views, reached, replaced });
            self.fold.send(work).map_err(|_| Unfinished::Stopped)?;
            answer.recv().map_err(|_| Unfinished::Stopped)?.map_err(Unfinished::Read)?;
            // Questions that have the views before go on with them. The last one would have to free them.
            while Arc::strong_count(&before) > 1 {
                is_wanted(nudges)?;
                std::thread::sleep(LOOK_EVERY);
            }
            drop(before);
            tracing::info!(
                position = reached.get(),
                seconds = started.elapsed().as_secs_f64(),
                "views rebuilt"
            );
        }
    }

    /// Views of all of the log but the end of what is being appended.
    fn build(
        &self,
        retracted: Retracted,
        persons: Persons,
        nudges: &Receiver<()>,
    ) -> Result<(Box<Views>, Position), Unfinished> {
        let mut builder = ViewsBuilder::new(Selection::default(), retracted, persons);
        let mut reached = Position::START;
        self.read_on(&mut reached, nudges, |batch| builder.apply_all(&batch.facts))?;
        let mut views: Box<Views> = Box::new(builder.finish());
        for _ in 0..CATCH_UPS_MAX {
            if self.log.tail().position().get() - reached.get() <= LEFT_MAX {
                break;
            }
            self.read_on(&mut reached, nudges, |batch| views.apply_all(&batch.facts))?;
        }
        Ok((views, reached))
    }

    /// Folds what is behind `reached` now, read on a thread of its own.
    fn read_on(
        &self,
        reached: &mut Position,
        nudges: &Receiver<()>,
        mut fold: impl FnMut(RecordedBatch),
    ) -> Result<(), Unfinished> {
        let tail = self.log.tail().position();
        let mut reader = self.log.scan(Scan { until: Some(tail), ..Scan::after(*reached, Detail::Facts) });
        let stopped = AtomicBool::new(false);
        let next = || if stopped.load(Ordering::Relaxed) { Ok(None) } else { reader.next_batch() };
        tasks::gathered([next], |batch| {
            *reached = batch.reached;
            fold(batch);
            stopped.store(is_wanted(nudges).is_err(), Ordering::Relaxed);
        })
        .map_err(Unfinished::Read)?;
        is_wanted(nudges)
    }
}

/// Nudges are taken in as well: it is looked again once this is done.
fn is_wanted(nudges: &Receiver<()>) -> Result<(), Unfinished> {
    match nudges.try_recv() {
        Err(TryRecvError::Disconnected) => Err(Unfinished::Stopped),
        Ok(()) | Err(TryRecvError::Empty) => Ok(()),
    }
}

//! Retraction: a thread rebuilds the views from the log without the retracted batches, while the live views go on
//! answering. Then the fold thread puts the new views in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use lastseen_event::{Position, Sighting};
use lastseen_projections::{
    Definition, Following, Retracted, Selection, Subject, Traffic, Views, ViewsBuilder,
};
use lastseen_store::{Detail, EventReader, EventStore, ReadError, RecordedBatch, Scan};
use tokio::sync::mpsc;

use super::fold::{Rebuilt, Work};
use super::health::Health;
use super::live::{Live, SharedViews};
use super::restore::retracted_in;
use crate::tasks;

/// Most records that the fold thread folds before it puts rebuilt views in place; requests wait for it.
const LEFT_MAX: u64 = 4_096;

/// Most catch-up reads while more events come; then the fold thread folds the rest, however much it is.
const CATCH_UPS_MAX: usize = 64;

/// Pause after the log could not be read.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Time between two looks at whether questions still hold the views before.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Rebuilds the views whenever they hold a retracted batch.
pub(super) struct Rebuilds {
    pub(super) log: Arc<dyn EventStore>,
    pub(super) live: Arc<Live>,
    pub(super) fold: mpsc::Sender<Work>,
    pub(super) health: Health,
}

/// The name of this part in health.
const PART: &str = "rebuilds";

/// A rebuild that did not end.
enum Unfinished {
    /// The server stops.
    Stopped,
    Read(ReadError),
}

impl Rebuilds {
    /// Runs until the sender of `nudges` is gone.
    pub(super) fn run(self, nudges: &Receiver<()>) {
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
                Ok(()) => {
                    self.health.clear(PART);
                    None
                }
                Err(Unfinished::Stopped) => return,
                Err(Unfinished::Read(error)) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "a retracted batch is still in the views: the log cannot be read");
                    let cause = "the log cannot be read; a retracted batch is still in the numbers";
                    self.health.failed(PART, cause.to_owned());
                    Some(RETRY_AFTER)
                }
            };
        }
    }

    /// Rebuilds and hands over until no retracted batch is in the views.
    fn rebuild(&self, nudges: &Receiver<()>) -> Result<(), Unfinished> {
        loop {
            let wanted = retracted_in(self.log.as_ref());
            let before = self.live.get();
            if wanted == *before.read().retracted() {
                return Ok(());
            }
            let started = Instant::now();
            tracing::info!(batches = wanted.len(), "rebuilding the views without the retracted batches");
            let (views, reached) = self.build(wanted, &before, nudges)?;
            let (replaced, answer) = channel();
            let work = Work::Replace(Rebuilt { views, reached, replaced });
            self.fold.blocking_send(work).map_err(|_| Unfinished::Stopped)?;
            answer.recv().map_err(|_| Unfinished::Stopped)?.map_err(Unfinished::Read)?;
            // Questions go on with the views before. This thread frees them: freeing takes long, and no question may wait.
            while Arc::strong_count(&before) > 1 {
                check_wanted(nudges)?;
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

    /// Builds views of the whole log, but for the newest events that are being appended.
    fn build(
        &self,
        retracted: Retracted,
        before: &SharedViews,
        nudges: &Receiver<()>,
    ) -> Result<(Box<Views>, Position), Unfinished> {
        let (mut followed, mut traffic) = (Vec::new(), Vec::new());
        let persons = {
            let before = before.read();
            let mut zones = vec![Tz::UTC];
            for (subject, _) in before.followed() {
                let (Subject::Activity(Definition { zone, .. }) | Subject::Traffic(zone)) = subject;
                let Some(calendar) = before.calendar(zone) else { continue };
                match subject {
                    Subject::Activity(definition) => {
                        let is_first = !zones.contains(&zone);
                        zones.extend(is_first.then_some(zone));
                        followed.push(Following::beside(definition, calendar, retracted.clone(), is_first));
                    }
                    Subject::Traffic(zone) => {
                        traffic.push((zone, Traffic::new(calendar, retracted.clone())));
                    }
                }
            }
            before.persons()
        };
        let mut scans: Vec<_> = followed.iter().map(Following::scan).collect();
        let mut builder = ViewsBuilder::new(Selection::default(), retracted, persons);
        let mut reached = Position::START;
        self.read_on(&mut reached, nudges, |batch| {
            builder.apply_all(&batch.facts);
            if !scans.is_empty() {
                let sightings: Vec<_> = batch.facts.iter().filter_map(Sighting::of).collect();
                for scan in &mut scans {
                    scan.see_all(&sightings);
                }
            }
            for (_, traffic) in &mut traffic {
                batch.facts.iter().for_each(|fact| traffic.count(fact));
            }
        })?;
        let mut views: Box<Views> = Box::new(builder.finish());
        for (mut following, scan) in followed.into_iter().zip(scans) {
            following.join(scan);
            while following.look_at_some(&views) {
                check_wanted(nudges)?;
            }
            following.put_together();
            views.follow(&mut following, &[]);
        }
        for (zone, mut traffic) in traffic {
            views.follow_traffic(zone, &mut traffic, &[]);
        }
        for _ in 0..CATCH_UPS_MAX {
            if self.log.records_after(reached) <= LEFT_MAX {
                break;
            }
            self.read_on(&mut reached, nudges, |batch| views.apply_all(&batch.facts))?;
        }
        Ok((views, reached))
    }

    /// Folds the events after `reached` up to the present tail, read on a thread of its own.
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
        tasks::gather([next], |batch| {
            *reached = batch.reached;
            fold(batch);
            stopped.store(check_wanted(nudges).is_err(), Ordering::Relaxed);
        })
        .map_err(Unfinished::Read)?;
        check_wanted(nudges)
    }
}

/// Drains one wake-up, since [`Rebuilds::rebuild`] checks again when it ends.
///
/// # Errors
/// [`Unfinished::Stopped`] if the fold thread is gone.
fn check_wanted(nudges: &Receiver<()>) -> Result<(), Unfinished> {
    match nudges.try_recv() {
        Err(TryRecvError::Disconnected) => Err(Unfinished::Stopped),
        Ok(()) | Err(TryRecvError::Empty) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::sync_channel;

    use lastseen_event::{BatchName, EventBatch};
    use lastseen_log::FaultDisk;
    use lastseen_projections::Persons;
    use lastseen_store::{
        Appended, Batches, Gauges, Guard, Lineage, ManualClock, MemberDictionary, OnRefused, Pending,
        RetractOutcome, Tail,
    };
    use parking_lot::RwLock;
    use tokio::runtime::Handle;

    use super::*;
    use crate::testing::{NOW, Replica, instant};

    /// A replica that takes in an event more whenever it is scanned.
    struct Growing {
        replica: Replica,
        scans: AtomicUsize,
    }

    impl EventStore for Growing {
        fn append(&self, batch: EventBatch, on_refused: OnRefused) -> Pending<'_, Appended> {
            self.replica.log.append(batch, on_refused)
        }

        fn retract<'a>(&'a self, batch: BatchName<'a>, events: Option<u64>) -> Pending<'a, RetractOutcome> {
            self.replica.log.retract(batch, events)
        }

        fn batches(&self) -> Guard<'_, Batches> {
            self.replica.log.batches()
        }

        fn members(&self) -> Guard<'_, dyn MemberDictionary> {
            self.replica.log.members()
        }

        fn scan(&self, scan: Scan) -> Box<dyn EventReader> {
            self.scans.fetch_add(1, Ordering::Relaxed);
            Handle::current().block_on(self.replica.take_in(1, Replica::GAP));
            self.replica.log.scan(scan)
        }

        fn parts(&self) -> Vec<Position> {
            self.replica.log.parts()
        }

        fn records_after(&self, position: Position) -> u64 {
            self.replica.log.records_after(position)
        }

        fn tail(&self) -> Tail {
            self.replica.log.tail()
        }

        fn lineage(&self) -> Arc<Lineage> {
            self.replica.log.lineage()
        }

        fn health(&self) -> lastseen_store::Health {
            self.replica.log.health()
        }

        fn gauges(&self) -> Gauges {
            self.replica.log.gauges()
        }

        fn close(&self) {
            self.replica.log.close();
        }
    }

    /// The rest was a difference of positions: one event was too much to be left to the fold thread, so that history was read
    /// again and again for each that came.
    #[tokio::test]
    async fn a_few_events_that_come_meanwhile_are_left_to_the_fold_thread_whatever_gaps_positions_have() {
        let replica = Replica::new(&FaultDisk::default());
        replica.take_in(10, Replica::GAP).await;
        let log = Arc::new(Growing { replica, scans: AtomicUsize::new(0) });
        let views = || ViewsBuilder::new(Selection::default(), Retracted::default(), Persons::Off).finish();
        let clock = Arc::new(ManualClock::new(instant(NOW)));
        let rebuilds = Rebuilds {
            log: log.clone(),
            live: Arc::new(Live::new(views())),
            fold: mpsc::channel(1).0,
            health: Health::new(clock),
        };
        let (_nudge, nudges) = sync_channel(1);
        let build = move || {
            let before: SharedViews = Arc::new(RwLock::new(views()));
            let built = rebuilds.build(Retracted::default(), &before, &nudges);
            built.map_or_else(|_| panic!("it is built"), |(_, reached)| reached)
        };
        let reached = tokio::task::spawn_blocking(build).await.unwrap();
        assert_eq!(log.scans.load(Ordering::Relaxed), 1);
        assert_eq!(reached.get(), 10 * Replica::GAP, "the one that came meanwhile is left");
    }
}

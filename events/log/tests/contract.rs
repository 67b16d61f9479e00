//! The log keeps the contract of the port.

use std::sync::Arc;

use lastseen_log::{Fault, FaultDisk, Log, LogOptions, Operation, OsDisk};
use lastseen_store::SystemClock;
use tempfile::TempDir;

fn fresh(segment_events: u64) -> (Log, TempDir) {
    let dir = TempDir::new().expect("a temporary directory");
    let disk = Arc::new(OsDisk::new(dir.path()).expect("a directory"));
    let options = LogOptions { segment_events, recent_ids: 10_000, ..LogOptions::default() };
    let log = Log::open(disk, options, Arc::new(SystemClock)).expect("an empty log opens");
    (log, dir)
}

lastseen_store::contract_tests!(fresh(1_000_000));

/// The same with a log that seals all the time, so that every reader and every append meets segments that come and WAL
/// files that go.
mod sealing {

    lastseen_store::contract_tests!(super::fresh(23));
}

#[tokio::test]
async fn refusals_pass() {
    let disk = FaultDisk::default();
    // A file holds one frame, so each append makes one.
    let options = LogOptions { wal_file_bytes: 1, ..LogOptions::default() };
    let log = Log::open(Arc::new(disk.clone()), options, Arc::new(SystemClock));
    let hinder = |hindered: bool| {
        if hindered {
            disk.fail(Operation::Create, 0, u64::MAX, (Fault::NoDescriptors, 0));
        } else {
            disk.heal();
        }
    };
    lastseen_store::contract::refusals_pass(&log.expect("opens"), hinder).await;
}

/// A log that follows the store in memory keeps it too: what is appended there is read here.
mod following {
    use std::sync::Arc;

    use lastseen_event::{BatchName, EventBatch, Fact, Position, Retraction};
    use lastseen_log::{Followed, LockedDisk, Log, LogOptions, OsDisk, Stamp};
    use lastseen_store::{
        Batches, Detail, EventReader, EventStore, Gauges, Guard, Health, Lineage, MemberDictionary,
        MemoryStore, OnRefused, Pending, RetractOutcome, Scan, SystemClock, Tail,
    };
    use tempfile::TempDir;
    use tokio::sync::Mutex;

    struct Followers {
        origin: MemoryStore,
        /// Taken in up to here.
        followed: Mutex<Position>,
        log: Log,
    }

    /// Positions of the origin have gaps.
    fn spread(position: Position) -> Position {
        Position::new(position.get() * 97)
    }

    impl Followers {
        /// Takes in what is new at the origin.
        async fn catch_up(&self) {
            let mut followed = self.followed.lock().await;
            let mut reader = self.origin.read(*followed, Detail::Events);
            while let Some(batch) = reader.next_batch().expect("readable") {
                let stamp =
                    |position: Position, recorded_at| Stamp { position: spread(position), recorded_at };
                let mut retractions = batch.retractions.iter().peekable();
                let (mut events, mut stamps) = (EventBatch::default(), Vec::new());
                for (fact, event) in batch.facts.iter().zip(batch.events.iter()) {
                    let is_before = |it: &&Retraction| it.position < fact.position;
                    while let Some(retraction) = retractions.next_if(is_before) {
                        self.take(&mut events, &mut stamps).await;
                        self.retract(retraction).await;
                    }
                    let Fact { position, recorded_at, .. } = *fact;
                    events.push(&event).expect("it was valid");
                    stamps.push(stamp(position, recorded_at));
                }
                self.take(&mut events, &mut stamps).await;
                for retraction in retractions {
                    self.retract(retraction).await;
                }
                *followed = batch.reached;
            }
        }

        async fn take(&self, events: &mut EventBatch, stamps: &mut Vec<Stamp>) {
            let records = Followed::Events(std::mem::take(events), std::mem::take(stamps));
            self.log.follow(records).await.expect("it is taken in");
        }

        async fn retract(&self, it: &Retraction) {
            let name = self.origin.batches().get(it.batch).expect("it is known").name().to_owned();
            let stamp = Stamp { position: spread(it.position), recorded_at: it.recorded_at };
            let name = BatchName::new(&name).expect("valid");
            let records = Followed::retraction(name, it.occurred_at, stamp);
            assert_eq!(self.log.follow(records).await.expect("it is taken in").kept, 1);
        }
    }

    impl EventStore for Followers {
        fn append(&self, batch: EventBatch, on_refused: OnRefused) -> Pending<'_, lastseen_store::Appended> {
            Box::pin(async move {
                let mut appended = self.origin.append(batch, on_refused).await?;
                self.catch_up().await;
                appended.position = spread(appended.position);
                Ok(appended)
            })
        }

        fn retract<'a>(&'a self, batch: BatchName<'a>, events: Option<u64>) -> Pending<'a, RetractOutcome> {
            Box::pin(async move {
                let outcome = self.origin.retract(batch, events).await?;
                self.catch_up().await;
                Ok(match outcome {
                    RetractOutcome::Retracted(position) => RetractOutcome::Retracted(spread(position)),
                    other => other,
                })
            })
        }

        fn batches(&self) -> Guard<'_, Batches> {
            self.log.batches()
        }

        fn members(&self) -> Guard<'_, dyn MemberDictionary> {
            self.log.members()
        }

        fn scan(&self, scan: Scan) -> Box<dyn EventReader> {
            self.log.scan(scan)
        }

        fn parts(&self) -> Vec<Position> {
            self.log.parts()
        }

        fn records_after(&self, position: Position) -> u64 {
            self.log.records_after(position)
        }

        fn tail(&self) -> Tail {
            self.log.tail()
        }

        fn lineage(&self) -> Arc<Lineage> {
            self.log.lineage()
        }

        fn health(&self) -> Health {
            self.log.health()
        }

        fn gauges(&self) -> Gauges {
            self.log.gauges()
        }

        fn close(&self) {
            self.origin.close();
            self.log.close();
        }
    }

    fn fresh(segment_events: u64) -> (Followers, TempDir) {
        let dir = TempDir::new().expect("a temporary directory");
        let disk = Arc::new(OsDisk::new(dir.path()).expect("a directory"));
        let options = LogOptions { segment_events, recent_ids: 10_000, ..LogOptions::default() };
        let origin = MemoryStore::new(Arc::new(SystemClock));
        let locked = LockedDisk::lock(disk).expect("is free");
        let log_id = origin.lineage().log_id();
        let log = Log::open_following(locked, options, log_id, (Arc::new(SystemClock), &[]), |_| ());
        (Followers { origin, followed: Mutex::default(), log: log.expect("opens") }, dir)
    }

    mod unsealed {
        lastseen_store::contract_tests!(super::fresh(1_000_000));
    }

    mod sealing {
        lastseen_store::contract_tests!(super::fresh(23));
    }
}

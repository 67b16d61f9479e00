//! Follows the cluster: one subscription to the events of Lastseen, which the log takes in, in their order.
//!
//! A subscription is begun behind a record that the cluster has just told, never behind one that was remembered: a record that was
//! scavenged since then would take the next one with it. It is given up when it fails, when it ends, and when it is silent while the
//! cluster has more; then all begins anew, the check of the cluster's identity included.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{RecordedEvent, SubscribeToAllOptions};
use lastseen_event::limits::REQUEST_EVENTS_MAX;
use lastseen_event::{BatchName, EventBatch, EventId, Position};
use lastseen_log::{Followed, Kept, Log, Stamp};
use lastseen_store::{LogId, Part, Standstills, error_chain};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::codec::{self, Taken};
use crate::frames::{Frame, Frames};
use crate::identity::{self, Held, Start};
use crate::lag::Distance;
use crate::supervisor::{Fault, Lease, Supervisor};
use crate::under_way::UnderWay;

/// Follows a cluster into a log.
pub(crate) struct Reader {
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) log: Arc<Log>,
    /// The log that the copy is of.
    pub(crate) origin: LogId,
    pub(crate) held: Held,
    pub(crate) distance: Arc<Distance>,
    pub(crate) standstills: Arc<Standstills>,
    /// Set once everything that the cluster had was taken in.
    pub(crate) caught_up: watch::Sender<bool>,
    /// Refuses appends once the cluster is refused.
    pub(crate) under_way: Arc<UnderWay>,
    pub(crate) told: Told,
}

/// The things that were told to the operator.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Records that are no events.
    foreign: u64,
    /// Events that are not kept, since one with their id and other content is.
    conflicts: u64,
    /// The last fault since the cluster was followed.
    fault: Option<String>,
    /// The time since which the cluster seems to have another history.
    other_history: Option<Instant>,
}

/// Some records that were read, and are not taken in yet.
#[derive(Default)]
struct Unfollowed {
    events: EventBatch,
    stamps: Vec<Stamp>,
    /// Everything that was read, whether or not it is in the batch.
    seen: Vec<(eventstore::Position, EventId)>,
}

impl Reader {
    /// Follows until its future is dropped, or until going on makes no sense.
    pub(crate) async fn run(mut self) {
        let _watch = self.standstills.watch(Part::Cluster);
        loop {
            let lease = match self.supervisor.lease().await {
                Ok(lease) => lease,
                Err(fault) => {
                    self.standstills.failed(Part::Cluster, fault.to_string());
                    tokio::time::sleep(self.supervisor.settings().timing.pulse).await;
                    continue;
                }
            };
            let fault = self.follow(&lease).await;
            self.distance.disconnected();
            if self.is_final(&fault) {
                tracing::error!("{fault}");
                self.under_way.refuse();
                self.standstills.stopped(Part::Cluster, fault.to_string());
                return;
            }
            let fault = fault.to_string();
            if self.told.fault.as_ref() != Some(&fault) {
                tracing::warn!("the cluster is not followed at present, and is tried again: {fault}");
            }
            self.told.fault = Some(fault.clone());
            self.standstills.failed(Part::Cluster, fault);
            self.supervisor.failed(&lease).await;
        }
    }

    /// True if trying again does not help. Another history is believed once it was told for a while: a node that led before it was
    /// frozen believes that it leads, and lacks what came since.
    fn is_final(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::OtherHistory(_) => {
                self.distance.doubted(true);
                let since = *self.told.other_history.get_or_insert_with(Instant::now);
                since.elapsed() >= self.supervisor.settings().timing.doubt
            }
            fault => fault.is_final(),
        }
    }

    /// Follows through one client, until it fails.
    async fn follow(&mut self, lease: &Lease) -> Fault {
        match self.begin(lease).await {
            Ok(frames) => match self.take_all(lease, frames).await {
                Ok(never) => match never {},
                Err(fault) => fault,
            },
            Err(fault) => fault,
        }
    }

    /// Checks the cluster and begins a subscription.
    async fn begin(&mut self, lease: &Lease) -> Result<Frames, Fault> {
        identity::head(&self.supervisor, lease).await?;
        let Start { after, first } =
            identity::check(&self.supervisor, lease, (&self.log, self.origin, &self.held)).await?;
        self.supervisor.works().await;
        self.told.other_history = None;
        self.distance.doubted(false);
        self.distance.connected();
        self.standstills.works(Part::Cluster);
        if self.told.fault.take().is_some() {
            tracing::info!("the cluster is followed again");
        }
        let mut unfollowed = Unfollowed::default();
        for record in &first {
            self.read(record, &mut unfollowed).await?;
        }
        self.take_in(&mut unfollowed).await?;
        let options =
            SubscribeToAllOptions::default().position(after).filter(identity::ours(&self.supervisor));
        let options = self.supervisor.authenticated(options, SubscribeToAllOptions::authenticated);
        Ok(Frames::pump(lease.client.subscribe_to_all(&options).await, &Handle::current()))
    }

    /// Takes in what the subscription tells, and asks for the cluster's end beside.
    async fn take_all(
        &mut self,
        lease: &Lease,
        mut frames: Frames,
    ) -> Result<std::convert::Infallible, Fault> {
        let timing = self.supervisor.settings().timing;
        let (mut taken, mut heard) = (Vec::new(), Instant::now());
        let mut beside = Beside::begin((&self.supervisor, lease), &self.distance);
        let mut look = tokio::time::interval(timing.pulse);
        loop {
            tokio::select! {
                goes_on = frames.take(&mut taken) => {
                    if !goes_on {
                        return Err(Fault::Unreachable("the subscription has ended".to_owned()));
                    }
                    self.take(&mut taken).await?;
                    heard = Instant::now();
                }
                fault = &mut beside.pulse => {
                    return Err(fault.unwrap_or_else(|lost| Fault::Unreachable(lost.to_string())));
                }
                _ = look.tick() => {
                    let is_silent = heard.elapsed() > timing.call && frames.is_empty();
                    if is_silent && self.distance.is_behind() {
                        return Err(Fault::Unreachable("the subscription is silent".to_owned()));
                    }
                }
            }
        }
    }

    /// Takes in some frames.
    async fn take(&mut self, frames: &mut Vec<Frame>) -> Result<(), Fault> {
        let mut unfollowed = Unfollowed::default();
        for frame in frames.drain(..) {
            match frame {
                Frame::Event(record) => self.read(&record, &mut unfollowed).await?,
                Frame::Alive => {}
                Frame::CaughtUp => {
                    self.take_in(&mut unfollowed).await?;
                    self.caught_up.send_replace(true);
                }
                Frame::Failed(error) => {
                    self.take_in(&mut unfollowed).await?;
                    return Err(self.supervisor.fault("subscribe to $all", &error));
                }
            }
        }
        self.take_in(&mut unfollowed).await
    }

    /// Reads one record. What is full is taken in.
    async fn read(&mut self, record: &RecordedEvent, unfollowed: &mut Unfollowed) -> Result<(), Fault> {
        let stamp = codec::stamp(record);
        let last =
            unfollowed.seen.last().map_or(self.distance.reached(), |(last, _)| Position::new(last.commit));
        if stamp.position <= last {
            return Ok(());
        }
        // Frames are fewer than that at present.
        if unfollowed.events.len() == REQUEST_EVENTS_MAX {
            self.take_in(unfollowed).await?;
        }
        match codec::decode(record, &mut unfollowed.events) {
            Taken::Event => unfollowed.stamps.push(stamp),
            Taken::Retraction { batch, occurred_at } => {
                self.take_in(unfollowed).await?;
                let name = BatchName::stored(&batch);
                let name = name.unwrap_or_else(|| unreachable!("its form was checked"));
                self.keep(Followed::retraction(name, occurred_at, stamp)).await?;
            }
            Taken::Foreign { cause } => self.tell_foreign(record, &cause),
            Taken::Newer { form } => {
                self.take_in(unfollowed).await?;
                return Err(Fault::NewerForm { position: stamp.position.get(), form });
            }
        }
        unfollowed.seen.push((record.position, EventId::stored(record.id)));
        Ok(())
    }

    /// Lets the log take in what was read.
    async fn take_in(&mut self, unfollowed: &mut Unfollowed) -> Result<(), Fault> {
        let Unfollowed { events, stamps, seen } = std::mem::take(unfollowed);
        let Some((last, _)) = seen.last() else { return Ok(()) };
        let reached = Position::new(last.commit);
        if !stamps.is_empty() {
            self.keep(Followed::Events(events, stamps)).await?;
        }
        // The last ones may be such that are not kept.
        self.log.taken_in(reached).await.map_err(|error| Fault::Copy(error_chain(&error)))?;
        for (position, id) in seen {
            self.held.push(position, id);
        }
        self.distance.reach(reached);
        Ok(())
    }

    async fn keep(&mut self, records: Followed) -> Result<(), Fault> {
        let kept = self.log.follow(records).await.map_err(|error| Fault::Copy(error_chain(&error)))?;
        let Kept { conflicts, .. } = kept;
        if conflicts > 0 {
            self.told.conflicts += conflicts as u64;
            let all = self.told.conflicts;
            tracing::warn!(
                conflicts,
                all,
                "events with the id of an earlier one and other content are left out, on every node"
            );
        }
        Ok(())
    }

    /// Tells the first record that is left out, and then fewer and fewer.
    fn tell_foreign(&mut self, record: &RecordedEvent, cause: &str) {
        self.told.foreign += 1;
        if self.told.foreign.is_power_of_two() {
            let (position, all) = (record.position.commit, self.told.foreign);
            tracing::warn!(
                position,
                all,
                cause,
                "a record in a stream of Lastseen is none of its events: left out"
            );
        }
    }
}

/// The questions beside a subscription, as long as this is held.
struct Beside {
    /// Ends with the first sign of life that does not come.
    pulse: JoinHandle<Fault>,
    /// Asks for the cluster's last event again and again.
    end: JoinHandle<()>,
}

impl Beside {
    fn begin((supervisor, lease): (&Arc<Supervisor>, &Lease), distance: &Arc<Distance>) -> Self {
        let every = supervisor.settings().timing.pulse;
        let asked = (supervisor.clone(), lease.clone());
        let pulse = Handle::current().spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if let Err(fault) = identity::head(&asked.0, &asked.1).await {
                    return fault;
                }
            }
        });
        let (asked, distance) = ((supervisor.clone(), lease.clone()), distance.clone());
        let end = Handle::current().spawn(async move {
            loop {
                let begun = Instant::now();
                distance.end(identity::last(&asked.0, &asked.1).await.ok());
                tokio::time::sleep(every.max((begun.elapsed() * ASKING_SHARE).min(ASKING_PAUSE_MAX))).await;
            }
        });
        Self { pulse, end }
    }
}

/// Pauses between two questions for the cluster's end are so many times as long as an answer takes: it may have to look through many
/// events of others.
const ASKING_SHARE: u32 = 20;
/// The longest such pause.
const ASKING_PAUSE_MAX: Duration = Duration::from_secs(10);

impl Drop for Beside {
    fn drop(&mut self) {
        self.pulse.abort();
        self.end.abort();
    }
}

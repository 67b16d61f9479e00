//! The pipelined session in which events are sent, and the bound on what is under way in it. The client ends a session with its
//! first failure: then the outcome of all that was under way in it is unknown, and the next one is begun.

use std::sync::Arc;

use eventstore::{BatchAppendClient, BatchAppendOptions, Error, EventData, StreamState};
use futures_util::FutureExt;
use lastseen_event::Position;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::supervisor::{Fault, Lease, Supervisor};

/// Some events for one stream, which the cluster stores all or none of.
pub(crate) struct Append {
    pub(crate) stream: String,
    pub(crate) expected: StreamState,
    pub(crate) events: Vec<EventData>,
    /// Bytes that it takes, about.
    pub(crate) bytes: usize,
}

/// Begins sessions, and counts what is under way in them.
pub(crate) struct Sessions {
    supervisor: Supervisor,
    present: tokio::sync::Mutex<Present>,
    appends: Arc<Semaphore>,
    /// In units of [`UNIT`].
    bytes: Arc<Semaphore>,
    units_max: u32,
}

/// The session that is used, and the last attempt to begin one that failed.
#[derive(Default)]
struct Present {
    session: Option<Arc<Session>>,
    failed: Option<(Instant, Fault)>,
}

/// One session.
pub(crate) struct Session {
    lease: Lease,
    batch: BatchAppendClient,
    /// The first failure.
    failure: Mutex<Option<Failure>>,
}

/// The reach of a failure.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The cluster answered that it does not store one of the appends. The others are sent again, in another session.
    Answer(Fault),
    /// The connection: a new client is needed.
    Connection(Fault),
}

impl Failure {
    pub(crate) fn fault(&self) -> &Fault {
        match self {
            Self::Answer(fault) | Self::Connection(fault) => fault,
        }
    }
}

/// The stream of appends that are meant to be refused. It never has an event.
const GIVEN_UP: &str = "lastseen-session";

/// Bytes are counted in this.
pub(crate) const UNIT: usize = 1024;

/// Units that so many bytes take: all of them at most, so that whatever is larger goes when nothing else does.
pub(crate) fn units(bytes: usize, all: u32) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(all)
}

/// Room for one append in the sessions, given back when it is dropped.
pub(crate) struct Room {
    _append: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Sessions {
    pub(crate) fn new(supervisor: Supervisor) -> Self {
        let timing = supervisor.settings().timing;
        let units_max = u32::try_from(timing.bytes_in_flight / UNIT).unwrap_or(u32::MAX / 8).max(1);
        Self {
            supervisor,
            present: tokio::sync::Mutex::default(),
            appends: Arc::new(Semaphore::new(timing.appends_in_flight.max(1))),
            bytes: Arc::new(Semaphore::new(units_max as usize)),
            units_max,
        }
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Room for an append of so many bytes, if there is some at once.
    pub(crate) fn try_room(&self, bytes: usize) -> Option<Room> {
        let append = self.appends.clone().try_acquire_owned().ok()?;
        let bytes = self.bytes.clone().try_acquire_many_owned(units(bytes, self.units_max)).ok()?;
        Some(Room { _append: append, _bytes: bytes })
    }

    /// Waits for room for an append of so many bytes.
    pub(crate) fn room(&self, bytes: usize) -> impl Future<Output = Room> + use<> {
        let (appends, all, units) = (self.appends.clone(), self.bytes.clone(), units(bytes, self.units_max));
        async move {
            let append = appends.acquire_owned().await;
            let bytes = all.acquire_many_owned(units).await;
            let (Ok(append), Ok(bytes)) = (append, bytes) else { unreachable!("they are never closed") };
            Room { _append: append, _bytes: bytes }
        }
    }

    /// The present session, or a new one. Those who wait for one attempt share its failure.
    ///
    /// # Errors
    /// [`Fault`] if none can be begun.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Fault> {
        let asked = Instant::now();
        let mut present = self.present.lock().await;
        if let Some((_, fault)) = present.failed.as_ref().filter(|(failed, _)| *failed > asked) {
            return Err(fault.clone());
        }
        let begun = self.begin(&mut present.session).await;
        present.failed = begun.as_ref().err().map(|fault| (Instant::now(), fault.clone()));
        begun
    }

    async fn begin(&self, present: &mut Option<Arc<Session>>) -> Result<Arc<Session>, Fault> {
        if let Some(session) = present.as_ref() {
            let failure = session.failure.lock().clone();
            match failure {
                None => return Ok(session.clone()),
                Some(Failure::Answer(_)) => {}
                Some(Failure::Connection(_)) => self.supervisor.failed(&session.lease).await,
            }
            *present = None;
        }
        let lease = self.supervisor.lease().await?;
        let options =
            self.supervisor.authenticated(BatchAppendOptions::default(), BatchAppendOptions::authenticated);
        let begun = self.supervisor.within("append", lease.client.batch_append(&options)).await;
        match begun {
            Ok(batch) => {
                let session = Arc::new(Session { lease, batch, failure: Mutex::default() });
                Ok(present.insert(session).clone())
            }
            Err(fault) => {
                self.supervisor.failed(&lease).await;
                Err(fault)
            }
        }
    }

    /// The failure that an error of an append in a session is.
    pub(crate) fn failure(&self, error: &Error) -> Failure {
        /// Codes of gRPC by which the cluster answers one append: it has looked at it, and goes on.
        const WRONG_REVISION: i32 = 6;
        const OF_AN_APPEND: [i32; 4] = [3, 5, WRONG_REVISION, 9];
        const DENIED: i32 = 7;
        match error {
            Error::Grpc { code, message } if OF_AN_APPEND.contains(&i32::from(*code)) => {
                Failure::Answer(Fault::Refused(message.clone()))
            }
            Error::Grpc { code, .. } if i32::from(*code) == DENIED => {
                Failure::Answer(Fault::Denied { user: self.supervisor.user(), what: "append" })
            }
            error => Failure::Connection(self.supervisor.fault("append", error)),
        }
    }
}

impl Session {
    /// Sends an append once it is first polled; its position.
    ///
    /// # Errors
    /// The client's. The outcome is unknown, unless the cluster answered.
    pub(crate) async fn append(&self, append: Append) -> Result<Position, Error> {
        let Append { stream, expected, events, .. } = append;
        let stored = self.batch.append_to_stream(stream, expected, events).await?;
        // A server that tells none is not known. The position is at or above those that are known in any case.
        Ok(Position::new(stored.current_position().map_or(0, |position| position.commit)))
    }

    /// Notes a failure; the first one counts. The session is not used again.
    ///
    /// The client ends a session by nothing but a failure: one that is given up while its connection lives would stay there with it.
    /// So it is given an append that no cluster stores.
    pub(crate) fn fail(&self, failure: Failure) {
        const NEVER: StreamState = StreamState::StreamRevision(i64::MAX.unsigned_abs());
        let mut first = self.failure.lock();
        if first.is_some() {
            return;
        }
        if matches!(failure, Failure::Connection(_)) {
            let event = EventData::binary("session_given_up", bytes::Bytes::new()).id(uuid::Uuid::new_v4());
            // It is sent by the first poll. Nobody waits for the answer.
            let _ = self.batch.append_to_stream(GIVEN_UP, NEVER, vec![event]).now_or_never();
        }
        *first = Some(failure);
    }
}

//! Sends events until the cluster has said of each that it has it, or the time for that is over.
//!
//! ```text
//!   batch      a1 a2 b1 a3 c1          rows that the copy does not have
//!   first      [a1 a2] [b1] [a3] [c1]  one append for each run of rows of one member
//!   again      [a1] [a2] [a3]          those without an answer, one append each, under the same ids
//! ```
//!
//! An append of several events that the cluster has in part is not told from one that it has whole, or is refused: only its first id
//! decides. So after the first failure each event is sent alone. An event that the cluster stores twice, since it has forgotten its
//! id, has two positions; every copy keeps the first, and an answer may tell either.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use eventstore::StreamState;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lastseen_event::{BatchName, EventBatch, Position, SessionId, UtcInstant};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::codec;
use crate::names::Names;
use crate::session::{Append, Failure, Room, Session, Sessions};
use crate::supervisor::Fault;

/// Bytes of an append of several events at most: servers up to 25.0 take 1 MiB. One that is refused as too large is sent again in
/// single events, which every server takes, so that a server with another limit needs no other number here.
const APPEND_BYTES_MAX: usize = 1 << 20;

/// Why something was not sent, or has no answer.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// No byte of it reached a session.
    NothingSent(Fault),
    /// These rows have no answer; all others are stored.
    Unknown { rows: Vec<u32>, fault: Fault },
}

/// Rows of a batch that are sent in one append: a first one and those behind it.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: usize,
    len: usize,
}

/// Sends what a node appends.
pub(crate) struct Writer {
    sessions: Sessions,
}

/// The state of one request.
struct Request<'a, E> {
    sessions: &'a Sessions,
    encode: E,
    /// At or above every event that was stored.
    position: Position,
    /// True once a session was begun for it.
    is_sent: bool,
    /// True once an event was stored.
    is_stored: bool,
    /// True once an attempt left events without an answer.
    is_unsure: bool,
    /// Events that the cluster does not store, and why.
    rows_refused: Vec<usize>,
    refused: Option<Fault>,
}

impl Writer {
    pub(crate) fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }

    fn names(&self) -> &Names {
        &self.sessions.supervisor().settings().names
    }

    fn request<E>(&self, encode: E) -> Request<'_, E> {
        Request {
            sessions: &self.sessions,
            encode,
            position: Position::START,
            is_sent: false,
            is_stored: false,
            is_unsure: false,
            rows_refused: Vec::new(),
            refused: None,
        }
    }

    /// Stores the rows `new` of a batch; a position at or above all of them.
    ///
    /// # Errors
    /// [`WriteError`].
    pub(crate) async fn append(&self, batch: &EventBatch, new: &[u32]) -> Result<Position, WriteError> {
        let encode = |run: Run| {
            let rows = &new[run.first..run.first + run.len];
            let (tenant_id, user_id) = batch.names(rows[0] as usize);
            let encoded = rows.iter().map(|row| codec::encode(&batch.get(*row as usize)));
            let (events, bytes): (Vec<_>, Vec<_>) = encoded.unzip();
            let stream = self.names().of_member(tenant_id, user_id);
            Append { stream, expected: StreamState::Any, events, bytes: bytes.iter().sum() }
        };
        self.request(encode).send(runs(batch, new)).await.map_err(|error| match error {
            WriteError::Unknown { rows, fault } => {
                WriteError::Unknown { rows: rows.into_iter().map(|at| new[at as usize]).collect(), fault }
            }
            error @ WriteError::NothingSent(_) => error,
        })
    }

    /// Stores the retraction of a batch, once for ever; its position.
    ///
    /// # Errors
    /// [`WriteError`].
    pub(crate) async fn retract(
        &self,
        batch: BatchName<'_>,
        occurred_at: UtcInstant,
    ) -> Result<Position, WriteError> {
        let encode = |_| Append {
            stream: self.names().of_retraction(batch),
            // By the revision the cluster knows an id for ever.
            expected: StreamState::NoStream,
            events: vec![codec::encode_retraction(batch, occurred_at)],
            bytes: codec::OVERHEAD_BYTES,
        };
        self.request(encode).send(vec![Run { first: 0, len: 1 }]).await
    }
}

/// The rows of one member that stand one behind the other, as many as fit into an append.
fn runs(batch: &EventBatch, new: &[u32]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut bytes = 0;
    for (at, row) in new.iter().enumerate() {
        let (tenant_id, user_id) = batch.names(*row as usize);
        // Names are most of it, and each is escaped to at most twice its length.
        let event = batch.get(*row as usize);
        let texts = [event.session_id.map(SessionId::as_str), event.batch.map(BatchName::as_str)];
        let names = tenant_id.as_str().len() + user_id.as_str().len();
        let size = 2 * (2 * names + texts.into_iter().flatten().map(str::len).sum::<usize>())
            + 2 * codec::OVERHEAD_BYTES;
        let goes_on = |run: &&mut Run| {
            batch.names(new[run.first] as usize) == (tenant_id, user_id) && bytes + size <= APPEND_BYTES_MAX
        };
        if let Some(run) = runs.last_mut().filter(goes_on) {
            run.len += 1;
            bytes += size;
        } else {
            runs.push(Run { first: at, len: 1 });
            bytes = size;
        }
    }
    runs
}

impl<E: Fn(Run) -> Append> Request<'_, E> {
    /// Sends everything, as often as needed.
    async fn send(mut self, mut left: Vec<Run>) -> Result<Position, WriteError> {
        let deadline = Instant::now() + self.sessions.supervisor().settings().timing.outcome;
        while !left.is_empty() {
            let Some(failure) = self.attempt(&mut left, deadline).await else { break };
            self.is_unsure |= self.is_sent && !left.is_empty();
            left = left.iter().flat_map(|run| run.singles()).collect();
            if Instant::now() >= deadline || matches!(failure.fault(), Fault::Denied { .. }) {
                return Err(self.without_answer(&left, failure.fault().clone()));
            }
        }
        match self.refused.take() {
            Some(fault) => Err(self.without_answer(&[], fault)),
            None => Ok(self.position),
        }
    }

    fn without_answer(mut self, left: &[Run], fault: Fault) -> WriteError {
        if !self.is_sent || !(self.is_stored || self.is_unsure) {
            return WriteError::NothingSent(fault);
        }
        let mut rows: Vec<_> = left.iter().map(|run| run.first).collect();
        rows.append(&mut self.rows_refused);
        rows.sort_unstable();
        let rows = rows.into_iter().map(|row| u32::try_from(row).unwrap_or(u32::MAX)).collect();
        WriteError::Unknown { rows, fault }
    }

    /// Sends what is left in one session. What stays left has no answer. `None`: everything has one.
    async fn attempt(&mut self, left: &mut Vec<Run>, deadline: Instant) -> Option<Failure> {
        let session = match self.session(deadline).await {
            Ok(session) => session,
            Err(fault) => return Some(Failure::Connection(fault)),
        };
        let limit = self.sessions.supervisor().settings().timing.call;
        let mut answered = vec![false; left.len()];
        let mut under_way = FuturesUnordered::new();
        let (mut next, mut failure) = (0, None);
        let mut waiting: Option<(Append, Waiting)> = None;
        let mut alarm = Alarm::new(limit);
        loop {
            while failure.is_none() && waiting.is_none() && next < left.len() {
                let append = (self.encode)(left[next]);
                if let Some(room) = self.sessions.try_room(append.bytes) {
                    under_way.push(sent(&session, next, append, room));
                    next += 1;
                } else {
                    let room = self.sessions.room(append.bytes);
                    waiting = Some((append, Box::pin(room)));
                }
            }
            if under_way.is_empty() && (waiting.is_none() || failure.is_some()) {
                break;
            }
            tokio::select! {
                biased;
                Some((at, answer)) = under_way.next(), if !under_way.is_empty() => {
                    alarm.put_off();
                    match answer {
                        Ok(position) => {
                            answered[at] = true;
                            self.stored(position);
                        }
                        Err(error) => {
                            let found = self.sessions.failure(&error);
                            answered[at] = self.refused(left[at], &found);
                            session.fail(found.clone());
                            failure.get_or_insert(found);
                        }
                    }
                }
                room = async {
                    match waiting.as_mut() {
                        Some((_, room)) => room.await,
                        None => std::future::pending().await,
                    }
                }, if failure.is_none() => {
                    alarm.put_off();
                    let append = waiting.take().map(|(append, _)| append);
                    under_way.extend(append.map(|append| sent(&session, next, append, room)));
                    next += 1;
                }
                () = alarm.rings(), if !under_way.is_empty() => {
                    let fault = Fault::Unreachable(format!("no answer to an append within {limit:?}"));
                    let found = Failure::Connection(fault);
                    session.fail(found.clone());
                    failure = Some(found);
                    break;
                }
            }
        }
        drop(under_way);
        if answered.contains(&true) {
            self.sessions.supervisor().works().await;
        }
        let mut answered = answered.into_iter();
        left.retain(|_| !answered.next().unwrap_or(false));
        failure
    }

    /// The session to send in, if there is one in time.
    async fn session(&mut self, deadline: Instant) -> Result<Arc<Session>, Fault> {
        let Ok(session) = timeout_at(deadline, self.sessions.session()).await else {
            return Err(Fault::Unreachable("there was no session in time".to_owned()));
        };
        let session = session?;
        self.is_sent = true;
        Ok(session)
    }

    fn stored(&mut self, position: Position) {
        self.is_stored = true;
        self.position = self.position.max(position);
    }

    /// Notes a failure of the append of a run. True if it is the cluster's last word on a single event.
    fn refused(&mut self, run: Run, failure: &Failure) -> bool {
        match failure {
            Failure::Answer(fault) if run.len == 1 => {
                self.rows_refused.push(run.first);
                self.refused.get_or_insert(fault.clone());
                true
            }
            _ => false,
        }
    }
}

/// A wait for room.
type Waiting = Pin<Box<dyn Future<Output = Room> + Send>>;

/// An append under way: the number of its run, and the answer.
async fn sent(
    session: &Session,
    at: usize,
    append: Append,
    room: Room,
) -> (usize, eventstore::Result<Position>) {
    let answer = session.append(append).await;
    drop(room);
    (at, answer)
}

impl Run {
    fn singles(self) -> impl Iterator<Item = Self> {
        (self.first..self.first + self.len).map(|first| Self { first, len: 1 })
    }
}

/// Rings once nothing has come for a while. Putting it off costs nothing.
struct Alarm {
    limit: Duration,
    since: Instant,
}

impl Alarm {
    fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now() }
    }

    fn put_off(&mut self) {
        self.since = Instant::now();
    }

    async fn rings(&self) {
        sleep_until(self.since + self.limit).await;
    }
}

#[cfg(test)]
mod tests {
    use lastseen_store::contract::Source;

    use super::*;

    #[test]
    fn rows_of_one_member_behind_each_other_are_one_append() {
        let mut batch = EventBatch::default();
        // The members of the source repeat after 5 x 37 numbers.
        for number in [0, 185, 1, 370, 0] {
            Source::default().push(&mut batch, number, 0);
        }
        let new: Vec<u32> = (0..5).collect();
        let found: Vec<_> = runs(&batch, &new).iter().map(|run| (run.first, run.len)).collect();
        assert_eq!(found, [(0, 2), (2, 1), (3, 2)]);
        let found: Vec<_> = runs(&batch, &[0, 3, 4]).iter().map(|run| (run.first, run.len)).collect();
        assert_eq!(found, [(0, 3)]);
    }

    #[test]
    fn an_append_has_at_most_its_bytes() {
        let mut batch = EventBatch::default();
        for number in 0..5_000 {
            Source::default().push(&mut batch, number * 185, 0);
        }
        let new: Vec<u32> = (0..5_000).collect();
        let runs = runs(&batch, &new);
        assert!(runs.len() > 1 && runs.iter().map(|run| run.len).sum::<usize>() == 5_000);
        for Run { first, len } in runs {
            let bytes: usize = (first..first + len).map(|row| codec::encode(&batch.get(row)).1).sum();
            assert!(bytes <= APPEND_BYTES_MAX, "{bytes}");
        }
    }
}

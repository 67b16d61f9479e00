//! The cluster as it is known again: by the id that it was founded with, and by the last records that a copy has of it.
//!
//! ```text
//!   the copy has     ... 17 23 31 40        the last hundred
//!   the cluster      ... 17 23 31 40 52     the same: go on from 52
//!                    ... 17 23 31    52     40 was scavenged: go on with 52
//!                    ... 17 23 31           restored from an older backup: refused
//!                    ... 17 23 33 41 52     grown again after that: refused, since the copy does not know the event at 33
//! ```
//!
//! A server answers a position beyond its end with silence, and never says that its history is another one.

use std::collections::VecDeque;

use eventstore::{
    AppendToStreamOptions, Error, EventData, ReadAllOptions, ReadStream, ReadStreamOptions, RecordedEvent,
    ResolvedEvent, StreamPosition, StreamState, SubscriptionFilter,
};
use lastseen_event::limits::REQUEST_EVENTS_MAX;
use lastseen_event::{EventBatch, EventId, Position};
use lastseen_log::Log;
use lastseen_store::{Detail, EventReader, EventStore, LogId, ReadError, Scan, error_chain};

use crate::codec::{self, Taken};
use crate::supervisor::{Fault, Lease, Supervisor};

/// Records by which a cluster is known again.
const HELD_MAX: usize = 100;

/// The last records that were taken in, ascending.
#[derive(Debug, Default)]
pub(crate) struct Held(VecDeque<(eventstore::Position, EventId)>);

impl Held {
    /// Those of a copy. Blocks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn of(log: &Log) -> Result<Self, ReadError> {
        let mut held = Self::default();
        // The last part may hold less.
        for after in log.parts().into_iter().rev() {
            let mut of_part = Self::default();
            let until = held.0.front().map(|(first, _)| Position::new(first.commit - 1));
            let mut reader = log.scan(Scan { until, ..Scan::after(after, Detail::Facts) });
            while let Some(batch) = reader.next_batch()? {
                for fact in &batch.facts {
                    // Of what Lastseen appends, both positions are one number.
                    let at = fact.position.get();
                    of_part.push(eventstore::Position { commit: at, prepare: at }, fact.id);
                }
            }
            for (position, id) in of_part.0.into_iter().rev() {
                if held.0.len() < HELD_MAX {
                    held.0.push_front((position, id));
                }
            }
            if held.0.len() == HELD_MAX {
                break;
            }
        }
        Ok(held)
    }

    /// Adds the record that was taken in last.
    pub(crate) fn push(&mut self, position: eventstore::Position, id: EventId) {
        if self.0.len() == HELD_MAX {
            self.0.pop_front();
        }
        self.0.push_back((position, id));
    }
}

/// The place from which a copy goes on.
pub(crate) struct Start {
    /// A subscription begins behind this record, which the cluster has just told.
    pub(crate) after: StreamPosition<eventstore::Position>,
    /// Records that are not held, up to there.
    pub(crate) first: Vec<RecordedEvent>,
}

/// The events that are Lastseen's. A checkpoint comes after so many others.
pub(crate) fn ours(supervisor: &Supervisor) -> SubscriptionFilter {
    const CONSIDERED: u32 = 4096;
    SubscriptionFilter::on_stream_name().add_prefix(&supervisor.settings().names.prefix).max(CONSIDERED)
}

/// The id that the cluster's history was founded with. The first node that asks founds it.
///
/// # Errors
/// [`Fault`].
pub(crate) async fn founded(supervisor: &Supervisor, lease: &Lease) -> Result<LogId, Fault> {
    loop {
        if let Some(id) = read_founding(supervisor, lease).await? {
            return Ok(id);
        }
        let id = LogId::draw();
        let data = EventData::json("log_founded", &serde_json::json!({ "log_id": id.to_string() }));
        let data = data.map_err(|error| Fault::Refused(error.to_string()))?;
        let data = data.id(uuid::Uuid::from_bytes(id.to_bytes()));
        let options = AppendToStreamOptions::default().stream_state(StreamState::NoStream);
        let options = supervisor.authenticated(options, AppendToStreamOptions::authenticated);
        let stream = supervisor.settings().names.founding.as_str();
        let call = Box::pin(async {
            match lease.client.append_to_stream(stream, &options, data).await {
                // Another node was first.
                Err(Error::WrongExpectedVersion { .. }) | Ok(_) => Ok(()),
                Err(error) => Err(error),
            }
        });
        supervisor.within("found the log", call).await?;
    }
}

async fn read_founding(supervisor: &Supervisor, lease: &Lease) -> Result<Option<LogId>, Fault> {
    let options =
        supervisor.authenticated(ReadStreamOptions::default().max_count(1), ReadStreamOptions::authenticated);
    let stream = supervisor.settings().names.founding.as_str();
    let call = async {
        let mut events = lease.client.read_stream(stream, &options).await?;
        match events.next().await {
            Ok(event) => Ok(event),
            Err(Error::ResourceNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let found = supervisor.within("read who founded the log", call).await?;
    let Some(event) = found else { return Ok(None) };
    let said = event.get_original_event().as_json::<serde_json::Value>().ok();
    let id = said.as_ref().and_then(|said| said.get("log_id")?.as_str()).and_then(LogId::parse);
    let other = || Fault::OtherLog(format!("the stream {stream} of the cluster is not Lastseen's"));
    id.map(Some).ok_or_else(other)
}

/// Asks a node for a sign of life that needs the right to read `$all`: its last event, whoever it is of.
///
/// # Errors
/// [`Fault`]; [`Fault::NoReadOfAll`] if the user may not read `$all`, [`Fault::Denied`] if it may do nothing.
pub(crate) async fn head(supervisor: &Supervisor, lease: &Lease) -> Result<(), Fault> {
    match supervisor.within("read $all", newest(supervisor, lease, ReadAllOptions::default())).await {
        Err(Fault::Denied { user, .. }) => {
            // Every user that the cluster knows may read other streams.
            Err(match read_founding(supervisor, lease).await {
                Err(Fault::Denied { user, .. }) => {
                    Fault::Denied { user, what: "in: the name or the password is wrong" }
                }
                _ => Fault::NoReadOfAll { user },
            })
        }
        found => found.map(drop),
    }
}

/// The newest event of `$all` that the options choose.
async fn newest(
    supervisor: &Supervisor,
    lease: &Lease,
    options: ReadAllOptions,
) -> eventstore::Result<Option<ResolvedEvent>> {
    let options = options.position(StreamPosition::End).max_count(1);
    let options = supervisor.authenticated(options, ReadAllOptions::authenticated);
    lease.client.read_all(&options).await?.next().await
}

/// The last event of the cluster that is Lastseen's; [`Position::START`] if it has none. It may take long where others have many.
///
/// # Errors
/// [`Fault`].
pub(crate) async fn last(supervisor: &Supervisor, lease: &Lease) -> Result<Position, Fault> {
    let of_ours = ReadAllOptions::default().filter(ours(supervisor));
    let found = supervisor.within_search("read $all", newest(supervisor, lease, of_ours)).await?;
    Ok(found.map_or(Position::START, |event| Position::new(event.get_original_event().position.commit)))
}

/// Checks that the cluster is the one that the copy in `log` is of, and finds the place to go on from.
///
/// # Errors
/// [`Fault::OtherHistory`] if it is not; other faults if it does not answer.
pub(crate) async fn check(
    supervisor: &Supervisor,
    lease: &Lease,
    (log, origin, held): (&Log, LogId, &Held),
) -> Result<Start, Fault> {
    let found = founded(supervisor, lease).await?;
    if found != origin {
        return Err(Fault::OtherLog(format!(
            "the cluster has the log {found}, and this node's copy is of the log {origin}: use another data directory, or another \
             cluster"
        )));
    }
    let (Some((first, _)), Some((last, _))) = (held.0.front(), held.0.back()) else {
        return Ok(Start { after: StreamPosition::Start, first: Vec::new() });
    };
    let options = ReadAllOptions::default()
        .forwards()
        .position(StreamPosition::Position(*first))
        .filter(ours(supervisor));
    let options = supervisor.authenticated(options, ReadAllOptions::authenticated);
    let mut events = supervisor.within_search("read $all", lease.client.read_all(&options)).await?;
    let mut held = held.0.iter().peekable();
    let mut unheld = Unheld { log, last: last.commit, events: EventBatch::default() };
    loop {
        let Some(event) = next(supervisor, &mut events).await? else {
            return Err(shorter(last.commit));
        };
        let (at, id) = (event.position, event.id);
        while held.next_if(|(held, _)| held.commit < at.commit).is_some() {}
        match held.next_if(|(held, _)| held.commit == at.commit) {
            Some((_, known)) if known.as_uuid() != id => return Err(other(at.commit)),
            None if at.commit < last.commit => unheld.look(&event).await?,
            Some(_) | None => {}
        }
        if at.commit >= last.commit {
            unheld.look_up().await?;
            let first = if at.commit == last.commit { Vec::new() } else { vec![event] };
            return Ok(Start { after: StreamPosition::Position(at), first });
        }
    }
}

/// Records in front of the last one that the copy holds, and not among those by which it is known again. The copy has left them out,
/// or they are of another history.
struct Unheld<'a> {
    log: &'a Log,
    last: u64,
    events: EventBatch,
}

impl Unheld<'_> {
    async fn look(&mut self, record: &RecordedEvent) -> Result<(), Fault> {
        match codec::decode(record, &mut self.events) {
            Taken::Event if self.events.len() == REQUEST_EVENTS_MAX => self.look_up().await,
            Taken::Event | Taken::Foreign { .. } => Ok(()),
            Taken::Retraction { batch, .. } => {
                let batches = self.log.batches();
                let found = batches.find(&batch).and_then(|batch| batches.get(batch));
                // One that the copy does not have would have been taken back here.
                let is_left_out = found.is_none_or(|batch| batch.retracted.is_some());
                if is_left_out { Ok(()) } else { Err(other(record.position.commit)) }
            }
            Taken::Newer { .. } => Err(other(record.position.commit)),
        }
    }

    /// Each event that was left out has an id that the copy knows, or names a batch that was taken back.
    async fn look_up(&mut self) -> Result<(), Fault> {
        let events = std::mem::take(&mut self.events);
        if events.is_empty() {
            return Ok(());
        }
        let told = self.log.tell_apart(events).await.map_err(|error| Fault::Copy(error_chain(&error)))?;
        if told.new.is_empty() { Ok(()) } else { Err(unknown(told.new.len(), self.last)) }
    }
}

async fn next(supervisor: &Supervisor, events: &mut ReadStream) -> Result<Option<RecordedEvent>, Fault> {
    /// Words of servers about a position that begins no record of theirs.
    const NO_RECORD: &str = "Unexpected ReadAllResult";
    const INVALID_ARGUMENT: i32 = 3;
    let call = async {
        match events.next().await {
            Err(Error::ServerError(told)) if told.contains(NO_RECORD) => Ok(Err(told)),
            Err(Error::Grpc { code, message }) if i32::from(code) == INVALID_ARGUMENT => Ok(Err(message)),
            event => event.map(Ok),
        }
    };
    match supervisor.within_search("read $all", call).await? {
        Ok(event) => Ok(event.and_then(|event| event.event.or(event.link))),
        Err(told) => Err(Fault::OtherHistory(format!("{RESTORED} (it answers: {told})"))),
    }
}

const RESTORED: &str = "this node's copy has events that the cluster has not: it belongs to another cluster, or the cluster was restored \
                        from an older backup. If the cluster is right, delete the copy: it is made anew";

fn shorter(last: u64) -> Fault {
    Fault::OtherHistory(format!("{RESTORED} (nothing stands at or after position {last})"))
}

fn other(position: u64) -> Fault {
    Fault::OtherHistory(format!("{RESTORED} (another event stands at position {position})"))
}

fn unknown(events: usize, last: u64) -> Fault {
    Fault::OtherHistory(format!(
        "{RESTORED} ({events} events in front of position {last} are not in the copy)"
    ))
}

//! The frames of a read on their way to the client. A page is taken when the client has taken the one before, so a
//! slow client holds up nothing but itself.

use std::collections::{BTreeMap, VecDeque};
use std::pin::{Pin, pin};

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tonic::Status;

use super::Node;
use super::status::{invalid_position, not_ready, stream_deleted, thrown, unknown};
use crate::clock;
use crate::proto::client::streams::ReadResp;
use crate::proto::client::streams::read_resp::read_event::{Position, RecordedEvent};
use crate::proto::client::streams::read_resp::{
    self, CaughtUp, Checkpoint, Content, ReadEvent, StreamNotFound, SubscriptionConfirmation,
};
use crate::proto::client::{StreamIdentifier, Uuid as UuidMessage, uuid};
use crate::record::{Event, Record, Ticks};
use crate::subscription::{Failure, Frame, Source, Step, Then};

pub(crate) type Frames = Pin<Box<dyn Stream<Item = Result<ReadResp, Status>> + Send>>;

/// A read that is asked for.
pub(super) struct Opening {
    pub(super) source: Source,
    /// Id of the subscription; `None` for a read that ends.
    pub(super) subscription: Option<String>,
    /// Ids of events as two numbers, not as text.
    pub(super) structured_ids: bool,
    pub(super) is_of_all: bool,
}

/// A read under way.
struct Reading {
    node: Node,
    opening: Opening,
    ready: VecDeque<Result<ReadResp, Status>>,
    commits: watch::Receiver<usize>,
    ended: watch::Receiver<u64>,
    /// Times that the script had ended subscriptions before this one began.
    ended_before: u64,
    then: Then,
}

/// Starts a read. What fails at once is answered without any frame.
///
/// # Errors
/// The first page cannot be read.
pub(super) fn frames(node: Node, opening: Opening) -> Result<Frames, Status> {
    let commits = node.commits().ok_or_else(not_ready)?;
    let ended = node.cluster().faults.ended_subscriptions();
    let ended_before = *ended.borrow();
    let ready = VecDeque::new();
    let mut reading = Reading { node, opening, ready, commits, ended, ended_before, then: Then::More };
    if let Some(id) = reading.opening.subscription.clone() {
        let confirmation = Content::Confirmation(SubscriptionConfirmation { subscription_id: id });
        reading.ready.push_back(Ok(response(confirmation)));
    }
    reading.commits.borrow_and_update();
    match reading.step() {
        Ok(()) => {}
        Err(failure) if reading.confirms_before(&failure) => {
            reading.ready.push_back(Err(invalid_position()));
            reading.then = Then::End;
        }
        Err(failure) => return Err(reading.status(failure)),
    }
    Ok(Box::pin(stream::unfold(reading, next)))
}

/// The next frame; waits for one if nothing new is committed.
async fn next(mut reading: Reading) -> Option<(Result<ReadResp, Status>, Reading)> {
    loop {
        if let Some(frame) = reading.ready.pop_front() {
            return Some((frame, reading));
        }
        if reading.then == Then::End || reading.is_ended_by_script() {
            return None;
        }
        if reading.then == Then::Wait {
            reading.wait().await;
            reading.then = Then::More;
            continue;
        }
        let pause = reading.node.cluster().faults.read_pause();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        reading.commits.borrow_and_update();
        if let Err(failure) = reading.step() {
            let status = reading.status(failure);
            reading.ready.push_back(Err(status));
            reading.then = Then::End;
        }
    }
}

impl Reading {
    /// Takes the next page.
    fn step(&mut self) -> Result<(), Failure> {
        let now = clock::now();
        let source = &mut self.opening.source;
        // A node that has ended has no more frames, and its connections are broken.
        let step = self
            .node
            .look(|store| Ok(source.step(store, now)))
            .unwrap_or(Ok(Step { frames: Vec::new(), then: Then::Wait }))?;
        self.then = step.then;
        for frame in step.frames {
            let frame = self.content(frame, now);
            if matches!(frame, Content::Checkpoint(_))
                && self.node.cluster().faults.take_repeated_checkpoint()
            {
                self.ready.push_back(Ok(response(frame.clone())));
            }
            self.ready.push_back(Ok(response(frame)));
        }
        Ok(())
    }

    /// Waits until something is committed, or the script ends subscriptions.
    async fn wait(&mut self) {
        let committed = pin!(self.commits.changed());
        let ended = pin!(self.ended.changed());
        let gone = match select(committed, ended).await {
            Either::Left((result, _)) | Either::Right((result, _)) => result.is_err(),
        };
        if gone {
            std::future::pending::<()>().await;
        }
    }

    fn is_ended_by_script(&self) -> bool {
        self.opening.subscription.is_some() && *self.ended.borrow() > self.ended_before
    }

    fn confirms_before(&self, failure: &Failure) -> bool {
        let version = self.node.cluster().options.version;
        *failure == Failure::BadPosition
            && self.opening.subscription.is_some()
            && version.confirms_before_bad_position()
    }

    fn status(&self, failure: Failure) -> Status {
        match failure {
            Failure::StreamDeleted(stream) => stream_deleted(&stream),
            Failure::BadPosition if self.opening.subscription.is_some() => thrown(),
            Failure::BadPosition => unknown(self.node.cluster().options.version.bad_position_details()),
        }
    }

    fn content(&self, frame: Frame, now: Ticks) -> Content {
        match frame {
            Frame::Event(record) => match record.event() {
                Some(event) => Content::Event(self.event(&record, event)),
                None => Content::Event(ReadEvent::default()),
            },
            Frame::Checkpoint(commit, prepare) => Content::Checkpoint(Checkpoint {
                commit_position: commit.0,
                prepare_position: prepare.0,
                ..Checkpoint::default()
            }),
            Frame::CaughtUp { position, revision } => {
                if !self.node.cluster().options.version.caught_up_tells_where() {
                    return Content::CaughtUp(CaughtUp::default());
                }
                let position = position.filter(|_| self.opening.is_of_all).map(|position| {
                    read_resp::Position { commit_position: position.0, prepare_position: position.0 }
                });
                Content::CaughtUp(CaughtUp {
                    timestamp: Some(timestamp(now)),
                    stream_revision: revision,
                    position,
                })
            }
            Frame::LastRevision(last) => Content::LastStreamPosition(last.cast_unsigned()),
            Frame::StreamNotFound(stream) => Content::StreamNotFound(StreamNotFound {
                stream_identifier: Some(StreamIdentifier { stream_name: stream.into() }),
            }),
        }
    }

    fn event(&self, record: &Record, event: &Event) -> ReadEvent {
        let at = record.position.0;
        let metadata = BTreeMap::from([
            ("content-type".to_owned(), event.content.text().to_owned()),
            ("created".to_owned(), event.created.0.to_string()),
            ("type".to_owned(), event.event_type.to_string()),
        ]);
        let id = if self.opening.structured_ids {
            let (most, least) = event.id.as_u64_pair();
            uuid::Value::Structured(uuid::Structured {
                most_significant_bits: most.cast_signed(),
                least_significant_bits: least.cast_signed(),
            })
        } else {
            uuid::Value::String(event.id.to_string())
        };
        ReadEvent {
            event: Some(RecordedEvent {
                id: Some(UuidMessage { value: Some(id) }),
                stream_identifier: Some(StreamIdentifier {
                    stream_name: event.stream.as_bytes().to_vec().into(),
                }),
                stream_revision: event.revision.cast_unsigned(),
                prepare_position: at,
                commit_position: at,
                metadata,
                custom_metadata: Bytes::copy_from_slice(event.payload.metadata()),
                data: Bytes::copy_from_slice(event.payload.data()),
            }),
            link: None,
            position: Some(Position::CommitPosition(at)),
        }
    }
}

fn response(content: Content) -> ReadResp {
    ReadResp { content: Some(content) }
}

fn timestamp(now: Ticks) -> prost_types::Timestamp {
    let nanos = i32::try_from(now.0.rem_euclid(Ticks::PER_SECOND) * 100).unwrap_or_default();
    prost_types::Timestamp { seconds: now.0.div_euclid(Ticks::PER_SECOND), nanos }
}

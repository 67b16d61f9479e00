//! Batch append: one duplex call, many appends under way. Each is answered when it is done, in that order; a failed
//! one does not end the call.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use hashbrown::HashMap;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::{Extensions, Request, Response, Status, Streaming};
use uuid::Uuid;

use super::access::Caller;
use super::append::changed;
use super::events::{Proposed, id_of, new_event, stream_name};
use super::status::{APPEND_BYTES_MAX, not_ready, of_message, thrown};
use super::{Change, Node, Outcome};
use crate::proto::client::streams::batch_append_req::options::ExpectedStreamPosition;
use crate::proto::client::streams::batch_append_resp::success::{CurrentRevisionOption, PositionOption};
use crate::proto::client::streams::batch_append_resp::{self, Success};
use crate::proto::client::streams::{BatchAppendReq, BatchAppendResp};
use crate::proto::client::{
    AccessDenied, AllStreamPosition, BadRequest, MaximumAppendSizeExceeded, StreamDeleted, StreamIdentifier,
    Timeout, Uuid as UuidMessage, WrongExpectedVersion, wrong_expected_version as wrong,
};
use crate::proto::google::rpc::{Code, Status as BatchStatus};
use crate::store::{Expected, NewEvent, Proposal, Written};

pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<BatchAppendResp, Status>> + Send>>;

/// Appends of one call that may be under way; a client that sends more waits.
const UNDER_WAY_MAX: usize = 16_384;

/// Appends of one call whose messages are not all there yet.
const PARTS_MAX: usize = 1_024;

/// An answer that is under way until it is sent.
type Sent = (BatchAppendResp, OwnedSemaphorePermit);

/// One call.
struct Session {
    node: Node,
    caller: Caller,
    extensions: Extensions,
    parts: HashMap<Uuid, Part>,
    under_way: Arc<Semaphore>,
    answers: mpsc::Sender<Sent>,
}

/// An append whose messages are gathered.
struct Part {
    correlation: Option<UuidMessage>,
    identifier: Option<StreamIdentifier>,
    expected: Expected,
    events: Vec<NewEvent>,
    bytes: usize,
    refused: Option<Status>,
}

pub(super) fn batch_append(
    node: Node,
    request: Request<Streaming<BatchAppendReq>>,
) -> Result<Response<Answers>, Status> {
    let caller = node.admit(request.metadata())?;
    let (_, extensions, messages) = request.into_parts();
    let (answers, received) = mpsc::channel(UNDER_WAY_MAX);
    let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let session = Session { node, caller, extensions, parts: HashMap::new(), under_way, answers };
    let failures = stream::once(session.run(messages)).filter_map(async |result| result.err().map(Err));
    let received = tokio_stream::wrappers::ReceiverStream::new(received).map(|(answer, _)| Ok(answer));
    Ok(Response::new(Box::pin(stream::select(failures, received))))
}

impl Session {
    /// Reads messages until the client has sent all.
    async fn run(mut self, mut messages: Streaming<BatchAppendReq>) -> Result<(), Status> {
        while let Some(message) = messages.message().await.map_err(of_message)? {
            if let Some(part) = self.gather(message)? {
                self.answer(part).await?;
            }
        }
        Ok(())
    }

    /// Adds a message to its append; gives the append once it is whole.
    fn gather(&mut self, message: BatchAppendReq) -> Result<Option<Part>, Status> {
        let correlation = id_of(message.correlation_id.as_ref()).ok_or_else(thrown)?;
        let mut part = match (self.parts.remove(&correlation), message.options) {
            (Some(part), _) => part,
            (None, None) => return Err(thrown()),
            (None, Some(options)) => Part {
                correlation: message.correlation_id,
                identifier: options.stream_identifier,
                expected: match options.expected_stream_position.ok_or_else(thrown)? {
                    ExpectedStreamPosition::StreamPosition(revision) => Expected::Revision(revision),
                    ExpectedStreamPosition::NoStream(()) => Expected::NoStream,
                    ExpectedStreamPosition::Any(()) => Expected::Any,
                    ExpectedStreamPosition::StreamExists(()) => Expected::StreamExists,
                },
                events: Vec::new(),
                bytes: 0,
                refused: None,
            },
        };
        for message in message.proposed_messages {
            part.add(&Proposed {
                id: message.id,
                metadata: message.metadata,
                custom_metadata: message.custom_metadata,
                data: message.data,
            });
        }
        if message.is_final {
            return Ok(Some(part));
        }
        if self.parts.len() == PARTS_MAX {
            return Err(thrown());
        }
        self.parts.insert(correlation, part);
        Ok(None)
    }

    /// Has the append answered: now if it is refused, else when a quorum has it.
    async fn answer(&self, part: Part) -> Result<(), Status> {
        let permit = Arc::clone(&self.under_way).acquire_owned().await.map_err(|_| not_ready())?;
        let answers = self.answers.clone();
        let (correlation, identifier) = (part.correlation, part.identifier);
        let expected = part.expected;
        let name = stream_name(identifier.as_ref())?;
        let tell = move |result: Result<Success, BatchStatus>| {
            let result = match result {
                Ok(success) => batch_append_resp::Result::Success(success),
                Err(status) => batch_append_resp::Result::Error(status),
            };
            let answer = BatchAppendResp {
                correlation_id: correlation,
                stream_identifier: identifier.clone(),
                expected_stream_position: None,
                result: Some(result),
            };
            // There is room for as many as may be under way. A client that has gone needs no answer.
            let _ = answers.try_send((answer, permit));
        };
        if part.bytes > APPEND_BYTES_MAX {
            tell(Err(too_big()));
        } else if let Some(status) = part.refused {
            tell(Err(bad_request(&status)));
        } else if self.node.look(|store| self.caller.may_write(&name, store)).is_err() {
            tell(Err(failed(Code::PermissionDenied, "AccessDenied", &AccessDenied {})));
        } else {
            let deleted = StreamDeleted {
                stream_identifier: Some(StreamIdentifier { stream_name: name.clone().into() }),
            };
            let told = move |outcome: Outcome| tell(told(&outcome, expected, &deleted));
            let change = Change::Append(Proposal { stream: name, expected, events: part.events });
            if self.node.cluster().faults.has_appends() {
                told(changed(&self.node, || change, &self.extensions).await?);
            } else {
                self.node.change_then(&change, Box::new(told));
            }
        }
        Ok(())
    }
}

impl Part {
    fn add(&mut self, proposed: &Proposed) {
        self.bytes += proposed.data.len() + proposed.custom_metadata.len();
        if self.bytes > APPEND_BYTES_MAX || self.refused.is_some() {
            return;
        }
        match new_event(proposed) {
            Ok(event) => self.events.push(event),
            Err(status) => self.refused = Some(status),
        }
    }
}

fn told(outcome: &Outcome, expected: Expected, deleted: &StreamDeleted) -> Result<Success, BatchStatus> {
    match outcome {
        Outcome::Written(written) => Ok(success(*written)),
        Outcome::WrongExpectedVersion { current } => {
            let details = wrong_expected_version(expected, *current);
            let name = "WrongExpectedVersion";
            Err(failed(Code::AlreadyExists, name, &details))
        }
        Outcome::StreamDeleted => Err(failed(Code::NotFound, "StreamDeleted", deleted)),
        Outcome::TimedOut | Outcome::NotReady => Err(failed(Code::DeadlineExceeded, "Timeout", &Timeout {})),
    }
}

fn success(written: Written) -> Success {
    let at = written.position.0;
    let revision = written.revision.map(i64::cast_unsigned);
    Success {
        current_revision_option: Some(
            revision.map_or(CurrentRevisionOption::NoStream(()), CurrentRevisionOption::CurrentRevision),
        ),
        position_option: Some(PositionOption::Position(AllStreamPosition {
            commit_position: at,
            prepare_position: at,
        })),
    }
}

fn wrong_expected_version(expected: Expected, current: Option<i64>) -> WrongExpectedVersion {
    use wrong::{CurrentStreamRevisionOption as Current, ExpectedStreamPositionOption as Position};
    WrongExpectedVersion {
        current_stream_revision_option: Some(
            current
                .map(i64::cast_unsigned)
                .map_or(Current::CurrentNoStream(()), Current::CurrentStreamRevision),
        ),
        expected_stream_position_option: Some(match expected {
            Expected::Any => Position::ExpectedAny(()),
            Expected::StreamExists => Position::ExpectedStreamExists(()),
            Expected::NoStream => Position::ExpectedNoStream(()),
            Expected::Revision(revision) => Position::ExpectedStreamPosition(revision),
        }),
    }
}

fn too_big() -> BatchStatus {
    let max = u32::try_from(APPEND_BYTES_MAX).unwrap_or(u32::MAX);
    let name = "MaximumAppendSizeExceeded";
    failed(Code::InvalidArgument, name, &MaximumAppendSizeExceeded { max_append_size: max })
}

fn bad_request(status: &Status) -> BatchStatus {
    let details = BadRequest { message: status.message().to_owned() };
    failed(Code::InvalidArgument, "BadRequest", &details)
}

/// A failed append: the protocol's message `name` is its text and its details.
fn failed(code: Code, name: &str, details: &impl Message) -> BatchStatus {
    let details = prost_types::Any {
        type_url: format!("type.googleapis.com/event_store.client.{name}"),
        value: details.encode_to_vec(),
    };
    BatchStatus { code: code.into(), message: name.to_owned(), details: Some(details) }
}

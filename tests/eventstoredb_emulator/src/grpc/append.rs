//! Appends and deletes, one a call.

use std::sync::Arc;

use tonic::transport::server::TlsConnectInfo;
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::access::Caller;
use super::events::{Proposed, new_event, stream_name};
use super::status::{
    APPEND_BYTES_MAX, append_too_big, delete_failed, no_expected_state, not_leader, not_ready, of_message,
    stream_deleted, thrown, timed_out,
};
use super::{Change, Node, Outcome};
use crate::faults::AppendFault;
use crate::gate::Line;
use crate::proto::client::Empty;
use crate::proto::client::streams::append_resp::wrong_expected_version as wrong;
use crate::proto::client::streams::append_resp::{Position, Success, WrongExpectedVersion, success};
use crate::proto::client::streams::{
    AppendReq, AppendResp, DeleteReq, DeleteResp, TombstoneReq, TombstoneResp, append_req, append_resp,
    delete_req, delete_resp, tombstone_req, tombstone_resp,
};
use crate::store::{Expected, Proposal, Removal, Written};

/// The outcome of a change that had its fault, if the script has one.
///
/// # Errors
/// The answer that the script asks for, instead of an outcome.
pub(crate) async fn changed(
    node: &Node,
    change: impl FnOnce() -> Change,
    extensions: &Extensions,
) -> Result<Outcome, Status> {
    let fault = node.cluster().faults.take_append();
    let sever = || line(extensions).map(|line| line.sever());
    match fault {
        None => Ok(node.change(change()).await),
        Some(AppendFault::DropBeforeStoring) => {
            sever();
            Err(not_ready())
        }
        Some(AppendFault::CommitThenDropReply) => {
            node.change(change()).await;
            sever();
            Err(not_ready())
        }
        Some(AppendFault::Refuse) => Err(not_ready()),
        Some(AppendFault::NotLeader { tells_leader }) => {
            Err(not_leader(node.leader_address().filter(|_| tells_leader)))
        }
        Some(AppendFault::AbortedButStored) => {
            node.change(change()).await;
            Ok(Outcome::TimedOut)
        }
        Some(AppendFault::AbortedNotStored) => Ok(Outcome::TimedOut),
    }
}

/// The connection of a call, with TLS or without.
fn line(extensions: &Extensions) -> Option<&Arc<Line>> {
    let secured = || extensions.get::<TlsConnectInfo<Arc<Line>>>().map(TlsConnectInfo::get_ref);
    extensions.get::<Arc<Line>>().or_else(secured)
}

/// Each of these calls has a type of its own for the same four states.
macro_rules! expected_of {
    ($($request:ident),*) => {$(
        impl From<$request::options::ExpectedStreamRevision> for Expected {
            fn from(expected: $request::options::ExpectedStreamRevision) -> Self {
                use $request::options::ExpectedStreamRevision;
                match expected {
                    ExpectedStreamRevision::Revision(revision) => Self::Revision(revision),
                    ExpectedStreamRevision::NoStream(_) => Self::NoStream,
                    ExpectedStreamRevision::Any(_) => Self::Any,
                    ExpectedStreamRevision::StreamExists(_) => Self::StreamExists,
                }
            }
        }
    )*};
}

expected_of!(append_req, delete_req, tombstone_req);

/// The append of a call, all its messages read.
async fn proposal(messages: &mut Streaming<AppendReq>) -> Result<Proposal, Status> {
    let first = messages.message().await.map_err(of_message)?.and_then(|message| message.content);
    let Some(append_req::Content::Options(options)) = first else { return Err(thrown()) };
    let expected = options.expected_stream_revision.ok_or_else(no_expected_state)?.into();
    let stream = stream_name(options.stream_identifier.as_ref())?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(message) = messages.message().await.map_err(of_message)? {
        let Some(append_req::Content::ProposedMessage(message)) = message.content else {
            return Err(thrown());
        };
        let proposed = Proposed {
            id: message.id,
            metadata: message.metadata,
            custom_metadata: message.custom_metadata,
            data: message.data,
        };
        let event = new_event(&proposed)?;
        bytes += event.payload.len();
        if bytes > APPEND_BYTES_MAX {
            return Err(append_too_big());
        }
        events.push(event);
    }
    Ok(Proposal { stream, expected, events })
}

pub(super) async fn append(
    node: &Node,
    request: Request<Streaming<AppendReq>>,
) -> Result<Response<AppendResp>, Status> {
    let caller = node.admit(request.metadata())?;
    let (_, extensions, mut messages) = request.into_parts();
    let proposal = proposal(&mut messages).await?;
    node.look(|store| caller.may_write(&proposal.stream, store))?;
    let (stream, expected) = (proposal.stream.clone(), proposal.expected);
    let result = match changed(node, || Change::Append(proposal), &extensions).await? {
        Outcome::Written(written) => append_resp::Result::Success(success(written)),
        Outcome::WrongExpectedVersion { current } => {
            append_resp::Result::WrongExpectedVersion(wrong_expected_version(expected, current))
        }
        Outcome::StreamDeleted => return Err(stream_deleted(&stream)),
        Outcome::TimedOut => return Err(timed_out()),
        Outcome::NotReady => return Err(not_ready()),
    };
    Ok(Response::new(AppendResp { result: Some(result) }))
}

fn success(written: Written) -> Success {
    let revision = written.revision.map(i64::cast_unsigned);
    let position = written.position.0;
    Success {
        current_revision_option: Some(revision.map_or(
            success::CurrentRevisionOption::NoStream(Empty {}),
            success::CurrentRevisionOption::CurrentRevision,
        )),
        position_option: Some(success::PositionOption::Position(Position {
            commit_position: position,
            prepare_position: position,
        })),
    }
}

/// Both forms of the answer: the old one, and that since 20.6.1.
fn wrong_expected_version(expected: Expected, current: Option<i64>) -> WrongExpectedVersion {
    use wrong::{
        CurrentRevisionOption, CurrentRevisionOption2060, ExpectedRevisionOption, ExpectedRevisionOption2060,
    };
    let (current_old, current) = match current.map(i64::cast_unsigned) {
        Some(revision) => (
            CurrentRevisionOption2060::CurrentRevision2060(revision),
            CurrentRevisionOption::CurrentRevision(revision),
        ),
        None => (
            CurrentRevisionOption2060::NoStream2060(Empty {}),
            CurrentRevisionOption::CurrentNoStream(Empty {}),
        ),
    };
    let (expected_old, expected) = match expected {
        Expected::Any => {
            (ExpectedRevisionOption2060::Any2060(Empty {}), ExpectedRevisionOption::ExpectedAny(Empty {}))
        }
        Expected::StreamExists => (
            ExpectedRevisionOption2060::StreamExists2060(Empty {}),
            ExpectedRevisionOption::ExpectedStreamExists(Empty {}),
        ),
        Expected::NoStream => (
            ExpectedRevisionOption2060::ExpectedRevision2060(u64::MAX),
            ExpectedRevisionOption::ExpectedNoStream(Empty {}),
        ),
        Expected::Revision(revision) => (
            ExpectedRevisionOption2060::ExpectedRevision2060(revision),
            ExpectedRevisionOption::ExpectedRevision(revision),
        ),
    };
    WrongExpectedVersion {
        current_revision_option_20_6_0: Some(current_old),
        expected_revision_option_20_6_0: Some(expected_old),
        current_revision_option: Some(current),
        expected_revision_option: Some(expected),
    }
}

/// Deletes or ends a stream; returns the position of the record that says so.
async fn remove(
    node: &Node,
    caller: &Caller,
    (stream, expected, removal): (String, Expected, Removal),
    extensions: &Extensions,
) -> Result<u64, Status> {
    node.look(|store| caller.may_write(&stream, store))?;
    let change = || Change::Remove { stream: stream.clone(), expected, removal };
    match changed(node, change, extensions).await? {
        Outcome::Written(written) => Ok(written.position.0),
        Outcome::WrongExpectedVersion { current } => Err(delete_failed(&stream, expected, current)),
        Outcome::StreamDeleted => Err(stream_deleted(&stream)),
        Outcome::TimedOut => Err(timed_out()),
        Outcome::NotReady => Err(not_ready()),
    }
}

pub(super) async fn delete(node: &Node, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
    let caller = node.admit(request.metadata())?;
    let (_, extensions, message) = request.into_parts();
    let options = message.options.ok_or_else(thrown)?;
    let expected = options.expected_stream_revision.ok_or_else(no_expected_state)?.into();
    let stream = stream_name(options.stream_identifier.as_ref())?;
    let at = remove(node, &caller, (stream, expected, Removal::Soft), &extensions).await?;
    let position = delete_resp::Position { commit_position: at, prepare_position: at };
    Ok(Response::new(DeleteResp { position_option: Some(delete_resp::PositionOption::Position(position)) }))
}

pub(super) async fn tombstone(
    node: &Node,
    request: Request<TombstoneReq>,
) -> Result<Response<TombstoneResp>, Status> {
    let caller = node.admit(request.metadata())?;
    let (_, extensions, message) = request.into_parts();
    let options = message.options.ok_or_else(thrown)?;
    let expected = options.expected_stream_revision.ok_or_else(no_expected_state)?.into();
    let stream = stream_name(options.stream_identifier.as_ref())?;
    let at = remove(node, &caller, (stream, expected, Removal::Tombstone), &extensions).await?;
    let position = tombstone_resp::Position { commit_position: at, prepare_position: at };
    Ok(Response::new(TombstoneResp {
        position_option: Some(tombstone_resp::PositionOption::Position(position)),
    }))
}

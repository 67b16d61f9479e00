//! Errors as a real server words them: codes, details, trailers. The texts are those of recorded answers.

use std::net::SocketAddr;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::store::Expected;

/// Bytes of an append, names and ids aside.
pub(crate) const APPEND_BYTES_MAX: usize = 1_048_576;

/// Bytes of a message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A status with trailers.
fn told(code: Code, details: impl Into<String>, trailers: &[(&'static str, &str)]) -> Status {
    let mut metadata = MetadataMap::new();
    for (name, value) in trailers {
        // Names of streams may have any character; what no header can have is left out.
        if let Ok(value) = MetadataValue::try_from(*value) {
            metadata.insert(*name, value);
        }
    }
    Status::with_metadata(code, details, metadata)
}

/// A fault of the caller that a server did not foresee.
pub(crate) fn thrown() -> Status {
    told(Code::Unknown, "Exception was thrown by handler.", &[])
}

pub(crate) fn not_ready() -> Status {
    told(Code::Unavailable, "Server Is Not Ready", &[])
}

pub(crate) fn timed_out() -> Status {
    told(Code::Aborted, "Operation timed out: Commit phase timeout.", &[])
}

pub(crate) fn access_denied() -> Status {
    told(Code::PermissionDenied, "Access Denied", &[("exception", "access-denied")])
}

/// `leader`: `None` if its address is not told.
pub(crate) fn not_leader(leader: Option<SocketAddr>) -> Status {
    let Some(leader) = leader else {
        return told(Code::NotFound, "No leader info available", &[("exception", "not-leader")]);
    };
    let (host, port) = (leader.ip().to_string(), leader.port().to_string());
    let trailers =
        [("exception", "not-leader"), ("leader-endpoint-host", &host), ("leader-endpoint-port", &port)];
    told(Code::NotFound, "Leader info available", &trailers)
}

pub(crate) fn stream_deleted(stream: &str) -> Status {
    let details = format!("Event stream '{stream}' is deleted.");
    told(Code::FailedPrecondition, details, &[("exception", "stream-deleted"), ("stream-name", stream)])
}

pub(crate) fn delete_failed(stream: &str, expected: Expected, current: Option<i64>) -> Status {
    let (expected, actual) = (expected.number().to_string(), current.unwrap_or(-1).to_string());
    let details = format!(
        "Delete failed due to WrongExpectedVersion. Stream: {stream}, Expected version: {expected}, Actual version: {actual}"
    );
    let trailers = [
        ("exception", "wrong-expected-version"),
        ("stream-name", stream),
        ("expected-version", &expected),
        ("actual-version", &actual),
    ];
    told(Code::FailedPrecondition, details, &trailers)
}

pub(crate) fn no_expected_state() -> Status {
    let details = "'None' is not a valid EventStore.Client.Streams.AppendReq+Types+Options+ExpectedStreamRevisionOneofCase";
    told(Code::InvalidArgument, details, &[])
}

pub(crate) fn missing_property(name: &str) -> Status {
    let details = format!("Required Metadata Property '{name}' is missing");
    let trailers = [
        ("exception", "missing-required-metadata-property"),
        ("required-metadata-properties", "type,content-type"),
    ];
    told(Code::InvalidArgument, details, &trailers)
}

pub(crate) fn append_too_big() -> Status {
    let max = APPEND_BYTES_MAX.to_string();
    let details = format!("Maximum Append Size of {max} Exceeded.");
    let trailers = [("exception", "maximum-append-size-exceeded"), ("maximum-append-size", max.as_str())];
    told(Code::InvalidArgument, details, &trailers)
}

/// The words for a message that could not be received.
pub(crate) fn of_message(status: Status) -> Status {
    if status.code() == Code::OutOfRange {
        let details = "Received message exceeds the maximum configured message size.";
        return told(Code::ResourceExhausted, details, &[]);
    }
    status
}

pub(crate) fn invalid_position() -> Status {
    told(Code::InvalidArgument, "Trying to read from an invalid position.", &[])
}

pub(crate) fn unknown(details: &str) -> Status {
    told(Code::Unknown, details, &[])
}

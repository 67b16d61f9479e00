//! Request bodies with a limit on their size and on the time they take.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use http_body_util::BodyExt;

use crate::http::body_fault::{BodyFault, body_fault};
use crate::problem::Problem;

/// A body that has not arrived by then is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The `Content-Type` as it was sent, and the media type in it: lower case, without parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> (Option<&str>, String) {
    let found = headers.get(CONTENT_TYPE).map(|found| found.to_str().unwrap_or("?"));
    let essence = found.and_then(|found| found.split(';').next()).unwrap_or_default();
    (found, essence.trim().to_ascii_lowercase())
}

/// Reads a body of at most `bytes_max` bytes.
///
/// # Errors
/// `body_too_large`, `invalid_body`, `interrupted_body`, `request_timeout`.
pub(crate) async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    match tokio::time::timeout(PATIENCE, collect(body, bytes_max)).await {
        Ok(result) => result,
        Err(_) => Err(Problem::request_timeout(PATIENCE.as_secs())),
    }
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let expected = usize::try_from(axum::body::HttpBody::size_hint(&body).lower()).unwrap_or(usize::MAX);
    if expected > bytes_max {
        return Err(Problem::body_too_large(bytes_max));
    }
    let mut bytes = Vec::with_capacity(expected);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match body_fault(&error) {
            BodyFault::Malformed => Problem::malformed_chunk(),
            BodyFault::Interrupted => Problem::interrupted_body(),
        })?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Err(Problem::body_too_large(bytes_max));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

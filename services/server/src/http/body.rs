//! Request bodies: bounded in size, in time, and in the memory that all of them take together.

pub(super) mod decompress;
pub(super) mod unread;

use axum::body::{Body, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use http_body_util::BodyExt;

use super::App;
use super::body_fault::{BodyFault, body_fault};
use super::problem::Problem;
use crate::memory::Reserved;

/// The first bytes of each body are not counted in the budget: the cap on connections bounds them.
const UNCOUNTED_BYTES: usize = 16 * 1024;

/// A body that has arrived, and its share of the memory budget.
#[derive(Debug)]
pub(super) struct ReadBody {
    pub(super) bytes: Vec<u8>,
    pub(super) memory: Reserved,
}

impl ReadBody {
    /// Counts that the body takes `bytes` in all.
    ///
    /// # Errors
    /// `overloaded`.
    fn count(memory: &mut Reserved, bytes: usize) -> Result<(), Problem> {
        if memory.grow_to(bytes.saturating_sub(UNCOUNTED_BYTES)) { Ok(()) } else { Err(Problem::no_memory()) }
    }
}

/// The `Content-Type` as it was sent, and the media type in it: lower case, without parameters.
pub(super) fn content_type(headers: &HeaderMap) -> (Option<&str>, String) {
    let found = headers.get(CONTENT_TYPE).map(|found| found.to_str().unwrap_or("?"));
    let essence = found.and_then(|found| found.split(';').next()).unwrap_or_default();
    (found, essence.trim().to_ascii_lowercase())
}

/// Reads a body of at most `bytes_max` bytes. Takes memory as bytes come, whatever `Content-Length` says.
///
/// # Errors
/// `body_too_large`, `invalid_body`, `interrupted_body`, `request_timeout`, `overloaded`.
pub(super) async fn read(body: Body, bytes_max: usize, app: &App) -> Result<ReadBody, Problem> {
    let patience = app.limits.body_timeout;
    let collected = tokio::time::timeout(patience, collect(body, bytes_max, app.memory.for_body())).await;
    collected.unwrap_or_else(|_| Err(Problem::request_timeout(patience)))
}

async fn collect(mut body: Body, bytes_max: usize, mut memory: Reserved) -> Result<ReadBody, Problem> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(Problem::body_too_large(bytes_max));
    }
    let mut bytes = Vec::new();
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
        // The room that the vector has, not only the bytes in it.
        ReadBody::count(&mut memory, bytes.capacity())?;
    }
    Ok(ReadBody { bytes, memory })
}

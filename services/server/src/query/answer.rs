//! What answers have in common.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Version of what the numbers mean (docs/SEMANTICS.md). Changes when a definition does.
pub(crate) const DEFINITION: u32 = 1;

/// A 200 with a JSON body.
pub(crate) fn json(body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("answers are serializable");
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

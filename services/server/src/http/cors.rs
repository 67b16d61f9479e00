//! Cross-origin resource sharing: what browsers need to be told before pages of configured sites may read
//! answers.
//!
//! The rules are few because sites are configured one by one: no wildcard, no credentials, the same methods
//! and headers for all routes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::origin::Origin;

const METHODS: &str = "GET, HEAD, POST, DELETE";
const REQUEST_HEADERS: &str = "accept, authorization, ce-backfillbatch, ce-confirmed, ce-fromtenantid, ce-id, ce-sessionid, ce-source, \
     ce-specversion, ce-subject, ce-tenantid, ce-time, ce-type, content-encoding, content-type, if-none-match, \
     last-event-id, traceparent";
const ANSWER_HEADERS: &str = "etag, lastseen-log, lastseen-position, lastseen-until, retry-after";
/// Two hours, the longest that any browser keeps it.
const MAX_AGE: &str = "7200";

/// Answers preflights of pages of `origins` and lets them read answers. No-op if there are no such sites.
pub(crate) async fn share(State(origins): State<Arc<[Origin]>>, request: Request, next: Next) -> Response {
    if origins.is_empty() {
        return next.run(request).await;
    }
    let origin = allowed_origin(request.headers(), &origins);
    let is_preflight = *request.method() == Method::OPTIONS
        && origin.is_some()
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight { preflight() } else { next.run(request).await };
    let headers = response.headers_mut();
    // A cache must not give one site the answer to another, nor to nobody.
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !is_preflight {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_HEADERS));
        }
    }
    response
}

/// Returns the origin of a request, as its browser writes it, if it is one of `origins`.
fn allowed_origin(headers: &HeaderMap, origins: &[Origin]) -> Option<HeaderValue> {
    let value = headers.get(ORIGIN)?;
    let origin = value.to_str().ok()?.parse().ok()?;
    origins.contains(&origin).then(|| value.clone())
}

fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        (VARY, "access-control-request-method, access-control-request-headers"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

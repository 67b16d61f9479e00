//! The rest of a request's body when its answer is ready. A connection can be used again only once the body was read
//! to its end: so the rest is read and thrown away, or the caller is told that the connection ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use parking_lot::Mutex;

/// More than this is not read for the sake of a connection.
const DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Nor is it waited for longer.
const DISCARD_PATIENCE: Duration = Duration::from_secs(10);

/// A body that its reader can leave behind.
struct Lent(Arc<Mutex<Body>>);

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.lock().size_hint()
    }
}

/// Answers, then reads the bytes that the handler has left unread.
pub(in crate::http) async fn discard(request: Request, next: Next) -> Response {
    // With HTTP/2 the end of a request costs no connection: its stream is reset.
    if request.body().is_end_stream() || request.version() == Version::HTTP_2 {
        return next.run(request).await;
    }
    // Reading would ask for a body that the caller has held back so far.
    let held_back = request.headers().contains_key(EXPECT);
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body));
    let request = Request::from_parts(parts, Body::new(Lent(body.clone())));
    let mut response = next.run(request).await;
    let left = std::mem::take(&mut *body.lock());
    // Who was told that the body took too long is not waited for once more.
    let is_late = response.status() == StatusCode::REQUEST_TIMEOUT;
    if !left.is_end_stream() && (held_back || is_late || !read_to_end(left).await) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads the rest of the body and drops it. Returns true if the body ended within bounds.
async fn read_to_end(mut body: Body) -> bool {
    if body.size_hint().lower() > DISCARD_BYTES_MAX {
        return false;
    }
    let discard = async {
        let mut bytes = 0;
        loop {
            match body.frame().await {
                None => return true,
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len) as u64,
                Some(Err(_)) => return false,
            }
            if bytes > DISCARD_BYTES_MAX {
                return false;
            }
        }
    };
    tokio::time::timeout(DISCARD_PATIENCE, discard).await.unwrap_or(false)
}

//! Answers that have no end of their own: server-sent events.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use schemars::SchemaGenerator;
use tokio::sync::mpsc;

use super::stream::give;
use super::{Reply, Wants, encoded};
use crate::http::description::Success;
use crate::tasks;

/// Tells nginx, and proxies that have it from there, not to keep messages back.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Messages as they come.
pub(in crate::http) trait Messages: Send + 'static {
    /// The name of the answer, for the list of routes and for the log.
    const NAME: &'static str;

    /// Describes the answer for readers of the API.
    fn describe(generator: &mut SchemaGenerator) -> Success;

    /// The messages, as text of server-sent events.
    fn stream(self) -> impl futures_util::Stream<Item = Bytes> + Send;
}

/// An answer that goes on until its reader leaves, or takes nothing for too long.
pub(in crate::http) struct Feed<M> {
    pub(in crate::http) messages: M,
    /// Longest time for the reader to take nothing.
    pub(in crate::http) stall_timeout: Duration,
}

impl<M: Messages> Reply for Feed<M> {
    const NAME: &'static str = M::NAME;

    fn describe(generator: &mut SchemaGenerator) -> Success {
        M::describe(generator)
    }

    async fn respond(self, _: Wants) -> Response {
        let Self { messages, stall_timeout } = self;
        let (sender, received) = mpsc::channel(1);
        tasks::task(send(messages, sender, stall_timeout));
        let body = futures_util::stream::unfold(received, |mut received| async {
            let piece: Bytes = received.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(piece), received))
        });
        let mut response = Body::from_stream(body).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response.headers_mut().insert(UNBUFFERED, HeaderValue::from_static("no"));
        encoded(response.headers_mut(), None);
        super::with_validator(response, None)
    }
}

/// Sends messages until they end, or until nobody takes them.
async fn send<M: Messages>(messages: M, sender: mpsc::Sender<Bytes>, stall_timeout: Duration) {
    let mut messages = std::pin::pin!(messages.stream());
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = sender.closed() => return,
        };
        let Some(message) = message else { return };
        if !give(&sender, message, (M::NAME, stall_timeout)).await {
            return;
        }
    }
}

//! Hyper's own words. To a head that it cannot read hyper answers by itself, with a bare status; here that
//! answer is kept back, so that a problem can be sent instead.
//!
//! Hyper writes for two reasons only: because an answer is owed, or because a head was not readable
//! (`on_parse_error` in its proto/h1/conn.rs). Nothing is owed once the answer's body was taken and hyper had
//! nothing left to write, which it tells by flushing its transport. So bytes that come while nothing is owed
//! are hyper's own.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::exchange::Exchange;
use crate::http::problem::Problem;

/// A transport that keeps hyper's own answers back.
pub(super) struct Words<T> {
    transport: T,
    exchange: Arc<Exchange>,
}

impl<T> Words<T> {
    pub(super) fn new(transport: T, exchange: Arc<Exchange>) -> Self {
        Self { transport, exchange }
    }

    /// The transport below.
    pub(super) fn into_inner(self) -> T {
        self.transport
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Words<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(context, buffer))?;
        self.exchange.came(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Words<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.exchange.is_owed() {
            return Pin::new(&mut self.transport).poll_write(context, bytes);
        }
        self.exchange.keep_bare(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.exchange.is_owed() {
            return Pin::new(&mut self.transport).poll_write_vectored(context, pieces);
        }
        for piece in pieces {
            self.exchange.keep_bare(piece);
        }
        Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Under TLS, what was written may still be here.
        ready!(Pin::new(&mut self.transport).poll_flush(context))?;
        self.exchange.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Our own answer to an unreadable head is still to be sent.
        if self.exchange.has_bare() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}

/// Returns the problem that stands for hyper's own answer `bare`; empty if hyper said nothing.
pub(super) fn problem(bare: &[u8], is_line_too_long: bool) -> Problem {
    match bare.get(9..12) {
        Some(b"414") => Problem::uri_too_long(),
        // Hyper stops at a number of bytes, whatever they are.
        Some(b"431") if is_line_too_long => Problem::uri_too_long(),
        Some(b"431") => Problem::head_too_large(),
        Some(_) => Problem::invalid_request(),
        // The one head that hyper knows and does not answer.
        None => Problem::unsupported_version(),
    }
}

/// Returns the bytes of an answer that ends its connection. `bare` gives it its date.
pub(super) async fn last_answer(response: Response, bare: &[u8]) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    last_bytes(head.status, &head.headers, &body, bare)
}

fn last_bytes(status: StatusCode, headers: &axum::http::HeaderMap, body: &Bytes, bare: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or("Error"))
            .into_bytes();
    for line in bare.split_inclusive(|&byte| byte == b'\n').filter(|line| line.starts_with(b"date: ")) {
        bytes.extend_from_slice(line);
    }
    for (name, value) in headers.iter().filter(|(name, _)| *name != axum::http::header::CONTENT_LENGTH) {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let end = format!(
        "x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    bytes.extend_from_slice(end.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

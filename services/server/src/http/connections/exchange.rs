//! The state of one connection, shared by those who move it: the transport, the bodies, the service, its
//! task.
//!
//! All of them run in the task of the connection, except a request's body, which a handler may take
//! elsewhere. Atomics are for that one and for `Send`; nothing waits on them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use super::HEAD_BYTES_MAX;

/// Hyper's own answers are shorter.
const BARE_BYTES_MAX: usize = 1024;

/// The state of one connection.
#[derive(Default)]
pub(super) struct Exchange {
    /// True if a request was handed over whose answer has not wholly gone to the system.
    owed: AtomicBool,
    /// True if the answer's body was taken to its end. The rest of it may be in hyper's buffer.
    answered: AtomicBool,
    /// True if the request's body was not read to its end.
    body_open: AtomicBool,
    /// True if any request was handed over.
    met: AtomicBool,
    /// True if bytes of the next head have come.
    head_begun: AtomicBool,
    /// Bytes of the line of that request so far.
    line_bytes: AtomicUsize,
    /// True if that line has ended, or began where nobody saw it.
    line_ended: AtomicBool,
    /// The last four bytes that came.
    tail: AtomicU32,
    /// True if the system takes no more bytes at present.
    is_blocked: AtomicBool,
    /// Number of writes that took bytes.
    writes: AtomicU64,
    /// An answer that hyper made by itself; it is not sent.
    bare: Mutex<Vec<u8>>,
}

impl Exchange {
    /// True if a request is under way.
    pub(super) fn is_owed(&self) -> bool {
        self.owed.load(Relaxed)
    }

    /// True if the request under way was read to its end, so that a peer that closes its side has gone.
    pub(super) fn only_the_answer_is_missing(&self) -> bool {
        self.is_owed() && !self.body_open.load(Relaxed)
    }

    /// True if a head is due: the first one, or one of which bytes have come.
    pub(super) fn is_head_due(&self) -> bool {
        !self.met.load(Relaxed) || self.is_head_begun()
    }

    /// True if bytes of the next head have come.
    pub(super) fn is_head_begun(&self) -> bool {
        self.head_begun.load(Relaxed)
    }

    /// True if the line of the request whose head has begun is more than a head may be.
    pub(super) fn is_line_too_long(&self) -> bool {
        self.line_bytes.load(Relaxed) >= HEAD_BYTES_MAX
    }

    /// Takes note that nothing can be written.
    pub(super) fn blocked(&self) {
        self.is_blocked.store(true, Relaxed);
    }

    /// Takes note that bytes were written.
    pub(super) fn written(&self) {
        self.is_blocked.store(false, Relaxed);
        self.writes.fetch_add(1, Relaxed);
    }

    /// Returns how often bytes were written before writing was blocked; `None` if it is not.
    pub(super) fn blocked_after(&self) -> Option<u64> {
        self.is_blocked.load(Relaxed).then(|| self.writes.load(Relaxed))
    }

    /// Takes note of bytes that came.
    pub(super) fn came(&self, bytes: &[u8]) {
        let shift = |tail: u32, byte: &u8| (tail << 8) | u32::from(*byte);
        let last = &bytes[bytes.len().saturating_sub(4)..];
        self.tail.store(last.iter().fold(self.tail.load(Relaxed), shift), Relaxed);
        let of_a_body = self.is_owed() && self.body_open.load(Relaxed);
        // Empty lines before a head are no part of it.
        if of_a_body || !bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            return;
        }
        self.head_begun.store(true, Relaxed);
        if !self.line_ended.load(Relaxed) {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            self.line_bytes.fetch_add(end.unwrap_or(bytes.len()), Relaxed);
            self.line_ended.store(end.is_some(), Relaxed);
        }
    }

    /// Takes note of a request. `has_body` says whether it has one.
    pub(super) fn asked(&self, has_body: bool) {
        self.met.store(true, Relaxed);
        self.owed.store(true, Relaxed);
        self.answered.store(false, Relaxed);
        self.body_open.store(has_body, Relaxed);
        // Where the head does not end what came, the rest begins another one. With a body, nobody knows.
        let tail = self.tail.load(Relaxed).to_le_bytes();
        let is_rest = !has_body && !matches!(tail, [b'\n', b'\n', _, _] | [b'\n', b'\r', b'\n', _]);
        self.head_begun.store(is_rest, Relaxed);
        self.line_ended.store(is_rest, Relaxed);
        self.line_bytes.store(0, Relaxed);
    }

    /// Takes note that hyper has nothing left to write.
    pub(super) fn flushed(&self) {
        if self.answered.swap(false, Relaxed) {
            self.owed.store(false, Relaxed);
        }
    }

    /// Keeps what hyper says by itself.
    pub(super) fn keep_bare(&self, bytes: &[u8]) {
        let mut bare = self.bare.lock();
        let room = BARE_BYTES_MAX - bare.len();
        bare.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// True if hyper has said something by itself.
    pub(super) fn has_bare(&self) -> bool {
        !self.bare.lock().is_empty()
    }

    /// Returns what hyper has said by itself; empty if it said nothing.
    pub(super) fn take_bare(&self) -> Vec<u8> {
        std::mem::take(&mut self.bare.lock())
    }
}

/// The body of a request.
pub(super) struct Asked {
    body: Body,
    exchange: Arc<Exchange>,
    /// True if the body could not be read. Then the peer may have closed its side and wait to be told.
    failed: bool,
}

impl Asked {
    pub(super) fn new(body: Body, exchange: Arc<Exchange>) -> Self {
        Self { body, exchange, failed: false }
    }
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.exchange.body_open.store(false, Relaxed),
            Poll::Ready(Some(Err(_))) => self.failed = true,
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => {
                self.exchange.body_open.store(false, Relaxed);
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.failed {
            self.exchange.body_open.store(false, Relaxed);
        }
    }
}

/// The body of an answer. Hyper drops it when it has taken all of it.
pub(super) struct Answer {
    body: Body,
    exchange: Arc<Exchange>,
}

impl Answer {
    pub(super) fn new(body: Body, exchange: Arc<Exchange>) -> Self {
        Self { body, exchange }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.exchange.answered.store(true, Relaxed);
    }
}

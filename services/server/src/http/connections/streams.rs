//! A connection that speaks HTTP/2: many requests at once, each a stream. Hyper speaks; this decides when it has to stop.
//!
//! It is idle while no request is under way, whatever its frames say. A peer that lets one answer stand for too long
//! loses the connection, as it does with HTTP/1: so answers go to hyper in small pieces, each when the peer has room
//! for it, and the time since the last one is measured.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderValue, Request};
use axum::response::{IntoResponse, Response};
use axum::{Error, Router};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::STREAMS_MAX;
use super::connection::{End, FAREWELL, HEALTH, Serving};
use super::exchange::Exchange;
use super::room::{Guest, Order, Place, Seat};
use crate::ConnectionLimits;
use crate::http::auth::Peer;
use crate::http::problem::Problem;
use crate::tasks::Tasks;

/// Bytes of bodies that a peer may send before they are read, of one request and of all of a connection.
const UNREAD_BYTES_MAX: u32 = 256 * 1024;
/// Bytes of an answer that hyper keeps until the peer takes them.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer that hyper is given at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Bytes of the headers of a request, after compression is undone.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// Time for the last bytes that hyper has, where somebody else has got the seat.
const LEAVING_WITHIN: Duration = Duration::from_millis(100);

/// Hyper for HTTP/2, with our bounds.
pub(super) fn http() -> http2::Builder<Tasks> {
    let mut http = http2::Builder::new(Tasks);
    http.max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(UNREAD_BYTES_MAX)
        .initial_connection_window_size(UNREAD_BYTES_MAX)
        .max_send_buf_size(UNSENT_BYTES_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX);
    http
}

/// Lets hyper speak until it ends, or has to.
pub(super) async fn drive<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    transport: T,
    (place, peer): (&Place, Peer),
    (Serving { router, http2, limits, .. }, exchange): (&Serving, &Exchange),
) -> End {
    let streams = Arc::new(Streams::default());
    let service = Service {
        router: TowerToHyperService::new(router.clone()),
        streams: streams.clone(),
        guest: place.guest().clone(),
        seat: place.seat(),
        peer,
    };
    let mut connection = pin!(http2.serve_connection(TokioIo::new(transport), service));
    let (mut since, mut phase) = (Instant::now(), Phase::New);
    let mut alarm = pin!(sleep_until(since + limits.head_timeout));
    let mut finishing = false;
    poll_fn(|context| {
        let order = place.order(context);
        // Before hyper and after it: a request may end on another thread while hyper has its answer still to send.
        let was_open = streams.are_open();
        if order == Order::Leave && was_open {
            return Poll::Ready(End::Abandoned);
        }
        let is_spare = place.seat() == Seat::Spare;
        if !finishing && (order != Order::Stay || (is_spare && streams.last() > 0)) {
            finishing = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(context) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => return Poll::Ready(End::Answered),
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "a connection broke off");
                return Poll::Ready(End::Quiet);
            }
        }
        let is_open = was_open || streams.are_open();
        let now = match exchange.blocked_after() {
            _ if finishing && (is_spare || !is_open) => Phase::Ending,
            Some(writes) => Phase::Blocked(writes),
            None if is_open => Phase::Busy,
            None => match streams.last() {
                0 => Phase::New,
                last => Phase::Idle(last),
            },
        };
        if now != phase {
            (phase, since) = (now, Instant::now());
        }
        let from = if phase == Phase::Busy { streams.stands_since() } else { Some(since) };
        let (limit, end) = phase.limit(order, limits);
        if let Phase::Idle(_) = phase {
            place.idles();
        }
        let due = from.map(|from| from + limit);
        loop {
            let now = Instant::now();
            if due.is_some_and(|due| now >= due) {
                return Poll::Ready(end);
            }
            // An answer begins to stand without a word: look again.
            let look = due.unwrap_or(now + limit);
            if alarm.deadline() > look || alarm.is_elapsed() {
                alarm.as_mut().reset(look);
            }
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// State of a connection, as far as time is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first request is due.
    New,
    /// Nothing is due after the request of this number.
    Idle(u64),
    /// Requests are under way.
    Busy,
    /// Nothing could be written since the write of this number.
    Blocked(u64),
    /// Hyper says farewell.
    Ending,
}

impl Phase {
    /// Longest time in the phase, and the end after that.
    fn limit(self, order: Order, limits: &ConnectionLimits) -> (Duration, End) {
        match self {
            Self::Ending if order == Order::Leave => (LEAVING_WITHIN, End::Quiet),
            Self::Ending => (FAREWELL, End::Quiet),
            Self::Blocked(_) | Self::Busy => (limits.stall_timeout, End::Abandoned),
            Self::New => (limits.head_timeout, End::Quiet),
            Self::Idle(_) => (limits.idle_timeout, End::Quiet),
        }
    }
}

/// The requests of one connection that are under way.
#[derive(Default)]
struct Streams(Mutex<State>);

#[derive(Default)]
struct State {
    last_id: u64,
    /// Each with the instant since which its answer waits for the peer. `None`: it waits for its handler.
    open: HashMap<u64, Option<Instant>>,
}

impl Streams {
    fn begin(&self) -> u64 {
        let mut state = self.0.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.open.insert(id, None);
        id
    }

    fn waits(&self, id: u64, since: Option<Instant>) {
        if let Some(waits) = self.0.lock().open.get_mut(&id) {
            *waits = since;
        }
    }

    fn end(&self, id: u64) {
        self.0.lock().open.remove(&id);
    }

    fn are_open(&self) -> bool {
        !self.0.lock().open.is_empty()
    }

    /// The number of the last one; 0: there was none.
    fn last(&self) -> u64 {
        self.0.lock().last_id
    }

    /// The instant since which the answer waits that has waited longest.
    fn stands_since(&self) -> Option<Instant> {
        self.0.lock().open.values().flatten().min().copied()
    }
}

/// A request that is under way until this is dropped.
struct Underway {
    streams: Arc<Streams>,
    guest: Arc<Guest>,
    id: u64,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.streams.end(self.id);
        // The task of the connection may have nothing else to wake it.
        self.guest.wake();
    }
}

/// The routes as hyper calls them.
struct Service {
    router: TowerToHyperService<Router>,
    streams: Arc<Streams>,
    guest: Arc<Guest>,
    seat: Seat,
    peer: Peer,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = axum::http::Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if !self.guest.is_to_begin() {
            // The task ends the connection before it comes back here.
            return Box::pin(pending());
        }
        let (streams, guest) = (self.streams.clone(), self.guest.clone());
        let underway = Underway { id: streams.begin(), streams, guest };
        // A spare seat is for one question about health.
        let is_first = self.streams.last() == 1;
        if self.seat == Seat::Spare && !(is_first && HEALTH.contains(&request.uri().path())) {
            let refused = Problem::too_many_connections().into_response();
            return Box::pin(async move { Ok(finished(refused, underway)) });
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.router.call(request);
        Box::pin(async move { answer.await.map(|response| finished(response, underway)) })
    }
}

fn finished(mut response: Response, underway: Underway) -> axum::http::Response<Answer> {
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // From now on it is the peer that the answer waits for, unless its body says otherwise.
    underway.streams.waits(underway.id, Some(Instant::now()));
    response.map(|body| Answer { body, rest: Bytes::new(), underway })
}

/// The body of an answer. Hyper asks for a piece when the peer has room for one.
struct Answer {
    body: Body,
    /// The rest of a piece that was too large.
    rest: Bytes,
    underway: Underway,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                others => {
                    self.underway.streams.waits(self.underway.id, None);
                    return others;
                }
            }
        }
        let piece = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(piece);
        self.underway.streams.waits(self.underway.id, Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, of_body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

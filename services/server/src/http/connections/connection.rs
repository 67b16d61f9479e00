//! One connection from its first byte to its end. Hyper speaks HTTP; this decides when it has to stop.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::header::{CONNECTION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Request};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until};

use super::exchange::{Answer, Asked, Exchange};
use super::room::{Guest, Order, Place, Seat};
use super::socket::Socket;
use super::wire::Wire;
use super::words::Words;
use super::{handshake, socket, streams, words};
use crate::ConnectionLimits;
use crate::http::auth::{ClientAddress, Peer};
use crate::http::problem::Problem;
use crate::tasks::Tasks;
use crate::tls::{self, Tls};

/// Paths that are answered also while all seats are taken.
pub(super) const HEALTH: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// A peer that was told the last word has this long to close its side: what it has sent meanwhile would
/// otherwise reset the connection, and the last word with it.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);
/// More than this is not read for that.
const FAREWELL_BYTES_MAX: usize = 1024 * 1024;

/// Everything that all connections have in common.
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) http: http1::Builder,
    pub(super) http2: http2::Builder<Tasks>,
    /// `None`: connections are in clear text.
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) limits: ConnectionLimits,
    /// The number of connections that are open.
    pub(super) open: Arc<AtomicUsize>,
}

/// A connection that is counted until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Why a connection ends.
pub(super) enum End {
    /// Hyper has said the last word.
    Answered,
    /// Hyper could not read a head.
    Unreadable,
    /// Half a head has come.
    HeadLate,
    /// Nobody waits for anything, or nobody is there any more.
    Quiet,
    /// The peer takes nothing, or is cut off: what it was to get is thrown away.
    Abandoned,
}

/// Serves `stream` to its end.
pub(super) async fn run(stream: Wire, place: Place, serving: Arc<Serving>) {
    let _open = Open::new(serving.open.clone());
    socket::prepare(&stream);
    let stream = Arc::new(stream);
    let exchange = Arc::new(Exchange::default());
    let socket = Socket::new(stream.clone(), exchange.clone());
    // Nobody listens in between at a Unix socket.
    match (&serving.tls, &*stream) {
        (None, _) | (_, Wire::Unix(_)) => serve((&stream, socket), place, (&serving, &exchange)).await,
        (Some(tls), Wire::Tcp(tcp)) => {
            let shaking = handshake::shake_hands((tcp, socket), tls, serving.limits.head_timeout);
            let mut shaking = pin!(shaking);
            let secured = poll_fn(|context| {
                // Nothing is owed yet: whoever is asked to leave, or to finish, goes.
                if place.order(context) == Order::Stay {
                    shaking.as_mut().poll(context)
                } else {
                    Poll::Ready(None)
                }
            })
            .await;
            let Some(secured) = secured else { return };
            if tls::is_http2(&secured) {
                let end = streams::drive(secured, (&place, peer(&stream)), (&serving, &exchange)).await;
                if let End::Abandoned = end {
                    return socket::abandon(&stream);
                }
                socket::end_writing(&stream);
                until_asked_to_leave(&place, pin!(tokio::time::timeout(FAREWELL, read_on(&stream)))).await;
            } else {
                serve((&stream, secured), place, (&serving, &exchange)).await;
            }
        }
    }
}

/// Serves what comes through `transport`, which is `stream` or has it below.
async fn serve<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    (stream, transport): (&Arc<Wire>, T),
    place: Place,
    (serving, exchange): (&Serving, &Arc<Exchange>),
) {
    let (end, mut transport) = drive((stream, transport), &place, (serving, exchange)).await;
    let last_word = match end {
        End::Quiet => return,
        End::Abandoned => return socket::abandon(stream),
        End::Answered => None,
        End::Unreadable => {
            let bare = exchange.take_bare();
            let problem = words::problem(&bare, exchange.is_line_too_long());
            Some(words::last_answer(problem.into_response(), &bare).await)
        }
        End::HeadLate => {
            let problem = Problem::late_head(serving.limits.head_timeout);
            Some(words::last_answer(problem.into_response(), &[]).await)
        }
    };
    let farewell = farewell((stream, &mut transport), last_word);
    until_asked_to_leave(&place, pin!(tokio::time::timeout(FAREWELL, farewell))).await;
}

/// Goes on with a farewell until its seat is wanted. The last word itself is sent by the first poll.
async fn until_asked_to_leave<T>(place: &Place, mut farewell: Pin<&mut impl Future<Output = T>>) {
    place.idles();
    poll_fn(|context| {
        let polled = farewell.as_mut().poll(context).map(drop);
        if place.order(context) == Order::Leave { Poll::Ready(()) } else { polled }
    })
    .await;
}

/// Lets hyper speak until it ends, or has to. Returns the transport for a last word.
async fn drive<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    (stream, transport): (&Arc<Wire>, T),
    place: &Place,
    shared: (&Serving, &Arc<Exchange>),
) -> (End, T) {
    let (Serving { router, http, limits, .. }, exchange) = shared;
    let transport = Words::new(transport, exchange.clone());
    let service = Service {
        router: TowerToHyperService::new(router.clone()),
        exchange: exchange.clone(),
        guest: place.guest().clone(),
        seat: place.seat(),
        peer: peer(stream),
    };
    let mut http = http.clone();
    http.keep_alive(place.seat() == Seat::Full);
    let mut connection = http.serve_connection(TokioIo::new(transport), service);
    let mut gone = pin!(socket::peer_gone(stream));
    let mut timing = Pace::new(limits);
    let mut alarm = pin!(sleep_until(timing.since + limits.head_timeout));
    let mut finishing = false;
    let end = poll_fn(|context| {
        let order = place.order(context);
        // Before hyper: who was asked to leave begins nothing.
        if order == Order::Leave {
            return Poll::Ready(if exchange.is_owed() { End::Abandoned } else { End::Quiet });
        }
        if order == Order::Finish && !finishing {
            finishing = true;
            // What has come already may complete a request, whose answer is then owed.
            if let Some(end) = hyper_end(Pin::new(&mut connection).poll(context)) {
                return Poll::Ready(end);
            }
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Some(end) = hyper_end(Pin::new(&mut connection).poll(context)) {
            return Poll::Ready(end);
        }
        if finishing && !exchange.is_owed() {
            return Poll::Ready(End::Quiet);
        }
        if exchange.only_the_answer_is_missing() && gone.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Quiet);
        }
        if !exchange.is_owed() {
            place.idles();
        }
        timing.poll(context, alarm.as_mut(), exchange)
    })
    .await;
    (end, connection.into_parts().io.into_inner().into_inner())
}

/// Whoever is at the other end.
fn peer(stream: &Wire) -> Peer {
    Peer { address: stream.peer_address().map(ClientAddress), ..Peer::default() }
}

/// Returns how hyper has ended; `None` while it goes on.
fn hyper_end(polled: Poll<hyper::Result<()>>) -> Option<End> {
    match polled {
        Poll::Pending => None,
        Poll::Ready(Ok(())) => Some(End::Answered),
        Poll::Ready(Err(error)) if error.is_parse() => Some(End::Unreadable),
        // The peer has gone, or a body of ours has broken off.
        Poll::Ready(Err(error)) => {
            tracing::debug!(%error, "a connection broke off");
            Some(End::Quiet)
        }
    }
}

/// Sends the last word, ends the writing side and reads until the peer ends its own.
async fn farewell<T: AsyncWrite + Unpin>((stream, transport): (&Wire, &mut T), last_word: Option<Vec<u8>>) {
    if let Some(last_word) = last_word {
        let said = transport.write_all(&last_word).await;
        if said.is_err() || transport.shutdown().await.is_err() {
            return;
        }
    }
    read_on(stream).await;
}

/// Reads until the peer ends its side, and throws it away.
async fn read_on(stream: &Wire) {
    let (mut bytes, mut buffer) = (0, [0; 4096]);
    while bytes < FAREWELL_BYTES_MAX && stream.readable().await.is_ok() {
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => bytes += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// State of a connection, as far as time is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A head is due.
    Head,
    /// Nothing is due.
    Idle,
    /// A request is under way. Its handler has limits of its own.
    Busy,
    /// Nothing could be written since the write of this number.
    Blocked(u64),
}

/// Measures the time for which a connection has been in one phase.
struct Pace<'a> {
    limits: &'a ConnectionLimits,
    phase: Phase,
    since: Instant,
}

impl<'a> Pace<'a> {
    fn new(limits: &'a ConnectionLimits) -> Self {
        Self { limits, phase: Phase::Head, since: Instant::now() }
    }

    /// Waits until the connection has been at the same thing for too long.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut alarm: Pin<&mut Sleep>,
        exchange: &Exchange,
    ) -> Poll<End> {
        let phase = match exchange.blocked_after() {
            Some(writes) => Phase::Blocked(writes),
            None if exchange.is_owed() => Phase::Busy,
            None if exchange.is_head_due() => Phase::Head,
            None => Phase::Idle,
        };
        if phase != self.phase {
            (self.phase, self.since) = (phase, Instant::now());
        }
        let (limit, end) = match phase {
            Phase::Busy => return Poll::Pending,
            Phase::Head if exchange.is_head_begun() => (self.limits.head_timeout, End::HeadLate),
            Phase::Head => (self.limits.head_timeout, End::Quiet),
            Phase::Idle => (self.limits.idle_timeout, End::Quiet),
            Phase::Blocked(_) => (self.limits.stall_timeout, End::Abandoned),
        };
        let due = self.since + limit;
        // An alarm that comes too early is set again when it comes: cheaper than setting it for each request.
        if alarm.deadline() > due {
            alarm.as_mut().reset(due);
        }
        while alarm.as_mut().poll(context).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(end);
            }
            alarm.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// The routes as hyper calls them.
struct Service {
    router: TowerToHyperService<Router>,
    exchange: Arc<Exchange>,
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
        self.exchange.asked(!request.body().is_end_stream());
        let (exchange, guest) = (self.exchange.clone(), self.guest.clone());
        if self.seat == Seat::Spare && !HEALTH.contains(&request.uri().path()) {
            let refused = Problem::too_many_connections().into_response();
            return Box::pin(async move { Ok(finished(refused, exchange, &guest)) });
        }
        let mut request = request.map(|body| {
            if body.is_end_stream() {
                Body::empty()
            } else {
                Body::new(Asked::new(Body::new(body), exchange.clone()))
            }
        });
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.router.call(request);
        Box::pin(async move { answer.await.map(|response| finished(response, exchange, &guest)) })
    }
}

fn finished(mut response: Response, exchange: Arc<Exchange>, guest: &Guest) -> axum::http::Response<Answer> {
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The task may not have told hyper yet.
    if guest.is_to_finish() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| Answer::new(body, exchange))
}

//! Connections: accepted up to a cap, served by hyper within limits of time, ended in order.
//!
//! 1. `room` has the seats: at the cap the longest idle makes room, and a few spare seats are for health;
//! 2. `connection` is the task of one: it watches hyper, the peer, the clock and what the room says;
//! 3. `socket` is the transport, `words` keeps back the bare answers of hyper, `exchange` is their common state;
//! 4. `handshake` makes a TLS connection of it, where the server has a certificate;
//! 5. `streams` serves one that speaks HTTP/2, which is agreed on in the handshake;
//! 6. `wire` is a stream or a listener of the system: TCP, or a Unix socket;
//! 7. `descriptors` keeps the cap below the limit of the system, `refusals` counts who was not served.
//!
//! In clear text HTTP/1 only: there nothing agrees on HTTP/2.

mod connection;
mod descriptors;
mod exchange;
mod handshake;
mod refusals;
mod room;
mod socket;
mod streams;
#[cfg(test)]
mod tests;
mod wire;
mod words;

use std::future::poll_fn;
use std::io::{Error, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use tokio::time::Instant;

use self::connection::Serving;
use self::refusals::Refusals;
use self::room::{Admission, Order, Room};
pub use self::wire::BoundAddress;
pub(crate) use self::wire::Listener;
use self::wire::Wire;
use crate::tls::Tls;
use crate::{ConnectionLimits, tasks};

/// Bytes of a head, with the line of its request. About as much of a body is read at once.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Requests of one connection of HTTP/2 at once.
pub(crate) const STREAMS_MAX: u32 = 32;

/// Pause after the system hands over no connection: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time for connections that were cut off to notice.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(1);

/// Serves `router` on `listeners` until `stop` resolves.
///
/// Then no connection is accepted, idle ones and those with half a head are closed at once, and requests
/// under way have [`ConnectionLimits::drain_timeout`] to end. `open` counts connections. Returns how many connections had to be cut off.
pub(crate) async fn serve(
    listeners: Vec<Listener>,
    (router, tls, open): (Router, Option<Arc<Tls>>, Arc<AtomicUsize>),
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) -> usize {
    let room = Room::new(descriptors::connections_max(limits.connections_max));
    let drain_timeout = limits.drain_timeout;
    let mut http = http1::Builder::new();
    // The limits of time are our own: hyper's does not tell an idle connection from half a head.
    http.max_buf_size(HEAD_BYTES_MAX).max_header_size(HEAD_BYTES_MAX).header_read_timeout(None);
    let serving = Arc::new(Serving { router, http, http2: streams::http(), tls, limits, open });
    accept_until(stop, &listeners, &room, &serving).await;
    drop(listeners);
    room.tell(Order::Finish);
    if tokio::time::timeout(drain_timeout, room.empty()).await.is_ok() {
        return 0;
    }
    let cut_off = room.guests();
    room.tell(Order::Leave);
    // A handler that blocks its thread does not hold up the end.
    let _ = tokio::time::timeout(CUT_OFF_WITHIN, room.empty()).await;
    cut_off
}

async fn accept_until(
    stop: impl Future<Output = ()>,
    listeners: &[Listener],
    room: &Arc<Room>,
    serving: &Arc<Serving>,
) {
    let mut stop = pin!(stop);
    let mut refusals = Refusals::default();
    let mut turn = 0;
    loop {
        let due = refusals.due(Instant::now());
        let tell_at = async move {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stop => return,
            () = tell_at => {
                refusals.tell(Instant::now());
                continue;
            }
            accepted = accept(listeners, &mut turn) => accepted,
        };
        match accepted {
            Ok(stream) => receive(stream, room, serving, &mut refusals),
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                refusals.not_accepted(error);
                // Mostly there are no descriptors left: this frees one.
                room.make_room();
                tokio::select! {
                    () = &mut stop => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

/// Accepts the next connection of any listener. They take turns, so that none waits for a busy one.
async fn accept(listeners: &[Listener], turn: &mut usize) -> std::io::Result<Wire> {
    poll_fn(|context| {
        for at in (0..listeners.len()).map(|step| (*turn + step) % listeners.len()) {
            if let Poll::Ready(accepted) = listeners[at].poll_accept(context) {
                *turn = at + 1;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

fn receive(stream: Wire, room: &Arc<Room>, serving: &Arc<Serving>, refusals: &mut Refusals) {
    let place = match room.admit() {
        Admission::Free(place) => place,
        Admission::MadeRoom(place) => {
            refusals.made_room();
            place
        }
        Admission::Spare(place) => {
            refusals.refused();
            place
        }
        Admission::Refused => return refusals.refused(),
    };
    tasks::task(connection::run(stream, place, serving.clone()));
}

/// True if a connection was gone before it was accepted: the next one may be fine.
fn is_of_the_peer(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

//! Answers that are made and sent piece by piece: bounded memory however much there is. A slow reader slows only its
//! own answer, and one that takes nothing for too long is broken off.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use lastseen_store::error_chain;
use schemars::SchemaGenerator;
use tokio::sync::mpsc;

use super::compress::Compressor;
use super::{Header, Reply, Wants, encoded};
use crate::http::description::{Content, Success};
use crate::questions::admission::Permit;
use crate::tasks;

/// The pieces of an answer.
pub(in crate::http) trait Pieces: Send + 'static {
    /// The name of the answer, for the list of routes and for the log.
    const NAME: &'static str;

    /// The text in each of its notations, and the headers of the answer.
    fn describe(generator: &mut SchemaGenerator) -> (Vec<Content>, Vec<(&'static str, &'static str)>);

    /// Makes the next piece. `None`: that was all. Blocks.
    ///
    /// # Errors
    /// An error breaks the connection off, so nobody takes a part for the whole.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>>;
}

/// An answer that is sent piece by piece, with the place among downloads that it takes.
pub(in crate::http) struct Stream<P> {
    pub(in crate::http) pieces: P,
    pub(in crate::http) headers: Vec<Header>,
    pub(in crate::http) permit: Permit,
    /// Longest time for the reader to take nothing.
    pub(in crate::http) stall_timeout: Duration,
}

enum Piece {
    Text(Bytes),
    End,
}

impl<P: Pieces> Reply for Stream<P> {
    const NAME: &'static str = P::NAME;

    fn describe(generator: &mut SchemaGenerator) -> Success {
        let (content, headers) = P::describe(generator);
        Success { headers, ..Success::of(content) }
    }

    async fn respond(self, wants: Wants) -> Response {
        let Self { pieces, headers, permit, stall_timeout } = self;
        let compressor = match wants.encoding.map(Compressor::new).transpose() {
            Ok(compressor) => compressor,
            Err(error) => {
                tracing::error!(%error, "cannot compress an answer; it is sent as it is");
                None
            }
        };
        let encoding = wants.encoding.filter(|_| compressor.is_some());
        let (sender, received) = mpsc::channel(1);
        tasks::task(send(pieces, compressor, sender, (permit, stall_timeout)));
        let body = stream::unfold(Some(received), |received| async {
            let mut received = received?;
            match received.recv().await {
                Some(Piece::Text(text)) => Some((Ok(text), Some(received))),
                Some(Piece::End) => None,
                // The sender has left before the end.
                None => Some((Err(io::Error::other("the answer was broken off")), None)),
            }
        });
        let mut response = Body::from_stream(body).into_response();
        response.headers_mut().extend(headers);
        encoded(response.headers_mut(), encoding);
        super::with_validator(response, None)
    }
}

/// Sends pieces until the end, or until nobody takes them.
async fn send<P: Pieces>(
    mut pieces: P,
    mut compressor: Option<Compressor>,
    sender: mpsc::Sender<Piece>,
    (permit, stall_timeout): (Permit, Duration),
) {
    loop {
        let (made, rest, rest_compressor) = tasks::blocking(move || {
            let made = next(&mut pieces, &mut compressor);
            (made, pieces, compressor)
        })
        .await;
        (pieces, compressor) = (rest, rest_compressor);
        let piece = match made {
            Ok(Some(text)) => Piece::Text(text.into()),
            Ok(None) => Piece::End,
            Err(error) => {
                tracing::error!(
                    cause = error_chain(error.as_ref()),
                    answer = P::NAME,
                    "an answer was broken off"
                );
                break;
            }
        };
        let is_last = matches!(piece, Piece::End);
        if !give(&sender, piece, (P::NAME, stall_timeout)).await || is_last {
            break;
        }
    }
    drop(permit);
}

/// Gives a piece of `answer` to its reader. `false`: the reader has left, or took nothing for too long.
pub(super) async fn give<T>(
    sender: &mpsc::Sender<T>,
    piece: T,
    (answer, stall_timeout): (&'static str, Duration),
) -> bool {
    match sender.send_timeout(piece, stall_timeout).await {
        Ok(()) => true,
        Err(mpsc::error::SendTimeoutError::Closed(_)) => false,
        Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
            tracing::warn!(answer, "an answer was broken off: its reader took nothing for {stall_timeout:?}");
            false
        }
    }
}

/// Makes the next piece and compresses it; the end of a compressed body is a piece of its own.
fn next<P: Pieces>(
    pieces: &mut P,
    compressor: &mut Option<Compressor>,
) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
    let piece = pieces.next()?;
    Ok(match (piece, compressor.as_mut()) {
        (Some(piece), Some(compressor)) => Some(compressor.piece(&piece)?),
        (Some(piece), None) => Some(piece),
        (None, _) => compressor.take().map(Compressor::finish).transpose()?.filter(|end| !end.is_empty()),
    })
}

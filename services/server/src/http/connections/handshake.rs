//! The beginning of a connection under TLS.

use std::time::Duration;

use axum::response::IntoResponse;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::socket::Socket;
use super::words;
use crate::http::problem::Problem;
use crate::tls::Tls;

/// The type of the record that opens a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Makes a TLS connection, within `limit`. `None`: the peer has gone, was late, or does not speak TLS; one that speaks
/// HTTP is told so.
pub(super) async fn shake_hands(
    (stream, mut socket): (&TcpStream, Socket),
    tls: &Tls,
    limit: Duration,
) -> Option<TlsStream<Socket>> {
    let shaking = async {
        let mut first = [0];
        if stream.peek(&mut first).await.ok()? == 0 {
            return None;
        }
        if first[0].is_ascii_uppercase() {
            let answer = words::last_answer(Problem::tls_required().into_response(), &[]).await;
            // The peer may have gone.
            let _ = socket.write_all(&answer).await;
            let _ = socket.shutdown().await;
            let mut rest = [0; 4096];
            // What it has sent would otherwise reset the connection, and the answer with it.
            while stream.readable().await.is_ok() && stream.try_read(&mut rest).is_ok_and(|read| read > 0) {}
            return None;
        }
        if first[0] != HANDSHAKE {
            return None;
        }
        match tls.acceptor().accept(socket).await {
            Ok(secured) => Some(secured),
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
        }
    };
    tokio::time::timeout(limit, shaking).await.ok().flatten()
}

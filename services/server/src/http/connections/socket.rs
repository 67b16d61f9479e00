//! The transport of a connection: a stream that its task can watch while hyper reads and writes it.
//!
//! `tokio::net::TcpStream` alone would do, but hyper takes it for itself: then nobody sees that the peer has
//! gone while hyper holds pipelined bytes, nor that nothing could be written for a while.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::exchange::Exchange;
use super::wire::Wire;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// One read takes at most this many bytes.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Bytes that may wait unsent in the system: a slow reader then shows as progress, and costs little memory.
const NOT_SENT_BYTES_MAX: u32 = 128 * 1024;

/// The reading and writing half of a connection.
pub(super) struct Socket {
    stream: Arc<Wire>,
    exchange: Arc<Exchange>,
}

impl Socket {
    pub(super) fn new(stream: Arc<Wire>, exchange: Arc<Exchange>) -> Self {
        Self { stream, exchange }
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        send: impl Fn(&Wire) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.stream.poll_write_ready(context)?.is_pending() {
                self.exchange.blocked();
                return Poll::Pending;
            }
            match send(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(bytes) => {
                    self.exchange.written();
                    return Poll::Ready(Ok(bytes));
                }
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining().min(READ_BYTES_MAX);
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            let free = buffer.initialize_unfilled_to(room);
            let mut short = None;
            // A short read means that the system has no more. Saying "would block" then spares the read that would
            // only find this out; it must be said in here, where it clears the readiness that this read has used.
            let read =
                self.stream.try_io(Interest::READABLE, || match rustix::io::read(&*self.stream, free) {
                    Ok(bytes) if (1..room).contains(&bytes) => {
                        short = Some(bytes);
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    Ok(bytes) => Ok(bytes),
                    Err(error) => Err(error.into()),
                });
            match short.map_or(read, Ok) {
                Ok(bytes) => {
                    buffer.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(error)
                    if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| stream.try_write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&*self.stream).shutdown(std::net::Shutdown::Write))
    }
}

/// Tells the peer that nothing more comes.
pub(super) fn end_writing(stream: &Wire) {
    // It may be broken already.
    let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write);
}

/// Sets what every connection needs. A system that refuses an option serves all the same.
pub(super) fn prepare(stream: &Wire) {
    let Wire::Tcp(stream) = stream else { return };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(NOT_SENT_BYTES_MAX) {
        tracing::debug!(%error, "cannot set TCP_NOTSENT_LOWAT");
    }
}

/// Makes dropping `stream` a reset: what the peer does not take is thrown away and holds no memory of the
/// system.
pub(super) fn abandon(stream: &Wire) {
    // A stream that is broken already needs no reset.
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

/// Waits until the peer has closed its side, or the connection is broken.
///
/// Linux tells both (`EPOLLRDHUP`, `EPOLLHUP`) though bytes are waiting to be read. Out-of-band data is never
/// asked for; its interest is the one that reports the end of reading and not the bytes before it.
pub(super) async fn peer_gone(stream: &Wire) {
    #[cfg(target_os = "linux")]
    {
        // An error is as much an end as the readiness.
        let _ = stream.ready(Interest::PRIORITY).await;
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = stream;
        std::future::pending::<()>().await;
    }
}

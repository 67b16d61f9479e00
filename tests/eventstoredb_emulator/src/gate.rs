//! Connections that can be frozen and severed from outside: a frozen one reads and writes nothing and stays open, a
//! severed one breaks. Nothing here knows what is said on them.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

const OPEN: u8 = 0;
const FROZEN: u8 = 1;
const SEVERED: u8 = 2;

/// One connection's switch.
#[derive(Debug, Default)]
pub(crate) struct Line {
    state: AtomicU8,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Line {
    fn switch(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
        self.reader.wake();
        self.writer.wake();
    }

    /// Breaks the connection.
    pub(crate) fn sever(&self) {
        self.switch(SEVERED);
    }

    fn check(&self, waker: &AtomicWaker, cx: &Context<'_>) -> Poll<io::Result<()>> {
        // Registered first: a switch after the look at the state wakes the task.
        waker.register(cx.waker());
        match self.state.load(Ordering::SeqCst) {
            OPEN => Poll::Ready(Ok(())),
            FROZEN => Poll::Pending,
            _ => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

/// All connections of a node that runs.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    state: u8,
    open: Vec<Weak<Line>>,
}

impl Gate {
    /// A connection that was accepted.
    pub(crate) fn admit(&self, stream: TcpStream) -> Gated {
        let line = Arc::new(Line::default());
        let mut lines = self.lines.lock();
        line.state.store(lines.state, Ordering::SeqCst);
        lines.open.retain(|line| line.strong_count() > 0);
        lines.open.push(Arc::downgrade(&line));
        Gated { stream, line }
    }

    fn switch(&self, state: u8) {
        let mut lines = self.lines.lock();
        lines.state = state;
        lines.open.iter().filter_map(Weak::upgrade).for_each(|line| line.switch(state));
    }

    pub(crate) fn freeze(&self) {
        self.switch(FROZEN);
    }

    pub(crate) fn thaw(&self) {
        self.switch(OPEN);
    }

    pub(crate) fn sever(&self) {
        self.switch(SEVERED);
    }
}

/// A connection behind its switch.
#[derive(Debug)]
pub(crate) struct Gated {
    stream: TcpStream,
    line: Arc<Line>,
}

impl Connected for Gated {
    type ConnectInfo = Arc<Line>;

    fn connect_info(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }
}

/// Polls the stream if the switch is open.
macro_rules! gated {
    ($this:ident, $waker:ident, $cx:ident, $poll:expr) => {{
        match $this.line.check(&$this.line.$waker, $cx) {
            Poll::Ready(Ok(())) => $poll(Pin::new(&mut $this.stream), $cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }};
}

impl AsyncRead for Gated {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        gated!(this, reader, cx, |stream: Pin<&mut TcpStream>, cx| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Gated {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        gated!(this, writer, cx, |stream: Pin<&mut TcpStream>, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        gated!(this, writer, cx, |stream: Pin<&mut TcpStream>, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        gated!(this, writer, cx, |stream: Pin<&mut TcpStream>, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        gated!(this, writer, cx, |stream: Pin<&mut TcpStream>, cx| stream.poll_shutdown(cx))
    }
}

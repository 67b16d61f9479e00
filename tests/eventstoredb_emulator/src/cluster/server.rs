//! The listener of a node, and its connections. Each passes a gate, so that it can be frozen and broken.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, stream};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use super::{Inner, StartError};
use crate::gate::{Gate, Gated};
use crate::grpc;
use crate::options::Options;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

/// Frames that a client may be sent before it has taken them, in bytes.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Longest wait for the port of a process that has just ended.
const PORT_WITHIN: Duration = Duration::from_secs(5);

fn bind(runtime: &Runtime, address: SocketAddr) -> io::Result<TcpListener> {
    let _context = runtime.enter();
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listeners of all nodes, and their addresses.
pub(super) fn listen(
    runtime: &Runtime,
    options: &Options,
) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
    let mut listeners = Vec::with_capacity(options.nodes);
    let mut addresses = Vec::with_capacity(options.nodes);
    for (index, offset) in (0..options.nodes).zip(0_u16..) {
        let port = options.first_port.map_or(0, |first| first.saturating_add(offset));
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into();
        let at_node = |source| StartError::Node { node: index + 1, source };
        let listener = bind(runtime, address).map_err(at_node)?;
        addresses.push(listener.local_addr().map_err(at_node)?);
        listeners.push(listener);
    }
    Ok((listeners, addresses))
}

/// The listener of a node that is started again. The one before may close a moment later than its process ends.
pub(super) fn listen_again(runtime: &Runtime, address: SocketAddr) -> io::Result<TcpListener> {
    let deadline = Instant::now() + PORT_WITHIN;
    loop {
        match bind(runtime, address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            result => return result,
        }
    }
}

fn connections(listener: TcpListener, gate: Arc<Gate>) -> impl Stream<Item = io::Result<Gated>> {
    stream::unfold((listener, gate), async |(listener, gate)| {
        let accepted = listener.accept().await.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            Ok(gate.admit(stream))
        });
        Some((accepted, (listener, gate)))
    })
}

/// Serves a node until the result is aborted.
pub(super) fn serve(
    runtime: &Runtime,
    (inner, index): (Arc<Inner>, usize),
    listener: TcpListener,
    gate: Arc<Gate>,
) -> Result<AbortHandle, StartError> {
    let mut server = Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    if let Some(tls) = &inner.options.tls {
        // A process that has another provider keeps it.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let read = |path| std::fs::read(path).map_err(|source| StartError::Node { node: index + 1, source });
        let identity = Identity::from_pem(read(&tls.certificate)?, read(&tls.key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).map_err(StartError::Tls)?;
    }
    let router = server.add_routes(grpc::services(inner, index));
    let serving = async move {
        // It ends when it is aborted, or when the process of the test does.
        let _ = router.serve_with_incoming(connections(listener, gate)).await;
    };
    Ok(runtime.spawn(serving).abort_handle())
}

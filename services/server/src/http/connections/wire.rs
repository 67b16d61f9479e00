//! Streams and listeners of the system: TCP, or a Unix socket.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use tokio::io::{Interest, Ready};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A stream of the system.
pub(super) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! on_either {
    ($wire:expr, $stream:ident => $call:expr) => {
        match $wire {
            Wire::Tcp($stream) => $call,
            Wire::Unix($stream) => $call,
        }
    };
}

impl Wire {
    /// The address at the other end. A program at a Unix socket is on this machine.
    pub(super) fn peer_address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok().map(|address| address.ip()),
            Self::Unix(_) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        }
    }

    pub(super) fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, stream => stream.poll_read_ready(context))
    }

    pub(super) fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, stream => stream.poll_write_ready(context))
    }

    pub(super) fn try_io<R>(&self, interest: Interest, io: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        on_either!(self, stream => stream.try_io(interest, io))
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        on_either!(self, stream => stream.try_read(buffer))
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        on_either!(self, stream => stream.try_write(bytes))
    }

    pub(super) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        on_either!(self, stream => stream.try_write_vectored(pieces))
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        on_either!(self, stream => stream.readable().await)
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        on_either!(self, stream => stream.ready(interest).await)
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        on_either!(self, stream => stream.as_fd())
    }
}

/// A place where connections come in.
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// The path is taken away before the listener is closed.
    Unix(SocketFile, UnixListener),
}

/// The file of a Unix socket.
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and number: another server may have put its own in the place.
    identity: (u64, u64),
}

impl SocketFile {
    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::identity(&self.path).is_ok_and(|found| found == self.identity) {
            // Somebody else may have taken it away meanwhile.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The address of a listener.
#[derive(Clone, PartialEq, Eq)]
pub enum BoundAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl BoundAddress {
    /// True if only this machine reaches it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// The same as for people: the log has lists of addresses.
impl std::fmt::Debug for BoundAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}

impl std::fmt::Display for BoundAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    /// The operating system's answer.
    pub(crate) async fn on_address(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::Tcp)
    }

    /// Listens on a Unix socket that its owner and its group may use. The file of one that nobody listens on any more is
    /// replaced.
    ///
    /// # Errors
    /// The operating system's answer; `AddrInUse` for a file that is no socket, or is listened on.
    pub(crate) fn on_path(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};
        /// Owner and group.
        const MODE: u32 = 0o660;
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() && !is_listened_on(path)? => {}
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // Under another name until it has its mode: nobody else may connect before.
        let mut new = path.as_os_str().to_owned();
        new.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(new);
        let listener = UnixListener::bind(&new)?;
        let placed = std::fs::set_permissions(&new, std::fs::Permissions::from_mode(MODE))
            .and_then(|()| std::fs::rename(&new, path));
        if let Err(error) = placed {
            let _ = std::fs::remove_file(&new);
            return Err(error);
        }
        let file = SocketFile { path: path.to_owned(), identity: SocketFile::identity(path)? };
        Ok(Self::Unix(file, listener))
    }

    /// # Errors
    /// The operating system's answer.
    pub(crate) fn address(&self) -> io::Result<BoundAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(BoundAddress::Tcp),
            Self::Unix(file, _) => Ok(BoundAddress::Unix(file.path.clone())),
        }
    }

    pub(super) fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Wire>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(context).map_ok(|(stream, _)| Wire::Tcp(stream)),
            Self::Unix(_, listener) => listener.poll_accept(context).map_ok(|(stream, _)| Wire::Unix(stream)),
        }
    }
}

/// True if somebody listens on the socket. One whose queue is full does.
fn is_listened_on(path: &Path) -> io::Result<bool> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let connected = socket.connect(&socket2::SockAddr::unix(path)?);
    Ok(!connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_replaced_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let first = Listener::on_path(&path).unwrap();
        let Err(error) = Listener::on_path(&path) else { panic!("two listeners on one path") };
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // As after a kill: the file is there, and nobody listens.
        let Listener::Unix(file, listener) = first else { panic!("a socket") };
        drop(listener);
        std::mem::forget(file);
        drop(Listener::on_path(&path).unwrap());
        assert!(!path.exists(), "the file goes with its listener");
        // Another server has put its own in the place: that one stays.
        let first = Listener::on_path(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let second = Listener::on_path(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        std::fs::write(&path, "a file").unwrap();
        assert!(Listener::on_path(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    }
}

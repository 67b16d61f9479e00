//! Settings of a cluster: its nodes, its clock's limits, its users.

use std::path::PathBuf;
use std::time::Duration;

use crate::store::RECENT_BYTES_MAX;
use crate::version::ServerVersion;

/// All settings. The default is one node of 23.10 on a free port, without TLS or users, in a folder that is removed
/// at the end.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes: 1 or 3.
    pub nodes: usize,
    /// The server that is emulated.
    pub version: ServerVersion,
    /// Folder of the nodes' files. `None`: a temporary one.
    pub data: Option<PathBuf>,
    /// Port of the first node; the others have the next ones. `None`: free ports.
    pub first_port: Option<u16>,
    /// Certificate and key of all nodes, for TLS.
    pub tls: Option<TlsFiles>,
    /// Users beside `admin` with the password `changeit`. Without TLS and without users nobody is asked who they are.
    pub users: Vec<User>,
    /// Times that pass before something happens.
    pub timing: Timing,
    /// Bytes of the cache of recent ids.
    pub recent_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 1,
            version: ServerVersion::default(),
            data: None,
            first_port: None,
            tls: None,
            users: Vec::new(),
            timing: Timing::default(),
            recent_bytes_max: RECENT_BYTES_MAX,
        }
    }
}

/// Files in PEM form.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those of authorities between it and the client's.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A user who is no administrator.
#[derive(Clone, Debug)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

/// Times that pass before something happens.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// An append without a quorum is answered after this long; a leader without one resigns after it.
    pub commit_timeout: Duration,
    /// The others elect a leader so long after the leader's process ended.
    pub election_after_death: Duration,
    /// The others elect a leader so long after the leader fell silent with its connections open.
    pub election_after_silence: Duration,
}

impl Default for Timing {
    /// Times of real servers.
    fn default() -> Self {
        Self {
            commit_timeout: Duration::from_secs(2),
            election_after_death: Duration::from_millis(1_500),
            election_after_silence: Duration::from_secs(11),
        }
    }
}

impl Timing {
    /// Short times, for tests.
    pub fn short() -> Self {
        Self {
            commit_timeout: Duration::from_millis(300),
            election_after_death: Duration::from_millis(50),
            election_after_silence: Duration::from_millis(100),
        }
    }
}

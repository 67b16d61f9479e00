//! The event store that a server stands on: the one place that knows which it is. Everything else sees
//! [`EventStore`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lastseen_log::{Disk, Evidence, LockedDisk, Log, LogOptions, OpenError, OsDisk, WrittenGroup};
use lastseen_store::{Clock, EventStore, StoreFault};

use crate::ClusterConfig;
use crate::metrics::Metrics;

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory cannot be made or entered.
    #[error("cannot use the data directory")]
    Directory(#[source] StoreFault),
    /// The log refuses.
    #[error("cannot open the log")]
    Open(#[source] OpenError),
    /// The cluster cannot be made use of.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// A cluster cannot be made use of.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The program was built without it.
    #[error(
        "this lastseen was built without the client of EventStoreDB: build it with `cargo build --release --features eventstoredb`"
    )]
    NotBuilt,
    /// The file of the password cannot be read.
    #[error("cannot read the password in {}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: StoreFault,
    },
    /// The address is none, or a file that it names cannot be used.
    #[cfg(feature = "eventstoredb")]
    #[error("the address of the cluster")]
    Settings(#[source] lastseen_eventstoredb::SettingsError),
    /// The store over it cannot be opened.
    #[cfg(feature = "eventstoredb")]
    #[error(transparent)]
    Open(lastseen_eventstoredb::OpenStoreError),
    /// It did not do what it was asked for.
    #[cfg(feature = "eventstoredb")]
    #[error("the cluster {cluster}")]
    Refused {
        /// Its hosts.
        cluster: String,
        /// The cause.
        #[source]
        source: lastseen_eventstoredb::Fault,
    },
}

/// The store that is asked for, with settings that were checked.
pub(crate) enum Choice {
    /// The log in the data directory.
    Log,
    /// A cluster; the log in the data directory is a copy.
    #[cfg(feature = "eventstoredb")]
    Cluster(Box<lastseen_eventstoredb::ClusterSettings>),
}

impl Choice {
    /// Checks the settings of a cluster, if there is one. Reads files; asks nobody.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub(crate) fn of(cluster: Option<&ClusterConfig>) -> Result<Self, ClusterError> {
        match cluster {
            None => Ok(Self::Log),
            #[cfg(feature = "eventstoredb")]
            Some(cluster) => Ok(Self::Cluster(Box::new(settings(cluster)?))),
            #[cfg(not(feature = "eventstoredb"))]
            Some(_) => Err(ClusterError::NotBuilt),
        }
    }
}

#[cfg(feature = "eventstoredb")]
fn settings(cluster: &ClusterConfig) -> Result<lastseen_eventstoredb::ClusterSettings, ClusterError> {
    let credentials = match &cluster.user {
        None => None,
        Some((user, path)) => {
            let unreadable =
                |error: std::io::Error| ClusterError::Password { path: path.clone(), source: error.into() };
            let mut password = std::fs::read_to_string(path).map_err(unreadable)?;
            if password.ends_with('\n') {
                password.pop();
                if password.ends_with('\r') {
                    password.pop();
                }
            }
            Some(lastseen_eventstoredb::Credentials { user: user.clone(), password })
        }
    };
    lastseen_eventstoredb::ClusterSettings::new(&cluster.address, credentials).map_err(ClusterError::Settings)
}

/// Lets a user of a cluster read the events of all streams, which Lastseen needs. The settings name an administrator.
///
/// # Errors
/// [`ClusterError`].
#[cfg(feature = "eventstoredb")]
pub async fn grant_read(cluster: &ClusterConfig, user: &str) -> Result<(), ClusterError> {
    let settings = settings(cluster)?;
    let hosts = settings.to_string();
    let refused = |source| ClusterError::Refused { cluster: hosts, source };
    lastseen_eventstoredb::grant_read(&settings, user).await.map_err(refused)
}

/// The same where the program was built without the client.
///
/// # Errors
/// [`ClusterError::NotBuilt`].
#[cfg(not(feature = "eventstoredb"))]
pub async fn grant_read(_: &ClusterConfig, _: &str) -> Result<(), ClusterError> {
    Err(ClusterError::NotBuilt)
}

/// A store from which other processes are kept out, and which is not open yet.
pub(crate) struct LockedStore(LockedDisk);

impl LockedStore {
    /// Makes the directory if it is not there, and keeps other processes out of it. Reads nothing.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Open`] if another process is in.
    pub(crate) fn lock(data: &Path) -> Result<Self, StoreError> {
        let disk = OsDisk::new(data).map_err(|error| StoreError::Directory(error.into()))?;
        Self::on(Arc::new(disk))
    }

    /// The same for a disk of any kind.
    ///
    /// # Errors
    /// [`StoreError::Open`] if another process is in.
    pub(crate) fn on(disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        LockedDisk::lock(disk).map(Self).map_err(StoreError::Open)
    }

    /// Opens the store. A history that is shorter than the evidence says it was is refused. Blocks.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed but what recovery mends.
    pub(crate) fn open(
        self,
        choice: &Choice,
        options: LogOptions,
        (clock, evidence): (Arc<dyn Clock>, &[Evidence]),
        metrics: Arc<Metrics>,
    ) -> Result<Arc<dyn EventStore>, StoreError> {
        let on_group = move |group: WrittenGroup| metrics.group(group.events, group.synced);
        match choice {
            Choice::Log => {
                let opened = Log::open_locked(self.0, options, (clock, evidence), on_group);
                let log = opened.map_err(StoreError::Open)?;
                tell_torn(&log);
                Ok(Arc::new(log))
            }
            #[cfg(feature = "eventstoredb")]
            Choice::Cluster(settings) => {
                let settings: &lastseen_eventstoredb::ClusterSettings = settings;
                let opening = lastseen_eventstoredb::ClusterStore::open(
                    self.0,
                    options,
                    settings,
                    (clock, evidence),
                    on_group,
                );
                let store = opening.map_err(|error| StoreError::Cluster(ClusterError::Open(error)))?;
                tell_torn(store.copy());
                Ok(Arc::new(store))
            }
        }
    }
}

fn tell_torn(log: &Log) {
    if let Some(torn) = log.torn_tail() {
        tracing::warn!(file = torn.file, offset = torn.offset, bytes = torn.bytes, "{torn}");
    }
}

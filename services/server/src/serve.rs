//! Bringing the server up and down: lock the directory, listen, recover beside, stop in order.

use std::future::Future;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use lastseen_log::LogOptions;
use lastseen_store::{Part, StoreFault, SystemClock};
use tokio::sync::oneshot;

use crate::audit::{Audit, AuditLog};
use crate::http::connections::{BoundAddress, Listener};
use crate::http::routes::{operators_router, router};
use crate::http::{App, connections};
use crate::keys::KeysFileError;
use crate::keys::live::LiveKeys;
use crate::origin::ListenAddress;
use crate::read_model::definitions::DefinitionLimits;
use crate::read_model::{self, ReadModel, ReadModelOptions, StartError};
use crate::store::{Choice, ClusterError, LockedStore};
use crate::tls::{Tls, TlsError, TlsFiles};
use crate::{ConnectionLimits, ServeConfig, tasks};

/// A server that did not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The keys file cannot be read.
    #[error("cannot read the API keys")]
    Keys(#[from] KeysFileError),
    /// Without API keys only this machine may connect.
    #[error(
        "refusing to listen on {0}: there are no API keys, so only loopback addresses such as 127.0.0.1 are allowed; \
         `lastseen keys create` makes the first key"
    )]
    NotLoopback(BoundAddress),
    /// The certificate cannot be used.
    #[error("cannot speak TLS")]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: ListenAddress,
        /// The operating system's answer.
        #[source]
        source: StoreFault,
    },
    /// The store could not be opened.
    #[error("cannot start on {}", data.display())]
    Start {
        /// The data directory.
        data: PathBuf,
        /// The cause.
        #[source]
        source: StartError,
    },
    /// The settings of the cluster are wrong.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The cluster cannot be followed any more.
    #[error("the cluster is not followed any more: {cause}")]
    ClusterLost {
        /// The cause, in words.
        cause: String,
    },
    /// The fold thread ended by itself.
    #[error("the fold thread stopped; events that were acknowledged are in the log")]
    FoldEnded,
    /// The writer of the log was closed by an error that only a restart mends.
    #[error(
        "the log takes no more events: {cause}; events that were acknowledged are in it; start the server again"
    )]
    WriterClosed {
        /// The error, in words.
        cause: String,
    },
}

/// Serves until `shutdown` resolves, then finishes running requests, writes the appends that wait and ends the log.
/// `on_listening` is called with the addresses once the directory is locked and connections are accepted; the store may
/// still be recovering, which `/readyz` tells.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: ServeConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
    on_listening: impl FnOnce(&[BoundAddress]) + Send + 'static,
) -> Result<(), ServeError> {
    let (data, keys_file) = (config.data.clone(), config.keys.clone());
    let keys = tasks::blocking(move || LiveKeys::open(&data, keys_file.as_deref())).await?;
    let keys = Arc::new(keys);
    let tls = match config.tls.clone() {
        Some(files) => Some(Arc::new(tasks::blocking(move || Tls::open(files)).await?)),
        None => None,
    };
    let resolved = resolve(&config.listen).await?;
    check_outside(&resolved, &keys, tls.is_some())?;
    let cluster = config.cluster.clone();
    let choice = tasks::blocking(move || Choice::of(cluster.as_ref())).await?;
    let path = config.data.clone();
    let disk = tasks::blocking(move || lock(path)).await?;
    let (listeners, addresses) = listen(resolved).await?;
    let (operators_listeners, _) = listen(resolve(&config.metrics_listen).await?).await?;
    tracing::info!(?addresses, tls = tls.is_some(), "listening");
    on_listening(&addresses);
    if keys.is_open() {
        tracing::warn!("no API keys: everyone on this machine may publish and query");
    }
    tasks::task(LiveKeys::follow(Arc::downgrade(&keys)));
    tasks::task(LiveKeys::keep_uses(Arc::downgrade(&keys)));

    let audit = Arc::new(Audit::new(AuditLog::of(&config.data)));
    tasks::task(Audit::follow(Arc::downgrade(&audit)));
    let app = Arc::new(App::new(&config, keys.clone(), audit.clone()));
    let model = Arc::new(OnceLock::new());
    let (stop, stopping) = oneshot::channel::<()>();
    let stopped = async {
        // The sender is dropped unused.
        let _ = stopping.await;
    };
    if let Some(tls) = &tls {
        tasks::task(Tls::follow(Arc::downgrade(tls)));
    }
    serve_operators(&app, &config, operators_listeners);
    let serving = (router(&app, config.cors_origins.clone().into()), tls, app.connections());
    let mut http =
        std::pin::pin!(connections::serve(listeners, serving, config.connections.clone(), stopped));
    let mut running = std::pin::pin!(run_model(app.clone(), model.clone(), (config, choice, disk)));
    let failed = tokio::select! {
        error = &mut running => Some(error),
        () = shutdown => None,
        // It ends when it is told to, which nobody has done.
        _ = &mut http => Some(ServeError::FoldEnded),
    };
    drop(stop);
    app.end_live();
    if failed.is_none() {
        let cut_off = http.await;
        if cut_off > 0 {
            tracing::warn!(cut_off, "some requests did not finish in time and were cut off");
        }
    }
    tasks::blocking(move || {
        keys.write_uses();
        audit.write_refusals();
    })
    .await;
    if let Some(model) = model.get().cloned() {
        tasks::blocking(move || ReadModel::close(&model)).await;
        tracing::info!("stopped");
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Serves the router of another command, with the limits of connections of this server, until `shutdown` resolves and the
/// requests under way are answered. `on_listening` is called with the addresses. Nothing is done where there are none.
///
/// # Errors
/// If it cannot listen on an address, or a file of TLS is wrong.
pub async fn serve_router(
    listen_on: &[ListenAddress],
    (router, tls): (Router, Option<TlsFiles>),
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
    on_listening: impl FnOnce(&[BoundAddress]),
) -> Result<(), ServeError> {
    let tls = match tls {
        Some(files) => Some(Arc::new(tasks::blocking(move || Tls::open(files)).await?)),
        None => None,
    };
    let (listeners, addresses) = listen(resolve(listen_on).await?).await?;
    if listeners.is_empty() {
        return Ok(());
    }
    on_listening(&addresses);
    if let Some(tls) = &tls {
        tasks::task(Tls::follow(Arc::downgrade(tls)));
    }
    let cut_off = connections::serve(listeners, (router, tls, Arc::default()), limits, shutdown).await;
    if cut_off > 0 {
        tracing::warn!(cut_off, "some requests did not finish in time and were cut off");
    }
    Ok(())
}

/// Connections to health and metrics alone.
const OPERATORS_MAX: usize = 32;

/// Serves health and metrics beside, as long as the process is there.
fn serve_operators(app: &Arc<App>, config: &ServeConfig, listeners: Vec<Listener>) {
    if listeners.is_empty() {
        return;
    }
    let addresses: Vec<_> = listeners.iter().filter_map(|listener| listener.address().ok()).collect();
    tracing::info!(?addresses, "health and metrics");
    let is_loopback = addresses.iter().all(BoundAddress::is_local);
    let serving = (operators_router(app, is_loopback), None, app.connections());
    let limits = ConnectionLimits { connections_max: OPERATORS_MAX, ..config.connections.clone() };
    tasks::task(async move {
        connections::serve(listeners, serving, limits, std::future::pending()).await;
    });
}

/// Refuses addresses that others reach while everybody has every access.
fn check_outside(
    resolved: &[(BoundAddress, ListenAddress)],
    keys: &LiveKeys,
    is_secured: bool,
) -> Result<(), ServeError> {
    let outside = resolved.iter().map(|(address, _)| address).find(|address| !address.is_local());
    let Some(outside) = outside else { return Ok(()) };
    if keys.is_open() {
        return Err(ServeError::NotLoopback(outside.clone()));
    }
    if !is_secured {
        tracing::warn!(address = %outside, "no TLS: keys and answers are in clear text on the network");
    }
    Ok(())
}

/// Finds the addresses of each host.
async fn resolve(listen: &[ListenAddress]) -> Result<Vec<(BoundAddress, ListenAddress)>, ServeError> {
    let mut resolved = Vec::new();
    for address in listen {
        let found: Vec<BoundAddress> = match address {
            ListenAddress::Unix(path) => vec![BoundAddress::Unix(path.clone())],
            ListenAddress::Tcp { host, port } => {
                let found = tokio::net::lookup_host((host.as_str(), *port)).await;
                found.map_err(|error| cannot_listen(address, error))?.map(BoundAddress::Tcp).collect()
            }
        };
        resolved.extend(found.into_iter().map(|found| (found, address.clone())));
    }
    resolved.dedup_by(|(one, _), (other, _)| one == other);
    Ok(resolved)
}

fn cannot_listen(address: &ListenAddress, error: std::io::Error) -> ServeError {
    ServeError::Listen { address: address.clone(), source: error.into() }
}

/// Listens on all of them. A name may have addresses that this machine has not, such as one of IPv6: one is enough.
async fn listen(
    resolved: Vec<(BoundAddress, ListenAddress)>,
) -> Result<(Vec<Listener>, Vec<BoundAddress>), ServeError> {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for of_one in resolved.chunk_by(|(_, one), (_, other)| one == other) {
        let before = listeners.len();
        for (number, (address, of)) in of_one.iter().enumerate() {
            let listening = match address {
                BoundAddress::Tcp(address) => Listener::on_address(*address).await,
                BoundAddress::Unix(path) => Listener::on_path(path),
            };
            match listening.and_then(|listener| Ok((listener.address()?, listener))) {
                Ok((address, listener)) => {
                    listeners.push(listener);
                    addresses.push(address);
                }
                Err(error)
                    if error.kind() == ErrorKind::AddrNotAvailable
                        && (number + 1 < of_one.len() || listeners.len() > before) =>
                {
                    tracing::warn!(%address, host = %of, "this machine has not this address of the host");
                }
                Err(error) => return Err(cannot_listen(of, error)),
            }
        }
    }
    Ok((listeners, addresses))
}

/// Resolves when the writer of the log was closed, or the cluster is not followed for good, after some time in which appends are
/// refused. Only a restart opens it again, so the process ends: a supervisor then starts it anew.
async fn closed(model: &ReadModel) -> ServeError {
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    const REFUSING: Duration = Duration::from_secs(10);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some((part, cause)) = model.closed() {
            tracing::error!(
                cause,
                "the {} takes no more events; the server ends in {REFUSING:?}",
                part.as_str()
            );
            tokio::time::sleep(REFUSING).await;
            return match part {
                Part::Cluster => ServeError::ClusterLost { cause },
                _ => ServeError::WriterClosed { cause },
            };
        }
    }
}

/// Makes the data directory if it is not there, and keeps other processes out.
fn lock(data: PathBuf) -> Result<LockedStore, ServeError> {
    LockedStore::lock(&data).map_err(|error| ServeError::Start { data, source: error.into() })
}

/// Opens the store, then watches it. Resolves only when something is wrong.
async fn run_model(
    app: Arc<App>,
    opened: Arc<OnceLock<Arc<ReadModel>>>,
    (config, choice, locked): (ServeConfig, Choice, LockedStore),
) -> ServeError {
    let opening = app.clone();
    let ServeConfig { data, snapshot_events, persons, limits, .. } = config;
    let definitions = DefinitionLimits { number: limits.definitions, bytes: limits.kept_bytes };
    let path = data.clone();
    let log = LogOptions {
        segment_events: config.segment_events,
        segment_age: config.segment_age,
        batches_max: config.batches_max,
        filter_bytes: config.id_filter_bytes as u64,
        ..LogOptions::default()
    };
    let model = tasks::blocking(move || {
        let metrics = opening.metrics();
        let clock = Arc::new(SystemClock);
        let evidence: Vec<_> = read_model::evidence(&path).into_iter().collect();
        let open = || locked.open(&choice, log, (clock.clone(), &evidence), metrics.clone());
        let options = ReadModelOptions { snapshot_events, persons, metrics: metrics.clone(), definitions };
        let progress = |events| opening.folded(events);
        ReadModel::open((&path, open), options, clock.clone(), progress)
    });
    match model.await {
        Ok((model, ended)) => {
            let model = opened.get_or_init(|| Arc::new(model)).clone();
            app.open(model.clone());
            tokio::select! {
                () = ended.wait() => ServeError::FoldEnded,
                error = closed(&model) => error,
            }
        }
        Err(source) => ServeError::Start { data, source },
    }
}

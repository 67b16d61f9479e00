//! Bringing the server up and down: lock the directory, listen, recover beside, stop in order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use lastseen_log::{LockedDisk, LogOptions};
use lastseen_store::{StoreFault, SystemClock};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::app::App;
use crate::engine::{Engine, EngineError};
use crate::http::connections;
use crate::routes::router;
use crate::{ServeConfig, tasks};

/// Why a server did not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Without API keys only this machine may connect.
    #[error(
        "refusing to listen on {0}: there are no API keys, so only loopback addresses such as 127.0.0.1 are allowed"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's answer.
        #[source]
        source: StoreFault,
    },
    /// The store could not be opened.
    #[error("cannot start on {}", data.display())]
    Engine {
        /// The data directory.
        data: std::path::PathBuf,
        /// Why.
        #[source]
        source: EngineError,
    },
    /// The fold thread ended by itself.
    #[error("the fold thread stopped; events that were acknowledged are in the log")]
    FoldEnded,
}

/// Serves until `shutdown` resolves, then finishes running requests, writes what waits and ends the log.
/// `on_listening` is called with the address once the directory is locked and connections are accepted; the
/// store may still be recovering, which `/readyz` tells.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: ServeConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
    on_listening: impl FnOnce(SocketAddr) + Send + 'static,
) -> Result<(), ServeError> {
    if !config.listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(config.listen));
    }
    let listen_error =
        |error: std::io::Error| ServeError::Listen { address: config.listen, source: error.into() };
    let path = config.data.clone();
    let locked = tasks::blocking(move || Engine::lock(&path)).await;
    let disk = locked.map_err(|source| ServeError::Engine { data: config.data.clone(), source })?;
    let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    tracing::info!(%address, "listening");
    on_listening(address);
    tracing::warn!("no API keys: everyone on this machine may publish and query");

    let app = Arc::new(App {
        engine: OnceLock::new(),
        folded_events: AtomicU64::new(0),
        persons: config.persons,
        future_tolerance: config.future_tolerance,
    });
    let (stop, stopping) = oneshot::channel::<()>();
    let stopped = async {
        // The sender is dropped unused.
        let _ = stopping.await;
    };
    let router = router(app.clone(), config.cors_origins.clone().into());
    let mut http = std::pin::pin!(connections::serve(listener, router, config.connections.clone(), stopped));
    let mut engine = std::pin::pin!(run_engine(app.clone(), config, disk));
    let failed = tokio::select! {
        error = &mut engine => Some(error),
        () = shutdown => None,
        // It ends when it is told to, which nobody has done.
        _ = &mut http => Some(ServeError::FoldEnded),
    };
    drop(stop);
    if failed.is_none() {
        let cut_off = http.await;
        if cut_off > 0 {
            tracing::warn!(cut_off, "some requests did not finish in time and were cut off");
        }
    }
    if let Some(engine) = app.engine.get().cloned() {
        tasks::blocking(move || engine.close()).await;
        tracing::info!("stopped");
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Opens the store, then watches it. Resolves only when something is wrong.
async fn run_engine(app: Arc<App>, config: ServeConfig, disk: LockedDisk) -> ServeError {
    let opening = app.clone();
    let ServeConfig { data, segment_events, segment_age, snapshot_events, .. } = config;
    let path = data.clone();
    let options = LogOptions { segment_events, segment_age, ..LogOptions::default() };
    let opened = tasks::blocking(move || {
        let progress = |events| opening.folded_events.store(events, Ordering::Relaxed);
        Engine::open((&path, disk), (options, snapshot_events), Arc::new(SystemClock), progress)
    });
    match opened.await {
        Ok((engine, ended)) => {
            app.engine.get_or_init(|| Arc::new(engine));
            watch(ended).await
        }
        Err(source) => ServeError::Engine { data, source },
    }
}

/// The threads that keep the views end with the writer of the log, or by a panic of their own.
async fn watch([fold, rebuilds]: [oneshot::Receiver<()>; 2]) -> ServeError {
    tokio::select! {
        _ = fold => ServeError::FoldEnded,
        _ = rebuilds => ServeError::FoldEnded,
    }
}

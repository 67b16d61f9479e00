//! Bringing the server up and down: listen at once, recover beside, stop in order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::serve::ListenerExt;
use lastseen_log::LogOptions;
use lastseen_store::{StoreFault, SystemClock};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::app::App;
use crate::engine::{Engine, EngineError};
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
    /// Accepting connections failed.
    #[error("serving failed")]
    Http(#[source] StoreFault),
}

/// Requests that are still running this long after the signal to stop are cut off; none of them was
/// acknowledged.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// Serves until `shutdown` resolves, then finishes running requests, writes what waits and ends the log.
/// `on_listening` is called with the address once connections are accepted; the store may still be recovering,
/// which `/readyz` tells.
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
    let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
    on_listening(listener.local_addr().map_err(listen_error)?);
    tracing::warn!("no API keys: everyone on this machine may publish and query");

    let app = Arc::new(App {
        engine: OnceLock::new(),
        folded_events: AtomicU64::new(0),
        future_tolerance: config.future_tolerance,
    });
    let (stop, stopping) = watch::channel(false);
    let mut engine = std::pin::pin!(run_engine(app.clone(), config));
    let mut http = std::pin::pin!(run_http(listener, app.clone(), stopping));
    let failed = tokio::select! {
        error = &mut engine => Some(error),
        () = shutdown => None,
        result = &mut http => Some(result.err().unwrap_or(ServeError::FoldEnded)),
    };
    stop.send_replace(true);
    if failed.is_none() && tokio::time::timeout(DRAIN_PATIENCE, &mut http).await.is_err() {
        tracing::warn!("some requests did not finish in time and were cut off");
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
async fn run_engine(app: Arc<App>, config: ServeConfig) -> ServeError {
    let opening = app.clone();
    let ServeConfig { data, persons, segment_events, segment_age, snapshot_events, .. } = config;
    let path = data.clone();
    let options = LogOptions { segment_events, segment_age, ..LogOptions::default() };
    let opened = tasks::blocking(move || {
        let progress = |events| opening.folded_events.store(events, Ordering::Relaxed);
        Engine::open(&path, (options, snapshot_events, persons), Arc::new(SystemClock), progress)
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

async fn run_http(
    listener: TcpListener,
    app: Arc<App>,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    let stopped = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    axum::serve(listener, router(app))
        .with_graceful_shutdown(stopped)
        .await
        .map_err(|error| ServeError::Http(error.into()))
}

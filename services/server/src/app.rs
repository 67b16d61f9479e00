//! What every handler can reach: the engine once it is there, and what the server was told.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;

use crate::engine::Engine;
use crate::problem::Problem;

/// What every handler can reach.
pub(crate) struct App {
    /// Set once the log is recovered and folded.
    pub(crate) engine: OnceLock<Arc<Engine>>,
    /// Events folded so far, while starting.
    pub(crate) folded_events: AtomicU64,
    pub(crate) future_tolerance: Duration,
}

impl App {
    /// The store and its views.
    ///
    /// # Errors
    /// `not_ready` while the server is starting.
    pub(crate) fn engine(&self) -> Result<&Arc<Engine>, Problem> {
        self.engine.get().ok_or_else(|| Problem::not_ready(self.folded_events.load(Ordering::Relaxed)))
    }
}

/// The shared state, as handlers take it.
pub(crate) type AppState = State<Arc<App>>;

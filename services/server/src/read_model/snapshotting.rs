//! The thread that takes snapshots of the views, beside the fold.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use lastseen_projections::Views;
use lastseen_store::EventStore;
use parking_lot::{Mutex, RwLock};

use super::live::Live;
use super::snapshot;

/// Time between two looks at whether a snapshot is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A snapshot is due after this time, if anything was folded.
const AGE_MAX: Duration = Duration::from_mins(5);
/// The pause after a snapshot, in multiples of the time it took.
const PAUSE: u32 = 9;

/// Takes snapshots of the views.
pub(super) struct Snapshotting {
    pub(super) data: PathBuf,
    pub(super) log: Arc<dyn EventStore>,
    pub(super) live: Arc<Live>,
    /// Events folded since the start.
    pub(super) folded: Arc<AtomicU64>,
    /// Events that make a snapshot due.
    pub(super) every: u64,
    /// Events folded since the start that the last snapshot holds.
    pub(super) kept: u64,
    pub(super) taken_at: Arc<Mutex<Instant>>,
}

impl Snapshotting {
    /// Runs until the sender of `stop` is gone; then takes a last snapshot.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        let (mut ended, mut took) = (Instant::now(), Duration::ZERO);
        let mut left_out = self.live.get().read().retracted().len();
        loop {
            let stopped = stop.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Disconnected);
            let new = self.folded.load(Ordering::Acquire) - self.kept;
            // A retraction replaced the views.
            let replaced = self.live.get().read().retracted().len() != left_out;
            let is_new = new > 0 || replaced;
            let is_due = new >= self.every || replaced || (new > 0 && ended.elapsed() >= AGE_MAX);
            if (stopped && is_new) || (is_due && ended.elapsed() >= took * PAUSE) {
                let start = Instant::now();
                let views = self.live.get();
                let taken = self.take(&views, self.kept + new);
                if taken {
                    left_out = views.read().retracted().len();
                }
                // A snapshot that failed would fail again a moment later.
                took = if taken { start.elapsed() } else { AGE_MAX / PAUSE };
                ended = Instant::now();
            }
            if stopped {
                return;
            }
        }
    }

    /// Takes a snapshot. Returns whether it went well.
    fn take(&mut self, views: &RwLock<Views>, folded: u64) -> bool {
        let start = Instant::now();
        match snapshot::write(&self.data, views, (&self.log.lineage(), |scan| self.log.scan(scan))) {
            Ok(Some(checkpoint)) => {
                self.kept = folded;
                *self.taken_at.lock() = Instant::now();
                let seconds = start.elapsed().as_secs_f64();
                tracing::info!(checkpoint = checkpoint.get(), seconds, "snapshot of the views");
                true
            }
            Ok(None) => true,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "no snapshot of the views; the next start takes longer");
                false
            }
        }
    }
}

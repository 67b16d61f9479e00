//! The fold thread: applies each durable group to the live views, then acknowledges it. The only writer of the
//! views.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use lastseen_event::Position;
use lastseen_log::Commit;
use lastseen_projections::Views;
use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::watch;

/// Groups that may wait for the fold thread; then the writer waits.
pub(crate) const QUEUE_GROUPS: usize = 4;

/// Facts applied before queries get a turn.
const LOCKED_FACTS_MAX: usize = 256;

/// Applies what arrives until the log is closed.
pub(crate) fn run(
    commits: &Receiver<Commit>,
    views: &Arc<RwLock<Views>>,
    folded: &watch::Sender<Position>,
    folded_events: &AtomicU64,
) {
    while let Ok(commit) = commits.recv() {
        if let Some(last) = commit.facts.last() {
            let mut live = views.write();
            for (turn, facts) in commit.facts.chunks(LOCKED_FACTS_MAX).enumerate() {
                if turn > 0 {
                    RwLockWriteGuard::bump(&mut live);
                }
                live.apply_all(facts);
            }
            drop(live);
            folded.send_replace(last.position);
            folded_events.fetch_add(commit.facts.len() as u64, Ordering::Release);
        }
        commit.acknowledge();
    }
}

//! The fault script: what goes wrong next. Tests write it, services read it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// A fault of one append, alone or in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFault {
    /// It is committed, then the connection breaks.
    CommitThenDropReply,
    /// The connection breaks before it is stored.
    DropBeforeStoring,
    /// Answered `UNAVAILABLE`, not stored.
    Refuse,
    /// Answered that another node leads; the address of that node is told or not. Not stored.
    NotLeader {
        /// True if the address of the leader is told.
        tells_leader: bool,
    },
    /// Answered `ABORTED`, stored all the same.
    AbortedButStored,
    /// Answered `ABORTED`, not stored.
    AbortedNotStored,
}

/// Faults that may come together on one script, up to this many.
pub const FAULTS_MAX: usize = 65_536;

/// The faults that are yet to happen, on any node.
#[derive(Debug)]
pub struct Faults {
    appends: Mutex<VecDeque<(u32, AppendFault)>>,
    repeated_checkpoints: AtomicU64,
    ended_subscriptions: watch::Sender<u64>,
    read_pause: Mutex<Duration>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            appends: Mutex::default(),
            repeated_checkpoints: AtomicU64::new(0),
            ended_subscriptions: watch::Sender::new(0),
            read_pause: Mutex::default(),
        }
    }
}

impl Faults {
    /// The next append that has no fault yet fails so.
    pub fn next_append(&self, fault: AppendFault) {
        self.append_after(0, fault);
    }

    /// `good` appends go well after those of the faults before, then one fails: in the middle of a batch session, too.
    ///
    /// # Panics
    /// If [`FAULTS_MAX`] wait already.
    pub fn append_after(&self, good: u32, fault: AppendFault) {
        let mut appends = self.appends.lock();
        assert!(appends.len() < FAULTS_MAX, "the script is full");
        appends.push_back((good, fault));
    }

    /// Forgets all faults that have not happened.
    pub fn clear(&self) {
        self.appends.lock().clear();
        self.repeated_checkpoints.store(0, Ordering::SeqCst);
        *self.read_pause.lock() = Duration::ZERO;
    }

    /// The next `count` checkpoints are delivered twice.
    pub fn repeat_checkpoints(&self, count: u64) {
        self.repeated_checkpoints.fetch_add(count, Ordering::SeqCst);
    }

    /// All subscriptions that are open end with OK.
    pub fn end_subscriptions(&self) {
        self.ended_subscriptions.send_modify(|ended| *ended += 1);
    }

    /// Reads and subscriptions rest so long before each page.
    pub fn pause_reads(&self, pause: Duration) {
        *self.read_pause.lock() = pause;
    }

    pub(crate) fn take_append(&self) -> Option<AppendFault> {
        let mut appends = self.appends.lock();
        let (good, fault) = appends.front_mut()?;
        if *good > 0 {
            *good -= 1;
            return None;
        }
        let fault = *fault;
        appends.pop_front();
        Some(fault)
    }

    /// True if an append is yet to fail.
    pub(crate) fn has_appends(&self) -> bool {
        !self.appends.lock().is_empty()
    }

    pub(crate) fn take_repeated_checkpoint(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        self.repeated_checkpoints.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }

    pub(crate) fn ended_subscriptions(&self) -> watch::Receiver<u64> {
        self.ended_subscriptions.subscribe()
    }

    pub(crate) fn read_pause(&self) -> Duration {
        *self.read_pause.lock()
    }
}

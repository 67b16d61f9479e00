//! The thread that writes: it takes all frames that gathered since the last time, syncs each node's file once for
//! all of them, and lets the cluster commit. It is the clock of elections and time-outs as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::core::{Core, Outcome, Reply};
use crate::disk::NodeFile;

/// Time between two looks at who can talk to whom.
const TICK: Duration = Duration::from_millis(10);

/// The core behind its lock, and the wake-up of the heart.
pub(crate) struct Shared {
    core: Mutex<Core>,
    work: Condvar,
    ended: AtomicBool,
}

/// Frames for one node's file.
struct Job {
    node: usize,
    starts: u64,
    file: Arc<Mutex<Option<NodeFile>>>,
    frames: Vec<u8>,
    records: usize,
}

impl Shared {
    pub(crate) fn new(core: Core) -> Self {
        Self { core: Mutex::new(core), work: Condvar::new(), ended: AtomicBool::new(false) }
    }

    /// Runs `act` under the lock, wakes the heart, and tells outcomes once the lock is released.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.lock();
        let result = act(&mut core);
        let done = std::mem::take(&mut core.done);
        drop(core);
        self.work.notify_one();
        tell(done);
        result
    }

    /// Looks at the state: changes nothing, wakes nobody.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Core) -> T) -> T {
        look(&self.core.lock())
    }

    /// Ends the heart.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.work.notify_one();
    }

    /// The thread's loop.
    pub(crate) fn beat(&self) {
        let mut next_tick = Instant::now();
        while !self.ended.load(Ordering::SeqCst) {
            let jobs = self.wait_for_jobs(next_tick);
            for job in &jobs {
                if let Some(file) = job.file.lock().as_mut() {
                    file.append(&job.frames).expect("the file of a node can be written");
                }
            }
            let now = Instant::now();
            let mut core = self.core.lock();
            for job in jobs {
                let node = &mut core.nodes[job.node];
                if let Some(process) = node.process.as_mut().filter(|_| node.starts == job.starts) {
                    process.synced = job.records;
                }
            }
            if now >= next_tick {
                core.tick(now);
                next_tick = now + TICK;
            } else {
                core.advance();
            }
            let done = std::mem::take(&mut core.done);
            drop(core);
            tell(done);
        }
    }

    /// All frames that are to be written. Comes back without any when it is time for a tick.
    fn wait_for_jobs(&self, next_tick: Instant) -> Vec<Job> {
        let mut core = self.core.lock();
        loop {
            let jobs = jobs(&mut core);
            if !jobs.is_empty() || self.ended.load(Ordering::SeqCst) {
                return jobs;
            }
            if self.work.wait_until(&mut core, next_tick).timed_out() {
                return Vec::new();
            }
        }
    }
}

fn jobs(core: &mut Core) -> Vec<Job> {
    let nodes = core.nodes.iter_mut().enumerate().filter(|(_, node)| !node.frozen);
    nodes
        .filter_map(|(index, node)| {
            let process = node.process.as_mut().filter(|process| !process.unsynced.is_empty())?;
            Some(Job {
                node: index,
                starts: node.starts,
                file: Arc::clone(&process.file),
                frames: std::mem::take(&mut process.unsynced),
                records: process.store.log().len(),
            })
        })
        .collect()
}

fn tell(done: Vec<(Reply, Outcome)>) {
    for (reply, outcome) in done {
        reply(outcome);
    }
}

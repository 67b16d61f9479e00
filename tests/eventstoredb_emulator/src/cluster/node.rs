//! The switches of one node: everything that happens to it from outside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::core::{Core, Role};
use super::{Cluster, StartError};
use crate::clock;
use crate::record::Record;

/// One node of a cluster: its switches.
pub struct NodeHandle<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) index: usize,
}

impl NodeHandle<'_> {
    fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        self.cluster.inner.shared.with(|core| {
            let result = act(core);
            core.tick(Instant::now());
            result
        })
    }

    /// Ends the node's process: connections break, memory is lost, the file stays. A no-op if it does not run.
    pub fn kill(&self) {
        self.with(|core| core.stop(self.index));
    }

    /// Starts the node; a no-op if it runs. It may not be ready yet.
    ///
    /// # Errors
    /// Its port is taken, or its file is damaged.
    pub fn start(&self) -> Result<(), StartError> {
        if self.is_running() {
            return Ok(());
        }
        self.cluster.run(self.index, None)
    }

    /// Freezes the node: its connections stay open, and it says nothing.
    pub fn freeze(&self) {
        self.with(|core| {
            let node = &mut core.nodes[self.index];
            if let Some(process) = &node.process {
                process.gate.freeze();
                node.frozen = true;
            }
        });
    }

    /// Thaws the node. It takes first what was sent to it.
    pub fn thaw(&self) {
        self.with(|core| {
            core.take_inbox(self.index);
            let node = &mut core.nodes[self.index];
            node.frozen = false;
            if let Some(process) = &node.process {
                process.gate.thaw();
            }
        });
    }

    /// Cuts the node off from the others; clients still reach it.
    pub fn cut(&self) {
        self.with(|core| core.nodes[self.index].cut = true);
    }

    /// Lets the node talk to the others again.
    pub fn heal(&self) {
        self.with(|core| core.nodes[self.index].cut = false);
    }

    /// True while the node's process runs. One that had to truncate its log has ended by itself.
    pub fn is_running(&self) -> bool {
        self.cluster.inner.shared.look(|core| core.process(self.index).is_some())
    }

    /// True while the node leads or follows.
    pub fn is_ready(&self) -> bool {
        self.cluster.inner.shared.look(|core| core.role(self.index)) != Role::NotReady
    }

    /// The node's state in a word.
    pub fn state(&self) -> &'static str {
        self.cluster.inner.shared.look(|core| {
            let node = &core.nodes[self.index];
            match core.role(self.index) {
                _ if node.process.is_none() => "down",
                _ if node.frozen => "frozen",
                _ if node.cut => "cut",
                Role::Leader => "leader",
                Role::Follower { .. } => "follower",
                Role::NotReady => "unready",
            }
        })
    }

    /// The address that the node listens on.
    pub fn address(&self) -> SocketAddr {
        self.cluster.inner.addresses[self.index]
    }

    /// All records of the node, the uncommitted as well; and how many are committed. Empty while it does not run.
    pub fn log(&self) -> (Vec<Arc<Record>>, usize) {
        self.cluster.inner.shared.look(|core| {
            let store = core.process(self.index).map(|process| &process.store);
            store.map(|store| (store.log().to_vec(), store.committed().len())).unwrap_or_default()
        })
    }

    /// Removes what readers no longer see from the node's log and file; returns the number of events.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scavenge(&self) -> std::io::Result<usize> {
        self.cluster.inner.shared.with(|core| {
            let Some(process) = core.process_mut(self.index) else { return Ok(0) };
            let removed = process.store.scavenge(clock::now()).len();
            let (log, end) = (process.store.log(), process.store.end());
            let behind = |place: usize| log.get(place + 1).map_or(end, |next| next.position);
            let stored: Vec<_> =
                log.iter().enumerate().map(|(place, record)| (Arc::clone(record), behind(place))).collect();
            let taken = process.file.lock().take();
            if let Some(mut file) = taken {
                file.replace_with(&stored)?;
                // Frames that the heart has taken but not written are in the new file: it finds the old one gone.
                process.file = Arc::new(Mutex::new(Some(file)));
            }
            process.unsynced.clear();
            process.synced = stored.len();
            Ok(removed)
        })
    }
}

//! A cluster that tests use: emulated, or real.

mod emulated;
mod real;

use eventstoredb_emulator::Cluster;
use lastseen_eventstoredb::{ClusterSettings, Credentials, Timing};

pub(crate) use self::emulated::Emulated;
pub(crate) use self::real::{Real, Shared};
use crate::model::Seen;
use crate::raw::Client;
use crate::waiting::until;

/// Something that is done to a cluster from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ability {
    /// There are three nodes at least.
    ThreeNodes,
    /// A node's process is ended at once, and started.
    Kill,
    /// A node's process stands still, and goes on.
    Freeze,
    /// Removes the events that readers no longer see.
    Scavenge,
    /// Accidents of single calls, truncation, files that are put back: the emulator's alone.
    Script,
}

/// A cluster. Nodes are counted from 0.
pub(crate) trait TestCluster: Send + Sync {
    /// `esdb://...`, without a user.
    fn address(&self) -> String;
    /// The user for everything.
    fn credentials(&self) -> Option<Credentials>;
    /// Times for the store under test.
    fn timing(&self) -> Timing;
    fn nodes(&self) -> usize;
    /// The node that leads at present.
    fn leader(&self) -> Option<usize>;
    fn kill(&self, node: usize);
    fn start(&self, node: usize);
    fn freeze(&self, node: usize);
    fn thaw(&self, node: usize);
    fn scavenge(&self);
    /// All events of streams with this prefix, in their order.
    fn seen(&self, prefix: &str) -> Vec<Seen>;
    /// A plain client of the node that leads, or of one of the nodes, with the user for everything.
    fn raw(&self, node: usize) -> Client;
    /// The emulator, if it is one.
    fn emulator(&self) -> Option<&Cluster>;

    /// Does what a supervisor of nodes does: starts those that ended their process by themselves, as a leader does that has to
    /// truncate. True if all nodes run. Real clusters have a supervisor.
    fn is_whole(&self) -> bool {
        let Some(cluster) = self.emulator() else { return true };
        for node in cluster.nodes().filter(|node| !node.is_running()) {
            node.start().unwrap();
        }
        cluster.nodes().all(|node| node.is_ready())
    }

    /// A plain client of the node that leads.
    fn raw_leader(&self) -> Client {
        self.raw(self.wait_for_leader())
    }

    /// Waits for a node that leads.
    fn wait_for_leader(&self) -> usize {
        let mut leader = None;
        until("a node leads", || {
            leader = self.leader();
            leader.is_some()
        });
        leader.unwrap()
    }

    /// Settings of the store under test, for an installation.
    fn settings(&self, installation: &str) -> ClusterSettings {
        let settings = ClusterSettings::new(&self.address(), self.credentials()).unwrap();
        let mut settings = settings.for_installation(installation).unwrap();
        settings.timing = self.timing();
        settings
    }

    /// The emulator, in tests that only it can run.
    fn script(&self) -> &Cluster {
        self.emulator().expect("tests that need the script run over the emulator alone")
    }
}

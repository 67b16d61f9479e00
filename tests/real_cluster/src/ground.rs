//! The clusters that the suite runs over: those of the emulator, one for each test, unless the environment names a real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventstoredb_emulator::Options;

use crate::cluster::{Ability, Emulated, Real, Shared, TestCluster};

/// The place of all tests.
pub(crate) struct Ground {
    /// Fault schedules: the seeds.
    pub(crate) seeds: Vec<u64>,
    real: Option<Arc<Real>>,
}

/// A variable of the environment.
#[expect(clippy::disallowed_methods, reason = "the suite is a test program: these are all of its settings")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Ground {
    pub(crate) fn of_environment() -> Self {
        const SCHEDULES: u64 = 200;
        let number = |name: &str| variable(name).map(|value| value.parse::<u64>().expect(name));
        let seeds = match number("LASTSEEN_CLUSTER_SEED") {
            Some(seed) => vec![seed],
            None => (1..=number("LASTSEEN_CLUSTER_SCHEDULES").unwrap_or(SCHEDULES)).collect(),
        };
        Self { seeds, real: Real::of_environment().map(Arc::new) }
    }

    /// True if it is a real cluster.
    pub(crate) fn is_real(&self) -> bool {
        self.real.is_some()
    }

    /// The clusters, for the summary.
    pub(crate) fn name(&self) -> &'static str {
        if self.is_real() { "a real cluster" } else { "the protocol emulator, which is not a real cluster" }
    }

    /// Says why something cannot be done to the clusters here. `None`: it can.
    pub(crate) fn lacks(&self, ability: Ability) -> Option<String> {
        self.real.as_ref().and_then(|real| real.lacks(ability))
    }

    /// A cluster of three nodes, or the real one.
    pub(crate) fn cluster(&self) -> Box<dyn TestCluster> {
        self.cluster_with(|options| options.nodes = 3)
    }

    /// A cluster of one node, or the real one.
    pub(crate) fn small_cluster(&self) -> Box<dyn TestCluster> {
        self.cluster_with(|_| ())
    }

    /// A cluster with these settings if it is one of the emulator, or the real one.
    pub(crate) fn cluster_with(&self, change: impl FnOnce(&mut Options)) -> Box<dyn TestCluster> {
        if let Some(real) = &self.real {
            return Box::new(Shared::new(real.clone()));
        }
        let mut options = Options::default();
        change(&mut options);
        Box::new(Emulated::start(options))
    }
}

/// A name of an installation that no other test has, in this run or another.
pub(crate) fn installation() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let run = uuid::Uuid::new_v4().as_u128() % (1 << 60);
    format!("t{}_{run:x}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// The prefix of the streams of an installation.
pub(crate) fn prefix(installation: &str) -> String {
    format!("user_activity_{installation}-")
}

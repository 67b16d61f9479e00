//! The suite over a cluster: the store that follows one ([`ClusterStore`](lastseen_eventstoredb::ClusterStore)), and the rules of
//! the server that it depends on.
//!
//! 1. `ground` is what the suite runs over: clusters of the protocol emulator, or one real cluster that the environment names;
//! 2. each test (`suite`) takes a `cluster` from it, with an installation of its own, so that history of others is not seen;
//! 3. `peer` is a node of Lastseen with its directory, `model` what it must hold, `journal` what publishers were told;
//! 4. `report` says at the end which rules of the emulator's ledger were confirmed, which differ, and which were not asked.

#![expect(clippy::unwrap_used, reason = "all of this is tests, also the functions without the attribute")]

mod answers;
mod cluster;
mod contract;
mod following;
mod ground;
mod journal;
mod measure;
mod model;
mod peer;
mod raw;
mod report;
mod rules;
mod schedules;
mod suite;
mod two_nodes;
mod waiting;
mod which_cluster;

use std::process::ExitCode;

/// Measures the store beside the bare client, and prints figures.
pub fn measure() -> ExitCode {
    measure::run()
}

/// Runs the tests that the arguments choose; fails if one does, or if the cluster differs from a rule. With the one argument
/// `measure`, measures instead.
pub fn run() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|argument| argument == "measure") {
        return measure::run();
    }
    suite::run(&libtest_mimic::Arguments::from_args())
}

//! Figures of the store over a cluster, beside those of the bare client.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastseen_cluster_tests::measure()
}

//! The same suite as a test of cargo.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastseen_cluster_tests::run()
}

//! The suite as a program of its own: it is built once, and run beside a cluster without cargo.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastseen_cluster_tests::run()
}

//! The shared parts of the benchmarks of the real binary: the load, the questions of a dashboard meanwhile, and figures.

pub(crate) mod arguments;
pub(crate) mod connection;
pub(crate) mod dashboard;
pub(crate) mod figures;
pub(crate) mod latency;
pub(crate) mod load;
pub(crate) mod probe;
pub(crate) mod workload;

/// The server that is measured.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_lastseen");

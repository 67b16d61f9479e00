//! What the `lastseen` binary shares with benchmarks and tests: [`population`], a generator of realistic activity.
//!
//! Everything else of the binary is private to it.

pub mod population;

//! The part of the `lastseen` binary that benchmarks and tests share: [`population`], a generator of
//! realistic activity.
//!
//! Everything else of the binary is private to it.

pub mod population;

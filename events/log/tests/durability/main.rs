//! What the log promises of its disk, shown on a disk that breaks every promise a disk can break.
//!
//! `power_cut` takes the power away at every operation, `syncs` leaves out one sync at a time and sees that
//! noticed, `corruption` damages every byte, `sealed` does that to segments, `io_faults` fails every operation, `model` compares with a `Vec`.
//! `LASTSEEN_LOG_CASES` multiplies the number of cases (default 1).

mod backup;
mod corruption;
mod history;
mod io_faults;
mod model;
mod power_cut;
mod publishers;
mod sealed;
mod support;
mod syncs;
mod tail;

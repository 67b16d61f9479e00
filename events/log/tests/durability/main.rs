//! The promises of the log, shown on a disk that breaks every promise a disk can break.
//!
//! `power_cut` takes the power away at every operation, `syncs` leaves out one sync at a time and sees that
//! noticed, `corruption` damages every byte, `sealed` does that to segments, `io_faults` fails every
//! operation, `refusals` and `health` see what the log says of itself meanwhile, `model` compares with a
//! `Vec`, `overtaken` lets look-ups be slower than the window, `crowd` takes the power from many publishers,
//! `sealing` has a disk that wrote something else, `following` has the log follow another one.
//!
//! Points that are too many are sampled by seed. `LASTSEEN_LONG_TESTS=1` takes all of them and four
//! times the seeds.

mod alike;
mod backup;
mod corruption;
mod crowd;
mod followers;
mod following;
mod health;
mod history;
mod io_faults;
mod limits;
mod model;
mod overtaken;
mod power_cut;
mod publishers;
mod refusals;
mod sealed;
mod sealing;
mod support;
mod syncs;
mod tail;

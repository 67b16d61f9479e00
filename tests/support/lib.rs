//! The common part of the tests of the real binary.
//!
//! - [`Server`]: a running `lastseen serve` on a free port, to be killed, stopped and started again;
//! - [`Client`] and [`Answer`]: plain blocking HTTP, whatever the status;
//! - [`Events`]: the JSON of events, with ids that are the same in every run;
//! - [`Model`]: what the answers must be, counted naively from the same JSON;
//! - [`Recount`]: the same for days, weeks, months and cohorts, in any time zone;
//! - [`wait_until_sealed`] waits for segments;
//! - [`python_with`] and [`node_packages`] find tools of others, where they are installed;
//! - [`Authority`]: an authority of our own, and certificates that it gives;
//! - [`Postgres`]: a PostgreSQL server, where one is installed;
//! - [`Browser`]: a browser, where one is installed;
//! - [`git_activity`]: real history with known answers.
//!
//! Everything here panics where it cannot go on: a test that uses it has failed then.

#![expect(
    clippy::missing_panics_doc,
    reason = "this crate supports tests: a panic is how it reports a failure"
)]

mod browser;
mod certificates;
mod days;
mod events;
pub mod git_activity;
mod http;
pub mod instant;
mod model;
mod postgres;
mod process;
mod seeded;
mod segments;
mod server;
mod tools;

pub use browser::Browser;
pub use certificates::{Authority, Certified};
pub use chrono::NaiveDate;
pub use days::{Counted, Period, Recount, Span, date_in, today};
pub use events::Events;
pub use http::{Answer, Client, path_segment};
pub use model::{Model, Question};
pub use postgres::Postgres;
pub use process::{Ended, Process, Signal, eventually, raise_descriptors};
pub use seeded::Seeded;
pub use segments::wait_until_sealed;
pub use server::{READY_WITHIN, Server};
pub use tools::{node_packages, project_file, python_with, skip};

//! The HTTP service: takes events in, answers questions, owns the live views.
//!
//! 1. `ingest` decodes a request into a validated batch and appends it to the log;
//! 2. the log's writer hands each durable group to the fold thread (`fold`), which applies it to the live
//!    views and only then acknowledges it: after a 2xx the next query sees the event;
//! 3. `query` answers from the live views, or folds a chosen part of history into fresh ones (`history`);
//! 4. `replay` streams history itself;
//! 5. `problem` is the only place that turns errors into HTTP; `routes` lists every route.

mod app;
mod backfills;
mod body;
mod config;
mod engine;
mod fold;
mod health;
mod history;
mod http;
mod ingest;
mod live;
mod problem;
mod query;
mod rebuilds;
mod replay;
mod routes;
mod rows;
mod serve;
mod snapshot;
mod snapshots;
mod tasks;
mod unread;

pub use config::{ConnectionLimits, Persons, ServeConfig};
pub use http::origin::{InvalidOrigin, Origin};
pub use serve::{ServeError, serve};
pub use snapshot::{Snapshot, SnapshotError};

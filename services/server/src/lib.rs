//! The HTTP service: takes events in, answers questions, owns the live views.
//!
//! Three layers, each using only those below it:
//!
//! 1. `http` parses requests, authorises, renders answers; `http::routes` is the one table of routes;
//! 2. `questions` answers typed questions behind one admission, and `publishing` appends and retracts;
//! 3. `read_model` owns the log, the live views, and the threads that keep them together; `store` opens the log.
//!
//! An append goes `http` -> `publishing` -> log -> fold thread -> answer: after a 2xx the next question sees
//! the event.

mod asker;
mod audit;
mod config;
mod files;
mod http;
pub mod keys;
mod memory;
mod metrics;
mod origin;
mod publishing;
mod questions;
mod read_model;
mod serve;
mod store;
mod tasks;
#[cfg(test)]
mod testing;
mod tls;

pub use audit::{AuditAction, AuditLog};
pub use config::{ClusterConfig, ConnectionLimits, Limits, ServeConfig};
pub use http::connections::BoundAddress;
pub use http::routes::{RouteInfo, routes};
pub use lastseen_projections::Persons;
pub use origin::{InvalidListenAddress, InvalidOrigin, ListenAddress, Origin};
pub use read_model::StartError;
pub use read_model::snapshot::{Snapshot, SnapshotError};
pub use serve::{ServeError, serve, serve_router};
pub use store::{ClusterError, StoreError, grant_read};
pub use tls::{TlsError, TlsFiles, choose_cryptography};

//! End-to-end tests of the real binary: events in over HTTP or by `lastseen import`, answers out, with
//! crashes and restarts in between. One module per topic; what they share is in `lastseen-tests`.

#![expect(clippy::unwrap_used, reason = "all of this is tests, also the functions without the attribute")]

mod access;
mod analysts;
mod answers;
mod answers_form;
mod backfill;
mod bad_input;
mod bodies;
mod browsers;
mod clients;
mod cluster;
mod commands;
mod connections;
mod crash;
mod dashboard;
mod days;
mod demo;
mod deployment;
mod every_route;
mod git_history;
mod golden;
mod history;
mod http2;
mod idempotency;
mod identity;
mod import;
mod keys;
mod listen;
mod lists;
mod live;
mod lookup;
mod metrics;
mod naive_recount;
mod overload;
mod pages;
mod past;
mod positions;
mod postgres;
mod presets;
mod publisher;
mod relay;
mod replay;
mod replay_command;
mod retention;
mod retraction;
mod routes;
mod seed_cases;
mod shutdown;
mod siege;
mod simulate;
mod slow_peers;
mod snapshots;
mod tenants;
mod tls;
mod traces;
mod unix_socket;
mod upkeep;
mod which_log;
mod worlds;

/// The binary that cargo has just built.
const BINARY: &str = env!("CARGO_BIN_EXE_lastseen");

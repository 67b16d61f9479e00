//! HTTP below the routes: connections and their limits, the names under which the server answers, other
//! sites.
//!
//! `connections` accepts and serves; `hosts` refuses foreign names and sites before a route is reached;
//! `cors` lets configured sites in; `body_fault` tells why a body could not be read. Nothing here knows the
//! store.

pub(crate) mod body_fault;
pub(crate) mod connections;
pub(crate) mod cors;
pub(crate) mod hosts;
pub(crate) mod origin;

//! One file a resource: each handler reads its parameters, asks, and renders the answer.

pub(super) mod active_users;
pub(super) mod backfills;
pub(super) mod corrections;
pub(super) mod decay;
pub(super) mod description;
pub(super) mod event_counts;
pub(super) mod events;
pub(super) mod health;
pub(super) mod live;
pub(super) mod lookup;
pub(super) mod metrics;
pub(super) mod person;
pub(super) mod replay;
pub(super) mod retention;
pub(super) mod sessions;
pub(super) mod summary;
pub(super) mod tenants;
pub(super) mod user;
pub(super) mod user_events;
pub(super) mod users;
pub(super) mod why;

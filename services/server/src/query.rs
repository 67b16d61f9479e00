//! Questions and their answers. `scope` reads the parameters they share and decides between the live views and
//! a scan of history; each route has a file.

pub(crate) mod answer;
mod cursor;
pub(crate) mod days;
pub(crate) mod lookup;
mod page;
pub(crate) mod params;
pub(crate) mod retention;
mod row;
pub(crate) mod scope;
pub(crate) mod span;
pub(crate) mod summary;
pub(crate) mod tenant;
pub(crate) mod tenants;
pub(crate) mod user;
pub(crate) mod user_events;
pub(crate) mod users;

/// How many rows of a list, from 1 to `MAX`.
pub(crate) fn limit<const MAX: usize>(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX).contains(limit));
    limit.ok_or_else(|| format!("expected an integer from 1 to {MAX}"))
}

//! Questions and their answers. `scope` reads the parameters they share and decides between the live views and
//! a scan of history; each route has a file.

pub(crate) mod answer;
mod cursor;
pub(crate) mod lookup;
mod page;
pub(crate) mod params;
mod row;
pub(crate) mod scope;
pub(crate) mod summary;
pub(crate) mod tenant;
pub(crate) mod user;
pub(crate) mod user_events;
pub(crate) mod users;

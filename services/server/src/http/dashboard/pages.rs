//! One handler a page.

pub(in crate::http) mod assets;
pub(in crate::http) mod lists;
pub(in crate::http) mod overview;
pub(in crate::http) mod session;
pub(in crate::http) mod user;

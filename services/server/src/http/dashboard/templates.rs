//! Pages as typed templates: from answers of the API to HTML.

mod days;
pub(super) mod everyone;
pub(super) mod layout;
pub(super) mod lists;
pub(super) mod message;
pub(super) mod overview;
pub(super) mod parts;
pub(super) mod retention;
pub(super) mod sign_in;
pub(super) mod tenants;
pub(super) mod user;
pub(super) mod view;

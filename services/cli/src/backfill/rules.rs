//! The meaning of the columns of a table, and the events that a row stands for. Pure: the time is an argument.

pub(crate) mod condition;
pub(crate) mod instant;
pub(crate) mod logins;
pub(crate) mod notes;
pub(crate) mod users;
pub(crate) mod values;
pub(crate) mod words;

#[cfg(test)]
mod tests;

//! Rows of tables, whatever the format: each as a record of the columns that are in use.

pub(crate) mod cells;
pub(crate) mod csv;
pub(crate) mod fed;
pub(crate) mod json;
pub(crate) mod kind;
pub(crate) mod parquet;
pub(crate) mod path;
mod quotes;
pub(crate) mod record;
pub(crate) mod rows;
pub(crate) mod sheet;
pub(crate) mod tsv;

#[cfg(test)]
mod tests;

//! Tables beside readers that are not ours, and one table in every dialect.

mod dialects;
mod independent;

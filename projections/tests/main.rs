//! The promises of the folds: in domain words (`fold_spec`), and as laws over random histories against a
//! recount that keeps nothing but a list of facts.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail as a test does")]

mod days;
mod fold_spec;
mod history;
mod laws;
mod naive;
mod retraction;
mod scale;
mod snapshots;
mod traffic;

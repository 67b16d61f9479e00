//! The pure folds of Lastseen: from facts to who was last seen when and how many are active, exactly.
//!
//! The data path through this crate:
//!
//! 1. a [`Fact`](lastseen_event::Fact) enters [`Views::apply`] (live) or [`ViewsBuilder::apply`] (a chosen
//!    [`Selection`] of history);
//! 2. `members` folds it into one record per member: a join, so neither order nor repetition matters;
//! 3. `counts` keeps what the numbers need beside the records: counters, and multisets of instants that count
//!    from any instant without looking at every member;
//!    `days` keeps which members were active on which day, a bitmap a day;
//! 4. [`Views::summary`] answers with the numbers, [`Views::member`] and [`Views::members_of`] with
//!    [`MemberState`]s;
//!    [`Views::days`] takes out what a series needs ([`DaySets`]), to be counted beside the fold;
//! 5. [`MemberState::meets`] is the one definition of each [`Condition`]: lists filter by it, counts agree.
//!
//! Pure: no tokio, no I/O, no clock. "Now" is an argument of the query.

mod as_of;
mod beside;
mod calendar;
mod compare;
mod counts;
mod days;
mod decisions;
mod instants;
mod member;
mod members;
mod newest;
mod paged;
mod persons;
mod ranges;
mod recent;
mod retracted;
mod roster;
mod selection;
mod snapshot;
mod summary;
mod views;
mod window;

pub use as_of::AsOf;
pub use calendar::{Calendar, Day, InvalidDay, Period};
pub use compare::{Difference, DifferenceKind};
pub use days::{Before, Cohort, DayRow, DaySets, DaysBuilder, PeriodRow};
pub use member::{Condition, MemberState, Seen, Status};
pub use retracted::Retracted;
pub use selection::{InvalidTypes, Selection, TypeSet};
pub use snapshot::{BadPart, Restoring, SNAPSHOT_VERSION, Taking};
pub use summary::{Overall, Scope, Summary};
pub use views::{Views, ViewsBuilder};
pub use window::{InvalidWindow, Window};

//! The pure folds of Lastseen: from facts to who was last seen when and how many are active, exactly.
//!
//! The data path through this crate:
//!
//! 1. a [`Fact`](lastseen_event::Fact) enters [`Views::apply`] (live) or [`ViewsBuilder::apply`] (a chosen
//!    [`Selection`] of history);
//! 2. `members` folds it into one record per member: a join, so neither order nor repetition matters;
//! 3. `counts` keeps counters and multisets of instants, which count from any instant without a pass over the
//!    members; `days` keeps the active members of each day, a bitmap a day;
//! 4. [`Views::summary`] answers with the numbers, [`Views::member`] and [`Views::members_of`] with
//!    [`MemberState`]s; [`Views::days`] takes out the [`DaySets`] of a series, to be counted beside the fold;
//! 5. each definition is one function that live views, scans, [`AsOf`], series and cohorts call: membership at an
//!    instant in `roster` and `decisions`, activity and first activity in `activity`, and each [`Condition`] of a
//!    list in [`MemberState::meets`].
//!
//! Pure: no tokio, no I/O, no clock. "Now" is an argument of the query.

mod activity;
mod as_of;
mod bits;
mod bytes;
mod calendar;
mod compare;
mod counts;
mod days;
mod decisions;
mod instants;
mod member;
mod members;
mod paged;
mod parallel;
mod persons;
mod ranges;
mod recent;
mod retracted;
mod roster;
mod selection;
mod snapshot;
mod summary;
mod tally;
mod traffic;
mod views;
mod window;

pub use as_of::{AsOf, Behind};
pub use bytes::BadPart;
pub use calendar::{Calendar, Day, InvalidDay, Period, WeekStart};
pub use compare::{Difference, DifferenceKind};
#[doc(hidden)]
pub use counts::PassLimits;
pub use days::{
    ActivityScan, Before, Cohort, Cut, DaySets, DaysBuilder, Definition, Following, Periods, ScannedDays,
    SeriesRow, Wanted, Windows,
};
pub use member::{Condition, MemberState, Seen, Status};
pub use persons::{PersonMap, Persons};
pub use retracted::Retracted;
pub use selection::{InvalidTypes, Selection, TypeSet};
pub use snapshot::{Restoring, SNAPSHOT_VERSION, Taking};
pub use summary::{Overall, PersonNumbers, Scope, Summary};
pub use traffic::{EventCounts, Traffic};
pub use views::{DaysAsked, Subject, Unfollowed, Views, ViewsBuilder};
pub use window::{InvalidWindow, Window};

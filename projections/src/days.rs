//! Days as facts come: the members active on each day, those that were present by its end, and the rows that
//! follow from both.
//!
//! 1. [`presence`] has the days of one calendar on which members came to exist, were deleted or left out;
//! 2. [`activity`] has the days of one [`Definition`] on which members were active;
//! 3. [`builder`] makes either of history in bulk, [`following`] hands what it made to the live views;
//! 4. a reader takes the shared bitmaps out in no time ([`sets`]) and counts [`rows`] and cohorts beside the fold,
//!    of members or of [`people`].

mod activity;
mod before;
mod bitmaps;
mod builder;
mod by_end;
mod cut;
mod following;
mod marks;
mod people;
mod presence;
mod rows;
mod running;
mod sets;
mod sliding;
mod stamps;
mod totals;

use chrono_tz::Tz;

pub(crate) use self::activity::{ActivityBitmaps, ActivityDays, Reach};
pub(crate) use self::bitmaps::ByDay;
pub use self::builder::{DaysBuilder, ScannedDays};
pub use self::cut::Cut;
pub use self::following::{ActivityScan, Following};
pub(crate) use self::presence::PresenceDays;
pub use self::rows::{Cohort, SeriesRow, Windows};
pub use self::sets::{Before, DaySets, Periods, Wanted};
use crate::TypeSet;

/// The activity of a series: whose dates, and which types. Two zones whose clocks are that of UTC are two
/// definitions; callers name such a zone UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Definition {
    /// The zone whose wall clock shows the dates.
    pub zone: Tz,
    /// The types that count as activity.
    pub counted: TypeSet,
}

impl Definition {
    /// The days of UTC on which anything counts: live views always follow them.
    pub const UTC: Self = Self { zone: Tz::UTC, counted: TypeSet::all() };
}

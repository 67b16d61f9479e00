//! The definitions of activity that live views, scans, counts as of an instant, series and cohorts share.
//!
//! Each is one function and is called by all of them; membership has its own in `decisions` and `roster`.
//! Nothing here keeps state.

use lastseen_event::{MemberOrdinal, UtcInstant};
use roaring::RoaringBitmap;

use crate::calendar::{Calendar, Day};
use crate::decisions::Decisions;

/// Returns a member's first day, on which it is `new`: the least date that shows activity of it that counts.
///
/// `known` is the first day without this activity, `day` the date of this activity. Where a clock is set back
/// past midnight, a later instant can have the lesser date.
pub(crate) fn first_day(known: Option<Day>, day: Day) -> Day {
    known.map_or(day, |known| known.min(day))
}

/// Returns the first day by whose end a member observed at `at` has no estimate that counts.
pub(crate) fn estimates_void_from(calendar: &Calendar, at: UtcInstant) -> Day {
    calendar.closed_by(at)
}

/// Returns the members that only an estimate makes active in a stretch of time.
///
/// `estimated` are those with an estimate in the stretch, `absent` those deleted or left out by its end. `observed`
/// gives those observed by its end, also before it; only a stretch with an estimate left asks for them. The
/// active members are these and, without `absent`, those observed in the stretch.
pub(crate) fn only_estimated<'a>(
    mut estimated: RoaringBitmap,
    absent: &RoaringBitmap,
    observed: impl FnOnce() -> &'a RoaringBitmap,
) -> RoaringBitmap {
    estimated -= absent;
    if !estimated.is_empty() {
        estimated -= observed();
    }
    estimated
}

/// A change of what decisions come to, from the end of one day to the end of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It holds now, and did not before.
    Began,
    /// It held before, and does not now.
    Ended,
}

/// Returns the turn of a member on a day. `None`: by the day's end decisions come to the same as by the end of
/// the day before.
pub(crate) fn turn(
    decisions: &Decisions,
    member: MemberOrdinal,
    calendar: &Calendar,
    day: Day,
) -> Option<Turn> {
    let holds_by = |day| decisions.holds_at(member, calendar.end(day));
    match (holds_by(day.plus(-1)), holds_by(day)) {
        (false, true) => Some(Turn::Began),
        (true, false) => Some(Turn::Ended),
        (false, false) | (true, true) => None,
    }
}

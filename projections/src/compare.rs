//! The differences between two views that should be the same.
//!
//! `lastseen verify` compares restored views with rebuilt ones. Counts are not compared: they follow from the
//! members.

use std::collections::BTreeSet;
use std::fmt;

use lastseen_event::MemberOrdinal;
use roaring::RoaringBitmap;

use crate::calendar::Day;
use crate::days::Reach;
use crate::decisions::Matter;
use crate::{MemberState, Views};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The member that differs.
    pub member: MemberOrdinal,
    /// The part of it that differs.
    pub kind: DifferenceKind,
}

/// The part of a member that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The state of the member.
    Member {
        /// `None`: it should not be known.
        expected: Option<Box<MemberState>>,
        /// `None`: it is not known.
        found: Option<Box<MemberState>>,
    },
    /// The decisions that are kept about it: whether it is deleted, and left out.
    Decisions,
    /// The day from which on its estimates do not count.
    Estimates,
    /// Its place in a set of a day.
    Day {
        /// The day.
        day: Day,
        /// The name of the set.
        set: &'static str,
        /// True: the member is in the set and should not be. False: it is missing.
        found: bool,
    },
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member { expected, found } => write!(f, "expected {expected:?}, found {found:?}"),
            Self::Decisions => write!(f, "other decisions on being deleted or left out"),
            Self::Estimates => write!(f, "another day of its first observation beside estimates"),
            Self::Day { day, set, found: true } => write!(f, "is among the {set} of {day} and should not be"),
            Self::Day { day, set, found: false } => write!(f, "is not among the {set} of {day}"),
        }
    }
}

/// The sets of a day, in the order of the days' kinds.
const SETS: [&str; 9] = [
    "observed",
    "estimated",
    "first seen",
    "first observed",
    "created",
    "deleted",
    "restored",
    "left out",
    "taken in",
];

impl Views {
    /// Calls `each` with every difference of these views from the `expected` ones, whatever their setting of
    /// persons.
    pub fn differences(&self, expected: &Self, mut each: impl FnMut(Difference)) {
        let (members, expected_members) = (self.members(), expected.members());
        let ((days, presence), (expected_days, expected_presence)) = (self.utc(), expected.utc());
        let slots = members.roster.slots().max(expected_members.roster.slots());
        for member in (0..u32::try_from(slots).unwrap_or(u32::MAX)).map(MemberOrdinal::new) {
            let [found, wanted] = [members, expected_members].map(|members| members.roster.member(member));
            if found != wanted {
                let (expected, found) = (wanted.map(Box::new), found.map(Box::new));
                each(Difference { member, kind: DifferenceKind::Member { expected, found } });
            }
            let differs = |matter| {
                let [found, wanted] =
                    [members, expected_members].map(|members| members.roster.decisions(matter).of(member));
                !found.eq(wanted)
            };
            if differs(Matter::Deletion) || differs(Matter::LeavingOut) {
                each(Difference { member, kind: DifferenceKind::Decisions });
            }
            if !days.has_same_estimates(expected_days, member) {
                each(Difference { member, kind: DifferenceKind::Estimates });
            }
        }
        let none = RoaringBitmap::new();
        let [of_days, of_expected] = [days, expected_days].map(|days| days.share(&Reach::EVER));
        let activity = of_days.kinds().into_iter().zip(of_expected.kinds());
        let presence = presence.bitmaps().kinds().into_iter().zip(expected_presence.bitmaps().kinds());
        for ((found, wanted), set) in activity.chain(presence).zip(SETS) {
            let all: BTreeSet<Day> = found.keys().chain(wanted.keys()).copied().collect();
            for day in all {
                let [found, wanted] =
                    [found, wanted].map(|days| days.get(&day).map_or(&none, |members| &**members));
                for member in found ^ wanted {
                    let kind = DifferenceKind::Day { day, set, found: found.contains(member) };
                    each(Difference { member: MemberOrdinal::new(member), kind });
                }
            }
        }
    }
}

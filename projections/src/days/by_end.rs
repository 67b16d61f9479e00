//! Members in the state that holds by the end of a day: there and absent, or observed by then beside an estimate; and the persons
//! that are there, or were active before.

use std::borrow::Cow;
use std::ops::{Bound, RangeBounds};

use roaring::RoaringBitmap;

use super::bitmaps::ByDay;
use super::presence::PresenceBitmaps;
use crate::bits::Bits;
use crate::calendar::Day;
use crate::persons::PersonMap;

/// The state by the end of one day after the other that activity depends on. Each part advances only when it is
/// asked for: most days have no estimate in reach and need no observed members.
#[derive(Clone, Debug, Default)]
pub(super) struct ByEnd {
    pub(super) absent: AbsentByEnd,
    pub(super) observed: ObservedByEnd,
}

/// The members that are deleted or left out by the end of a day. Advances only when it is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct AbsentByEnd {
    deleted: HeldByEnd,
    left_out: HeldByEnd,
    either: RoaringBitmap,
}

/// The members of whom something holds by the end of a day.
#[derive(Clone, Debug, Default)]
struct HeldByEnd(Reached);

/// The members with an estimate that were observed by the end of a day.
#[derive(Clone, Debug, Default)]
pub(super) struct ObservedByEnd(Reached);

/// A set and the last day that is in it.
#[derive(Clone, Debug, Default)]
struct Reached {
    day: Option<Day>,
    members: RoaringBitmap,
}

impl Reached {
    /// Advances to `day` and returns the days that this adds; none if it was reached before.
    fn advance(&mut self, day: Day) -> (Bound<Day>, Bound<Day>) {
        match self.day {
            Some(before) if before >= day => (Bound::Included(day), Bound::Excluded(day)),
            before => {
                self.day = Some(day);
                (before.map_or(Bound::Unbounded, Bound::Excluded), Bound::Included(day))
            }
        }
    }
}

impl HeldByEnd {
    /// The wanted members of whom it holds by the end of `day`, and whether they are others than before.
    fn by(
        &mut self,
        (began, ended): (&ByDay, &ByDay),
        day: Day,
        wanted: Option<&RoaringBitmap>,
    ) -> (&RoaringBitmap, bool) {
        let added = self.0.advance(day);
        let members = &mut self.0.members;
        // A member turns at most once a day, so within a day the order does not matter.
        let mut began = began.range(added).peekable();
        let mut ended = ended.range(added).peekable();
        let mut changed = false;
        loop {
            match (began.peek(), ended.peek()) {
                (Some((day, more)), other) if other.is_none_or(|(other, _)| day <= other) => {
                    *members |= &*clip(more, wanted);
                    began.next();
                }
                (_, Some((_, fewer))) => {
                    *members -= &*clip(fewer, wanted);
                    ended.next();
                }
                (_, None) => return (members, changed),
            }
            changed = true;
        }
    }
}

impl AbsentByEnd {
    /// The wanted members that are absent by the end of `day`. Days must not go back from call to call.
    pub(super) fn by(
        &mut self,
        bitmaps: &PresenceBitmaps,
        day: Day,
        (wanted, everyone): (Option<&RoaringBitmap>, bool),
    ) -> &RoaringBitmap {
        let deletions = (&bitmaps.deleted, &bitmaps.restored);
        let leavings = (&bitmaps.left_out, &bitmaps.taken_in);
        let (deleted, deleted_changed) = self.deleted.by(deletions, day, wanted);
        if everyone || leavings.0.is_empty() {
            return deleted;
        }
        let (left_out, left_out_changed) = self.left_out.by(leavings, day, wanted);
        if deleted_changed || left_out_changed {
            self.either = deleted | left_out;
        }
        &self.either
    }
}

impl AbsentByEnd {
    /// The wanted members that are deleted, and those that are left out, by the end of `day`.
    pub(super) fn by_matter(
        mut self,
        bitmaps: &PresenceBitmaps,
        day: Day,
        wanted: Option<&RoaringBitmap>,
    ) -> [RoaringBitmap; 2] {
        self.deleted.by((&bitmaps.deleted, &bitmaps.restored), day, wanted);
        self.left_out.by((&bitmaps.left_out, &bitmaps.taken_in), day, wanted);
        [self.deleted.0.members, self.left_out.0.members]
    }
}

impl ObservedByEnd {
    /// The wanted members with an estimate that were observed by the end of `day`. Days must not go back from
    /// call to call.
    pub(super) fn by(
        &mut self,
        estimates_void_from: &ByDay,
        day: Day,
        wanted: Option<&RoaringBitmap>,
    ) -> &RoaringBitmap {
        for (_, members) in estimates_void_from.range(self.0.advance(day)) {
            self.0.members |= &*clip(members, wanted);
        }
        &self.0.members
    }
}

/// The persons with activity before a day, whatever their memberships were.
#[derive(Clone, Debug, Default)]
pub(super) struct Ever {
    /// `None`: nothing was looked at.
    before: Option<Day>,
    persons: RoaringBitmap,
}

impl Ever {
    /// Those with activity before `day`. Days must not go back from call to call.
    pub(super) fn before(&mut self, day: Day, first: &ByDay, persons: &PersonMap) -> &RoaringBitmap {
        if self.before.is_none_or(|before| before < day) {
            let from = self.before.map_or(Bound::Unbounded, Bound::Included);
            let mut members = RoaringBitmap::new();
            for (_, more) in first.range((from, Bound::Excluded(day))) {
                members |= &**more;
            }
            self.persons |= persons.persons_of(&members);
            self.before = Some(day);
        }
        &self.persons
    }
}

/// The persons of whom a member is present, by the end of one day after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct PresentPersons {
    /// `None`: nothing was looked at.
    reached: Option<Day>,
    /// Members that exist.
    exist: RoaringBitmap,
    /// Those of them that are present.
    present: Bits,
    /// The persons of those that are present, each by the member that stands for it.
    persons: RoaringBitmap,
}

/// Those who turned since the day that was reached.
#[derive(Debug)]
struct Turned {
    /// Members that came to exist.
    added: RoaringBitmap,
    /// Members that are present, and those that are not. Some of them were so before.
    members: [RoaringBitmap; 2],
    /// Persons that are present now and were not, and the other way round.
    persons: [RoaringBitmap; 2],
}

impl PresentPersons {
    /// The number by the end of `day`, at which these members are absent. Days must not go back from call to call.
    pub(super) fn by(
        &mut self,
        presence: &PresenceBitmaps,
        day: Day,
        (absent, persons): (&RoaringBitmap, &PersonMap),
    ) -> u64 {
        let turned = self.turned(presence, day, (absent, persons));
        let Turned { added, members: [present, not], persons: [come, gone] } = turned;
        self.exist |= added;
        self.present.insert_all(&present);
        not.iter().for_each(|member| self.present.remove(member));
        self.persons |= come;
        self.persons -= gone;
        self.reached = self.reached.max(Some(day));
        self.persons.len()
    }

    /// The number that [`by`](Self::by) would give.
    pub(super) fn number_by(
        &self,
        presence: &PresenceBitmaps,
        day: Day,
        (absent, persons): (&RoaringBitmap, &PersonMap),
    ) -> u64 {
        let Turned { persons: [come, gone], .. } = self.turned(presence, day, (absent, persons));
        self.persons.len() + come.len() - gone.len()
    }

    fn turned(
        &self,
        presence: &PresenceBitmaps,
        day: Day,
        (absent, persons): (&RoaringBitmap, &PersonMap),
    ) -> Turned {
        let (mut added, mut turned) = (RoaringBitmap::new(), RoaringBitmap::new());
        if self.reached.is_none_or(|reached| reached < day) {
            let days = (self.reached.map_or(Bound::Unbounded, Bound::Excluded), Bound::Included(day));
            added = all_of([&presence.exists], days);
            if self.reached.is_some() {
                turned = all_of(presence.turns(), days) & &self.exist;
            }
        }
        let present = (&turned - absent) | (&added - absent);
        let not = turned & absent;
        let come = persons.persons_of(&present) - &self.persons;
        let mut gone = persons.persons_of(&not) & &self.persons;
        // Whoever is of one member is gone with it.
        let mut have_another = Vec::new();
        persons.each_member(&(&gone & persons.shared()), |person, member| {
            let member = member.get();
            let was_present = self.present.contains(member);
            let is_present = (was_present && !not.contains(member)) || present.contains(member);
            have_another.extend(is_present.then_some(person.get()));
            !is_present
        });
        gone -= have_another.into_iter().collect::<RoaringBitmap>();
        Turned { added, members: [present, not], persons: [come, gone] }
    }
}

/// The members on some days.
pub(super) fn all_of<'a>(
    kinds: impl IntoIterator<Item = &'a ByDay>,
    days: impl RangeBounds<Day> + Clone,
) -> RoaringBitmap {
    let all = kinds.into_iter().flat_map(|of| of.range(days.clone()));
    all.fold(RoaringBitmap::new(), |all, (_, members)| all | &**members)
}

/// The members that are wanted; all without `wanted`.
pub(super) fn clip<'a>(members: &'a RoaringBitmap, wanted: Option<&RoaringBitmap>) -> Cow<'a, RoaringBitmap> {
    match wanted {
        Some(wanted) => Cow::Owned(members & wanted),
        None => Cow::Borrowed(members),
    }
}

//! The recent window: the ids of the latest kept events within their tenants by position, with a fingerprint of their content. First in,
//! first out, so every node with the same N and the same log has the same window. Owned by the writer.

use super::piece_deque::PieceDeque;
use crate::identity::OwnId;
use crate::place::Place;
use crate::touch::touch;

/// The result of comparing an event with the ids that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its id is not among those that are held.
    New,
    /// It is there already.
    Duplicate,
    /// Its id stands for something else within the window.
    Conflict,
}

/// Ids of consecutive positions, findable. About 50 bytes an id.
///
/// Each id has a slot in a bucket of one cache line, so finding it, or finding that it is not there, waits for memory
/// once. A slot holds a position; one below the window is free, so ids leave without being touched.
///
/// The table grows a group of buckets at a time while ids are added, so that no append waits for it (linear hashing, Litwin
/// 1980): a group gives some of its ids to a new one at the end of the table.
pub(crate) struct RecentIds {
    /// Among this many latest ids another content is a conflict.
    window: u64,
    /// The place of the first of `ids`; slots that point below it are free.
    first: u64,
    /// By position: all ids from `first` on, those that are staged last.
    ids: PieceDeque<(OwnId, u64), 32_768>,
    /// Number of `ids` that are staged: checked, and not durable yet.
    staged: usize,
    /// At least one.
    groups: PieceDeque<Group, 256>,
    /// Positions of ids that found no room in their group: nearly always none.
    unplaced: Vec<u64>,
}

/// Buckets that ids of the same low bits are in: an id that finds no room in its bucket is in one of those that follow, as in a
/// ring.
type Group = [Bucket; GROUP_BUCKETS];

/// `slots: [tag: 24 bits | position: 40 bits; 7] | overflowed: position`, the last being the greatest position whose id
/// belongs here and found no room.
///
/// Slots are looked at all at once: which of them are taken cannot be guessed, so a branch on each would cost more than all
/// of them.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket([u64; SLOTS + 1]);

const GROUP_BUCKETS: usize = 16;
const SLOTS: usize = 7;
const OVERFLOWED: usize = SLOTS;
const POSITION_BITS: u32 = 40;
const POSITION: u64 = (1 << POSITION_BITS) - 1;

/// The bits of an id from this one on are its tag; its last four tell the bucket within the group. The lowest bits tell the
/// group. Those of them that are in the tag as well tell which ids a group gives away, without a look at the ids.
const TAG_SHIFT: u32 = 8;
const BUCKET_SHIFT: u32 = u64::BITS - GROUP_BUCKETS.ilog2();

/// Ids for each group from which on the table grows: four sevenths of its slots. Then one bucket in twenty overflows.
const GROUP_IDS: usize = 64;

/// A growing table gets a group for each so many ids that are added. So the last groups to give ids away hold an eighth more
/// than the first.
const GROW_EVERY: u64 = 8;

impl Bucket {
    /// The slots of live ids with this tag, a bit each.
    fn tagged(&self, tag: u64, first: u64) -> Slots {
        // Another tag leaves bits above those of a position.
        self.slots(|slot| (slot ^ tag).wrapping_sub(first) <= POSITION - first)
    }

    /// The slots of ids that left.
    fn free(&self, first: u64) -> Slots {
        self.slots(|slot| slot & POSITION < first)
    }

    fn slots(&self, is_one: impl Fn(u64) -> bool) -> Slots {
        let slots = self.0[..SLOTS].iter().enumerate();
        Slots(slots.fold(0, |slots, (at, slot)| slots | u8::from(is_one(*slot)) << at))
    }
}

/// Slots of a bucket, ascending.
struct Slots(u8);

impl Iterator for Slots {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (slot < u8::BITS).then_some(slot as usize)
    }
}

/// Ids kept beyond the window, as a part of it, before the oldest of them leave.
const STEPS: u64 = 8;

impl RecentIds {
    /// The greatest position that a log can have.
    pub(crate) const POSITIONS_MAX: u64 = POSITION;

    /// An empty window for `window` ids, which is at least 1, of a log whose next event has place `next`.
    pub(crate) fn new(window: usize, next: Place) -> Self {
        let mut groups = PieceDeque::default();
        groups.push(Group::default());
        Self {
            window: window.max(1) as u64,
            first: next.get(),
            ids: PieceDeque::default(),
            staged: 0,
            groups,
            unplaced: Vec::new(),
        }
    }

    /// The place after the last id, staged ones included.
    fn next(&self) -> u64 {
        self.first + self.ids.len() as u64
    }

    /// The least place among the ids that are held.
    pub(crate) fn first(&self) -> Place {
        Place::new(self.first)
    }

    /// Returns the standing of an event with this id and content. Ids staged before it count as well.
    pub(crate) fn standing(&self, id: OwnId, fingerprint: u64) -> Standing {
        let (conflicts_from, mut standing) = (self.conflicts_from(), Standing::New);
        self.find(id, |position, content| {
            if content == fingerprint {
                standing = Standing::Duplicate;
            } else if position >= conflicts_from && standing == Standing::New {
                standing = Standing::Conflict;
            }
        });
        standing
    }

    /// The same where an id stands for one event, whatever its content: among all ids that are held.
    pub(crate) fn standing_by_id(&self, id: OwnId, fingerprint: u64) -> Standing {
        let mut standing = Standing::New;
        self.find(id, |_, content| {
            standing = if content == fingerprint { Standing::Duplicate } else { Standing::Conflict };
        });
        standing
    }

    /// The fingerprint of the latest event with this id within the window.
    pub(crate) fn latest(&self, id: OwnId) -> Option<u64> {
        let (from, mut latest) = (self.conflicts_from(), None);
        self.find(id, |position, content| {
            if position >= from {
                latest = latest.max(Some((position, content)));
            }
        });
        latest.map(|(_, content)| content)
    }

    /// The first place of the window: ids below it may be forgotten.
    fn conflicts_from(&self) -> u64 {
        (self.next() - self.staged as u64).saturating_sub(self.window)
    }

    /// Reads what finding these ids will read.
    pub(crate) fn touch(&self, ids: impl Iterator<Item = OwnId>) {
        let slot = |id| {
            let (group, tag) = self.place(id);
            self.groups[group][bucket_of(tag)].0[0]
        };
        touch(ids.map(slot));
    }

    /// Adds the id of the next event, for the time being.
    ///
    /// # Panics
    /// If the position is above [`RecentIds::POSITIONS_MAX`].
    pub(crate) fn stage(&mut self, id: OwnId, fingerprint: u64) {
        let position = self.next();
        assert!(position <= POSITION, "a position has at most 40 bits");
        if position.is_multiple_of(GROW_EVERY) {
            let groups = self.groups.len();
            if self.ids.len() >= groups * GROUP_IDS || !groups.is_power_of_two() {
                self.add_group();
            }
        }
        self.ids.push((id, fingerprint));
        self.staged += 1;
        let (group, tag) = self.place(id);
        self.put(group, tag | position);
    }

    /// Adds ids that are durable, in order.
    pub(crate) fn take(&mut self, ids: &[(OwnId, u64)], findable: Place) {
        /// Ids whose places are read at once.
        const AT_ONCE: usize = 64;
        for ids in ids.chunks(AT_ONCE) {
            self.touch(ids.iter().map(|(id, _)| *id));
            for (id, fingerprint) in ids {
                self.stage(*id, *fingerprint);
            }
        }
        self.commit(findable);
    }

    /// Takes back the last `count` ids that were staged.
    pub(crate) fn unstage(&mut self, count: usize) {
        for _ in 0..count {
            let position = self.next() - 1;
            let (id, _) = self.ids.pop().expect("no more than were staged");
            let (group, tag) = self.place(id);
            let mut slots = self.groups[group].iter_mut().flat_map(|bucket| &mut bucket.0[..SLOTS]);
            match slots.find(|slot| **slot == tag | position) {
                Some(slot) => *slot = 0,
                None => self.unplaced.retain(|unplaced| *unplaced != position),
            }
        }
        self.staged -= count;
    }

    /// Notes that the staged ids are durable. Drops the ids that are two steps beyond the window and below
    /// `findable`: those can be found elsewhere.
    pub(crate) fn commit(&mut self, findable: Place) {
        self.staged = 0;
        let keep_from = self.beyond(2).min(findable.get());
        while self.first < keep_from && self.ids.drop_first() {
            self.first += 1;
        }
        self.unplaced.retain(|position| *position >= self.first);
    }

    /// From where on ids are to be found here, given that those up to `sealed` can be found elsewhere: a step after the
    /// window, and a step before the ids that leave, so that who looked elsewhere has time to come here.
    pub(crate) fn from(&self, sealed: Place) -> Place {
        Place::new(self.beyond(1).min(sealed.get() + 1).max(self.first))
    }

    /// The position this many steps after the window.
    fn beyond(&self, steps: u64) -> u64 {
        self.next().saturating_sub(self.window + steps * self.step())
    }

    /// Ids that are kept beyond the window go by steps.
    pub(crate) fn step(&self) -> u64 {
        self.window / STEPS
    }

    /// The group an id belongs in, and its tag in place.
    fn place(&self, id: OwnId) -> (usize, u64) {
        let (bits, groups) = (id.bits(), self.groups.len());
        // Groups that were not added yet are those that ids are still given away to.
        let span = groups.next_power_of_two();
        let group = index(bits) & (span - 1);
        let group = if group < groups { group } else { group - span / 2 };
        (group, (bits >> TAG_SHIFT) << POSITION_BITS)
    }

    /// Calls `found` with the position and the fingerprint of each id equal to this one. Returns the number of places that were
    /// looked at: buckets, and ids that are in none.
    fn find(&self, id: OwnId, mut found: impl FnMut(u64, u64)) -> usize {
        let mut look = |position: u64| {
            let (held, fingerprint) = self.ids[index(position - self.first)];
            if held == id {
                found(position, fingerprint);
            }
        };
        let (group, tag) = self.place(id);
        let group = &self.groups[group];
        for looked_at in 0..GROUP_BUCKETS {
            let bucket = &group[(bucket_of(tag) + looked_at) % GROUP_BUCKETS];
            bucket.tagged(tag, self.first).for_each(|slot| look(bucket.0[slot] & POSITION));
            if bucket.0[OVERFLOWED] < self.first {
                return looked_at + 1;
            }
        }
        self.unplaced.iter().for_each(|position| look(*position));
        GROUP_BUCKETS + self.unplaced.len()
    }

    /// Puts a slot into the bucket it belongs in, or into the next one of the group with room.
    fn put(&mut self, group: usize, slot: u64) {
        let group = &mut self.groups[group];
        for step in 0..GROUP_BUCKETS {
            let bucket = &mut group[(bucket_of(slot) + step) % GROUP_BUCKETS];
            if let Some(free) = bucket.free(self.first).next() {
                bucket.0[free] = slot;
                return;
            }
            bucket.0[OVERFLOWED] = bucket.0[OVERFLOWED].max(slot & POSITION);
        }
        self.unplaced.push(slot & POSITION);
    }

    /// Adds a group, which gets the ids that belong in it from the one that has them.
    fn add_group(&mut self) {
        let added = self.groups.len();
        let bit = added.ilog2();
        let giving = added - (1 << bit);
        self.groups.push(Group::default());
        let before = std::mem::take(&mut self.groups[giving]);
        for bucket in before {
            for slot in bucket.slots(|slot| slot & POSITION >= self.first).map(|slot| bucket.0[slot]) {
                let bits = if bit < TAG_SHIFT {
                    self.ids[index((slot & POSITION) - self.first)].0.bits()
                } else {
                    slot >> POSITION_BITS << TAG_SHIFT
                };
                let is_given = bits >> bit & 1 == 1;
                self.put(if is_given { added } else { giving }, slot);
            }
        }
        for position in std::mem::take(&mut self.unplaced) {
            let (id, _) = self.ids[index(position - self.first)];
            let (group, tag) = self.place(id);
            self.put(group, tag | position);
        }
    }
}

/// The bucket of a group that a tag belongs in, in its place in a slot.
fn bucket_of(tag: u64) -> usize {
    index(tag >> BUCKET_SHIFT)
}

#[expect(clippy::cast_possible_truncation, reason = "on the 64-bit machines this is for, nothing is lost")]
fn index(number: u64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use lastseen_event::EventId;
    use lastseen_store::contract::event_id;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::identity::IdKey;

    #[derive(Clone, Debug)]
    enum Step {
        /// Events by tenant, id and content, of which the last few are taken back; what is left becomes durable.
        Group(Vec<((u64, u64), u64)>, usize),
        /// So many of the events are in segments.
        Seal(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let events = prop::collection::vec(((0_u64..3, 0_u64..16), 0_u64..3), 0..12);
        prop_oneof![
            4 => (events, 0_usize..4).prop_map(|(events, back)| Step::Group(events, back)),
            1 => (0_u64..200).prop_map(Step::Seal),
        ]
    }

    /// An id by the numbers of its tenant and of itself.
    fn id((tenant, id): (u64, u64)) -> OwnId {
        let key = IdKey::from_bytes([7; 16]);
        key.own(key.mask(&format!("tenant {tenant}")), event_id(id))
    }

    /// Ids that an enemy chose who knows the secret of another log: there, all of them belong in a few buckets and in one
    /// block of a filter.
    fn chosen_against(key: IdKey, count: usize) -> Vec<EventId> {
        let mask = key.mask("acme");
        let ids = (1_u128..).map(|number| EventId::new(Uuid::from_u128(number)).expect("not nil"));
        ids.filter(|id| key.own(mask, *id).bits().trailing_zeros() >= 8).take(count).collect()
    }

    /// Buckets that are looked into for a set of ids, while they are staged and when all of them are there.
    fn looked_into(key: IdKey, ids: &[EventId]) -> usize {
        let mut recent = RecentIds::new(ids.len(), Place::new(1));
        let own: Vec<_> = ids.iter().map(|id| key.own(key.mask("acme"), *id)).collect();
        let mut looks = 0;
        for own in &own {
            looks += recent.find(*own, |_, _| ());
            recent.stage(*own, 0);
        }
        recent.commit(Place::new(1));
        looks + own.iter().map(|own| recent.find(*own, |_, _| ())).sum::<usize>()
    }

    #[test]
    fn a_look_reads_one_bucket_whatever_the_ids() {
        const IDS: usize = 4_000;
        let (published, ours) = (IdKey::from_bytes([1; 16]), IdKey::from_bytes([2; 16]));
        let numbered = |id: fn(u128) -> u128| -> Vec<EventId> {
            let ids = (1..=IDS as u128).map(|number| Uuid::from_u128(id(number)));
            ids.map(|id| EventId::new(id).expect("not nil")).collect()
        };
        let chosen = chosen_against(published, IDS);
        let families = [
            numbered(|number| number),
            numbered(|number| number << 64),
            numbered(|number| number << 120 | number),
            numbered(|number| 0x0199_a1b2_7c3d_7e4f << 64 | number),
            numbered(|number| (1_790_000_000_000 + number) << 80 | 0x7000_8000_0000_0000_0000),
            chosen.clone(),
        ];
        for ids in families {
            let looks = looked_into(ours, &ids);
            assert!(looks < 2 * IDS * 11 / 10, "{looks} buckets for two looks at each of {IDS}");
        }
        assert!(looked_into(published, &chosen) > 10 * IDS, "under the secret they were chosen against");
    }

    #[test]
    fn every_id_is_found_while_the_table_grows() {
        const IDS: u64 = 200_000;
        let mut recent = RecentIds::new(1, Place::new(1));
        let own: Vec<_> = (0..IDS).map(|number| id((number % 3, number))).collect();
        let is_as_expected = |recent: &RecentIds, content: u64| {
            let is_held = content + 1 >= recent.first && content + 1 < recent.next();
            let expected = if is_held { Standing::Duplicate } else { Standing::New };
            recent.standing(own[index(content)], content) == expected
        };
        for content in 0..IDS {
            recent.stage(own[index(content)], content);
            // So that some slots are of ids that left.
            if content == IDS / 4 {
                recent.commit(Place::new(IDS / 8));
            }
            let earlier = content * 7 % (content + 1);
            assert!(is_as_expected(&recent, content) && is_as_expected(&recent, earlier), "{content}");
        }
        assert!(recent.groups.len() > 1 << (TAG_SHIFT + 2), "{} groups", recent.groups.len());
        assert!((0..IDS).all(|content| is_as_expected(&recent, content)));
        let looks: usize = own.iter().map(|own| recent.find(*own, |_, _| ())).sum();
        assert!(looks < own.len() * 11 / 10, "{looks} buckets for {IDS} looks");
        assert!(recent.unplaced.is_empty());
    }

    /// With a small window, an id may stand for many contents: more than a group has room for.
    #[test]
    fn one_id_may_be_held_more_often_than_a_group_has_slots() {
        let mut recent = RecentIds::new(1, Place::new(1));
        let (same, other) = (id((0, 0)), id((0, 1)));
        for content in 0..1_000 {
            for own in [same, other] {
                assert_eq!(recent.standing(own, content), Standing::New);
                recent.stage(own, content);
                recent.commit(Place::new(1));
            }
        }
        assert!(recent.unplaced.len() > 1_000);
        assert!((0..1_000).all(|content| recent.standing(same, content) == Standing::Duplicate));
        recent.stage(same, 1_000);
        recent.stage(id((0, 2)), 0);
        recent.unstage(2);
        assert_eq!(recent.latest(other), Some(999));
        recent.commit(Place::new(1_001));
        for content in 0..1_000 {
            let expected = if content < 500 { Standing::New } else { Standing::Duplicate };
            assert_eq!(recent.standing(same, content), expected, "{content}");
        }
        recent.commit(Place::new(u64::MAX));
        assert!(recent.unplaced.len() <= 1 && recent.standing(other, 999) == Standing::Duplicate);
    }

    proptest! {
        /// Against a plain list that forgets nothing: within the window the answers are the same; beyond it an id may
        /// be forgotten once it is in a segment, and not before.
        #[test]
        fn knows_the_window_and_what_is_not_sealed(window in 1_usize..30, steps in prop::collection::vec(step(), 0..60)) {
            let mut recent = RecentIds::new(window, Place::new(1));
            let mut model: Vec<((u64, u64), u64)> = Vec::new();
            let mut sealed = 0;
            for step in steps {
                match step {
                    Step::Seal(until) => sealed = sealed.max(until.min(model.len() as u64)),
                    Step::Group(events, back) => {
                        let durable = model.len();
                        for (number, content) in events {
                            let id = id(number);
                            recent.touch([id].into_iter());
                            if recent.standing(id, content) == Standing::New {
                                recent.stage(id, content);
                                model.push((number, content));
                            }
                        }
                        let back = back.min(model.len() - durable);
                        recent.unstage(back);
                        model.truncate(model.len() - back);
                        recent.commit(Place::new(sealed + 1));
                    }
                }
                prop_assert!(recent.first().get() <= sealed + 1 && recent.first().get() >= 1);
                prop_assert_eq!(recent.next(), model.len() as u64 + 1);
                let recent_from = model.len().saturating_sub(window);
                prop_assert!(recent.first().get() <= recent_from as u64 + 1);
                let from = recent.from(Place::new(sealed));
                prop_assert!((recent.first().get()..=sealed.max(recent.first().get() - 1) + 1).contains(&from.get()));
                let held = &model[index(recent.first().get() - 1)..];
                let numbers: Vec<_> = (0..3).flat_map(|tenant| (0..16).map(move |id| (tenant, id))).collect();
                for (number, content) in numbers.iter().flat_map(|number| (0..3).map(move |it| (*number, it))) {
                    let expected = if held.contains(&(number, content)) {
                        Standing::Duplicate
                    } else if model[recent_from..].iter().any(|(other, _)| *other == number) {
                        Standing::Conflict
                    } else {
                        Standing::New
                    };
                    prop_assert_eq!(recent.standing(id(number), content), expected);
                }
                for number in numbers {
                    let latest = model[recent_from..].iter().rfind(|(other, _)| *other == number);
                    let latest = latest.map(|(_, content)| *content);
                    prop_assert_eq!(recent.latest(id(number)), latest);
                }
            }
        }
    }
}

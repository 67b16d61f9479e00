//! The recent window: the ids of the latest kept events within their tenants by position, with a fingerprint of their content. First in,
//! first out, so every node with the same N and the same log has the same window. Owned by the writer.

use std::collections::VecDeque;
use std::hint::black_box;

use lastseen_event::Position;

use crate::identity::OwnId;

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

/// Ids of consecutive positions, findable. About 45 bytes an id.
///
/// Each id has a slot in a bucket of one cache line, so finding it, or finding that it is not there, waits for memory
/// once. A slot holds a position; one below the window is free, so ids leave without being touched.
pub(crate) struct RecentIds {
    /// Among this many latest ids another content is a conflict.
    window: u64,
    /// The position of the first of `ids`; slots that point below it are free.
    first: u64,
    /// By position: all ids from `first` on, those that are staged last.
    ids: VecDeque<(OwnId, u64)>,
    /// Number of `ids` that are staged: checked, and not durable yet.
    staged: usize,
    /// A power of two of them.
    buckets: Vec<Bucket>,
}

/// `slots: [tag: 24 bits | position: 40 bits; 7] | overflowed: position`, the last being the greatest position whose id
/// belongs here and found no room.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket([u64; SLOTS + 1]);

const SLOTS: usize = 7;
const OVERFLOWED: usize = SLOTS;
const POSITION_BITS: u32 = 40;
const POSITION: u64 = (1 << POSITION_BITS) - 1;

/// Ids kept beyond the window, as a part of it, before the oldest of them leave.
const STEPS: u64 = 8;

impl RecentIds {
    /// The greatest position that a log can have.
    pub(crate) const POSITIONS_MAX: u64 = POSITION;

    /// An empty window for `window` ids, which is at least 1, of a log whose next event has position `next`.
    pub(crate) fn new(window: usize, next: Position) -> Self {
        let mut recent = Self {
            window: window.max(1) as u64,
            first: next.get(),
            ids: VecDeque::new(),
            staged: 0,
            buckets: Vec::new(),
        };
        // Reserved at once: growing would stall the writer for as long as it takes to place all ids again.
        let kept = window + 2 * window / index(STEPS);
        recent.ids.reserve(kept);
        recent.buckets = vec![Bucket::default(); buckets_for(kept)];
        recent
    }

    /// The position after the last id, staged ones included.
    fn next(&self) -> u64 {
        self.first + self.ids.len() as u64
    }

    /// The least position among the ids that are held.
    pub(crate) fn first(&self) -> Position {
        Position::new(self.first)
    }

    /// Returns the standing of an event with this id and content. Ids staged before it count as well.
    pub(crate) fn standing(&self, id: OwnId, fingerprint: u64) -> Standing {
        let conflicts_from = (self.next() - self.staged as u64).saturating_sub(self.window);
        let mut standing = Standing::New;
        for position in self.positions(id) {
            if self.ids[index(position - self.first)].1 == fingerprint {
                return Standing::Duplicate;
            }
            if position >= conflicts_from {
                standing = Standing::Conflict;
            }
        }
        standing
    }

    /// The fingerprint of the latest event with this id within the window.
    pub(crate) fn latest(&self, id: OwnId) -> Option<u64> {
        let from = (self.next() - self.staged as u64).saturating_sub(self.window);
        let latest = self.positions(id).filter(|position| *position >= from).max()?;
        Some(self.ids[index(latest - self.first)].1)
    }

    /// Reads what finding these ids will read, so that the processor waits for many of them at once; the result only
    /// keeps it from being left out.
    pub(crate) fn touch(&self, ids: impl Iterator<Item = OwnId>) {
        black_box(ids.map(|id| self.buckets[self.place(id).0].0[0]).fold(0, u64::wrapping_add));
    }

    /// Adds the id of the next event, for the time being.
    ///
    /// # Panics
    /// If the position is above [`RecentIds::POSITIONS_MAX`].
    pub(crate) fn stage(&mut self, id: OwnId, fingerprint: u64) {
        let position = self.next();
        assert!(position <= POSITION, "a position has at most 40 bits");
        self.ids.push_back((id, fingerprint));
        self.staged += 1;
        if self.ids.len() > self.buckets.len() * SLOTS * 3 / 4 {
            return self.place_again();
        }
        self.insert(id, position);
    }

    /// Adds ids that are durable, in order.
    pub(crate) fn take(&mut self, ids: &[(OwnId, u64)], findable: Position) {
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
            let (id, _) = self.ids.pop_back().expect("no more than were staged");
            let (mut at, tag) = self.place(id);
            let mask = self.buckets.len() - 1;
            while !free(&mut self.buckets[at], tag | position) {
                at = (at + 1) & mask;
            }
        }
        self.staged -= count;
    }

    /// Notes that the staged ids are durable. Drops the ids that are two steps beyond the window and below
    /// `findable`: those can be found elsewhere.
    pub(crate) fn commit(&mut self, findable: Position) {
        self.staged = 0;
        let keep_from = self.beyond(2).min(findable.get());
        while self.first < keep_from && self.ids.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// From where on ids are to be found here, given that those up to `sealed` can be found elsewhere: a step after the
    /// window, and a step before the ids that leave, so that who looked elsewhere has time to come here.
    pub(crate) fn from(&self, sealed: Position) -> Position {
        Position::new(self.beyond(1).min(sealed.get() + 1).max(self.first))
    }

    /// The position this many steps after the window.
    fn beyond(&self, steps: u64) -> u64 {
        self.next().saturating_sub(self.window + steps * self.step())
    }

    /// Ids that are kept beyond the window go by steps.
    pub(crate) fn step(&self) -> u64 {
        self.window / STEPS
    }

    /// The bucket an id belongs in, and its tag in place.
    fn place(&self, id: OwnId) -> (usize, u64) {
        let bits = id.bits();
        (index(bits) & (self.buckets.len() - 1), bits & !POSITION)
    }

    /// The buckets that an id may be in.
    fn chain(&self, id: OwnId) -> impl Iterator<Item = &[u64; SLOTS + 1]> {
        let (start, _) = self.place(id);
        let mut overflowed = true;
        let buckets = (0..self.buckets.len()).map(move |step| (start + step) & (self.buckets.len() - 1));
        buckets
            .map(|at| &self.buckets[at].0)
            .take_while(move |bucket| std::mem::replace(&mut overflowed, bucket[OVERFLOWED] >= self.first))
    }

    /// The positions of the ids equal to this one.
    fn positions(&self, id: OwnId) -> impl Iterator<Item = u64> {
        let (_, tag) = self.place(id);
        self.chain(id).flat_map(|bucket| &bucket[..SLOTS]).filter_map(move |slot| {
            let position = slot & POSITION;
            let same = slot & !POSITION == tag && position >= self.first;
            (same && self.ids[index(position - self.first)].0 == id).then_some(position)
        })
    }

    fn insert(&mut self, id: OwnId, position: u64) {
        let (mut at, tag) = self.place(id);
        loop {
            let bucket = &mut self.buckets[at].0;
            if let Some(free) = bucket[..SLOTS].iter_mut().find(|slot| **slot & POSITION < self.first) {
                *free = tag | position;
                return;
            }
            bucket[OVERFLOWED] = position;
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }

    /// Doubles the buckets: more ids are held than was planned for, since sealing is behind.
    fn place_again(&mut self) {
        self.buckets = vec![Bucket::default(); self.buckets.len() * 2];
        for at in 0..self.ids.len() {
            self.insert(self.ids[at].0, self.first + at as u64);
        }
    }
}

/// Frees the slot of a bucket that holds this; whether there is one.
fn free(bucket: &mut Bucket, held: u64) -> bool {
    let slot = bucket.0[..SLOTS].iter_mut().find(|slot| **slot == held);
    slot.map(|slot| *slot = 0).is_some()
}

/// Buckets that are half full with this many ids: then few of them overflow.
fn buckets_for(ids: usize) -> usize {
    (ids * 2).div_ceil(SLOTS).next_power_of_two()
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
        let key = IdKey([7; 16]);
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
        let mut recent = RecentIds::new(ids.len(), Position::new(1));
        let own: Vec<_> = ids.iter().map(|id| key.own(key.mask("acme"), *id)).collect();
        let mut looks = 0;
        for own in &own {
            looks += recent.chain(*own).count();
            recent.stage(*own, 0);
        }
        recent.commit(Position::new(1));
        looks + own.iter().map(|own| recent.chain(*own).count()).sum::<usize>()
    }

    #[test]
    fn a_look_reads_one_bucket_whatever_the_ids() {
        const IDS: usize = 4_000;
        let (published, ours) = (IdKey([1; 16]), IdKey([2; 16]));
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

    proptest! {
        /// Against a plain list that forgets nothing: within the window the answers are the same; beyond it an id may
        /// be forgotten once it is in a segment, and not before.
        #[test]
        fn knows_the_window_and_what_is_not_sealed(window in 1_usize..30, steps in prop::collection::vec(step(), 0..60)) {
            let mut recent = RecentIds::new(window, Position::new(1));
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
                        recent.commit(Position::new(sealed + 1));
                    }
                }
                prop_assert!(recent.first().get() <= sealed + 1 && recent.first().get() >= 1);
                prop_assert_eq!(recent.next(), model.len() as u64 + 1);
                let recent_from = model.len().saturating_sub(window);
                prop_assert!(recent.first().get() <= recent_from as u64 + 1);
                let from = recent.from(Position::new(sealed));
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

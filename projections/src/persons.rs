//! Members of one person: a chain of members for each person, of which a person with one membership has no
//! part.

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lastseen_event::{MemberOrdinal, PersonOrdinal};
use roaring::RoaringBitmap;

use crate::bits::Bits;
use crate::paged::Paged;

/// The meaning of one user id in several tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Persons {
    /// One person with several memberships.
    #[default]
    UserId,
    /// Strangers: ids are given out by tenant. Nobody is joined, and there are no numbers of persons.
    Off,
}

/// The members of every person.
#[derive(Debug, Default)]
pub(crate) struct PersonMembers {
    /// The first member of each person, which stands for the person among members for good.
    firsts: Paged<Option<NonZeroU32>>,
    /// The last member of each person with several.
    lasts: Paged<Option<NonZeroU32>>,
    /// Persons with several members.
    shared: Vec<PersonOrdinal>,
    now: PersonMap,
}

/// Persons as they are told apart among members: each is named by its first member. A copy costs nothing, is
/// read beside the fold, and knows at least the members of its moment.
#[derive(Clone, Debug, Default)]
pub struct PersonMap {
    chains: Arc<Vec<Option<Arc<Page>>>>,
    /// The members of persons with several.
    shared: Arc<RoaringBitmap>,
    /// Those of them that another member stands for.
    stood_for: Arc<RoaringBitmap>,
}

/// Members of one page.
const PAGE_MEMBERS: usize = 1024;

/// The places of neighbouring members in the chains of their persons; ordinals plus one, 0 for none. Firsts are apart from nexts:
/// questions read many firsts in order, and no next.
#[derive(Debug)]
struct Page {
    /// The first member of the chain of each. 0: the person has no other member.
    firsts: [AtomicU32; PAGE_MEMBERS],
    /// The member after each. Later members enter at the end: a reader that lacks their pages ends before them.
    nexts: [AtomicU32; PAGE_MEMBERS],
}

impl Default for Page {
    fn default() -> Self {
        let [firsts, nexts] = std::array::from_fn(|_| std::array::from_fn(|_| AtomicU32::new(0)));
        Self { firsts, nexts }
    }
}

/// A chain that is being walked. Later members enter at its end, so a walk stays valid while members are added.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The number of the walk among those that began together.
    number: usize,
    next: Option<MemberOrdinal>,
}

impl PersonMembers {
    /// Adds a new member to its person and returns the person's first member, if it is another one.
    pub(crate) fn join(&mut self, person: PersonOrdinal, member: MemberOrdinal) -> Option<MemberOrdinal> {
        let slot = self.firsts.slot(person.index());
        let Some(first) = *slot else {
            *slot = Some(link_to(member));
            return None;
        };
        let (link, first) = (first.get(), member_of(first));
        if self.now.representative(first) == first && !self.now.shared.contains(first.get()) {
            self.now.first_slot(first).store(link, Ordering::Relaxed);
            Arc::make_mut(&mut self.now.shared).insert(first.get());
            self.shared.push(person);
        }
        Arc::make_mut(&mut self.now.shared).insert(member.get());
        Arc::make_mut(&mut self.now.stood_for).insert(member.get());
        self.now.first_slot(member).store(link, Ordering::Relaxed);
        let last = self.lasts.slot(person.index()).replace(link_to(member)).map_or(first, member_of);
        // Whoever walks beside the fold sees the new member whole, or not at all.
        self.now.next_slot(last).store(link_to(member).get(), Ordering::Release);
        Some(first)
    }

    /// The persons as they are now, for readers beside the fold.
    pub(crate) fn map(&self) -> PersonMap {
        self.now.clone()
    }

    pub(crate) fn now(&self) -> &PersonMap {
        &self.now
    }

    /// The members of one person, in no order that means anything.
    pub(crate) fn members_of(&self, person: PersonOrdinal) -> impl Iterator<Item = MemberOrdinal> {
        let first = self.firsts.get(person.index()).map(member_of);
        std::iter::successors(first, |member| self.now.next(*member))
    }

    /// The persons with several members, in the order in which they became so.
    pub(crate) fn shared(&self) -> &[PersonOrdinal] {
        &self.shared
    }

    /// Begins a walk for each of these [shared](Self::shared) persons, numbered from 0.
    pub(crate) fn walks(&self, which: Range<usize>) -> Vec<Walk> {
        let firsts = self.shared[which].iter().map(|person| self.firsts.get(person.index()).map(member_of));
        firsts.enumerate().map(|(number, next)| Walk { number, next }).collect()
    }

    /// Calls `each` with the number and the next member of every walk, and drops the walks that end.
    ///
    /// Chains are scattered over memory and in no relation, so the processor waits for many at once.
    pub(crate) fn advance(&self, walks: &mut Vec<Walk>, mut each: impl FnMut(usize, MemberOrdinal)) {
        walks.retain_mut(|walk| {
            let Some(member) = walk.next else { return false };
            each(walk.number, member);
            walk.next = self.now.next(member);
            walk.next.is_some()
        });
    }
}

impl PersonMap {
    /// The page of a member, for writing, and its place there. Makes the page.
    fn page(&mut self, member: MemberOrdinal) -> (&Page, usize) {
        let (number, at) = place(member);
        if self.chains.get(number).is_none_or(Option::is_none) {
            // Copies one pointer a page, and only while a reader has them.
            let pages = Arc::make_mut(&mut self.chains);
            if number >= pages.len() {
                pages.resize_with(number + 1, || None);
            }
            pages[number] = Some(Arc::default());
        }
        (self.chains[number].as_ref().expect("its page was made"), at)
    }

    fn first_slot(&mut self, member: MemberOrdinal) -> &AtomicU32 {
        let (page, at) = self.page(member);
        &page.firsts[at]
    }

    fn next_slot(&mut self, member: MemberOrdinal) -> &AtomicU32 {
        let (page, at) = self.page(member);
        &page.nexts[at]
    }

    fn next(&self, member: MemberOrdinal) -> Option<MemberOrdinal> {
        let (number, at) = place(member);
        let next = self.chains.get(number)?.as_ref()?.nexts[at].load(Ordering::Acquire);
        NonZeroU32::new(next).map(member_of)
    }

    /// The member that stands for the person of `member`.
    pub(crate) fn representative(&self, member: MemberOrdinal) -> MemberOrdinal {
        let (number, at) = place(member);
        let page = self.chains.get(number).and_then(Option::as_ref);
        let first = page.map_or(0, |page| page.firsts[at].load(Ordering::Relaxed));
        NonZeroU32::new(first).map_or(member, member_of)
    }

    /// The members of a person that a member stands for, that one first.
    pub(crate) fn members_of(&self, representative: MemberOrdinal) -> impl Iterator<Item = MemberOrdinal> {
        std::iter::successors(Some(representative), |member| self.next(*member))
    }

    /// Calls `each` with who stands for a person and the next of its members, of all of these persons at once, as long as it asks
    /// for more of the person.
    ///
    /// Chains are scattered over memory and in no relation, so the processor waits for many at once.
    pub(crate) fn each_member(
        &self,
        representatives: &RoaringBitmap,
        mut each: impl FnMut(MemberOrdinal, MemberOrdinal) -> bool,
    ) {
        let first = |of| (MemberOrdinal::new(of), MemberOrdinal::new(of));
        let mut walks: Vec<(MemberOrdinal, MemberOrdinal)> = representatives.iter().map(first).collect();
        while !walks.is_empty() {
            walks.retain_mut(|(person, member)| {
                let next = if each(*person, *member) { self.next(*member) } else { None };
                *member = next.unwrap_or(*member);
                next.is_some()
            });
        }
    }

    /// The members of persons with several.
    pub(crate) fn shared(&self) -> &RoaringBitmap {
        &self.shared
    }

    /// The persons of some members, each by the member that stands for it.
    pub(crate) fn persons_of(&self, members: &RoaringBitmap) -> RoaringBitmap {
        const GROUP: usize = 512;
        /// So few are sorted faster than the bits of all members are looked through.
        const FEW: u64 = 4_096;
        let stood_for = members & &*self.stood_for;
        let Some(greatest) = stood_for.max() else { return members.clone() };
        let person = |member| self.representative(MemberOrdinal::new(member)).get();
        let mut all = members - &stood_for;
        if stood_for.len() <= FEW {
            let mut persons: Vec<u32> = stood_for.iter().map(person).collect();
            persons.sort_unstable();
            persons.dedup();
            all |= RoaringBitmap::from_sorted_iter(persons).expect("they are sorted");
            return all;
        }
        // Whoever stands for a member came before it.
        let (mut persons, mut group, mut left) = (Bits::up_to(greatest), [0; GROUP], stood_for.iter());
        loop {
            let group = left.next_many(&mut group);
            if group.is_empty() {
                break;
            }
            for member in group {
                persons.insert(person(*member));
            }
        }
        all |= persons.to_bitmap();
        all
    }
}

/// The number of a member's page, and its place there.
fn place(member: MemberOrdinal) -> (usize, usize) {
    (member.index() / PAGE_MEMBERS, member.index() % PAGE_MEMBERS)
}

/// A member's ordinal plus one.
fn link_to(member: MemberOrdinal) -> NonZeroU32 {
    NonZeroU32::MIN.checked_add(member.get()).expect("an ordinal is below u32::MAX")
}

fn member_of(link: NonZeroU32) -> MemberOrdinal {
    MemberOrdinal::new(link.get() - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn members_are_those_that_joined_and_one_of_them_stands_for_all(
            joins in prop::collection::vec((0..6_u32, prop_oneof![0..9_u32, 3_000..3_003_u32]), 0..24),
        ) {
            let (mut persons, mut expected) = (PersonMembers::default(), BTreeMap::<u32, BTreeSet<u32>>::new());
            let mut earlier = None;
            for (at, (person, member)) in joins.iter().enumerate() {
                if expected.values().any(|members| members.contains(member)) {
                    continue;
                }
                let mine = expected.entry(*person).or_default();
                let first = persons.join(PersonOrdinal::new(*person), MemberOrdinal::new(*member));
                prop_assert_eq!(first.is_some(), !mine.is_empty());
                mine.insert(*member);
                if at == joins.len() / 2 {
                    earlier = Some((persons.map(), expected.clone()));
                }
            }
            for (map, expected) in [Some((persons.map(), expected.clone())), earlier].into_iter().flatten() {
                let all: RoaringBitmap = expected.values().flatten().copied().collect();
                prop_assert_eq!(map.persons_of(&all).len(), expected.len() as u64);
                for members in expected.values() {
                    let first = map.representative(MemberOrdinal::new(*members.first().unwrap()));
                    prop_assert!(members.contains(&first.get()));
                    let found: BTreeSet<u32> = map.members_of(first).map(MemberOrdinal::get).collect();
                    prop_assert!(found.is_superset(members));
                    prop_assert_eq!(members.iter().all(|of| map.shared().contains(*of)), members.len() > 1);
                }
            }
            for (person, members) in &expected {
                let found: BTreeSet<u32> =
                    persons.members_of(PersonOrdinal::new(*person)).map(MemberOrdinal::get).collect();
                prop_assert_eq!(&found, members);
            }
            let shared: BTreeSet<u32> = persons.shared().iter().map(|person| person.get()).collect();
            prop_assert!(expected.iter().all(|(person, members)| (members.len() > 1) == shared.contains(person)));
        }
    }
}

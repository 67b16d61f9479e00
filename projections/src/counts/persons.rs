//! Counts of persons: those with a member that is not deleted, and those with an active one.
//!
//! Only shared persons, those with several members, cost anything. A small one is walked with each change. A
//! large one has an index, so a step costs O(log of its memberships); the index takes some 30 bytes a
//! membership, and small persons have none.

use std::collections::BTreeMap;

use lastseen_event::{MemberOrdinal, MemberRef, PersonOrdinal, UtcInstant};

use crate::instants::InstantCounts;
use crate::members::Members;
use crate::persons::PersonMembers;
use crate::roster::{Change, Standing};

/// Persons counted together in bulk.
const GROUP: usize = 4_096;

/// The counts of all persons.
#[derive(Debug)]
pub(super) struct PersonCounts {
    /// Persons with a member that is not deleted.
    total: u64,
    /// For every person, the counted last seen of all its members but one that is greatest: as many of them
    /// reach into a window as the person has active members beyond the first.
    redundant: InstantCounts,
    /// Persons with more members than `walked_max`.
    large: BTreeMap<PersonOrdinal, LargePerson>,
    walked_max: usize,
}

/// The living members of a person.
#[derive(Debug, Default)]
struct LargePerson {
    present: u64,
    /// Their counted last seen, each instant with the number of members that have it.
    seen: BTreeMap<UtcInstant, u32>,
}

/// A member as far as its person's counts need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    is_present: bool,
    counted_at: Option<UtcInstant>,
}

/// A member before and after a fact.
#[derive(Clone, Copy, Debug)]
struct PartChange {
    before: Part,
    after: Part,
}

/// The other members of a person.
#[derive(Clone, Copy, Debug, Default)]
struct Others {
    any_present: bool,
    greatest: Option<UtcInstant>,
}

impl Part {
    fn of(standing: Option<&Standing>) -> Self {
        standing.map_or_else(Self::default, |standing| Self {
            is_present: standing.is_present(),
            counted_at: standing.counted_at(),
        })
    }
}

impl Others {
    fn add(&mut self, other: Part) {
        self.any_present |= other.is_present;
        self.greatest = self.greatest.max(other.counted_at);
    }
}

impl LargePerson {
    fn add(&mut self, part: Part) {
        self.present += u64::from(part.is_present);
        if let Some(at) = part.counted_at {
            *self.seen.entry(at).or_default() += 1;
        }
    }

    fn take(&mut self, part: Part) {
        self.present -= u64::from(part.is_present);
        if let Some(at) = part.counted_at {
            let members = self.seen.get_mut(&at).expect("only what was added is taken");
            *members -= 1;
            if *members == 0 {
                self.seen.remove(&at);
            }
        }
    }

    /// Replaces one member and returns the others.
    fn replace(&mut self, change: PartChange) -> Others {
        self.take(change.before);
        let greatest = self.seen.last_key_value().map(|(at, _)| *at);
        let others = Others { any_present: self.present > 0, greatest };
        self.add(change.after);
        others
    }
}

impl PersonCounts {
    /// Counts the persons of all members, of which `total_users` are not deleted. Walks those with up to
    /// `walked_max` members.
    pub(super) fn of(
        members: &Members,
        persons: &PersonMembers,
        total_users: u64,
        walked_max: usize,
    ) -> Self {
        let (mut total, mut redundant, mut large) = (total_users, Vec::new(), BTreeMap::new());
        // Kept from group to group, and with them the memory of the lists.
        let mut lists: Vec<Vec<Part>> = vec![Vec::new(); persons.shared().len().min(GROUP)];
        for first in (0..persons.shared().len()).step_by(GROUP) {
            let which = first..persons.shared().len().min(first + GROUP);
            let mut walks = persons.walks(which.clone());
            while !walks.is_empty() {
                persons.advance(&mut walks, |number, member| lists[number].push(part_of(members, member)));
            }
            for (person, parts) in persons.shared()[which].iter().zip(&mut lists) {
                let present = parts.iter().filter(|part| part.is_present).count() as u64;
                total -= present.saturating_sub(1);
                let mut greatest = None;
                for part in &*parts {
                    redundant.extend(part.counted_at.min(greatest));
                    greatest = greatest.max(part.counted_at);
                }
                if parts.len() > walked_max {
                    let mut indexed = LargePerson::default();
                    for part in std::mem::take(parts) {
                        indexed.add(part);
                    }
                    large.insert(*person, indexed);
                }
                parts.clear();
            }
        }
        Self { total, redundant: InstantCounts::of(redundant), large, walked_max }
    }

    /// Follows one change; `members` and `persons` hold it already.
    pub(super) fn follow(
        &mut self,
        members: &Members,
        persons: &PersonMembers,
        who: MemberRef,
        change: &Change,
    ) {
        let (before, after) = (Part::of(change.before.as_ref()), Part::of(Some(&change.after)));
        // A new member can make its person large, whatever it is itself.
        if before == after && change.before.is_some() {
            return;
        }
        // A person that is not shared has no others: to look for them would miss the processor's caches.
        let others = if change.shared {
            self.others(members, persons, who, PartChange { before, after })
        } else {
            Others::default()
        };
        if before.is_present != after.is_present && !others.any_present {
            self.total += u64::from(after.is_present);
            self.total -= u64::from(before.is_present);
        }
        if change.shared && before.counted_at != after.counted_at {
            // `None` is less than any instant: of one instant alone, none is redundant.
            if let Some(at) = before.counted_at.min(others.greatest) {
                self.redundant.remove(at);
            }
            if let Some(at) = after.counted_at.min(others.greatest) {
                self.redundant.insert(at);
            }
        }
    }

    /// Replaces a member in the index of its person, if there is one, and returns the others.
    fn others(
        &mut self,
        members: &Members,
        persons: &PersonMembers,
        who: MemberRef,
        change: PartChange,
    ) -> Others {
        if let Some(large) = self.large.get_mut(&who.person) {
            return large.replace(change);
        }
        let mut others = Others::default();
        let mut walked = 0;
        for member in persons.members_of(who.person) {
            walked += 1;
            if member != who.member {
                others.add(part_of(members, member));
            }
        }
        if walked > self.walked_max {
            let mut indexed = LargePerson::default();
            for member in persons.members_of(who.person) {
                indexed.add(part_of(members, member));
            }
            self.large.insert(who.person, indexed);
        }
        others
    }

    /// Persons with a member that is not deleted.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Active members that are not the first active one of their person. `since` is the lower edge of the
    /// window, inclusive.
    pub(super) fn redundant_from(&self, since: UtcInstant) -> u64 {
        self.redundant.count_from(since)
    }
}

fn part_of(members: &Members, member: MemberOrdinal) -> Part {
    Part::of(members.roster.standing(member).as_ref())
}

//! Members of one person: a chain of members for each person, of which a person with one membership has no
//! part.

use std::num::NonZeroU32;
use std::ops::Range;

use lastseen_event::{MemberOrdinal, PersonOrdinal};

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
    heads: Paged<Link>,
    /// Written for members with a successor only.
    nexts: Paged<Link>,
    /// Persons with several members.
    shared: Vec<PersonOrdinal>,
}

/// A member's ordinal plus one. `None`: the chain ends.
type Link = Option<NonZeroU32>;

/// A chain that is being walked. Later members join at its head, so a walk stays valid while members are
/// added.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The number of the walk among those that began together.
    number: usize,
    next: Link,
}

impl PersonMembers {
    /// Adds a new member to its person and returns the person's first member before it, if there is one.
    pub(crate) fn join(&mut self, person: PersonOrdinal, member: MemberOrdinal) -> Option<MemberOrdinal> {
        let link = NonZeroU32::MIN.checked_add(member.get()).expect("an ordinal is below u32::MAX");
        let head = self.heads.slot(person.index()).replace(link);
        if let Some(first) = head {
            *self.nexts.slot(member.index()) = head;
            if self.nexts.get(member_of(first).index()).is_none() {
                self.shared.push(person);
            }
        }
        head.map(member_of)
    }

    /// The members of one person, in no order that means anything.
    pub(crate) fn members_of(&self, person: PersonOrdinal) -> impl Iterator<Item = MemberOrdinal> {
        let head = self.heads.get(person.index());
        std::iter::successors(head.map(member_of), |member| self.nexts.get(member.index()).map(member_of))
    }

    /// The persons with several members, in the order in which they became so.
    pub(crate) fn shared(&self) -> &[PersonOrdinal] {
        &self.shared
    }

    /// Begins a walk for each of these [shared](Self::shared) persons, numbered from 0.
    pub(crate) fn walks(&self, which: Range<usize>) -> Vec<Walk> {
        let heads = self.shared[which].iter().map(|person| self.heads.get(person.index()));
        heads.enumerate().map(|(number, next)| Walk { number, next }).collect()
    }

    /// Calls `each` with the number and the next member of every walk, and drops the walks that end.
    ///
    /// Chains are scattered over memory and in no relation, so the processor waits for many at once.
    pub(crate) fn advance(&self, walks: &mut Vec<Walk>, mut each: impl FnMut(usize, MemberOrdinal)) {
        walks.retain_mut(|walk| {
            let Some(member) = walk.next.map(member_of) else { return false };
            each(walk.number, member);
            walk.next = self.nexts.get(member.index());
            walk.next.is_some()
        });
    }
}

fn member_of(link: NonZeroU32) -> MemberOrdinal {
    MemberOrdinal::new(link.get() - 1)
}

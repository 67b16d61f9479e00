//! Which members are one person: a chain of members per person, empty-handed for those with one membership.

use std::num::NonZeroU32;
use std::ops::Range;

use lastseen_event::{MemberOrdinal, PersonOrdinal};

use crate::paged::Paged;

/// The members of every person.
#[derive(Debug, Default)]
pub(crate) struct Persons {
    heads: Paged<Link>,
    /// Only a member that has a successor is written to.
    nexts: Paged<Link>,
    /// Those with several members.
    shared: Vec<PersonOrdinal>,
}

/// A member's ordinal plus one. `None`: the chain ends.
type Link = Option<NonZeroU32>;

impl Persons {
    /// Adds a new member to its person. Some: the member that was first of the person before.
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
        self.chain(self.heads.get(person.index()))
    }

    /// How many persons have several members.
    pub(crate) fn shared(&self) -> usize {
        self.shared.len()
    }

    /// Calls `each` with every member of those of these persons that have several, and with the person's place in `which`.
    ///
    /// All first members, then all second ones, and so on: each chain lies all over memory, and the chains are in no relation,
    /// so the processor waits for many at once.
    pub(crate) fn each_of_shared(&self, which: Range<usize>, mut each: impl FnMut(usize, MemberOrdinal)) {
        let heads = self.shared[which].iter().map(|person| self.heads.get(person.index()));
        let mut chains: Vec<_> = heads.map(|head| self.chain(head)).enumerate().collect();
        while !chains.is_empty() {
            chains.retain_mut(|(person, chain)| {
                let next = chain.next();
                next.inspect(|member| each(*person, *member)).is_some()
            });
        }
    }

    fn chain(&self, head: Link) -> impl Iterator<Item = MemberOrdinal> {
        std::iter::successors(head.map(member_of), |member| self.nexts.get(member.index()).map(member_of))
    }
}

fn member_of(link: NonZeroU32) -> MemberOrdinal {
    MemberOrdinal::new(link.get() - 1)
}

//! Which members are one person: a chain of members per person, empty-handed for those with one membership.

use std::num::NonZeroU32;

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

    /// The members of each person that has several.
    pub(crate) fn shared(&self) -> impl Iterator<Item = impl Iterator<Item = MemberOrdinal> + Clone> {
        self.some_shared(0, self.shared.len())
    }

    /// The same of `count` of them at most, without the first `skip`.
    pub(crate) fn some_shared(
        &self,
        skip: usize,
        count: usize,
    ) -> impl Iterator<Item = impl Iterator<Item = MemberOrdinal> + Clone> {
        self.shared.iter().skip(skip).take(count).map(|person| self.chain(self.heads.get(person.index())))
    }

    fn chain(&self, head: Link) -> impl Iterator<Item = MemberOrdinal> + Clone {
        std::iter::successors(head.map(member_of), |member| self.nexts.get(member.index()).map(member_of))
    }
}

fn member_of(link: NonZeroU32) -> MemberOrdinal {
    MemberOrdinal::new(link.get() - 1)
}

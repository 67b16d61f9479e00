//! The dictionary as bytes, copied part by part while the writer goes on, and the dictionary again from them.
//!
//! The copy is of one moment, however long it takes: the dictionary only grows, persons, names and tenants at their ends, members
//! into the numbers that were free. So a few counts and the free numbers of each tenant, its mark, tell what was there.

use std::ops::Range;

use lastseen_event::{MemberOrdinal, PersonOrdinal, TenantOrdinal};

use super::shards::{SHARDS, Seed, Shards};
use super::text::TextRef;
use super::{Blocks, MemberEntry, Members, Person};
use crate::codec::Cursor;
use crate::damage::Malformed;
use crate::identity::IdKey;

/// The sizes of the dictionary at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) tenants: u32,
    pub(crate) persons: u32,
    /// Numbers in blocks, whether they have been given to a member or not.
    pub(crate) ordinals: u32,
    pub(crate) members: u32,
    /// Bytes of names.
    pub(crate) text: u64,
}

/// The extent of the dictionary at a moment. It holds as long as it is the same dictionary.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) seed: Seed,
    pub(crate) counts: Counts,
    /// By tenant.
    blocks: Vec<Blocks>,
}

/// Parts come in this order, any number of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Tenants,
    Text,
    Persons,
    Entries,
    /// The table of persons by name, a shard each.
    Names,
    /// The table of further members, a shard each.
    Further,
}

impl Section {
    const ALL: [Self; 6] =
        [Self::Tenants, Self::Text, Self::Persons, Self::Entries, Self::Names, Self::Further];

    /// Number of things of the section that are copied under one hold of the dictionary: some 100
    /// microseconds.
    fn step(self) -> usize {
        match self {
            Self::Tenants => 4_096,
            Self::Text => 1 << 20,
            Self::Persons | Self::Entries => 1 << 17,
            Self::Names | Self::Further => 1,
        }
    }
}

/// A copy that is being made.
pub(crate) struct Taking {
    mark: Mark,
    section: usize,
    /// The first thing of the section that was not copied.
    next: usize,
}

impl Members {
    /// Returns the present extent of the dictionary.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            seed: self.seed,
            counts: self.counts(),
            blocks: self.tenants.iter().map(|tenant| tenant.blocks.clone()).collect(),
        }
    }

    fn counts(&self) -> Counts {
        let number = |count: usize| u32::try_from(count).expect("ordinals are 32 bits");
        Counts {
            tenants: number(self.tenants.len()),
            persons: number(self.persons.len()),
            ordinals: number(self.entries.len()),
            members: number(self.count),
            text: self.text.len() as u64,
        }
    }
}

impl Mark {
    /// The entry of a number, if it had been given to a member.
    fn entry(&self, members: &Members, ordinal: usize) -> Option<MemberEntry> {
        let entry = members.entries[ordinal]?;
        let is_later =
            |blocks: &Blocks| (blocks.free.start as usize..blocks.free.end as usize).contains(&ordinal);
        (!self.blocks.get(entry.tenant().index()).is_some_and(is_later)).then_some(entry)
    }
}

impl Taking {
    pub(crate) fn new(mark: Mark) -> Self {
        Self { mark, section: 0, next: 0 }
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Copies some of what there was at the mark. `false`: that was all.
    pub(crate) fn copy(&mut self, members: &Members, part: &mut Vec<u8>) -> bool {
        while let Some(&section) = Section::ALL.get(self.section) {
            let end = self.mark.counts.things(section);
            if self.next == end {
                (self.section, self.next) = (self.section + 1, 0);
                continue;
            }
            let things = self.next..end.min(self.next + section.step());
            self.next = things.end;
            part.push(u8::try_from(self.section).expect("sections are few"));
            self.encode(section, things, members, part);
            return true;
        }
        false
    }

    fn encode(&self, section: Section, things: Range<usize>, members: &Members, part: &mut Vec<u8>) {
        let mark = &self.mark;
        let pair = |part: &mut Vec<u8>, [a, b]: [u32; 2]| {
            part.extend_from_slice(&a.to_le_bytes());
            part.extend_from_slice(&b.to_le_bytes());
        };
        match section {
            Section::Tenants => {
                for (tenant, blocks) in members.tenants[things.clone()].iter().zip(&mark.blocks[things]) {
                    let Blocks { free, numbers } = blocks;
                    pair(part, [free.start, free.end]);
                    part.extend_from_slice(&numbers.to_le_bytes());
                    part.push(u8::try_from(tenant.name.len()).expect("a stored name has at most 255 bytes"));
                    part.extend_from_slice(tenant.name.as_bytes());
                }
            }
            Section::Text => part.extend_from_slice(&members.text.as_bytes()[things]),
            Section::Persons => {
                for Person { name, first } in &members.persons[things] {
                    pair(part, [name.get(), first.get()]);
                }
            }
            Section::Entries => {
                for ordinal in things {
                    let entry = mark.entry(members, ordinal);
                    pair(part, entry.map_or([0, 0], |entry| [entry.tenant.get(), entry.person.get()]));
                }
            }
            Section::Names => {
                part.extend(things.start.to_le_bytes().first());
                for (kept, person) in members.person_numbers.shard(things.start) {
                    if person < mark.counts.persons {
                        pair(part, [kept, person]);
                    }
                }
            }
            Section::Further => {
                part.extend(things.start.to_le_bytes().first());
                for (kept, member) in members.further.shard(things.start) {
                    if member < mark.counts.ordinals && mark.entry(members, member as usize).is_some() {
                        pair(part, [kept, member]);
                    }
                }
            }
        }
    }
}

impl Counts {
    /// Number of things that a section has.
    fn things(&self, section: Section) -> usize {
        match section {
            Section::Tenants => self.tenants as usize,
            Section::Text => usize::try_from(self.text).expect("names are in memory"),
            Section::Persons => self.persons as usize,
            Section::Entries => self.ordinals as usize,
            Section::Names | Section::Further => SHARDS,
        }
    }
}

/// A dictionary that is being read.
pub(crate) struct Restoring {
    counts: Counts,
    members: Members,
}

impl Restoring {
    pub(crate) fn new(key: IdKey, seed: Seed, counts: Counts) -> Self {
        let mut members = Members { seed, ..Members::new(key) };
        members.text.reserve(counts.things(Section::Text));
        members.persons.reserve(counts.persons as usize);
        members.entries.reserve(counts.ordinals as usize);
        Self { counts, members }
    }

    /// Reads one part.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn read(&mut self, part: &[u8]) -> Result<(), Malformed> {
        let (section, bytes) = part.split_first().ok_or(Malformed)?;
        match Section::ALL.get(usize::from(*section)).ok_or(Malformed)? {
            Section::Tenants => self.tenants(bytes),
            Section::Text => {
                self.members.text.append(bytes);
                Ok(())
            }
            Section::Persons => self.persons(bytes),
            Section::Entries => self.entries(bytes),
            Section::Names => restore(&mut self.members.person_numbers, bytes, self.counts.persons),
            Section::Further => restore(&mut self.members.further, bytes, self.counts.ordinals),
        }
    }

    fn tenants(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(bytes);
        while !cursor.rest().is_empty() {
            let blocks = Blocks { free: cursor.u32()?..cursor.u32()?, numbers: cursor.u32()? };
            let tenant = self.members.add_tenant(cursor.text()?);
            self.members.tenants[tenant.index()].blocks = blocks;
        }
        Ok(())
    }

    fn persons(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut names, mut members) = (0, 0);
        self.members.persons.extend(pairs(bytes)?.map(|(name, first)| {
            (names, members) = (name.max(names), first.max(members));
            Person { name: TextRef::new(name), first: MemberOrdinal::new(first) }
        }));
        let are_inside =
            TextRef::new(names).start() < self.counts.things(Section::Text) && members < self.counts.ordinals;
        if are_inside { Ok(()) } else { Err(Malformed) }
    }

    fn entries(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut tenants, mut persons, mut count) = (0, 0, 0);
        self.members.entries.extend(pairs(bytes)?.map(|(tenant, person)| {
            (tenants, persons) = (tenant.max(tenants), person.max(persons));
            count += usize::from(tenant > 0);
            let tenant = TenantOrdinal::new(tenant.checked_sub(1)?);
            Some(MemberEntry::new(tenant, PersonOrdinal::new(person)))
        }));
        self.members.count += count;
        if tenants <= self.counts.tenants && persons < self.counts.persons { Ok(()) } else { Err(Malformed) }
    }

    /// Ends reading: all parts are read.
    ///
    /// # Errors
    /// [`Malformed`]: some are missing.
    pub(crate) fn finish(self) -> Result<Members, Malformed> {
        let Self { counts, members } = self;
        let persons = members.persons.len();
        let whole = members.counts() == counts
            && members.tenant_numbers.len() == members.tenants.len()
            && members.person_numbers.len() == persons
            && members.further.len() + persons == members.count;
        if whole { Ok(members) } else { Err(Malformed) }
    }
}

/// Reads a shard of a table of numbers below `end`.
fn restore(table: &mut Shards, bytes: &[u8], end: u32) -> Result<(), Malformed> {
    let (shard, bytes) = bytes.split_first().ok_or(Malformed)?;
    let shard = Some(usize::from(*shard)).filter(|shard| *shard < SHARDS).ok_or(Malformed)?;
    let mut greatest = 0;
    table.restore(shard, pairs(bytes)?.inspect(|(_, number)| greatest = greatest.max(*number)));
    if bytes.is_empty() || greatest < end { Ok(()) } else { Err(Malformed) }
}

/// Reads the bytes as pairs of numbers; none may be left over.
fn pairs(bytes: &[u8]) -> Result<impl ExactSizeIterator<Item = (u32, u32)>, Malformed> {
    let (pairs, []) = bytes.as_chunks::<8>() else { return Err(Malformed) };
    Ok(pairs.iter().map(|[a, b, c, d, e, f, g, h]| {
        (u32::from_le_bytes([*a, *b, *c, *d]), u32::from_le_bytes([*e, *f, *g, *h]))
    }))
}

#[cfg(test)]
mod tests {
    use lastseen_event::{TenantId, UserId};
    use proptest::prelude::*;

    use lastseen_store::MemberDictionary;

    use super::*;

    fn resolve(members: &mut Members, (tenant, user): (u8, u16)) -> (MemberOrdinal, bool) {
        let (tenant, user) = (format!("tenant {tenant}"), format!("user {user}"));
        let names = (TenantId::new(&tenant).unwrap(), UserId::new(&user).unwrap());
        let (member, is_new) = members.resolve(names.0, names.1).unwrap();
        (member.member, is_new)
    }

    /// The next part; `None` if that was all.
    fn part(taking: &mut Taking, members: &Members) -> Option<Vec<u8>> {
        let mut part = Vec::new();
        taking.copy(members, &mut part).then_some(part)
    }

    fn restored(seed: Seed, counts: Counts, parts: &[Vec<u8>]) -> Result<Members, Malformed> {
        let mut restoring = Restoring::new(IdKey::default(), seed, counts);
        parts.iter().try_for_each(|part| restoring.read(part))?;
        restoring.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Whoever comes while the copy is made is not in it, and gets from it the number that he got without it.
        #[test]
        fn a_copy_is_of_the_moment_of_its_mark(
            before in prop::collection::vec((0_u8..6, 0_u16..60), 0..200),
            behind in prop::collection::vec((0_u8..9, 0_u16..90), 0..300),
        ) {
            let mut live = Members::default();
            for names in &before {
                resolve(&mut live, *names);
            }
            let mut taking = Taking::new(live.mark());
            let counts = taking.mark().counts;
            // Some of those who come, each time before a part is copied.
            let mut coming = behind.iter();
            let (mut numbers, mut parts) = (Vec::new(), Vec::new());
            loop {
                for names in coming.by_ref().take(3) {
                    numbers.push(resolve(&mut live, *names));
                }
                let Some(part) = part(&mut taking, &live) else { break };
                parts.push(part);
            }
            numbers.extend(coming.map(|names| resolve(&mut live, *names)));

            let mut kept = restored(live.seed, counts, &parts).expect("as it was written");
            prop_assert!(live.has_all_of(&kept));
            prop_assert_eq!(kept.len(), before.iter().collect::<std::collections::HashSet<_>>().len());
            prop_assert!(before.iter().all(|names| !resolve(&mut kept, *names).1));
            let again: Vec<_> = behind.iter().map(|names| resolve(&mut kept, *names)).collect();
            prop_assert_eq!(again, numbers);
            prop_assert!(kept.has_all_of(&live));
        }
    }

    #[test]
    fn a_copy_that_lacks_a_part_is_none() {
        let mut members = Members::default();
        (0..2_000_u16).for_each(|user| {
            resolve(&mut members, (0, user));
            resolve(&mut members, (user.to_le_bytes()[0] % 7, user));
        });
        let mut taking = Taking::new(members.mark());
        let counts = taking.mark().counts;
        let parts: Vec<_> = std::iter::from_fn(|| part(&mut taking, &members)).collect();
        assert!(restored(members.seed, counts, &parts).is_ok_and(|kept| kept.has_all_of(&members)));
        for missing in 0..parts.len() {
            let mut parts = parts.clone();
            // A shard without an entry is nothing that could be missing.
            if parts.remove(missing).len() > 2 {
                assert!(restored(members.seed, counts, &parts).is_err(), "part {missing}");
            }
        }
    }
}

//! The member dictionary: names to dense numbers and back. Names are hashed once, on the way in; everything
//! behind the log counts in ordinals.

mod text;

use std::hash::BuildHasher;
use std::hint::black_box;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use lastseen_event::{MemberOrdinal, MemberRef, PersonOrdinal, TenantId, TenantOrdinal, UserId};

use self::text::{TextArena, TextRef};

/// Every tenant, person and member of a log.
///
/// Member ordinals are handed out in blocks per tenant, each a quarter of those before it up to a bound, in the
/// order in which members first appear: a tenant is a few ranges, few numbers are left free, and the same order gives the
/// same numbers.
#[derive(Default)]
pub struct Members {
    hasher: DefaultHashBuilder,
    tenants: Vec<Tenant>,
    tenant_numbers: HashMap<Box<str>, TenantOrdinal>,
    text: TextArena,
    persons: Vec<Person>,
    person_numbers: Shards,
    /// By ordinal; `None` where a block has not been filled.
    entries: Vec<Option<MemberEntry>>,
    /// Members of persons beyond each person's first.
    further: HashMap<(PersonOrdinal, TenantOrdinal), MemberOrdinal>,
    count: usize,
}

/// First block of a tenant.
const BLOCK_MIN: u32 = 8;
/// Largest block: wastes little of a large tenant's arrays.
const BLOCK_MAX: u32 = 8_192;

struct Tenant {
    name: Box<str>,
    /// Ordinals of the newest block that are still free.
    free: std::ops::Range<u32>,
    /// Ordinals in all of its blocks.
    numbers: u32,
}

#[derive(Clone, Copy)]
struct Person {
    name: TextRef,
    first: MemberOrdinal,
}

#[derive(Clone, Copy)]
struct MemberEntry {
    /// One more than the ordinal, so that `Option` costs nothing.
    tenant: std::num::NonZeroU32,
    person: PersonOrdinal,
}

impl MemberEntry {
    fn new(tenant: TenantOrdinal, person: PersonOrdinal) -> Self {
        let tenant = std::num::NonZeroU32::MIN.saturating_add(tenant.get());
        Self { tenant, person }
    }

    fn tenant(self) -> TenantOrdinal {
        TenantOrdinal::new(self.tenant.get() - 1)
    }
}

/// Hash table of persons by name, split so that growing one part stalls the writer briefly. Hashes are kept, so
/// growing never reads names.
struct Shards([HashTable<(u32, PersonOrdinal)>; SHARDS]);

const SHARDS: usize = 64;

impl Default for Shards {
    fn default() -> Self {
        Self(std::array::from_fn(|_| HashTable::new()))
    }
}

impl Shards {
    #[expect(clippy::cast_possible_truncation, reason = "takes part of a hash")]
    fn split(hash: u64) -> (usize, u32) {
        ((hash as usize) % SHARDS, (hash >> 32) as u32)
    }

    /// Spreads the kept part of a hash over the bits a table looks at.
    fn spread(kept: u32) -> u64 {
        u64::from(kept) | u64::from(kept) << 32
    }

    fn find(&self, hash: u64, mut eq: impl FnMut(PersonOrdinal) -> bool) -> Option<PersonOrdinal> {
        let (shard, kept) = Self::split(hash);
        self.0[shard].find(Self::spread(kept), |entry| entry.0 == kept && eq(entry.1)).map(|entry| entry.1)
    }

    fn insert(&mut self, hash: u64, person: PersonOrdinal) {
        let (shard, kept) = Self::split(hash);
        self.0[shard].insert_unique(Self::spread(kept), (kept, person), |entry| Self::spread(entry.0));
    }
}

impl Members {
    /// Number of members.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The tenant of this name.
    pub fn tenant(&self, tenant_id: &str) -> Option<TenantOrdinal> {
        self.tenant_numbers.get(tenant_id).copied()
    }

    /// The person with this `user_id`.
    pub fn find_person(&self, user_id: &str) -> Option<PersonOrdinal> {
        self.person(self.hasher.hash_one(user_id), user_id)
    }

    /// The member with these names.
    pub fn find(&self, tenant_id: &str, user_id: &str) -> Option<MemberRef> {
        let tenant = self.tenant(tenant_id)?;
        let person = self.person(self.hasher.hash_one(user_id), user_id)?;
        let member = self.member_of(person, tenant)?;
        Some(MemberRef { member, tenant, person })
    }

    /// The tenant and the person of a member.
    pub fn member_ref(&self, member: MemberOrdinal) -> Option<MemberRef> {
        let entry = self.entries.get(member.index()).copied()??;
        Some(MemberRef { member, tenant: entry.tenant(), person: entry.person })
    }

    /// The name of a tenant.
    ///
    /// # Panics
    /// If the ordinal is not from this dictionary.
    pub fn tenant_id(&self, tenant: TenantOrdinal) -> TenantId<'_> {
        TenantId::new(&self.tenants[tenant.index()].name).expect("only valid names are added")
    }

    /// The `user_id` of a person.
    ///
    /// # Panics
    /// If the ordinal is not from this dictionary.
    pub fn user_id(&self, person: PersonOrdinal) -> UserId<'_> {
        UserId::new(self.text.get(self.persons[person.index()].name)).expect("only valid names are added")
    }

    /// Puts the member of each name into `found`, `None` where it is new; `found.len() == names.len()` then.
    ///
    /// The same as [`Members::find`] on each, in steps over all names: what one step reads lies all over memory
    /// and does not depend on what it reads for the other names, so the processor waits for many at once.
    pub(crate) fn find_all(&self, names: &[(TenantId<'_>, UserId<'_>)], found: &mut Vec<Option<MemberRef>>) {
        let tenant = |(tenant_id, _): &(TenantId<'_>, _)| self.tenant(tenant_id.as_str());
        let tenants: Vec<_> = names.iter().map(tenant).collect();
        let hashes: Vec<_> =
            names.iter().map(|(_, user_id)| self.hasher.hash_one(user_id.as_str())).collect();
        // Nearly always the right one; its name is compared below, when it is near.
        let candidates: Vec<_> =
            hashes.iter().map(|hash| self.person_numbers.find(*hash, |_| true)).collect();
        let persons: Vec<_> =
            candidates.iter().map(|person| person.map(|person| self.persons[person.index()])).collect();
        let first = |person: &Option<Person>| person.and_then(|person| self.entries[person.first.index()]);
        let entries: Vec<_> = persons.iter().map(first).collect();
        found.clear();
        for (at, (tenant_id, user_id)) in names.iter().enumerate() {
            let fast = || {
                let (person, tenant, entry) = (persons[at]?, tenants[at]?, entries[at]?);
                let same = entry.tenant() == tenant && self.text.is(person.name, user_id.as_str());
                same.then_some(MemberRef { member: person.first, tenant, person: entry.person })
            };
            found.push(fast().or_else(|| self.find(tenant_id.as_str(), user_id.as_str())));
        }
    }

    /// The member with these names, made if it is new; whether it was.
    pub(crate) fn resolve(&mut self, tenant_id: TenantId<'_>, user_id: UserId<'_>) -> (MemberRef, bool) {
        let tenant = self.resolve_tenant(tenant_id);
        self.resolve_in(tenant, user_id, self.hasher.hash_one(user_id.as_str()))
    }

    /// The tenant of this name, made if it is new.
    fn resolve_tenant(&mut self, tenant_id: TenantId<'_>) -> TenantOrdinal {
        self.tenant(tenant_id.as_str()).unwrap_or_else(|| self.add_tenant(tenant_id.as_str()))
    }

    /// Makes room for so many members more, with ids of so many bytes. Room that stays unused costs no memory.
    pub(crate) fn reserve(&mut self, members: usize, bytes: usize) {
        self.text.reserve(bytes);
        self.persons.reserve(members);
        self.entries.reserve(members / 4 * 5);
    }

    /// Makes these members, each of which is new and gets the number it says; `None` if one is not or does not.
    ///
    /// The same as [`Members::resolve`] on each: what that reads lies all over memory, and is read for all before the first
    /// is made, so the processor waits for many at once.
    pub(crate) fn define(&mut self, new: &[(MemberOrdinal, TenantId<'_>, UserId<'_>)]) -> Option<()> {
        /// What is read for so many stays in the caches until they are made.
        const AT_ONCE: usize = 1_024;
        for new in new.chunks(AT_ONCE) {
            let hashes: Vec<u64> =
                new.iter().map(|(.., user_id)| self.hasher.hash_one(user_id.as_str())).collect();
            let tenants: Vec<_> =
                new.iter().map(|(_, tenant_id, _)| self.resolve_tenant(*tenant_id)).collect();
            black_box(
                hashes.iter().filter(|hash| self.person_numbers.find(**hash, |_| true).is_some()).count(),
            );
            let taken = |member: MemberOrdinal| self.entries.get(member.index()).is_some_and(Option::is_some);
            black_box(new.iter().filter(|(member, ..)| taken(*member)).count());
            for (((member, _, user_id), hash), tenant) in new.iter().zip(hashes).zip(tenants) {
                let (found, is_new) = self.resolve_in(tenant, *user_id, hash);
                if !is_new || found.member != *member {
                    return None;
                }
            }
        }
        Some(())
    }

    fn resolve_in(&mut self, tenant: TenantOrdinal, user_id: UserId<'_>, hash: u64) -> (MemberRef, bool) {
        let known = self.person(hash, user_id.as_str());
        if let Some(person) = known
            && let Some(member) = self.member_of(person, tenant)
        {
            return (MemberRef { member, tenant, person }, false);
        }
        let member = self.next_ordinal(tenant);
        let person = match known {
            Some(person) => {
                self.further.insert((person, tenant), member);
                person
            }
            None => self.add_person(hash, user_id.as_str(), member),
        };
        if self.entries.len() <= member.index() {
            self.entries.resize(member.index() + 1, None);
        }
        self.entries[member.index()] = Some(MemberEntry::new(tenant, person));
        self.count += 1;
        (MemberRef { member, tenant, person }, true)
    }

    fn person(&self, hash: u64, user_id: &str) -> Option<PersonOrdinal> {
        self.person_numbers.find(hash, |person| self.text.is(self.persons[person.index()].name, user_id))
    }

    fn member_of(&self, person: PersonOrdinal, tenant: TenantOrdinal) -> Option<MemberOrdinal> {
        let first = self.persons[person.index()].first;
        let entry = self.entries[first.index()]?;
        if entry.tenant() == tenant { Some(first) } else { self.further.get(&(person, tenant)).copied() }
    }

    fn add_tenant(&mut self, name: &str) -> TenantOrdinal {
        let tenant = TenantOrdinal::new(u32::try_from(self.tenants.len()).expect("fewer than 2^32 tenants"));
        self.tenants.push(Tenant { name: name.into(), free: 0..0, numbers: 0 });
        self.tenant_numbers.insert(name.into(), tenant);
        tenant
    }

    fn add_person(&mut self, hash: u64, user_id: &str, first: MemberOrdinal) -> PersonOrdinal {
        let person = PersonOrdinal::new(u32::try_from(self.persons.len()).expect("fewer than 2^32 persons"));
        self.persons.push(Person { name: self.text.add(user_id), first });
        self.person_numbers.insert(hash, person);
        person
    }

    fn next_ordinal(&mut self, tenant: TenantOrdinal) -> MemberOrdinal {
        let end = u32::try_from(self.entries.len()).expect("fewer than 2^32 members");
        let entry = &mut self.tenants[tenant.index()];
        if entry.free.is_empty() {
            let block = (entry.numbers / 4).clamp(BLOCK_MIN, BLOCK_MAX);
            entry.free = end..end.checked_add(block).expect("fewer than 2^32 members");
            entry.numbers += block;
            self.entries.resize(entry.free.end as usize, None);
        }
        let ordinal = entry.free.start;
        entry.free.start += 1;
        MemberOrdinal::new(ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(members: &mut Members, tenant: &str, user: &str) -> (MemberRef, bool) {
        members.resolve(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
    }

    #[test]
    fn names_lead_to_numbers_and_back() {
        let mut members = Members::default();
        let mut all = Vec::new();
        for user in 0..3_000 {
            for tenant in ["a", "b", "c"].iter().take(1 + user % 3) {
                let user = format!("user {user}");
                let (found, new) = resolve(&mut members, tenant, &user);
                assert!(new);
                all.push((*tenant, user, found));
            }
        }
        assert_eq!(members.len(), all.len());
        for (tenant, user, member) in &all {
            assert_eq!(resolve(&mut members, tenant, user), (*member, false));
            assert_eq!(members.find(tenant, user), Some(*member));
            let names = [(*tenant, user.as_str()), ("a", "nobody"), ("nowhere", user), ("c", "user 0")]
                .map(|(tenant, user)| (TenantId::new(tenant).unwrap(), UserId::new(user).unwrap()));
            let mut found = Vec::new();
            members.find_all(&names, &mut found);
            assert_eq!(found, [Some(*member), None, None, None]);
            assert_eq!(members.member_ref(member.member), Some(*member));
            assert_eq!(members.tenant_id(member.tenant).as_str(), *tenant);
            assert_eq!(members.user_id(member.person).as_str(), user);
        }
        assert_eq!(members.find("a", "nobody"), None);
        assert_eq!(members.find("c", "user 0"), None);
        assert_eq!(members.find("nowhere", "user 0"), None);
    }

    #[test]
    fn a_tenant_is_a_few_blocks() {
        let mut members = Members::default();
        let mut large = Vec::new();
        for user in 0..100_000 {
            large.push(resolve(&mut members, "large", &format!("{user}")).0.member.get());
            resolve(&mut members, &format!("tenant {}", user % 100), &format!("{user}"));
        }
        assert!(large.is_sorted());
        let ranges = 1 + large.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count();
        assert!(ranges <= 50, "{ranges} ranges");
        let numbers = members.entries.len();
        assert!(numbers < members.len() * 5 / 4, "{numbers} ordinals for {} members", members.len());
    }
}

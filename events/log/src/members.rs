//! The member dictionary: names to dense numbers and back. Names are hashed once, on the way in; everything
//! behind the log counts in ordinals.

pub(crate) mod image;
mod shards;
mod text;

use lastseen_event::{MemberOrdinal, MemberRef, PersonOrdinal, TenantId, TenantOrdinal, UserId};
use lastseen_store::MemberDictionary;

pub(crate) use self::shards::Seed;
use self::shards::Shards;
use self::text::{TextArena, TextRef};
use crate::damage::Malformed;
use crate::identity::{IdKey, TenantMask};
use crate::touch::touch;

/// Every tenant, person and member of a log.
///
/// Member ordinals are handed out in blocks per tenant, each a quarter of those before it up to a bound, in the
/// order in which members first appear: a tenant is a few ranges, few numbers are left free, and the same order gives the
/// same numbers.
#[derive(Default)]
pub(crate) struct Members {
    seed: Seed,
    tenants: Vec<Tenant>,
    /// By tenant.
    masks: Vec<TenantMask>,
    /// The secret of the log, which the masks are made with.
    key: IdKey,
    /// Tenants by name.
    tenant_numbers: Shards,
    text: TextArena,
    persons: Vec<Person>,
    /// Persons by name.
    person_numbers: Shards,
    /// By ordinal; `None` where a block has not been filled.
    entries: Vec<Option<MemberEntry>>,
    /// Members of persons beyond each person's first, by person and tenant.
    further: Shards,
    count: usize,
    limits: MemberLimits,
}

/// The most that a dictionary may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberLimits {
    /// Ordinals, those that are still free in a tenant's blocks included: at most 2^32 - 1, of which the last is no member's.
    pub ordinals: u32,
    /// Bytes of user ids, each with its length and rounded up to four: at most 16 GiB.
    pub user_id_bytes: u64,
}

impl Default for MemberLimits {
    fn default() -> Self {
        Self { ordinals: u32::MAX, user_id_bytes: 16 << 30 }
    }
}

/// No more members fit into the dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// First block of a tenant.
const BLOCK_MIN: u32 = 8;
/// Largest block: wastes little of a large tenant's arrays.
const BLOCK_MAX: u32 = 8_192;

struct Tenant {
    name: Box<str>,
    blocks: Blocks,
}

/// The ordinals of a tenant.
#[derive(Clone, Debug, Default)]
struct Blocks {
    /// Those of the newest block that are still free.
    free: std::ops::Range<u32>,
    /// Number of ordinals in all blocks.
    numbers: u32,
}

impl Blocks {
    /// Ordinals of the next block.
    fn next(&self) -> u32 {
        (self.numbers / 4).clamp(BLOCK_MIN, BLOCK_MAX)
    }
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

impl Members {
    /// An empty dictionary of the log with this secret.
    pub(crate) fn new(key: IdKey) -> Self {
        Self { key, ..Self::default() }
    }

    /// The mask of a tenant's ids.
    ///
    /// # Panics
    /// If the ordinal is not from this dictionary.
    pub(crate) fn mask(&self, tenant: TenantOrdinal) -> TenantMask {
        self.masks[tenant.index()]
    }

    /// The end of the numbers that were given out: there may be gaps below.
    pub(crate) fn slots(&self) -> usize {
        self.entries.len()
    }

    /// True if each member of `other` is here with the same numbers and names.
    pub(crate) fn has_all_of(&self, other: &Self) -> bool {
        (0..)
            .map(MemberOrdinal::new)
            .zip(&other.entries)
            .filter_map(|(member, entry)| Some((member, (*entry)?)))
            .all(|(member, entry)| {
                self.member_ref(member).is_some_and(|here| {
                    here.tenant == entry.tenant()
                        && here.person == entry.person
                        && self.tenant_id(here.tenant) == other.tenant_id(here.tenant)
                        && self.user_id(here.person) == other.user_id(here.person)
                })
            })
    }

    /// Puts the member of each name into `found`, `None` where it is new; `found.len() == names.len()` then.
    ///
    /// The same as [`find`](MemberDictionary::find) on each, in steps over all names: what one step reads lies all over memory
    /// and does not depend on what it reads for the other names, so the processor waits for many at once.
    pub(crate) fn find_all(&self, names: &[(TenantId<'_>, UserId<'_>)], found: &mut Vec<Option<MemberRef>>) {
        let hashes = |name: for<'n> fn(&'n (TenantId<'_>, UserId<'_>)) -> &'n str| -> Vec<u64> {
            names.iter().map(|both| self.seed.of_name(name(both))).collect()
        };
        // Nearly always the right ones; their names are compared below, when those are near.
        let likely = |numbers: &Shards, hashes: &[u64]| -> Vec<Option<u32>> {
            hashes.iter().map(|hash| numbers.find(*hash, |_| true)).collect()
        };
        let tenants = likely(&self.tenant_numbers, &hashes(|(tenant_id, _)| tenant_id.as_str()));
        let persons = likely(&self.person_numbers, &hashes(|(_, user_id)| user_id.as_str()));
        let persons: Vec<_> =
            persons.iter().map(|person| person.map(|person| self.persons[person as usize])).collect();
        let first = |person: &Option<Person>| person.and_then(|person| self.entries[person.first.index()]);
        let entries: Vec<_> = persons.iter().map(first).collect();
        let name_of = |(person, (_, user_id)): (&Option<Person>, &(_, UserId<'_>))| {
            person.map(|person| (person.name, user_id.as_str().len()))
        };
        self.text.touch(persons.iter().zip(names).filter_map(name_of));
        let tenant_name = |tenant: &u32| self.tenants[*tenant as usize].name.as_bytes()[0].into();
        touch(tenants.iter().flatten().map(tenant_name));
        found.clear();
        for (at, (tenant_id, user_id)) in names.iter().enumerate() {
            let fast = || {
                let (person, tenant, entry) = (persons[at]?, TenantOrdinal::new(tenants[at]?), entries[at]?);
                let same = entry.tenant() == tenant
                    && self.text.is(person.name, user_id.as_str())
                    && *self.tenants[tenant.index()].name == *tenant_id.as_str();
                same.then_some(MemberRef { member: person.first, tenant, person: entry.person })
            };
            found.push(fast().or_else(|| self.find(tenant_id.as_str(), user_id.as_str())));
        }
    }

    /// Takes no more members than these limits allow. Those that are here stay, however many they are.
    pub(crate) fn limit(&mut self, limits: MemberLimits) {
        let most = MemberLimits::default();
        self.limits = MemberLimits {
            ordinals: limits.ordinals.min(most.ordinals),
            user_id_bytes: limits.user_id_bytes.min(most.user_id_bytes),
        };
    }

    /// The member with these names, made if it is new. Returns also whether it was.
    ///
    /// # Errors
    /// [`Full`]: it is new, and there is no room for it. Nothing was made.
    pub(crate) fn resolve(
        &mut self,
        tenant_id: TenantId<'_>,
        user_id: UserId<'_>,
    ) -> Result<(MemberRef, bool), Full> {
        if !self.surely_has_room() {
            if let Some(known) = self.find(tenant_id.as_str(), user_id.as_str()) {
                return Ok((known, false));
            }
            if !self.has_room(tenant_id.as_str(), user_id.as_str()) {
                return Err(Full);
            }
        }
        let tenant = self.resolve_tenant(tenant_id);
        Ok(self.resolve_in(tenant, user_id, self.seed.of_name(user_id.as_str())))
    }

    /// True if there is room for any member, whoever it is.
    fn surely_has_room(&self) -> bool {
        let ordinals = self.entries.len() + BLOCK_MAX as usize;
        let bytes = self.text.len() as u64 + TextArena::LEN_MAX;
        ordinals <= self.limits.ordinals as usize && bytes <= self.limits.user_id_bytes
    }

    /// True if there is room for a new member with these names.
    fn has_room(&self, tenant_id: &str, user_id: &str) -> bool {
        let blocks = self.tenant(tenant_id).map(|tenant| &self.tenants[tenant.index()].blocks);
        let block = blocks.map_or(BLOCK_MIN, |blocks| if blocks.free.is_empty() { blocks.next() } else { 0 });
        let is_known = self.find_person(user_id).is_some();
        let bytes = if is_known { 0 } else { TextArena::len_of(user_id) };
        self.entries.len() + block as usize <= self.limits.ordinals as usize
            && self.text.len() as u64 + bytes <= self.limits.user_id_bytes
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

    /// Number of members at the start of the list that are here already, under the number they say.
    pub(crate) fn known(&self, members: &[(MemberOrdinal, TenantId<'_>, UserId<'_>)]) -> usize {
        let is_known = |(member, tenant_id, user_id): &(MemberOrdinal, TenantId<'_>, UserId<'_>)| {
            let found = self.find(tenant_id.as_str(), user_id.as_str());
            found.is_some_and(|found| found.member == *member)
        };
        members.iter().take_while(|member| is_known(member)).count()
    }

    /// Makes these members, each of which is new and gets the number it says.
    ///
    /// # Errors
    /// [`Malformed`] if one is not new, gets another number, or has no room.
    ///
    /// The same as [`Members::resolve`] on each: what that reads lies all over memory, and is read for all before the first
    /// is made, so the processor waits for many at once.
    pub(crate) fn define(
        &mut self,
        new: &[(MemberOrdinal, TenantId<'_>, UserId<'_>)],
    ) -> Result<(), Malformed> {
        /// Members made at a time: the memory read for so many stays in the caches until they are made.
        const AT_ONCE: usize = 1_024;
        for new in new.chunks(AT_ONCE) {
            let hashes: Vec<u64> =
                new.iter().map(|(.., user_id)| self.seed.of_name(user_id.as_str())).collect();
            let tenants: Vec<_> =
                new.iter().map(|(_, tenant_id, _)| self.resolve_tenant(*tenant_id)).collect();
            let is_known = |hash: &u64| self.person_numbers.find(*hash, |_| true).is_some();
            touch(hashes.iter().map(|hash| is_known(hash).into()));
            let is_taken =
                |member: MemberOrdinal| self.entries.get(member.index()).is_some_and(Option::is_some);
            touch(new.iter().map(|(member, ..)| is_taken(*member).into()));
            for (((member, tenant_id, user_id), hash), tenant) in new.iter().zip(hashes).zip(tenants) {
                if !self.surely_has_room() && !self.has_room(tenant_id.as_str(), user_id.as_str()) {
                    return Err(Malformed);
                }
                let (found, is_new) = self.resolve_in(tenant, *user_id, hash);
                if !is_new || found.member != *member {
                    return Err(Malformed);
                }
            }
        }
        Ok(())
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
                self.further.insert(self.seed.of_pair((person, tenant)), member.get());
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
        let is = |person: u32| self.text.is(self.persons[person as usize].name, user_id);
        self.person_numbers.find(hash, is).map(PersonOrdinal::new)
    }

    fn member_of(&self, person: PersonOrdinal, tenant: TenantOrdinal) -> Option<MemberOrdinal> {
        let is = |member: MemberOrdinal| {
            let entry = self.entries[member.index()];
            entry.is_some_and(|entry| entry.tenant() == tenant && entry.person == person)
        };
        let first = self.persons[person.index()].first;
        if is(first) {
            return Some(first);
        }
        let hash = self.seed.of_pair((person, tenant));
        self.further.find(hash, |member| is(MemberOrdinal::new(member))).map(MemberOrdinal::new)
    }

    fn add_tenant(&mut self, name: &str) -> TenantOrdinal {
        let tenant = TenantOrdinal::new(u32::try_from(self.tenants.len()).expect("fewer than 2^32 tenants"));
        self.tenants.push(Tenant { name: name.into(), blocks: Blocks::default() });
        self.masks.push(self.key.mask(name));
        self.tenant_numbers.insert(self.seed.of_name(name), tenant.get());
        tenant
    }

    fn add_person(&mut self, hash: u64, user_id: &str, first: MemberOrdinal) -> PersonOrdinal {
        let person = PersonOrdinal::new(u32::try_from(self.persons.len()).expect("fewer than 2^32 persons"));
        self.persons.push(Person { name: self.text.add(user_id), first });
        self.person_numbers.insert(hash, person.get());
        person
    }

    fn next_ordinal(&mut self, tenant: TenantOrdinal) -> MemberOrdinal {
        let end = u32::try_from(self.entries.len()).expect("fewer than 2^32 members");
        let blocks = &mut self.tenants[tenant.index()].blocks;
        if blocks.free.is_empty() {
            let block = blocks.next();
            blocks.free = end..end.checked_add(block).expect("fewer than 2^32 members");
            blocks.numbers += block;
            self.entries.resize(blocks.free.end as usize, None);
        }
        let ordinal = blocks.free.start;
        blocks.free.start += 1;
        MemberOrdinal::new(ordinal)
    }
}

impl MemberDictionary for Members {
    fn len(&self) -> usize {
        self.count
    }

    fn tenant(&self, tenant_id: &str) -> Option<TenantOrdinal> {
        let is = |tenant: u32| *self.tenants[tenant as usize].name == *tenant_id;
        self.tenant_numbers.find(self.seed.of_name(tenant_id), is).map(TenantOrdinal::new)
    }

    fn find_person(&self, user_id: &str) -> Option<PersonOrdinal> {
        self.person(self.seed.of_name(user_id), user_id)
    }

    fn find(&self, tenant_id: &str, user_id: &str) -> Option<MemberRef> {
        let tenant = self.tenant(tenant_id)?;
        let person = self.person(self.seed.of_name(user_id), user_id)?;
        let member = self.member_of(person, tenant)?;
        Some(MemberRef { member, tenant, person })
    }

    fn member_ref(&self, member: MemberOrdinal) -> Option<MemberRef> {
        let entry = self.entries.get(member.index()).copied()??;
        Some(MemberRef { member, tenant: entry.tenant(), person: entry.person })
    }

    fn tenant_id(&self, tenant: TenantOrdinal) -> TenantId<'_> {
        TenantId::stored(&self.tenants[tenant.index()].name).expect("only names are added")
    }

    fn user_id(&self, person: PersonOrdinal) -> UserId<'_> {
        UserId::stored(self.text.get(self.persons[person.index()].name)).expect("only names are added")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(members: &mut Members, tenant: &str, user: &str) -> (MemberRef, bool) {
        members.resolve(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap()).unwrap()
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
    fn a_full_dictionary_knows_its_members_and_takes_no_other() {
        let name = |number: u32| (format!("tenant {}", number % 7), format!("user {}", number % 40));
        let fill = |limits: MemberLimits| {
            let mut members = Members::default();
            members.limit(limits);
            let (mut taken, mut refused) = (Vec::new(), 0);
            for number in 0..2_000 {
                let (tenant, user) = name(number);
                let names = (TenantId::new(&tenant).unwrap(), UserId::new(&user).unwrap());
                match members.resolve(names.0, names.1) {
                    Ok((member, _)) => taken.push((number, member)),
                    Err(Full) => refused += 1,
                }
            }
            for (number, member) in &taken {
                let (tenant, user) = name(*number);
                assert_eq!(members.find(&tenant, &user), Some(*member));
            }
            assert!(members.entries.len() <= limits.ordinals as usize);
            assert!(members.text.len() as u64 <= limits.user_id_bytes);
            (members.len(), refused)
        };
        let unlimited = MemberLimits::default();
        assert_eq!(fill(unlimited), (280, 0));
        let (members, refused) = fill(MemberLimits { ordinals: 100, ..unlimited });
        assert!((80..=100).contains(&members) && refused > 0, "{members} {refused}");
        let (members, refused) = fill(MemberLimits { user_id_bytes: 100, ..unlimited });
        assert!((8..280).contains(&members) && refused > 0, "{members} {refused}");
        let (members, refused) = fill(MemberLimits { ordinals: 7, ..unlimited });
        assert_eq!((members, refused), (0, 2_000));
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

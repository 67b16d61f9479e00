//! One compact record per member, in an array over ordinals, and the fold of a fact into it.
//!
//! Every field is a least or a greatest of something the facts carry, so the fold is a join: facts in any
//! order, any number of times, give the same record. `Record::membership_at` is the one definition of
//! membership.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Range;

use lastseen_event::{BatchOrdinal, EventType, Fact, MemberOrdinal, Position, Provenance, UtcInstant};

use crate::bytes::{BadPart, Bytes, slots_of};
use crate::decisions::{Decision, Decisions, Matter};
use crate::paged::Paged;
use crate::{MemberState, Seen, Selection};

/// Later than every event: membership at this instant is that of now.
const END_OF_TIME: UtcInstant = UtcInstant::from_micros(i64::MAX);

/// The records of all members.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    records: Paged<Record>,
    deletions: Decisions,
    leavings: Decisions,
    /// Of each part of the records that was restored, by its first slot, the position up to which its events were counted.
    /// Empty where each fact comes once.
    counted_until: BTreeMap<usize, Position>,
}

/// The part of a member that the numbers depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) membership: Membership,
    seen: Option<(UtcInstant, Provenance)>,
}

/// The part of a member that counts without a window need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is there or not, whatever the others are")]
pub(crate) struct Membership {
    pub(crate) deleted: bool,
    pub(crate) left_out: bool,
    pub(crate) confirmed: bool,
    /// Ever, deleted or not.
    pub(crate) seen: bool,
}

/// The effect of one fact on its member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// `None`: the fact is the first of its member.
    pub(crate) before: Option<Standing>,
    pub(crate) after: Standing,
    pub(crate) first_seen_before: Option<UtcInstant>,
    pub(crate) exists_before: Option<UtcInstant>,
    /// A decision that was not known.
    pub(crate) decision: Option<(Matter, Decision)>,
    /// True if the person has other members.
    pub(crate) shared: bool,
}

impl Membership {
    /// True if the member is neither deleted nor left out.
    pub(crate) fn is_present(self) -> bool {
        !self.deleted && !self.left_out
    }
}

impl Standing {
    /// True if the member is neither deleted nor left out.
    pub(crate) fn is_present(&self) -> bool {
        self.membership.is_present()
    }

    /// Last seen as it counts: that of a deleted member, or of one that is left out, does not.
    pub(crate) fn counted_seen(&self) -> Option<(UtcInstant, Provenance)> {
        if self.is_present() { self.seen } else { None }
    }

    /// The instant of [`Standing::counted_seen`].
    pub(crate) fn counted_at(&self) -> Option<UtcInstant> {
        self.counted_seen().map(|(at, _)| at)
    }
}

impl Roster {
    /// Folds the fact into the record of its member, as `selection` says what counts.
    pub(crate) fn fold(&mut self, fact: &Fact, selection: &Selection) -> Change {
        let member = fact.member.member;
        let record = self.records.slot(member.index());
        let (before, first_seen_before) = (record.standing(), record.first_seen());
        let exists_before = record.has(KNOWN).then(|| record.exists_from());
        record.exist(fact.occurred_at);
        if confirms(fact) {
            record.confirm(fact.occurred_at);
        }
        if selection.counted().contains(fact.event_type) {
            record.see(fact);
        }
        let part = self.counted_until.range(..=member.index()).next_back();
        if part.is_none_or(|(_, until)| fact.position > *until) {
            record.events = record.events.saturating_add(1);
        }
        let mut decision = selection.decision(fact);
        if let Some((matter, new)) = decision {
            let decisions = match matter {
                Matter::Deletion => &mut self.deletions,
                Matter::LeavingOut => &mut self.leavings,
            };
            if decisions.insert(member, new) {
                record.decide(matter, decisions.holds_at(member, END_OF_TIME));
            } else {
                decision = None;
            }
        }
        Change {
            before,
            after: record.standing().expect("a fact makes its member known"),
            first_seen_before,
            exists_before,
            decision,
            shared: record.has(SHARED),
        }
    }

    /// The state of a member. `None`: no fact is about it.
    pub(crate) fn member(&self, member: MemberOrdinal) -> Option<MemberState> {
        let record = self.records.get(member.index());
        let since = |decisions: &Decisions, flag| {
            record.has(flag).then(|| decisions.holds_since(member, END_OF_TIME)).flatten()
        };
        record.has(KNOWN).then(|| MemberState {
            exists_from: record.exists_from(),
            confirmed_from: record.has(CONFIRMED).then(|| UtcInstant::from_micros(record.confirmed_micros)),
            deleted_at: since(&self.deletions, DELETED),
            left_out_at: since(&self.leavings, LEFT_OUT),
            last_seen: record.seen(),
            first_seen_at: record.first_seen(),
            events: record.events,
        })
    }

    /// The decisions about all members in a matter.
    pub(crate) fn decisions(&self, matter: Matter) -> &Decisions {
        match matter {
            Matter::Deletion => &self.deletions,
            Matter::LeavingOut => &self.leavings,
        }
    }

    /// The standing of a member. `None`: no fact is about it.
    pub(crate) fn standing(&self, member: MemberOrdinal) -> Option<Standing> {
        self.records.get(member.index()).standing()
    }

    /// The instant from which on a member exists. `None`: no fact is about it.
    pub(crate) fn exists_from(&self, member: MemberOrdinal) -> Option<UtcInstant> {
        let record = self.records.get(member.index());
        record.has(KNOWN).then(|| record.exists_from())
    }

    /// Reads the records of these members into the processor's caches.
    pub(crate) fn touch(&self, facts: &[Fact]) {
        let known = |fact: &&Fact| self.records.get(fact.member.member.index()).has(KNOWN);
        black_box(facts.iter().filter(known).count());
    }

    /// The membership of a member at an instant. `None`: it did not exist yet.
    pub(crate) fn membership_at(&self, member: MemberOrdinal, at: UtcInstant) -> Option<Membership> {
        let record = self.records.get(member.index());
        record.membership_at(at, |matter| self.decisions(matter).holds_at(member, at))
    }

    /// The standings of all members, by ordinal.
    pub(crate) fn standings(&self) -> impl Iterator<Item = Standing> {
        self.records.iter().filter_map(|record| record.standing())
    }

    /// One more than the greatest ordinal that may be known.
    pub(crate) fn slots(&self) -> usize {
        self.records.slots()
    }

    /// The ordinals of all slots, of members or not.
    pub(crate) fn ordinals(&self) -> impl Iterator<Item = MemberOrdinal> + use<> {
        (0..u32::try_from(self.slots()).expect("ordinals are 32 bits")).map(MemberOrdinal::new)
    }

    /// From now on each fact comes once.
    pub(crate) fn is_restored(&mut self) {
        self.counted_until.clear();
    }

    /// True if there is a fact about the member.
    pub(crate) fn knows(&self, member: MemberOrdinal) -> bool {
        self.records.get(member.index()).has(KNOWN)
    }

    /// True if the person of this member has others.
    pub(crate) fn is_shared(&self, member: MemberOrdinal) -> bool {
        self.records.get(member.index()).has(SHARED)
    }

    /// Notes that the person of this member has others.
    pub(crate) fn mark_shared(&mut self, member: MemberOrdinal) {
        self.records.slot(member.index()).tagged_position |= SHARED;
    }

    /// Encodes the records of these slots as of a position, then the decisions about them.
    pub(crate) fn encode(&self, slots: Range<usize>, position: Position, part: &mut Vec<u8>) {
        let [first, end] =
            [slots.start, slots.end].map(|slot| u32::try_from(slot).expect("ordinals are 32 bits"));
        part.extend_from_slice(&first.to_le_bytes());
        part.extend_from_slice(&(end - first).to_le_bytes());
        part.extend_from_slice(&position.get().to_le_bytes());
        part.reserve(slots.len() * size_of::<Record>());
        for slot in slots {
            self.records.get(slot).encode(part);
        }
        for decisions in [&self.deletions, &self.leavings] {
            decisions.encode(MemberOrdinal::new(first)..MemberOrdinal::new(end), part);
        }
    }

    /// Adds the records and decisions of a part.
    pub(crate) fn decode(&mut self, bytes: &mut Bytes<'_>) -> Result<(), BadPart> {
        let slots = slots_of(bytes.u32()?, bytes.u32()?)?;
        let position = Position::new(bytes.u64()?);
        self.counted_until.insert(slots.start, position);
        for slot in slots {
            let record = Record::decode(bytes)?;
            if record.has(KNOWN) {
                *self.records.slot(slot) = record;
            }
        }
        self.deletions.decode(bytes)?;
        self.leavings.decode(bytes)
    }
}

/// True if the fact confirms its member. All activity does, even activity that does not count as being seen.
fn confirms(fact: &Fact) -> bool {
    match fact.event_type {
        EventType::UserConfirmed => true,
        EventType::UserCreated => fact.created_confirmed,
        other => other.activity().is_some(),
    }
}

/// Forty-eight bytes a member. Instants in microseconds; they mean nothing unless their flag is set.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    seen_micros: i64,
    /// `flags: 6 bits | rank: 3 bits | position: 55 bits`, rank and position being those of last seen.
    tagged_position: u64,
    exists_micros: i64,
    confirmed_micros: i64,
    first_seen_micros: i64,
    /// Facts about the member, each as often as it came.
    events: u32,
    /// The batch of last seen, plus one. 0: none.
    seen_batch: u32,
}

const _: () = assert!(size_of::<Record>() == 48);

const POSITION_BITS: u32 = 55;
const POSITION: u64 = (1 << POSITION_BITS) - 1;
/// 0: never seen. Observed types have their code, estimates come after them: of equal instants the least
/// rank, then the least position is reported, and both are compared as the one number they are stored as.
const RANK: u64 = 0b111 << POSITION_BITS;
const RANK_ESTIMATED: u64 = 5;
const KNOWN: u64 = 1 << 58;
const CONFIRMED: u64 = 1 << 59;
/// There is a [`Decision`] about the member.
const DECIDED: u64 = 1 << 60;
const LEFT_OUT: u64 = 1 << 61;
const DELETED: u64 = 1 << 62;
/// The person has other members. Not in snapshots: it depends on the setting of persons.
const SHARED: u64 = 1 << 63;

const _: () = assert!(EventType::SignupComplete as u64 + 1 == RANK_ESTIMATED);

impl Record {
    fn has(&self, flag: u64) -> bool {
        self.tagged_position & flag != 0
    }

    fn exists_from(&self) -> UtcInstant {
        UtcInstant::from_micros(self.exists_micros)
    }

    fn seen(&self) -> Option<Seen> {
        let event_type = match (self.tagged_position & RANK) >> POSITION_BITS {
            0 => return None,
            1 => EventType::Login,
            2 => EventType::TokenRefresh,
            3 => EventType::TenantSwitch,
            4 => EventType::SignupComplete,
            _ => EventType::EstimatedActivity,
        };
        Some(Seen {
            at: UtcInstant::from_micros(self.seen_micros),
            event_type,
            position: Position::new(self.tagged_position & POSITION),
            batch: self.seen_batch.checked_sub(1).map(BatchOrdinal::new),
        })
    }

    fn first_seen(&self) -> Option<UtcInstant> {
        (self.tagged_position & RANK != 0).then(|| UtcInstant::from_micros(self.first_seen_micros))
    }

    /// The membership at an instant, the one definition of it. `holds` is asked only about a member with a
    /// decision. `None`: the member did not exist yet.
    #[inline]
    fn membership_at(&self, at: UtcInstant, holds: impl Fn(Matter) -> bool) -> Option<Membership> {
        let exists = self.has(KNOWN) && self.exists_from() <= at;
        exists.then(|| Membership {
            deleted: self.has(DECIDED) && holds(Matter::Deletion),
            left_out: self.has(DECIDED) && holds(Matter::LeavingOut),
            confirmed: self.has(CONFIRMED) && self.confirmed_micros <= at.as_micros(),
            seen: self.first_seen().is_some_and(|first| first <= at),
        })
    }

    fn standing(&self) -> Option<Standing> {
        let membership = self.membership_at(END_OF_TIME, |matter| self.has(flag_of(matter)))?;
        Some(Standing { membership, seen: self.seen().map(|seen| (seen.at, seen.provenance())) })
    }

    fn exist(&mut self, at: UtcInstant) {
        least(&mut self.exists_micros, self.tagged_position & KNOWN != 0, at);
        self.tagged_position |= KNOWN;
    }

    fn confirm(&mut self, at: UtcInstant) {
        least(&mut self.confirmed_micros, self.tagged_position & CONFIRMED != 0, at);
        self.tagged_position |= CONFIRMED;
    }

    /// Folds activity in. An observation replaces an estimate for good, so one place holds either.
    fn see(&mut self, fact: &Fact) {
        let key = |micros: i64, place: u64| (place >> POSITION_BITS < RANK_ESTIMATED, micros, Reverse(place));
        let seen = self.tagged_position & (RANK | POSITION);
        let (micros, place) = (fact.occurred_at.as_micros(), place_of(fact));
        least(&mut self.first_seen_micros, seen & RANK != 0, fact.occurred_at);
        if seen & RANK == 0 || key(micros, place) > key(self.seen_micros, seen) {
            self.seen_micros = micros;
            self.seen_batch = fact.batch.map_or(0, |batch| batch.get() + 1);
            self.tagged_position = self.tagged_position & !(RANK | POSITION) | place;
        }
    }

    /// Keeps what all decisions in a matter come to.
    fn decide(&mut self, matter: Matter, holds: bool) {
        let flag = flag_of(matter);
        self.tagged_position = self.tagged_position & !flag | DECIDED | if holds { flag } else { 0 };
    }

    fn encode(&self, part: &mut Vec<u8>) {
        let Self { seen_micros, tagged_position, exists_micros, confirmed_micros, .. } = self;
        part.extend_from_slice(&seen_micros.to_le_bytes());
        part.extend_from_slice(&(tagged_position & !SHARED).to_le_bytes());
        for micros in [exists_micros, confirmed_micros, &self.first_seen_micros] {
            part.extend_from_slice(&micros.to_le_bytes());
        }
        for number in [self.events, self.seen_batch] {
            part.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn decode(bytes: &mut Bytes<'_>) -> Result<Self, BadPart> {
        Ok(Self {
            seen_micros: bytes.i64()?,
            tagged_position: bytes.u64()? & !SHARED,
            exists_micros: bytes.i64()?,
            confirmed_micros: bytes.i64()?,
            first_seen_micros: bytes.i64()?,
            events: bytes.u32()?,
            seen_batch: bytes.u32()?,
        })
    }
}

fn flag_of(matter: Matter) -> u64 {
    match matter {
        Matter::Deletion => DELETED,
        Matter::LeavingOut => LEFT_OUT,
    }
}

/// Rank and position of activity, as [`Record`] stores them.
fn place_of(fact: &Fact) -> u64 {
    let rank = match fact.event_type.activity() {
        Some(Provenance::Observed) => u64::from(fact.event_type.code()),
        Some(Provenance::Estimated) | None => RANK_ESTIMATED,
    };
    assert!(fact.position.get() <= POSITION, "a position has at most 55 bits");
    rank << POSITION_BITS | fact.position.get()
}

fn least(micros: &mut i64, is_set: bool, at: UtcInstant) {
    if !is_set || at.as_micros() < *micros {
        *micros = at.as_micros();
    }
}

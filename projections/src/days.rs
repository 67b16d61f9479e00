//! Which members were active on which day, and what else a series of days needs: a bitmap over ordinals for each day of
//! one calendar, kept up with every fact.
//!
//! A day's bitmaps are shared with whoever reads them: a reader takes them out in no time ([`Days::sets`]) and counts
//! beside the fold, which copies a day only to change it under a reader's eyes.

mod builder;
mod membership;
mod sets;
mod stamps;

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use lastseen_event::{Fact, MemberOrdinal, Position, Provenance, UtcInstant};
use roaring::RoaringBitmap;

pub use self::builder::DaysBuilder;
use self::membership::Turns;
pub use self::sets::{Before, Cohort, DayRow, DaySets, PeriodRow};
use self::stamps::Stamps;
use crate::calendar::{Calendar, Day};
use crate::decisions::Decision;
use crate::paged::Paged;
use crate::roster::{Change, Standing};
use crate::snapshot::{BadPart, Bytes};

/// Members by day.
pub(crate) type ByDay = BTreeMap<Day, Arc<RoaringBitmap>>;

/// The days of UTC.
#[derive(Debug)]
pub(crate) struct Days {
    calendar: Calendar,
    book: Book,
    /// Of members with an estimate.
    estimated: Paged<Estimated>,
    /// The last position that changed a bitmap of a day.
    changed: BTreeMap<Day, Position>,
    /// The last position that changed what holds from a day on.
    changed_from: Stamps,
    /// The last position of activity on a day or after it.
    told: Stamps,
}

/// All bitmaps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    /// Active by an observation.
    pub(crate) observed: ByDay,
    /// Active by an estimate.
    pub(crate) estimated: ByDay,
    /// By the day of their first activity, observed or estimated.
    pub(crate) first: ByDay,
    /// Members with an estimate, by the day that closes with their first observation known: from then on their
    /// estimates do not count.
    pub(crate) first_observed: ByDay,
    /// Deleted by the end of the day, not by the end of the day before; and the other way round.
    pub(crate) gone: ByDay,
    pub(crate) back: ByDay,
}

impl Book {
    /// All kinds of bitmaps, in the order of their numbers.
    pub(crate) fn kinds(&self) -> [&ByDay; 6] {
        [&self.observed, &self.estimated, &self.first, &self.first_observed, &self.gone, &self.back]
    }

    /// The bitmaps of one kind.
    pub(crate) fn kind_mut(&mut self, number: u8) -> Option<&mut ByDay> {
        let Self { observed, estimated, first, first_observed, gone, back } = self;
        [observed, estimated, first, first_observed, gone, back].into_iter().nth(number.into())
    }
}

/// Whether a member has an estimate, and the day by whose end it was observed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Estimated {
    #[default]
    Never,
    Unobserved,
    ObservedBy(Day),
}

impl Days {
    /// No day of UTC.
    pub(crate) fn utc() -> Self {
        Self {
            calendar: Calendar::utc(),
            book: Book::default(),
            estimated: Paged::default(),
            changed: BTreeMap::new(),
            changed_from: Stamps::default(),
            told: Stamps::default(),
        }
    }

    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    pub(crate) fn book_mut(&mut self) -> &mut Book {
        &mut self.book
    }

    /// Whether the same is known of the estimates of a member.
    pub(crate) fn estimates_as(&self, other: &Self, member: MemberOrdinal) -> bool {
        self.estimated.get(member.index()) == other.estimated.get(member.index())
    }

    /// What is known of the estimates of these members, where there is an estimate: how many, then each.
    pub(crate) fn encode_estimated(&self, slots: Range<usize>, part: &mut Vec<u8>) {
        let estimated = || {
            let all = slots.clone().map(|slot| (slot, self.estimated.get(slot)));
            all.filter(|(_, estimated)| *estimated != Estimated::Never)
        };
        let number = |of: usize| u32::try_from(of).expect("ordinals are 32 bits").to_le_bytes();
        part.extend_from_slice(&number(estimated().count()));
        for (slot, estimated) in estimated() {
            part.extend_from_slice(&number(slot));
            let by = match estimated {
                Estimated::ObservedBy(day) => Some(day.number()),
                Estimated::Never | Estimated::Unobserved => None,
            };
            part.push(u8::from(by.is_some()));
            part.extend_from_slice(&by.unwrap_or_default().to_le_bytes());
        }
    }

    pub(crate) fn decode_estimated(
        &mut self,
        slots: Range<usize>,
        bytes: &mut Bytes<'_>,
    ) -> Result<(), BadPart> {
        for _ in 0..bytes.u32()? {
            let slot = bytes.u32()? as usize;
            let ([observed], by) = (bytes.take()?, Day::new(i32::from_le_bytes(bytes.take()?)));
            if !slots.contains(&slot) {
                return Err(BadPart);
            }
            let estimated = if observed == 0 { Estimated::Unobserved } else { Estimated::ObservedBy(by) };
            *self.estimated.slot(slot) = estimated;
        }
        Ok(())
    }

    /// Follows activity that counts; `change` is what it did to its member.
    pub(crate) fn see(&mut self, fact: &Fact, provenance: Provenance, change: &Change) {
        let (member, at) = (fact.member.member, fact.occurred_at);
        let day = self.calendar.date(at);
        self.told.stamp(day, fact.position);
        let last_seen = change.before.as_ref().and_then(Standing::seen);
        if provenance == Provenance::Observed
            && last_seen.is_some_and(|(seen, of)| of == provenance && self.calendar.date(seen) == day)
        {
            // The day has the member already, and what comes first by days is not moved within one.
            return;
        }
        match provenance {
            Provenance::Observed => {
                self.put(fact.position, day, member, |book| &mut book.observed);
                self.observe(fact.position, member, at);
            }
            Provenance::Estimated => {
                self.put(fact.position, day, member, |book| &mut book.estimated);
                self.estimate(fact.position, member, change);
            }
        }
        let date = |at: UtcInstant| self.calendar.date(at);
        let (was, is) = (change.first_seen_before.map(date), change.first_seen_after.map(date));
        if was != is {
            if let Some(was) = was {
                remove(&mut self.book.first, was, member);
                self.changed.insert(was, fact.position);
            }
            if let Some(is) = is {
                self.put(fact.position, is, member, |book| &mut book.first);
            }
        }
    }

    /// Follows a deletion or a restoration of a member about whom `all` is decided, this one included.
    pub(crate) fn decide(&mut self, fact: &Fact, decision: Decision, all: &[Decision]) {
        let before = Turns::of(all.iter().filter(|other| **other != decision), &self.calendar);
        let after = Turns::of(all, &self.calendar);
        if before == after {
            return;
        }
        let (member, book) = (fact.member.member, &mut self.book);
        for (day, deleted) in before.iter() {
            remove(if deleted { &mut book.gone } else { &mut book.back }, day, member);
        }
        for (day, deleted) in after.iter() {
            insert(if deleted { &mut book.gone } else { &mut book.back }, day, member);
        }
        self.changed_from.stamp(self.calendar.closed_by(decision.at()), fact.position);
    }

    /// A member is observed: its estimates do not count from then on.
    fn observe(&mut self, position: Position, member: MemberOrdinal, at: UtcInstant) {
        let was = self.estimated.get(member.index());
        let by = self.calendar.closed_by(at);
        match was {
            Estimated::Never => {}
            Estimated::ObservedBy(earlier) if earlier <= by => {}
            Estimated::Unobserved | Estimated::ObservedBy(_) => {
                if let Estimated::ObservedBy(later) = was {
                    remove(&mut self.book.first_observed, later, member);
                }
                *self.estimated.slot(member.index()) = Estimated::ObservedBy(by);
                insert(&mut self.book.first_observed, by, member);
                self.changed_from.stamp(by, position);
            }
        }
    }

    /// A member is estimated; if for the first time, whatever it was seen by before are observations.
    fn estimate(&mut self, position: Position, member: MemberOrdinal, change: &Change) {
        if self.estimated.get(member.index()) != Estimated::Never {
            return;
        }
        *self.estimated.slot(member.index()) = Estimated::Unobserved;
        if let Some(observed) = change.first_seen_before {
            self.observe(position, member, observed);
        }
    }

    fn put(
        &mut self,
        position: Position,
        day: Day,
        member: MemberOrdinal,
        of: impl FnOnce(&mut Book) -> &mut ByDay,
    ) {
        if insert(of(&mut self.book), day, member) {
            self.changed.insert(day, position);
        }
    }

    /// The last position that changed what is counted from these days.
    pub(crate) fn changed_at(&self, days: RangeInclusive<Day>) -> Position {
        let held = self.changed_from.last_by(*days.end());
        self.changed.range(days).map(|(_, position)| *position).max().unwrap_or_default().max(held)
    }

    /// The last position of activity or of a decision on `day` or before it.
    pub(crate) fn told_by(&self, day: Day) -> Position {
        self.told.last_by(day).max(self.changed_from.last_by(day))
    }

    /// Everything that rows for these days need.
    pub(crate) fn sets(&self, days: RangeInclusive<Day>, members: Option<RoaringBitmap>) -> DaySets {
        DaySets::new(&self.book, self.calendar.is_utc(), days, members)
    }
}

/// The days of `mau`.
pub(crate) const MONTH_DAYS: i32 = 30;
/// The days of `wau`.
const WEEK_DAYS: i32 = 7;

fn insert(days: &mut ByDay, day: Day, member: MemberOrdinal) -> bool {
    Arc::make_mut(days.entry(day).or_default()).insert(member.get())
}

fn remove(days: &mut ByDay, day: Day, member: MemberOrdinal) {
    if let Some(members) = days.get_mut(&day) {
        Arc::make_mut(members).remove(member.get());
    }
}

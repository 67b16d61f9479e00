//! The part of a history that a reader goes over.

use lastseen_event::{
    EventType, Fact, MemberOrdinal, PersonOrdinal, Position, Retraction, TenantOrdinal, UtcInstant,
};

use crate::Detail;

/// A part of a history, in order of position.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// Only events above this position.
    pub after: Position,
    /// Only events up to this position, inclusive. `None`: as far as the tail is, whenever it is asked.
    pub until: Option<Position>,
    /// The part of each event to read.
    pub detail: Detail,
    /// The events to read.
    pub filter: Filter,
}

impl Scan {
    /// Everything above a position.
    pub fn after(after: Position, detail: Detail) -> Self {
        Self { after, until: None, detail, filter: Filter::default() }
    }
}

/// Conditions that an event must meet, all of them. The default is none. Bounds are inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this tenant.
    pub tenant: Option<TenantOrdinal>,
    /// Of this member.
    pub member: Option<MemberOrdinal>,
    /// Of this person, in any tenant.
    pub person: Option<PersonOrdinal>,
    /// Of one of these types.
    pub types: Option<EventTypes>,
    /// Occurred at or after.
    pub occurred_since: Option<UtcInstant>,
    /// Occurred at or before.
    pub occurred_until: Option<UtcInstant>,
    /// Recorded at or after.
    pub recorded_since: Option<UtcInstant>,
    /// Recorded at or before.
    pub recorded_until: Option<UtcInstant>,
}

impl Filter {
    /// True if the event meets every condition.
    pub fn keeps(&self, fact: &Fact) -> bool {
        self.tenant.is_none_or(|tenant| fact.member.tenant == tenant)
            && self.member.is_none_or(|member| fact.member.member == member)
            && self.person.is_none_or(|person| fact.member.person == person)
            && self.types.is_none_or(|types| types.contains(fact.event_type))
            && within(fact.occurred_at, self.occurred_since, self.occurred_until)
            && within(fact.recorded_at, self.recorded_since, self.recorded_until)
    }

    /// True if the retraction meets every condition. It is about no member.
    pub fn keeps_retraction(&self, retraction: &Retraction) -> bool {
        self.tenant.is_none()
            && self.member.is_none()
            && self.person.is_none()
            && self.types.is_none_or(|types| types.contains(EventType::BackfillRetracted))
            && within(retraction.occurred_at, self.occurred_since, self.occurred_until)
            && within(retraction.recorded_at, self.recorded_since, self.recorded_until)
    }

    /// True if an event that occurred within `span`, both ends inclusive, may meet the conditions on
    /// `occurred_at`.
    pub fn may_occur(&self, span: Span) -> bool {
        overlaps(span, self.occurred_since, self.occurred_until)
    }

    /// True if an event that was recorded within `span`, both ends inclusive, may meet the conditions on
    /// `recorded_at`.
    pub fn may_be_recorded(&self, span: Span) -> bool {
        overlaps(span, self.recorded_since, self.recorded_until)
    }

    /// Returns the conditions that are still open for events that all occurred within `occurred` and were
    /// recorded within `recorded`, both ends inclusive: the same conditions without the bounds that all of
    /// these events meet. `None`: the span is not known.
    #[must_use]
    pub fn undecided(mut self, occurred: Option<Span>, recorded: Option<Span>) -> Self {
        if occurred.is_some_and(|span| lies_within(span, self.occurred_since, self.occurred_until)) {
            (self.occurred_since, self.occurred_until) = (None, None);
        }
        if recorded.is_some_and(|span| lies_within(span, self.recorded_since, self.recorded_until)) {
            (self.recorded_since, self.recorded_until) = (None, None);
        }
        self
    }
}

/// Least and greatest instant.
type Span = (UtcInstant, UtcInstant);

fn within(at: UtcInstant, since: Option<UtcInstant>, until: Option<UtcInstant>) -> bool {
    overlaps((at, at), since, until)
}

fn overlaps((least, greatest): Span, since: Option<UtcInstant>, until: Option<UtcInstant>) -> bool {
    since.is_none_or(|since| greatest >= since) && until.is_none_or(|until| least <= until)
}

fn lies_within((least, greatest): Span, since: Option<UtcInstant>, until: Option<UtcInstant>) -> bool {
    since.is_none_or(|since| least >= since) && until.is_none_or(|until| greatest <= until)
}

/// A set of event types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventTypes(u16);

impl EventTypes {
    /// True if the type is in the set.
    pub fn contains(self, event_type: EventType) -> bool {
        self.0 & 1 << event_type.code() != 0
    }
}

impl FromIterator<EventType> for EventTypes {
    fn from_iter<I: IntoIterator<Item = EventType>>(types: I) -> Self {
        Self(types.into_iter().fold(0, |bits, event_type| bits | 1 << event_type.code()))
    }
}

//! One record of the log, by numbers: an event of a member, or the retraction of a batch.

use lastseen_event::{
    BatchName, Event, EventId, EventType, MemberOrdinal, RecordedEvent, SessionId, TenantId, UtcInstant,
};

/// The content of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Event(StoredEvent<'a>),
    Retraction(StoredRetraction<'a>),
}

impl<'a> Record<'a> {
    pub(crate) fn occurred_at(&self) -> UtcInstant {
        match self {
            Self::Event(event) => event.occurred_at,
            Self::Retraction(retraction) => retraction.occurred_at,
        }
    }

    /// The batch that the record names, and the type by which it is counted there.
    pub(crate) fn batch(&self) -> Option<(BatchName<'a>, EventType)> {
        match self {
            Self::Event(event) => event.batch.map(|batch| (batch, event.event_type)),
            Self::Retraction(retraction) => Some((retraction.batch, EventType::BackfillRetracted)),
        }
    }

    /// Id and fingerprint.
    pub(crate) fn identity(&self) -> (EventId, u64) {
        match self {
            Self::Event(event) => (event.id, event.fingerprint),
            Self::Retraction(retraction) => (retraction.id(), retraction.fingerprint()),
        }
    }
}

/// One event, its member by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredEvent<'a> {
    pub(crate) id: EventId,
    pub(crate) fingerprint: u64,
    pub(crate) occurred_at: UtcInstant,
    pub(crate) member: MemberOrdinal,
    pub(crate) event_type: EventType,
    pub(crate) session_id: Option<SessionId<'a>>,
    pub(crate) from_tenant_id: Option<TenantId<'a>>,
    pub(crate) confirmed: Option<bool>,
    pub(crate) counts: Option<bool>,
    pub(crate) batch: Option<BatchName<'a>>,
}

impl<'a> StoredEvent<'a> {
    pub(crate) fn of(event: &Event<'a>, fingerprint: u64, member: MemberOrdinal) -> Self {
        Self {
            id: event.id,
            fingerprint,
            occurred_at: event.occurred_at,
            member,
            event_type: event.event_type,
            session_id: event.session_id,
            from_tenant_id: event.from_tenant_id,
            confirmed: event.confirmed,
            counts: event.counts,
            batch: event.batch,
        }
    }
}

/// The retraction of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredRetraction<'a> {
    /// When it was asked for.
    pub(crate) occurred_at: UtcInstant,
    pub(crate) batch: BatchName<'a>,
}

impl StoredRetraction<'_> {
    /// The id that readers are told. It follows from the batch, in no tenant: no event can have it.
    pub(crate) fn id(&self) -> EventId {
        EventId::of_retraction(self.batch)
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        let recorded = RecordedEvent {
            id: self.id(),
            event_type: EventType::BackfillRetracted,
            occurred_at: self.occurred_at,
            confirmed: None,
            counts: None,
            names: ["", "", "", "", self.batch.as_str()],
        };
        recorded.fingerprint()
    }
}

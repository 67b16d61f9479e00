//! One event, borrowed from the buffer it was read into, and the rules that hold between its fields.

use crate::rows::{NAMES, RecordedEvent};
use crate::{
    BatchName, EventId, EventType, FaultCode, Provenance, Refusal, SessionId, TenantId, UserId, UtcInstant,
};

/// A fact about one member, in the past tense, as its publisher sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The idempotency key, within the tenant.
    pub id: EventId,
    /// The kind of the event.
    pub event_type: EventType,
    /// The tenant of the member.
    pub tenant_id: TenantId<'a>,
    /// The member within its tenant.
    pub user_id: UserId<'a>,
    /// The publisher's clock.
    pub occurred_at: UtcInstant,
    /// The session, on observed activity only.
    pub session_id: Option<SessionId<'a>>,
    /// The tenant that the user came from. On `tenant_switch` only.
    pub from_tenant_id: Option<TenantId<'a>>,
    /// True if the member was confirmed at creation. Always there on `user_created`, never on another type.
    pub confirmed: Option<bool>,
    /// False if the member is to be left out of the numbers from then on, true if it is not. On `user_created` and
    /// `user_changed` only.
    pub counts: Option<bool>,
    /// The backfill run; always there on `estimated_activity`.
    pub batch: Option<BatchName<'a>>,
}

/// The wire names of an event's fields.
pub(crate) mod field {
    pub(crate) const ID: &str = "id";
    pub(crate) const TYPE: &str = "type";
    pub(crate) const TENANT_ID: &str = "tenant_id";
    pub(crate) const USER_ID: &str = "user_id";
    pub(crate) const OCCURRED_AT: &str = "occurred_at";
    pub(crate) const SESSION_ID: &str = "session_id";
    pub(crate) const FROM_TENANT_ID: &str = "from_tenant_id";
    pub(crate) const CONFIRMED: &str = "confirmed";
    pub(crate) const BATCH: &str = "batch";
    pub(crate) const COUNTS: &str = "counts";
}

impl<'a> Event<'a> {
    /// An event with its required fields; optional ones are set afterwards.
    pub fn new(
        id: EventId,
        event_type: EventType,
        (tenant_id, user_id): (TenantId<'a>, UserId<'a>),
        occurred_at: UtcInstant,
    ) -> Self {
        Self {
            id,
            event_type,
            tenant_id,
            user_id,
            occurred_at,
            session_id: None,
            from_tenant_id: None,
            confirmed: None,
            counts: None,
            batch: None,
        }
    }

    /// Its names in the order of their fields; an absent one is empty.
    pub(crate) fn names(&self) -> [&'a str; NAMES] {
        [
            Some(self.tenant_id.as_str()),
            Some(self.user_id.as_str()),
            self.session_id.map(SessionId::as_str),
            self.from_tenant_id.map(TenantId::as_str),
            self.batch.map(BatchName::as_str),
        ]
        .map(Option::unwrap_or_default)
    }

    /// A hash of everything but the id: equal content has equal fingerprints; different content has the same with
    /// probability 2^-64. Stable across processes.
    pub fn fingerprint(&self) -> u64 {
        self.recorded().fingerprint()
    }

    /// The event as a store keeps it.
    pub(crate) fn recorded(&self) -> RecordedEvent<'a> {
        let Self { id, event_type, occurred_at, confirmed, counts, .. } = *self;
        RecordedEvent { id, event_type, occurred_at, confirmed, counts, names: self.names() }
    }

    /// Calls `refuse` with every field that is missing or does not belong to the event's type.
    pub(crate) fn check_fields(&self, mut refuse: impl FnMut(&'static str, Refusal)) {
        let event_type = self.event_type;
        if self.session_id.is_some() && event_type.activity() != Some(Provenance::Observed) {
            refuse(field::SESSION_ID, misplaced(event_type, "observed activity"));
        }
        if self.from_tenant_id.is_some() && event_type != EventType::TenantSwitch {
            refuse(field::FROM_TENANT_ID, misplaced(event_type, "tenant_switch"));
        }
        if event_type == EventType::BackfillRetracted {
            refuse(field::TYPE, Refusal::new(FaultCode::TypeNotPublishable, "it is about no member"));
        }
        match (event_type == EventType::UserCreated, self.confirmed.is_some()) {
            (true, false) => refuse(field::CONFIRMED, missing("true or false, required on user_created")),
            (false, true) => refuse(field::CONFIRMED, misplaced(event_type, "user_created")),
            _ => {}
        }
        if self.counts.is_some() && !matches!(event_type, EventType::UserCreated | EventType::UserChanged) {
            refuse(field::COUNTS, misplaced(event_type, "user_created and user_changed"));
        }
        if event_type == EventType::EstimatedActivity && self.batch.is_none() {
            refuse(field::BATCH, missing("the name of the backfill run, required on estimated_activity"));
        }
    }
}

fn misplaced(event_type: EventType, home: &str) -> Refusal {
    Refusal::new(FaultCode::UnknownField, format_args!("this field belongs to {home}, not to {event_type}"))
}

pub(crate) fn missing(expected: &str) -> Refusal {
    Refusal::new(FaultCode::MissingField, format_args!("expected {expected}"))
}

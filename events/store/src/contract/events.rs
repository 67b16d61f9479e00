//! Events for the suite: deterministic, distinct, of every type and shape.

use lastseen_event::{
    BatchName, Event, EventBatch, EventId, EventType, Provenance, SessionId, TenantId, UserId, UtcInstant,
};
use uuid::Uuid;

/// The id with this number.
///
/// # Panics
/// Never: no number gives the nil or the max UUID.
pub fn event_id(number: u64) -> EventId {
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    EventId::new(Uuid::from_u128(u128::from(number + 1).wrapping_mul(SPREAD))).expect("not nil, not max")
}

/// Makes batches of events that differ in every field. Equal numbers give equal events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source {
    /// Keeps the ids of one source apart from another's.
    pub series: u32,
}

impl Source {
    /// The events with the numbers in `numbers`, in order.
    pub fn batch(self, numbers: std::ops::Range<u64>) -> EventBatch {
        let mut batch = EventBatch::default();
        for number in numbers {
            self.push(&mut batch, number, 0);
        }
        batch
    }

    /// Adds the event with this number, `shift_us` microseconds later than it is by default.
    ///
    /// # Panics
    /// Never: the names are valid by construction.
    pub fn push(self, batch: &mut EventBatch, number: u64, shift_us: i64) {
        self.push_of(batch, &format!("tenant {}", number % 5), (number, shift_us));
    }

    /// The same in another tenant.
    ///
    /// # Panics
    /// If the tenant is no valid name.
    pub fn push_of(self, batch: &mut EventBatch, tenant: &str, (number, shift_us): (u64, i64)) {
        const BASE_US: i64 = 1_700_000_000_000_000;
        let kinds = EventType::PUBLISHABLE.len() as u64;
        let event_type = EventType::PUBLISHABLE[usize::try_from(number % kinds).expect("below 10")];
        let user = format!("usr_{}é", number % 37);
        let (session, from, run) =
            (format!("s{number}"), format!("tenant {}", number % 3), format!("run {number}"));
        let spread = i64::try_from(number.wrapping_mul(2_654_435_761) % 1_000_000_000).expect("below 10^9");
        let mut event = Event::new(
            event_id(u64::from(self.series) << 32 | number),
            event_type,
            (TenantId::new(tenant).expect("valid"), UserId::new(&user).expect("valid")),
            UtcInstant::from_micros(BASE_US + spread + shift_us),
        );
        if event_type.activity() == Some(Provenance::Observed) && number.is_multiple_of(2) {
            event.session_id = Some(SessionId::new(&session).expect("valid"));
        }
        if event_type == EventType::TenantSwitch {
            event.from_tenant_id = Some(TenantId::new(&from).expect("valid"));
        }
        if event_type == EventType::UserCreated {
            event.confirmed = Some(number.is_multiple_of(4));
        }
        if event_type == EventType::EstimatedActivity || number.is_multiple_of(11) {
            event.batch = Some(BatchName::new(&run).expect("valid"));
        }
        batch.push(&event).expect("the fields belong to the type");
    }
}

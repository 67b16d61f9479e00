//! A validated request in one text buffer and arrays: what travels from the wire to the writer.

use crate::{BatchName, Event, EventId, EventRows, Refusal, TenantId, UserId, UtcInstant};

/// Valid events in the order of their request. A few allocations, however many events.
#[derive(Clone, Debug, Default)]
pub struct EventBatch {
    events: EventRows,
    /// One a row.
    origins: Vec<Origin>,
}

/// The data of a row besides its event.
#[derive(Clone, Copy, Debug)]
struct Origin {
    fingerprint: u64,
    request_index: u32,
}

impl EventBatch {
    /// An empty batch with room for `events` events.
    pub fn with_capacity(events: usize) -> Self {
        Self { events: EventRows::with_capacity(events), origins: Vec::with_capacity(events) }
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// True if the batch has no events.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// Bytes of all names together, for sizing what is made from the batch.
    pub fn text_bytes(&self) -> usize {
        self.events.text_bytes()
    }

    /// Bytes that the batch takes in memory, about.
    pub fn bytes(&self) -> usize {
        self.events.bytes() + self.origins.capacity() * size_of::<Origin>()
    }

    /// Adds an event after checking that its fields belong to its type. Its place in the request is the number
    /// of events before it.
    ///
    /// # Errors
    /// The first field that is missing or misplaced, with its wire name; nothing was added.
    pub fn push(&mut self, event: &Event<'_>) -> Result<(), (&'static str, Refusal)> {
        let mut first = None;
        event.check_fields(|field, refusal| {
            first.get_or_insert((field, refusal));
        });
        if let Some(refused) = first {
            return Err(refused);
        }
        self.push_checked(event, self.len());
        Ok(())
    }

    /// Adds an event whose fields were checked; `request_index` counts the refused events too.
    pub(crate) fn push_checked(&mut self, event: &Event<'_>, request_index: usize) {
        self.events.push(event);
        self.origins.push(Origin {
            fingerprint: self.events.fingerprint_of_last().expect("one was added"),
            request_index: u32::try_from(request_index).expect("a request has at most 10,000 events"),
        });
    }

    /// The events in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event<'_>> {
        self.events.iter()
    }

    /// The event at `row`.
    ///
    /// # Panics
    /// If `row` is not below [`EventBatch::len`].
    pub fn get(&self, row: usize) -> Event<'_> {
        self.events.get(row)
    }

    /// The publishers' clocks of the events, in order.
    pub fn instants(&self) -> impl ExactSizeIterator<Item = UtcInstant> {
        self.events.instants()
    }

    /// The tenant and the user of the event at `row`.
    ///
    /// # Panics
    /// If `row` is not below [`EventBatch::len`].
    pub fn names(&self, row: usize) -> (TenantId<'_>, UserId<'_>) {
        self.events.names(row)
    }

    /// The backfill that the event at `row` comes with.
    ///
    /// # Panics
    /// If `row` is not below [`EventBatch::len`].
    pub fn batch_name(&self, row: usize) -> Option<BatchName<'_>> {
        self.events.batch_name(row)
    }

    /// The id of the event at `row` and a fingerprint of all its other content: equal content has equal
    /// fingerprints; different content has the same with probability 2^-64. Stable across processes.
    ///
    /// # Panics
    /// If `row` is not below [`EventBatch::len`].
    pub fn identity(&self, row: usize) -> (EventId, u64) {
        (self.events.id(row), self.origins[row].fingerprint)
    }

    /// The place in its request of the event at `row`: larger than `row` where events before it were refused.
    ///
    /// # Panics
    /// If `row` is not below [`EventBatch::len`].
    pub fn request_index(&self, row: usize) -> usize {
        self.origins[row].request_index as usize
    }

    /// Keeps the events for which `keep(row)` holds, in order. The text stays as it is.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.events.retain(&keep);
        let mut row = 0;
        self.origins.retain(|_| {
            row += 1;
            keep(row - 1)
        });
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{EventType, FaultCode, SessionId};

    fn event(event_type: EventType) -> Event<'static> {
        Event::new(
            EventId::new(Uuid::from_u128(7)).unwrap(),
            event_type,
            (TenantId::new("acme").unwrap(), UserId::new("ada").unwrap()),
            UtcInstant::from_micros(1_767_715_200_000_000),
        )
    }

    #[test]
    fn events_come_out_as_they_went_in() {
        let full = Event {
            session_id: Some(SessionId::new("s1").unwrap()),
            from_tenant_id: Some(TenantId::new("other").unwrap()),
            batch: Some(BatchName::new("run 1").unwrap()),
            ..event(EventType::TenantSwitch)
        };
        let created = Event { confirmed: Some(false), ..event(EventType::UserCreated) };
        let mut batch = EventBatch::default();
        for event in [full, created] {
            batch.push(&event).unwrap();
        }
        assert_eq!(batch.iter().collect::<Vec<_>>(), [full, created]);
        assert_eq!(batch.names(0), (full.tenant_id, full.user_id));
        assert_eq!([0, 1].map(|row| batch.batch_name(row)), [full.batch, None]);
        assert_eq!(
            batch.iter().map(|event| event.fingerprint()).collect::<Vec<_>>(),
            [0, 1].map(|row| batch.identity(row).1)
        );
        batch.retain(|row| row == 1);
        assert_eq!(batch.iter().collect::<Vec<_>>(), [created]);
        assert_eq!(batch.request_index(0), 1);
    }

    #[test]
    fn fields_belong_to_their_types() {
        let session_id = Some(SessionId::new("s").unwrap());
        let from_tenant_id = Some(TenantId::new("t").unwrap());
        for (event, field, code) in [
            (Event { session_id, ..event(EventType::UserChanged) }, "session_id", FaultCode::UnknownField),
            (Event { from_tenant_id, ..event(EventType::Login) }, "from_tenant_id", FaultCode::UnknownField),
            (
                Event { confirmed: Some(true), ..event(EventType::Login) },
                "confirmed",
                FaultCode::UnknownField,
            ),
            (event(EventType::UserCreated), "confirmed", FaultCode::MissingField),
            (event(EventType::EstimatedActivity), "batch", FaultCode::MissingField),
        ] {
            let mut batch = EventBatch::default();
            let (found, refusal) = batch.push(&event).unwrap_err();
            assert_eq!((found, refusal.code), (field, code));
            assert!(batch.is_empty());
        }
    }

    #[test]
    fn every_field_but_the_id_changes_the_fingerprint() {
        let base = event(EventType::TenantSwitch);
        let other_id = Event { id: EventId::new(Uuid::from_u128(8)).unwrap(), ..base };
        let mut batch = EventBatch::default();
        for event in [
            base,
            Event { occurred_at: UtcInstant::from_micros(1), ..base },
            Event { tenant_id: TenantId::new("acmea").unwrap(), user_id: UserId::new("da").unwrap(), ..base },
            Event { session_id: Some(SessionId::new("x").unwrap()), ..base },
            Event { from_tenant_id: Some(TenantId::new("x").unwrap()), ..base },
            Event { batch: Some(BatchName::new("x").unwrap()), ..base },
            event(EventType::Login),
            Event { confirmed: Some(true), ..event(EventType::UserCreated) },
            Event { confirmed: Some(false), ..event(EventType::UserCreated) },
        ] {
            batch.push(&event).unwrap();
        }
        for (row, event) in batch.iter().enumerate() {
            assert_eq!(event.fingerprint(), batch.identity(row).1);
        }
        let mut prints: Vec<_> = (0..batch.len()).map(|row| batch.identity(row).1).collect();
        batch.push(&other_id).unwrap();
        assert_eq!(batch.identity(batch.len() - 1).1, prints[0]);
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), 9);
    }
}

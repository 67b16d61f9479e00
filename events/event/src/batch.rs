//! A validated request in one text buffer and one array: what travels from the wire to the writer.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{BatchName, Event, EventId, EventType, Refusal, SessionId, TenantId, UserId, UtcInstant};

/// Valid events in the order of their request. Two allocations, however many events.
#[derive(Clone, Debug, Default)]
pub struct EventBatch {
    rows: Vec<Row>,
    /// The names of all events, back to back: tenant, user, session, source tenant, batch.
    text: String,
}

/// One event: its fixed part, and where its names stand in the text. A length of 0 is an absent name.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: EventId,
    occurred_at: UtcInstant,
    fingerprint: u64,
    request_index: u32,
    text_start: u32,
    name_lens: [u8; NAMES],
    event_type: EventType,
    confirmed: Option<bool>,
}

const NAMES: usize = 5;

impl EventBatch {
    /// An empty batch with room for `events` events.
    pub fn with_capacity(events: usize) -> Self {
        const TYPICAL_NAME_BYTES: usize = 56;
        Self { rows: Vec::with_capacity(events), text: String::with_capacity(events * TYPICAL_NAME_BYTES) }
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of all names together, for sizing what is made from the batch.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
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
        self.push_checked(event, self.rows.len());
        Ok(())
    }

    /// Adds an event whose fields were checked; `request_index` counts the refused events too.
    pub(crate) fn push_checked(&mut self, event: &Event<'_>, request_index: usize) {
        let start = self.text.len();
        let names = [
            Some(event.tenant_id.as_str()),
            Some(event.user_id.as_str()),
            event.session_id.map(SessionId::as_str),
            event.from_tenant_id.map(TenantId::as_str),
            event.batch.map(BatchName::as_str),
        ];
        let mut name_lens = [0; NAMES];
        for (len, name) in name_lens.iter_mut().zip(names) {
            let name = name.unwrap_or_default();
            *len = u8::try_from(name.len()).expect("a name has at most 128 bytes");
            self.text.push_str(name);
        }
        let mut row = Row {
            id: event.id,
            occurred_at: event.occurred_at,
            fingerprint: 0,
            request_index: u32::try_from(request_index).expect("a request has at most 10,000 events"),
            text_start: u32::try_from(start).expect("a batch holds less than 4 GiB of names"),
            name_lens,
            event_type: event.event_type,
            confirmed: event.confirmed,
        };
        row.fingerprint = fingerprint(&row, &self.text.as_bytes()[start..]);
        self.rows.push(row);
    }

    /// The events in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event<'_>> {
        self.rows.iter().map(|row| row.event(&self.text))
    }

    /// The event at `row`.
    ///
    /// # Panics
    /// If `row` is not below [`EventBatch::len`].
    pub fn get(&self, row: usize) -> Event<'_> {
        self.rows[row].event(&self.text)
    }

    /// The tenant and the user of the event at `row`.
    ///
    /// # Panics
    /// If `row` is not below [`EventBatch::len`].
    pub fn names(&self, row: usize) -> (TenantId<'_>, UserId<'_>) {
        let Row { text_start, name_lens: [tenant, user, ..], .. } = self.rows[row];
        let (tenant, rest) = self.text[text_start as usize..].split_at(usize::from(tenant));
        (TenantId::checked_before(tenant), UserId::checked_before(&rest[..usize::from(user)]))
    }

    /// The id of the event at `row` and a fingerprint of all its other content: equal content has equal
    /// fingerprints; different content has the same with probability 2^-64. Stable across processes.
    ///
    /// # Panics
    /// If `row` is not below [`EventBatch::len`].
    pub fn identity(&self, row: usize) -> (EventId, u64) {
        (self.rows[row].id, self.rows[row].fingerprint)
    }

    /// The place in its request of the event at `row`: larger than `row` where events before it were refused.
    ///
    /// # Panics
    /// If `row` is not below [`EventBatch::len`].
    pub fn request_index(&self, row: usize) -> usize {
        self.rows[row].request_index as usize
    }

    /// Keeps the events for which `keep(row)` holds, in order. The text stays as it is.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut row = 0;
        self.rows.retain(|_| {
            row += 1;
            keep(row - 1)
        });
    }
}

impl Row {
    fn event<'a>(&self, text: &'a str) -> Event<'a> {
        let mut at = self.text_start as usize;
        let mut name = |len: u8| {
            let start = at;
            at += usize::from(len);
            &text[start..at]
        };
        let [tenant, user, session, from_tenant, batch] = self.name_lens.map(&mut name);
        let present = |name: &'a str| (!name.is_empty()).then_some(name);
        Event {
            id: self.id,
            event_type: self.event_type,
            tenant_id: TenantId::checked_before(tenant),
            user_id: UserId::checked_before(user),
            occurred_at: self.occurred_at,
            session_id: present(session).map(SessionId::checked_before),
            from_tenant_id: present(from_tenant).map(TenantId::checked_before),
            confirmed: self.confirmed,
            batch: present(batch).map(BatchName::checked_before),
        }
    }
}

/// Hash of everything but the id. The lengths are in it, so moving a byte between names changes it.
fn fingerprint(row: &Row, names: &[u8]) -> u64 {
    let mut fixed = [0; 8 + NAMES + 2];
    fixed[..8].copy_from_slice(&row.occurred_at.as_micros().to_le_bytes());
    fixed[8..8 + NAMES].copy_from_slice(&row.name_lens);
    fixed[8 + NAMES] = row.event_type.code();
    fixed[9 + NAMES] = row.confirmed.map_or(0, |confirmed| 1 + u8::from(confirmed));
    xxh3_64_with_seed(&fixed, xxh3_64(names))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::FaultCode;

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
        let mut prints: Vec<_> = (0..batch.len()).map(|row| batch.identity(row).1).collect();
        batch.push(&other_id).unwrap();
        assert_eq!(batch.identity(batch.len() - 1).1, prints[0]);
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), 9);
    }
}

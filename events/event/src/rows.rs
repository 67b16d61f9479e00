//! Events in one text buffer and one array: what a store reads back, and the inside of an
//! [`EventBatch`](crate::EventBatch).

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::limits::NAME_BYTES_MAX;
use crate::{BatchName, Event, EventId, EventType, SessionId, TenantId, UserId, UtcInstant};

/// Events in order. Two allocations, however many events.
#[derive(Clone, Debug, Default)]
pub struct EventRows {
    rows: Vec<Row>,
    /// The names of all events, back to back: tenant, user, session, source tenant, batch.
    text: String,
}

/// One event: its fixed part, and where its names stand in the text. A length of 0 is an absent name.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: EventId,
    occurred_at: UtcInstant,
    text_start: u32,
    name_lens: [u8; NAMES],
    event_type: EventType,
    confirmed: Option<bool>,
    counts: Option<bool>,
}

/// Names an event may have.
pub(crate) const NAMES: usize = 5;

/// An event as it lies in a store that keeps its columns apart.
#[derive(Clone, Copy, Debug)]
pub struct RecordedEvent<'a> {
    /// The idempotency key, within the tenant.
    pub id: EventId,
    /// The kind of the event.
    pub event_type: EventType,
    /// The publisher's clock.
    pub occurred_at: UtcInstant,
    /// On `user_created` only.
    pub confirmed: Option<bool>,
    /// On `user_created` and `user_changed` only.
    pub counts: Option<bool>,
    /// Tenant, user, session, source tenant, batch; an absent name is empty. Each follows the rule of its type.
    pub names: [&'a str; NAMES],
}

impl RecordedEvent<'_> {
    /// The fingerprint of the event; see [`Event::fingerprint`].
    ///
    /// # Panics
    /// If a name has more than 255 bytes.
    pub fn fingerprint(&self) -> u64 {
        let fixed = (self.occurred_at, self.event_type, self.confirmed, self.counts);
        let name_lens =
            self.names.map(|name| u8::try_from(name.len()).expect("a stored name has at most 255 bytes"));
        let mut joined = [0; NAMES * NAME_BYTES_MAX];
        if self.names.iter().map(|name| name.len()).sum::<usize>() > joined.len() {
            return fingerprint(fixed, name_lens, self.names.concat().as_bytes());
        }
        let mut len = 0;
        for name in self.names {
            joined[len..len + name.len()].copy_from_slice(name.as_bytes());
            len += name.len();
        }
        fingerprint(fixed, name_lens, &joined[..len])
    }
}

impl EventRows {
    /// Room for `events` events.
    pub fn with_capacity(events: usize) -> Self {
        const TYPICAL_NAME_BYTES: usize = 72;
        Self { rows: Vec::with_capacity(events), text: String::with_capacity(events * TYPICAL_NAME_BYTES) }
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True if there are no events.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of all names together.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Bytes that the events take in memory, about.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>() + self.text.capacity()
    }

    /// Adds an event.
    ///
    /// # Panics
    /// If the names add up to 4 GiB.
    pub fn push(&mut self, event: &Event<'_>) {
        self.push_recorded(&event.recorded());
    }

    /// Adds an event whose names were checked when it was recorded, and again when they were read.
    ///
    /// # Panics
    /// If the names add up to 4 GiB, or one of them has more than 255 bytes.
    pub fn push_recorded(&mut self, event: &RecordedEvent<'_>) {
        let start = self.text.len();
        let mut name_lens = [0; NAMES];
        self.text.reserve(event.names.iter().map(|name| name.len()).sum());
        for (len, name) in name_lens.iter_mut().zip(event.names) {
            if !name.is_empty() {
                *len = u8::try_from(name.len()).expect("a name has at most 128 bytes");
                self.text.push_str(name);
            }
        }
        self.rows.push(Row {
            id: event.id,
            occurred_at: event.occurred_at,
            text_start: u32::try_from(start).expect("a batch holds less than 4 GiB of names"),
            name_lens,
            event_type: event.event_type,
            confirmed: event.confirmed,
            counts: event.counts,
        });
    }

    /// The events in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event<'_>> {
        self.rows.iter().map(|row| row.event(&self.text))
    }

    /// The event at `row`.
    ///
    /// # Panics
    /// If `row` is not below [`EventRows::len`].
    pub fn get(&self, row: usize) -> Event<'_> {
        self.rows[row].event(&self.text)
    }

    /// The tenant and the user of the event at `row`.
    ///
    /// # Panics
    /// If `row` is not below [`EventRows::len`].
    pub fn names(&self, row: usize) -> (TenantId<'_>, UserId<'_>) {
        let Row { text_start, name_lens: [tenant, user, ..], .. } = self.rows[row];
        let (tenant, rest) = self.text[text_start as usize..].split_at(usize::from(tenant));
        (TenantId::checked_before(tenant), UserId::checked_before(&rest[..usize::from(user)]))
    }

    /// The publishers' clocks of the events, in order.
    pub(crate) fn instants(&self) -> impl ExactSizeIterator<Item = UtcInstant> {
        self.rows.iter().map(|row| row.occurred_at)
    }

    /// The id of the event at `row`.
    pub(crate) fn id(&self, row: usize) -> EventId {
        self.rows[row].id
    }

    /// The batch of the event at `row`.
    pub(crate) fn batch_name(&self, row: usize) -> Option<BatchName<'_>> {
        let Row { text_start, name_lens: [tenant, user, session, from_tenant, batch], .. } = self.rows[row];
        // Most events have none, and to look at the text would be to wait for it.
        if batch == 0 {
            return None;
        }
        let before: usize = [tenant, user, session, from_tenant].map(usize::from).iter().sum();
        let start = text_start as usize + before;
        Some(BatchName::checked_before(&self.text[start..start + usize::from(batch)]))
    }

    /// Keeps the events for which `keep(row)` holds, in order. The text stays as it is.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut row = 0;
        self.rows.retain(|_| {
            row += 1;
            keep(row - 1)
        });
    }

    /// The fingerprint of the event that was added last; see [`Event::fingerprint`].
    pub(crate) fn fingerprint_of_last(&self) -> Option<u64> {
        let row = self.rows.last()?;
        let fixed = (row.occurred_at, row.event_type, row.confirmed, row.counts);
        Some(fingerprint(fixed, row.name_lens, &self.text.as_bytes()[row.text_start as usize..]))
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
            counts: self.counts,
            batch: present(batch).map(BatchName::checked_before),
        }
    }
}

/// Hash of everything but the id, given the event's names back to back. The lengths are in it, so moving a byte between
/// names changes it.
fn fingerprint(
    (occurred_at, event_type, confirmed, counts): (UtcInstant, EventType, Option<bool>, Option<bool>),
    name_lens: [u8; NAMES],
    names: &[u8],
) -> u64 {
    let mut fixed = [0; 8 + NAMES + 2];
    fixed[..8].copy_from_slice(&occurred_at.as_micros().to_le_bytes());
    fixed[8..8 + NAMES].copy_from_slice(&name_lens);
    fixed[8 + NAMES] = event_type.code();
    let three = |value: Option<bool>| value.map_or(0, |value| 1 + u8::from(value));
    fixed[9 + NAMES] = three(confirmed) + 3 * three(counts);
    xxh3_64_with_seed(&fixed, xxh3_64(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instant, type, and what it says of `confirmed` and of `counts`.
    type Said = (i64, EventType, Option<bool>, Option<bool>);

    /// Fingerprints stand in every log: another value would turn repeats into conflicts. These are of the C library of
    /// xxHash 0.8, over the bytes that the log's format describes.
    #[test]
    fn fingerprints_stay_as_they_are() {
        use EventType::{
            BackfillRetracted, EstimatedActivity, Login, TenantSwitch, UserChanged, UserCreated,
        };
        let names = ["x", "y", "z", "w", "v"].map(|letter| letter.repeat(128));
        let [long, longer] = ["x", "y"].map(|letter| letter.repeat(255));
        let pinned: [(Said, [&str; NAMES], u64); 7] = [
            (
                (1_767_715_200_123_456, Login, None, None),
                ["8127", "usr_01JK", "", "", ""],
                0xe56c_4f8a_1411_19a3,
            ),
            (
                (1_767_715_200_123_456, TenantSwitch, None, None),
                ["8127", "usr_01JK", "s-1", "acme", ""],
                0x6f2a_057a_e1c0_2670,
            ),
            (
                (631_152_000_000_000, UserCreated, Some(true), Some(false)),
                ["Zoë", "日本 \"x\"", "", "", "users 2026"],
                0x6ca8_0bac_86ad_bfa2,
            ),
            ((0, UserCreated, Some(false), None), ["a", "b", "", "", "c"], 0xaa03_0a93_c992_6282),
            (
                (-1, EstimatedActivity, None, None),
                names.each_ref().map(String::as_str),
                0xcc2c_a839_a5f4_26aa,
            ),
            ((1, UserChanged, None, Some(true)), [&long, &longer, "", "", ""], 0xdad6_7a6e_2876_7874),
            ((5, BackfillRetracted, None, None), ["", "", "", "", "users 2026"], 0xf901_4b4a_7a3f_67e6),
        ];
        for ((at, event_type, confirmed, counts), names, expected) in pinned {
            let id = EventId::stored(uuid::Uuid::nil());
            let occurred_at = UtcInstant::from_micros(at);
            let event = RecordedEvent { id, event_type, occurred_at, confirmed, counts, names };
            assert_eq!(event.fingerprint(), expected, "{event_type} {at}");
        }
    }
}

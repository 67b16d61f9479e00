//! The content of a frame: the events of a group by member ordinal, and the members that appear in it for the
//! first time by name. FORMAT.md "Payload".

use lastseen_event::limits::NAME_BYTES_MAX;
use lastseen_event::{
    BatchName, Event, EventId, EventType, MemberOrdinal, RecordedEvent, SessionId, TenantId, UserId,
    UtcInstant,
};

use super::bytes::{Cursor, put_text};
use super::frame::{FRAME_ALIGN, FRAME_HEADER_LEN};
use crate::batches::NOBODY;

/// `id [16] | occurred_at i64 | fingerprint u64 | member u32 | type u8 | flags u8`, then the names that the
/// flags announce.
pub(crate) const EVENT_FIXED_LEN: usize = 16 + 8 + 8 + 4 + 1 + 1;

/// An event with all three of its names, as long as they may be.
pub(crate) const EVENT_LEN_MAX: usize = EVENT_FIXED_LEN + 3 * (1 + NAME_BYTES_MAX);

/// A new member with names as long as they may be.
pub(crate) const NEW_MEMBER_LEN_MAX: usize = size_of::<u32>() + 2 * (1 + NAME_BYTES_MAX);

const HAS_SESSION: u8 = 1 << 0;
const HAS_FROM_TENANT: u8 = 1 << 1;
const HAS_BATCH: u8 = 1 << 2;
const HAS_CONFIRMED: u8 = 1 << 3;
const CONFIRMED: u8 = 1 << 4;
const HAS_COUNTS: u8 = 1 << 5;
const COUNTS: u8 = 1 << 6;

/// One event as it stands in a frame: its member by number.
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

    /// Returns the record of a retraction.
    pub(crate) fn retraction(batch: BatchName<'a>, occurred_at: UtcInstant) -> Self {
        let (id, event_type) = (EventId::of_retraction(batch), EventType::BackfillRetracted);
        let names = ["", "", "", "", batch.as_str()];
        let recorded = RecordedEvent { id, event_type, occurred_at, confirmed: None, counts: None, names };
        Self {
            id,
            fingerprint: recorded.fingerprint(),
            occurred_at,
            member: NOBODY,
            event_type,
            session_id: None,
            from_tenant_id: None,
            confirmed: None,
            counts: None,
            batch: Some(batch),
        }
    }

    /// True for an event about a member, false for a retraction, which names a batch instead. `None`: it is
    /// neither.
    pub(crate) fn is_of_member(&self) -> Option<bool> {
        match (self.event_type, self.member, self.batch) {
            (EventType::BackfillRetracted, NOBODY, Some(_)) => Some(false),
            (EventType::BackfillRetracted, ..) | (_, NOBODY, _) => None,
            _ => Some(true),
        }
    }
}

/// A member defined by a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewMember<'a> {
    pub(crate) member: MemberOrdinal,
    pub(crate) tenant_id: TenantId<'a>,
    pub(crate) user_id: UserId<'a>,
}

/// Ends every payload, one byte at least. Not zero, as everything behind the last frame is: so a frame that lacks even its
/// last byte is not valid.
const PADDING: u8 = 0xff;

/// Builds the payload of a frame behind room for its header; the buffer is used again for the next frame.
#[derive(Debug, Default)]
pub(crate) struct PayloadBuffer {
    frame: Vec<u8>,
    events: u32,
}

/// `new_members u32 | events_len u32`, before the events; the new members follow them.
const COUNTS_LEN: usize = 8;

impl PayloadBuffer {
    pub(crate) fn clear(&mut self) {
        self.frame.clear();
        self.frame.resize(FRAME_HEADER_LEN + COUNTS_LEN, 0);
        self.events = 0;
    }

    pub(crate) fn events(&self) -> u32 {
        self.events
    }

    pub(crate) fn push(&mut self, event: &StoredEvent<'_>) {
        let mut flags = 0;
        for (present, flag) in [
            (event.session_id.is_some(), HAS_SESSION),
            (event.from_tenant_id.is_some(), HAS_FROM_TENANT),
            (event.batch.is_some(), HAS_BATCH),
            (event.confirmed.is_some(), HAS_CONFIRMED),
            (event.confirmed == Some(true), CONFIRMED),
            (event.counts.is_some(), HAS_COUNTS),
            (event.counts == Some(true), COUNTS),
        ] {
            if present {
                flags |= flag;
            }
        }
        let frame = &mut self.frame;
        frame.extend_from_slice(event.id.as_uuid().as_bytes());
        frame.extend_from_slice(&event.occurred_at.as_micros().to_le_bytes());
        frame.extend_from_slice(&event.fingerprint.to_le_bytes());
        frame.extend_from_slice(&event.member.get().to_le_bytes());
        frame.extend_from_slice(&[event.event_type.code(), flags]);
        if let Some(session) = event.session_id {
            put_text(frame, session.as_str());
        }
        if let Some(from) = event.from_tenant_id {
            put_text(frame, from.as_str());
        }
        if let Some(batch) = event.batch {
            put_text(frame, batch.as_str());
        }
        self.events += 1;
    }

    /// The frame as [`PayloadBuffer::finish`] left it.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Adds the members that this frame defines and the padding. The frame lacks only its header then.
    pub(crate) fn finish<'a>(&mut self, members: impl Iterator<Item = NewMember<'a>>) -> &mut [u8] {
        let events_len = self.frame.len() - FRAME_HEADER_LEN - COUNTS_LEN;
        let mut count: u32 = 0;
        for new in members {
            self.frame.extend_from_slice(&new.member.get().to_le_bytes());
            put_text(&mut self.frame, new.tenant_id.as_str());
            put_text(&mut self.frame, new.user_id.as_str());
            count += 1;
        }
        self.frame.resize((self.frame.len() + 1).next_multiple_of(FRAME_ALIGN), PADDING);
        let events_len = u32::try_from(events_len).expect("a frame is far below 4 GiB");
        self.frame[FRAME_HEADER_LEN..][..4].copy_from_slice(&count.to_le_bytes());
        self.frame[FRAME_HEADER_LEN + 4..][..4].copy_from_slice(&events_len.to_le_bytes());
        &mut self.frame
    }
}

/// A payload split into its parts. The checksum was right, so any `None` below is damage all the same.
#[derive(Clone, Debug)]
pub(crate) struct Payload<'a> {
    events: Cursor<'a>,
    members: Cursor<'a>,
    new_members: u32,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let new_members = cursor.u32()?;
        let events_len = usize::try_from(cursor.u32()?).ok()?;
        let events = Cursor::new(cursor.slice(events_len)?);
        Some(Self { events, members: Cursor::new(cursor.rest()), new_members })
    }

    /// Calls `define` with each new member in order. `None` if the members do not end where the padding begins
    /// or `define` returns `None`.
    pub(crate) fn for_each_member(&self, mut define: impl FnMut(NewMember<'a>) -> Option<()>) -> Option<()> {
        let mut cursor = self.members.clone();
        for _ in 0..self.new_members {
            define(NewMember {
                member: MemberOrdinal::new(cursor.u32()?),
                tenant_id: TenantId::new(cursor.text()?).ok()?,
                user_id: UserId::new(cursor.text()?).ok()?,
            })?;
        }
        let padding = cursor.rest();
        let valid = (1..=FRAME_ALIGN).contains(&padding.len()) && padding.iter().all(|byte| *byte == PADDING);
        valid.then_some(())
    }

    /// Calls `each` with every event in order and returns how many there were. `None` if one is malformed or
    /// `each` returns `None`.
    pub(crate) fn for_each_event(&self, mut each: impl FnMut(StoredEvent<'a>) -> Option<()>) -> Option<u32> {
        let mut count = 0;
        for stored in self.events_from(0)? {
            each(stored?)?;
            count += 1;
        }
        Some(count)
    }

    /// The events from `offset` on, in bytes from the first event. `None` if the events end before.
    pub(crate) fn events_from(&self, offset: usize) -> Option<StoredEvents<'a>> {
        let mut cursor = self.events.clone();
        cursor.slice(offset)?;
        Some(StoredEvents { cursor, len: self.events.rest().len() })
    }
}

/// Iterates over the events of a payload in order; an item is `None` where an event is malformed.
pub(crate) struct StoredEvents<'a> {
    cursor: Cursor<'a>,
    len: usize,
}

impl StoredEvents<'_> {
    /// The bytes up to the next event, from the first one.
    pub(crate) fn offset(&self) -> usize {
        self.len - self.cursor.rest().len()
    }
}

impl<'a> Iterator for StoredEvents<'a> {
    type Item = Option<StoredEvent<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.cursor.rest().is_empty()).then(|| read_event(&mut self.cursor))
    }
}

fn read_event<'a>(cursor: &mut Cursor<'a>) -> Option<StoredEvent<'a>> {
    let mut fixed = Cursor::new(cursor.slice(EVENT_FIXED_LEN)?);
    let id = EventId::new(uuid::Uuid::from_bytes(fixed.array()?)).ok()?;
    let occurred_at = UtcInstant::from_micros(fixed.i64()?);
    let fingerprint = fixed.u64()?;
    let member = MemberOrdinal::new(fixed.u32()?);
    let event_type = EventType::from_code(fixed.u8()?)?;
    let flags = fixed.u8()?;
    let mut text = |flag| if flags & flag == 0 { Some(None) } else { cursor.text().map(Some) };
    let session_id = text(HAS_SESSION)?.map(SessionId::new).transpose().ok()?;
    let from_tenant_id = text(HAS_FROM_TENANT)?.map(TenantId::new).transpose().ok()?;
    let batch = text(HAS_BATCH)?.map(BatchName::new).transpose().ok()?;
    let confirmed = (flags & HAS_CONFIRMED != 0).then_some(flags & CONFIRMED != 0);
    let counts = (flags & HAS_COUNTS != 0).then_some(flags & COUNTS != 0);
    Some(StoredEvent {
        id,
        fingerprint,
        occurred_at,
        member,
        event_type,
        session_id,
        from_tenant_id,
        confirmed,
        counts,
        batch,
    })
}

#[cfg(test)]
mod tests {
    use lastseen_store::contract::Source;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let batch = Source::default().batch(0..200);
        let mut buffer = PayloadBuffer::default();
        buffer.clear();
        for (row, event) in batch.iter().enumerate() {
            let member = MemberOrdinal::new(u32::try_from(row).unwrap());
            buffer.push(&StoredEvent::of(&event, batch.identity(row).1, member));
        }
        let members: Vec<_> = batch
            .iter()
            .map(|event| NewMember {
                member: MemberOrdinal::new(5),
                tenant_id: event.tenant_id,
                user_id: event.user_id,
            })
            .collect();
        let frame = buffer.finish(members.iter().copied()).to_vec();
        let payload = Payload::new(&frame[FRAME_HEADER_LEN..]).unwrap();
        let mut found = Vec::new();
        payload
            .for_each_member(|member| {
                let _: () = found.push(member);
                Some(())
            })
            .unwrap();
        assert_eq!(found, members);
        let mut row = 0;
        let count = payload.for_each_event(|stored| {
            let event = batch.get(row);
            assert_eq!((stored.id, stored.fingerprint), batch.identity(row));
            assert_eq!(stored.member.index(), row);
            assert_eq!(
                (stored.occurred_at, stored.event_type, stored.session_id, stored.confirmed, stored.counts),
                (event.occurred_at, event.event_type, event.session_id, event.confirmed, event.counts)
            );
            assert_eq!((stored.from_tenant_id, stored.batch), (event.from_tenant_id, event.batch));
            row += 1;
            Some(())
        });
        assert_eq!((count, buffer.events()), (Some(200), 200));
    }
}

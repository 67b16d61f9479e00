//! The content of a frame: the records of a group with their members by ordinal, and the members that appear in it for
//! the first time by name. FORMAT.md "Payload".

use lastseen_event::limits::NAME_BYTES_MAX;
use lastseen_event::{
    BatchName, EventId, EventType, MemberOrdinal, Position, SessionId, TenantId, UserId, UtcInstant,
};

use super::frame::{FRAME_ALIGN, FRAME_HEADER_LEN, FrameHeader, FrameKind};
use crate::codec::{Cursor, put_text};
use crate::damage::Malformed;
use crate::format::Version;
use crate::origin::Stamp;
use crate::record::{Record, StoredEvent, StoredRetraction};

/// `id [16] | occurred_at i64 | fingerprint u64 | member u32 | type u8 | flags u8`, then the names that the
/// flags announce.
pub(crate) const EVENT_FIXED_LEN: usize = 16 + 8 + 8 + 4 + 1 + 1;

/// An event with all three of its names, as long as they may be.
pub(crate) const EVENT_LEN_MAX: usize = EVENT_FIXED_LEN + 3 * (1 + NAME_BYTES_MAX);

/// A new member with names as long as they may be.
pub(crate) const NEW_MEMBER_LEN_MAX: usize = size_of::<u32>() + 2 * (1 + NAME_BYTES_MAX);

/// The stamp of a record: `position u64 | recorded_at i64`.
pub(crate) const STAMP_LEN: usize = 8 + 8;

const HAS_SESSION: u8 = 1 << 0;
const HAS_FROM_TENANT: u8 = 1 << 1;
const HAS_BATCH: u8 = 1 << 2;
const HAS_CONFIRMED: u8 = 1 << 3;
const CONFIRMED: u8 = 1 << 4;
const HAS_COUNTS: u8 = 1 << 5;
const COUNTS: u8 = 1 << 6;

/// The member of a retraction in version 1, where it was an event: no member has this number.
const NO_MEMBER: MemberOrdinal = MemberOrdinal::new(u32::MAX);

/// A member defined by a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewMember<'a> {
    pub(crate) member: MemberOrdinal,
    pub(crate) tenant_id: TenantId<'a>,
    pub(crate) user_id: UserId<'a>,
}

/// Ends every payload, one byte at least. Not zero, as everything after the last frame is: so a frame that lacks even its
/// last byte is not valid.
const PADDING: u8 = 0xff;

/// Builds the payload of a frame after room for its header; the buffer is used again for the next frame.
#[derive(Debug, Default)]
pub(crate) struct PayloadBuffer {
    frame: Vec<u8>,
    records: u32,
    /// Bytes of the stamps, one of each record or none.
    stamps: Vec<u8>,
}

/// `new_members u32 | records_len u32`, before the records; their stamps follow them, then the new members.
const COUNTS_LEN: usize = 8;

impl PayloadBuffer {
    pub(crate) fn clear(&mut self) {
        self.frame.clear();
        self.frame.resize(FRAME_HEADER_LEN + COUNTS_LEN, 0);
        self.records = 0;
        self.stamps.clear();
    }

    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// Adds an event.
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
        self.records += 1;
    }

    /// Adds the one record of a frame of [`FrameKind::Retraction`].
    pub(crate) fn push_retraction(&mut self, retraction: &StoredRetraction<'_>) {
        self.frame.extend_from_slice(&retraction.occurred_at.as_micros().to_le_bytes());
        put_text(&mut self.frame, retraction.batch.as_str());
        self.records += 1;
    }

    /// Adds the stamp of the record that was added last. Either every record of a frame has one, or none.
    pub(crate) fn push_stamp(&mut self, stamp: Stamp) {
        self.stamps.extend_from_slice(&stamp.position.get().to_le_bytes());
        self.stamps.extend_from_slice(&stamp.recorded_at.as_micros().to_le_bytes());
    }

    /// The stamp of its first record. `None`: its records have none.
    pub(crate) fn first_stamp(&self) -> Option<Stamp> {
        read_stamp(self.stamps.first_chunk()?)
    }

    /// The frame as [`PayloadBuffer::finish`] left it.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Takes the frame out. [`PayloadBuffer::reuse`] gives the room of another one back.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.frame)
    }

    /// Takes a buffer for the next frame.
    pub(crate) fn reuse(&mut self, buffer: Vec<u8>) {
        self.frame = buffer;
    }

    /// Adds the members that this frame defines and the padding. The frame lacks only its header then.
    pub(crate) fn finish<'a>(&mut self, members: impl Iterator<Item = NewMember<'a>>) -> &mut [u8] {
        let records_len = self.frame.len() - FRAME_HEADER_LEN - COUNTS_LEN;
        self.frame.extend_from_slice(&self.stamps);
        let mut count: u32 = 0;
        for new in members {
            self.frame.extend_from_slice(&new.member.get().to_le_bytes());
            put_text(&mut self.frame, new.tenant_id.as_str());
            put_text(&mut self.frame, new.user_id.as_str());
            count += 1;
        }
        self.frame.resize((self.frame.len() + 1).next_multiple_of(FRAME_ALIGN), PADDING);
        let records_len = u32::try_from(records_len).expect("a frame is far below 4 GiB");
        self.frame[FRAME_HEADER_LEN..][..4].copy_from_slice(&count.to_le_bytes());
        self.frame[FRAME_HEADER_LEN + 4..][..4].copy_from_slice(&records_len.to_le_bytes());
        &mut self.frame
    }
}

/// The layout by which a payload is read: that of its file's version, and what its frame's header says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) version: Version,
    pub(crate) kind: FrameKind,
    /// Number of stamps.
    pub(crate) stamps: u32,
}

impl Layout {
    /// Of a frame in a file of this version.
    pub(crate) fn of(version: Version, header: &FrameHeader) -> Self {
        Self { version, kind: header.kind, stamps: if header.stamped { header.records } else { 0 } }
    }
}

/// A payload split into its parts. The checksum was right, so [`Malformed`] is damage all the same.
#[derive(Clone, Debug)]
pub(crate) struct Payload<'a> {
    layout: Layout,
    records: &'a [u8],
    stamps: &'a [[u8; STAMP_LEN]],
    members: Cursor<'a>,
    new_members: u32,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(layout: Layout, payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let new_members = cursor.u32()?;
        let records_len = usize::try_from(cursor.u32()?).map_err(|_| Malformed)?;
        let records = cursor.slice(records_len)?;
        let stamps = usize::try_from(layout.stamps).map_err(|_| Malformed)?;
        let stamps = cursor.slice(stamps.checked_mul(STAMP_LEN).ok_or(Malformed)?)?.as_chunks().0;
        Ok(Self { layout, records, stamps, members: cursor, new_members })
    }

    /// The stamp of a record, by its place in the frame, from 0. `None`: the records have none.
    pub(crate) fn stamp(&self, place: usize) -> Option<Stamp> {
        self.stamps.get(place).and_then(read_stamp)
    }

    /// Calls `define` with each new member in order.
    ///
    /// # Errors
    /// [`Malformed`] if the members do not end where the padding begins, or `define` says so.
    pub(crate) fn for_each_member(
        &self,
        mut define: impl FnMut(NewMember<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let mut cursor = self.members.clone();
        for _ in 0..self.new_members {
            define(NewMember {
                member: MemberOrdinal::new(cursor.u32()?),
                tenant_id: TenantId::stored(cursor.text()?).ok_or(Malformed)?,
                user_id: UserId::stored(cursor.text()?).ok_or(Malformed)?,
            })?;
        }
        let padding = cursor.rest();
        let valid = (1..=FRAME_ALIGN).contains(&padding.len()) && padding.iter().all(|byte| *byte == PADDING);
        if valid { Ok(()) } else { Err(Malformed) }
    }

    /// All records in order.
    pub(crate) fn records(&self) -> Records<'a> {
        Records { layout: self.layout, cursor: Cursor::new(self.records), len: self.records.len() }
    }

    /// The records from `offset` on, in bytes from the first record.
    ///
    /// # Errors
    /// [`Malformed`] if the records end before.
    pub(crate) fn records_from(&self, offset: usize) -> Result<Records<'a>, Malformed> {
        let mut records = self.records();
        records.cursor.slice(offset)?;
        Ok(records)
    }
}

fn read_stamp(bytes: &[u8; STAMP_LEN]) -> Option<Stamp> {
    Some(Stamp {
        position: Position::new(u64::from_le_bytes(*bytes.first_chunk()?)),
        recorded_at: UtcInstant::from_micros(i64::from_le_bytes(*bytes.last_chunk()?)),
    })
}

/// The records of a payload in order. After an error it ends.
pub(crate) struct Records<'a> {
    layout: Layout,
    cursor: Cursor<'a>,
    len: usize,
}

impl Records<'_> {
    /// The bytes up to the next record, from the first one.
    pub(crate) fn offset(&self) -> usize {
        self.len - self.cursor.rest().len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.rest().is_empty() {
            return None;
        }
        let record = read_record(self.layout, &mut self.cursor);
        if record.is_err() {
            self.cursor = Cursor::new(&[]);
        }
        Some(record)
    }
}

fn read_record<'a>(layout: Layout, cursor: &mut Cursor<'a>) -> Result<Record<'a>, Malformed> {
    match (layout.version, layout.kind) {
        (_, FrameKind::End) | (Version::V1, FrameKind::Retraction) => Err(Malformed),
        (Version::V1, FrameKind::Events) => retraction_or_event(read_event(cursor)?),
        (Version::V2, FrameKind::Events) => match read_event(cursor)? {
            event if event.event_type == EventType::BackfillRetracted || event.member == NO_MEMBER => {
                Err(Malformed)
            }
            event => Ok(Record::Event(event)),
        },
        (Version::V2, FrameKind::Retraction) => {
            let occurred_at = UtcInstant::from_micros(cursor.i64()?);
            let batch = BatchName::stored(cursor.text()?).ok_or(Malformed)?;
            Ok(Record::Retraction(StoredRetraction { occurred_at, batch }))
        }
    }
}

/// In version 1 a retraction is an event about no member that names the batch.
fn retraction_or_event(event: StoredEvent<'_>) -> Result<Record<'_>, Malformed> {
    match (event.event_type, event.member, event.batch) {
        (EventType::BackfillRetracted, NO_MEMBER, Some(batch)) => {
            Ok(Record::Retraction(StoredRetraction { occurred_at: event.occurred_at, batch }))
        }
        (EventType::BackfillRetracted, ..) | (_, NO_MEMBER, _) => Err(Malformed),
        _ => Ok(Record::Event(event)),
    }
}

fn read_event<'a>(cursor: &mut Cursor<'a>) -> Result<StoredEvent<'a>, Malformed> {
    let mut fixed = Cursor::new(cursor.slice(EVENT_FIXED_LEN)?);
    let id = EventId::stored(uuid::Uuid::from_bytes(fixed.array()?));
    let occurred_at = UtcInstant::from_micros(fixed.i64()?);
    let fingerprint = fixed.u64()?;
    let member = MemberOrdinal::new(fixed.u32()?);
    let event_type = EventType::from_code(fixed.u8()?).ok_or(Malformed)?;
    let flags = fixed.u8()?;
    let mut text = |flag| if flags & flag == 0 { Ok(None) } else { cursor.text().map(Some) };
    let session_id = text(HAS_SESSION)?.map(|text| SessionId::stored(text).ok_or(Malformed)).transpose()?;
    let from_tenant_id = text(HAS_FROM_TENANT)?.map(|text| TenantId::stored(text).ok_or(Malformed));
    let batch = text(HAS_BATCH)?.map(|text| BatchName::stored(text).ok_or(Malformed)).transpose()?;
    let confirmed = (flags & HAS_CONFIRMED != 0).then_some(flags & CONFIRMED != 0);
    let counts = (flags & HAS_COUNTS != 0).then_some(flags & COUNTS != 0);
    Ok(StoredEvent {
        id,
        fingerprint,
        occurred_at,
        member,
        event_type,
        session_id,
        from_tenant_id: from_tenant_id.transpose()?,
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
        let layout = Layout { version: Version::NEWEST, kind: FrameKind::Events, stamps: 0 };
        let payload = Payload::new(layout, &frame[FRAME_HEADER_LEN..]).unwrap();
        let mut found = Vec::new();
        payload
            .for_each_member(|member| {
                let _: () = found.push(member);
                Ok(())
            })
            .unwrap();
        assert_eq!(found, members);
        let mut row = 0;
        for record in payload.records() {
            let Ok(Record::Event(stored)) = record else { panic!("{record:?}") };
            let event = batch.get(row);
            assert_eq!((stored.id, stored.fingerprint), batch.identity(row));
            assert_eq!(stored.member.index(), row);
            assert_eq!(
                (stored.occurred_at, stored.event_type, stored.session_id, stored.confirmed, stored.counts),
                (event.occurred_at, event.event_type, event.session_id, event.confirmed, event.counts)
            );
            assert_eq!((stored.from_tenant_id, stored.batch), (event.from_tenant_id, event.batch));
            row += 1;
        }
        assert_eq!((row, buffer.records()), (200, 200));
    }

    #[test]
    fn a_retraction_is_a_record_of_its_own_and_was_an_event_about_no_member() {
        let batch = BatchName::new("users 2026").unwrap();
        let retraction = StoredRetraction { occurred_at: UtcInstant::from_micros(7), batch };
        let mut buffer = PayloadBuffer::default();
        let read = |layout, buffer: &mut PayloadBuffer| {
            let frame = buffer.finish(std::iter::empty()).to_vec();
            let records: Result<Vec<_>, _> = match Payload::new(layout, &frame[FRAME_HEADER_LEN..]) {
                Ok(payload) => payload.records().map(|record| record.map(|it| format!("{it:?}"))).collect(),
                Err(malformed) => Err(malformed),
            };
            records
        };
        let layouts = |version| {
            [FrameKind::Events, FrameKind::Retraction].map(|kind| Layout { version, kind, stamps: 0 })
        };
        let expected = Ok(vec![format!("{:?}", Record::Retraction(retraction))]);
        let [old_events, old_retraction] = layouts(Version::V1);
        let [events, own] = layouts(Version::V2);
        buffer.clear();
        buffer.push_retraction(&retraction);
        assert_eq!(read(own, &mut buffer), expected);
        for layout in [old_events, old_retraction, events] {
            buffer.clear();
            buffer.push_retraction(&retraction);
            assert_eq!(read(layout, &mut buffer), Err(Malformed), "{layout:?}");
        }
        let as_event = StoredEvent {
            id: retraction.id(),
            fingerprint: retraction.fingerprint(),
            occurred_at: retraction.occurred_at,
            member: NO_MEMBER,
            event_type: EventType::BackfillRetracted,
            session_id: None,
            from_tenant_id: None,
            confirmed: None,
            counts: None,
            batch: Some(batch),
        };
        for layout in [old_retraction, events, own] {
            buffer.clear();
            buffer.push(&as_event);
            assert!(read(layout, &mut buffer) != expected, "{layout:?}");
        }
        buffer.clear();
        buffer.push(&as_event);
        assert_eq!(read(old_events, &mut buffer), expected);
    }
}

//! The file beside a segment that defines the members its events were the first of: a WAL file without events.

use lastseen_event::{MemberOrdinal, Position, TenantId, UserId, UtcInstant};

use crate::members::Members;
use crate::wal::file::end_frame;
use crate::wal::frame::{FILE_HEADER_LEN, FRAME_HEADER_LEN, FileHeader, FrameHeader, FrameKind, LogId};
use crate::wal::payload::{NewMember, Payload, PayloadBuffer};

/// The members that a segment's events were the first of, in the format of a WAL file without events.
pub(crate) struct MembersFile {
    header: FileHeader,
    bytes: Vec<u8>,
    /// Names of the members of the next frame.
    names: Vec<(MemberOrdinal, String, String)>,
}

/// Members a frame holds: a few of their names fill the space of a group.
const FRAME_MEMBERS: usize = 8_192;

impl MembersFile {
    pub(crate) fn new(first: Position, log_id: LogId) -> Self {
        let header = FileHeader { number: 0, first_position: first, log_id, capacity: 0 };
        Self { header, bytes: header.encode().to_vec(), names: Vec::new() }
    }

    pub(crate) fn push(&mut self, new: NewMember<'_>) {
        self.names.push((new.member, new.tenant_id.as_str().to_owned(), new.user_id.as_str().to_owned()));
        if self.names.len() == FRAME_MEMBERS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.names.is_empty() {
            return;
        }
        let mut payload = PayloadBuffer::default();
        payload.clear();
        let names = std::mem::take(&mut self.names);
        let frame = payload.finish(names.iter().map(|(member, tenant_id, user_id)| NewMember {
            member: *member,
            tenant_id: TenantId::new(tenant_id).expect("it was checked when it was read"),
            user_id: UserId::new(user_id).expect("it was checked when it was read"),
        }));
        let header = FrameHeader {
            kind: FrameKind::Events,
            payload_len: frame.len() - FRAME_HEADER_LEN,
            first_position: self.header.first_position,
            events: 0,
            recorded_at: UtcInstant::EARLIEST,
        };
        header.seal(self.header.log_id, frame);
        self.bytes.extend_from_slice(frame);
    }

    pub(crate) fn finish(mut self, recorded_at: UtcInstant) -> Vec<u8> {
        self.flush();
        self.bytes.extend(end_frame(self.header.log_id, self.header.first_position, recorded_at));
        self.bytes
    }
}

/// Adds the members that a file defines; the first ones may be known already, if it is said so. `None`: it is not what
/// sealing writes.
pub(crate) fn define(
    members: &mut Members,
    bytes: &[u8],
    log_id: LogId,
    mut may_be_known: bool,
) -> Option<()> {
    let header = FileHeader::decode(bytes).ok().filter(|header| header.log_id == log_id)?;
    let mut at = FILE_HEADER_LEN;
    let mut new = Vec::new();
    loop {
        let (frame, payload) = FrameHeader::decode_frame(bytes.get(at..)?, header.log_id)?;
        at += frame.frame_len();
        if frame.kind == FrameKind::End {
            return (at == bytes.len()).then_some(());
        }
        new.clear();
        Payload::new(payload)?.for_each_member(|member| {
            let _: () = new.push((member.member, member.tenant_id, member.user_id));
            Some(())
        })?;
        let known = if may_be_known { members.known(&new) } else { 0 };
        may_be_known &= known == new.len();
        members.define(&new[known..])?;
    }
}

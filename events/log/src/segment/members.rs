//! The file beside a segment that defines the members its events were the first of: a WAL file without events.

use lastseen_event::{MemberOrdinal, TenantId, UserId, UtcInstant};

use crate::damage::Malformed;
use crate::format::Version;
use crate::members::Members;
use crate::place::Place;
use crate::wal::file::end_frame;
use crate::wal::frame::{FRAME_HEADER_LEN, FileHeader, FrameHeader, FrameKind};
use crate::wal::frames::{End, Frames};
use crate::wal::payload::{NewMember, PayloadBuffer};
use lastseen_store::LogId;

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
    pub(crate) fn new(first: Place, log_id: LogId) -> Self {
        let header =
            FileHeader { version: Version::NEWEST, number: 0, first_place: first, log_id, capacity: 0 };
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
            tenant_id: TenantId::stored(tenant_id).expect("it was read as one"),
            user_id: UserId::stored(user_id).expect("it was read as one"),
        }));
        let header = FrameHeader {
            kind: FrameKind::Events,
            payload_len: frame.len() - FRAME_HEADER_LEN,
            first_place: self.header.first_place,
            records: 0,
            recorded_at: UtcInstant::EARLIEST,
            stamped: false,
        };
        header.seal(self.header.log_id, frame);
        self.bytes.extend_from_slice(frame);
    }

    pub(crate) fn finish(mut self, recorded_at: UtcInstant) -> Vec<u8> {
        self.flush();
        self.bytes.extend(end_frame(self.header.log_id, self.header.first_place, recorded_at));
        self.bytes
    }
}

/// Adds the members that a file defines; the first ones may be known already, if it is said so.
///
/// # Errors
/// [`Malformed`]: it is not what sealing writes.
pub(crate) fn define(
    members: &mut Members,
    bytes: &[u8],
    is_of_log: impl Fn(LogId) -> bool,
    mut may_be_known: bool,
) -> Result<(), Malformed> {
    let header = FileHeader::decode(bytes).map_err(|_| Malformed)?;
    if !is_of_log(header.log_id) {
        return Err(Malformed);
    }
    let mut frames = Frames::new(bytes, &header);
    let mut new = Vec::new();
    for frame in frames.by_ref() {
        new.clear();
        frame.payload()?.for_each_member(|member| {
            let _: () = new.push((member.member, member.tenant_id, member.user_id));
            Ok(())
        })?;
        let known = if may_be_known { members.known(&new) } else { 0 };
        may_be_known &= known == new.len();
        members.define(&new[known..])?;
    }
    let is_whole = matches!(frames.end(), (end, End::EndFrame(_)) if end == bytes.len());
    if is_whole { Ok(()) } else { Err(Malformed) }
}

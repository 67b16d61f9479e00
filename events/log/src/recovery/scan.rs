//! The pass over one WAL file: frame by frame into dictionary and recent window, and the verdict on what stands
//! behind the last valid frame.

use std::fmt;
use std::ops::Range;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::{Batches, Corruption};

use crate::batches::Tally;
use crate::manifest::Manifest;
use crate::members::Members;
use crate::recent::{RecentIds, TenantEventId};
use crate::wal::frame::{FILE_HEADER_LEN, FRAME_HEADER_LEN, FileHeader, FrameHeader, FrameKind};
use crate::wal::payload::Payload;
use crate::wal::walk::{header_behind, may_follow_end, used_len};
use crate::writer::next;

/// The torn part of a frame that a power cut left. Nobody was told that the frame was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file, relative to the store's directory.
    pub file: String,
    /// Offset of the torn bytes in the file.
    pub offset: u64,
    /// Number of torn bytes.
    pub bytes: u64,
    /// The file that keeps them, relative to the store's directory.
    pub kept_as: String,
}

impl TornTail {
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.bytes).expect("within a file that is in memory")
    }
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, kept_as } = self;
        write!(f, "cut {bytes} torn bytes off {file} at byte {offset}, kept as {kept_as}")
    }
}

/// The state after the files read so far.
pub(super) struct Scanner {
    pub(super) members: Members,
    pub(super) batches: Batches,
    /// Those of one frame; kept for its memory.
    tally: Tally,
    /// `None` where nothing will be appended.
    pub(super) recent: Option<RecentIds>,
    /// Those of one frame; kept for its memory.
    ids: Vec<(TenantEventId, u64)>,
    /// The first position that is not sealed.
    unsealed: Position,
    pub(super) last_position: Position,
    pub(super) last_recorded_at: UtcInstant,
}

/// The end of the valid frames of a file.
pub(super) struct FileScan {
    /// The last frame with events; empty if there is none.
    pub(super) last_frame: Range<usize>,
    /// Behind the last valid frame, the end frame included.
    end: usize,
    /// True if the last valid frame is an end frame.
    ended: bool,
}

impl Scanner {
    /// Begins behind what is sealed.
    pub(super) fn new(members: Members, recent: Option<RecentIds>, manifest: &Manifest) -> Self {
        Self {
            members,
            batches: manifest.batches().expect("it was read as one of the log's"),
            tally: Tally::default(),
            recent,
            ids: Vec::new(),
            unsealed: next(manifest.last()),
            last_position: manifest.last(),
            last_recorded_at: manifest.last_recorded_at(),
        }
    }

    pub(super) fn next_position(&self) -> Position {
        Position::new(self.last_position.get() + 1)
    }

    /// Takes in the valid frames from the start of a file on.
    pub(super) fn scan(
        &mut self,
        path: &str,
        bytes: &[u8],
        file: &FileHeader,
    ) -> Result<FileScan, Corruption> {
        let mut end = FILE_HEADER_LEN;
        let mut last_frame = end..end;
        loop {
            let rest = bytes.get(end..).unwrap_or_default();
            let Some((header, payload)) = FrameHeader::decode_frame(rest, file.log_id) else {
                return Ok(FileScan { last_frame, end, ended: false });
            };
            let offset = end as u64;
            let corrupt = |expected: String, found: String| {
                Err(Corruption { file: path.to_owned(), offset, expected, found })
            };
            if header.first_position != self.next_position() {
                return corrupt(
                    format!("a frame for position {}", self.next_position().get()),
                    format!("one for position {}", header.first_position.get()),
                );
            }
            if header.recorded_at < self.last_recorded_at {
                return corrupt(
                    format!("a frame recorded at {} or later", self.last_recorded_at),
                    format!("one recorded at {}", header.recorded_at),
                );
            }
            end += header.frame_len();
            if header.kind == FrameKind::End {
                return Ok(FileScan { last_frame, end, ended: true });
            }
            if self.take(&header, payload).is_none() {
                return corrupt(
                    "a payload that matches its checksum and its header".into(),
                    "one that does not".into(),
                );
            }
            last_frame = end - header.frame_len()..end;
        }
    }

    fn take(&mut self, header: &FrameHeader, payload: &[u8]) -> Option<()> {
        let payload = Payload::new(payload)?;
        payload.for_each_member(|new| {
            let (found, is_new) = self.members.resolve(new.tenant_id, new.user_id);
            (is_new && found.member == new.member).then_some(())
        })?;
        let Self { members, ids, recent, tally, last_position, .. } = self;
        ids.clear();
        tally.clear();
        let mut position = *last_position;
        let count = payload.for_each_event(|event| {
            let mut tenant_id = "";
            if event.is_of_member()? {
                tenant_id = members.tenant_id(members.member_ref(event.member)?.tenant).as_str();
            }
            position = next(position);
            if let Some(batch) = event.batch {
                tally.count(batch, event.event_type, position);
            }
            if let Some(recent) = recent.as_ref() {
                ids.push((recent.within(tenant_id, event.id), event.fingerprint));
            }
            Some(())
        })?;
        if count != header.events {
            return None;
        }
        self.tally.add_to(&mut self.batches);
        if let Some(recent) = &mut self.recent {
            recent.take(&self.ids, self.unsealed);
        }
        self.last_position = Position::new(self.last_position.get() + u64::from(count));
        self.last_recorded_at = header.recorded_at;
        Some(())
    }
}

impl FileScan {
    /// Returns the offset at which the next frame would have gone.
    pub(super) fn end_of_events(&self) -> u64 {
        (if self.ended { self.end - FRAME_HEADER_LEN } else { self.end }) as u64
    }

    /// True if the file ends with its end frame, to the byte.
    pub(super) fn is_cut(&self, bytes: &[u8]) -> bool {
        self.ended && self.end == bytes.len()
    }

    /// Every file but the last was ended before the next was made.
    pub(super) fn must_be_ended(
        &self,
        path: &str,
        bytes: &[u8],
        file: &FileHeader,
    ) -> Result<(), Corruption> {
        if self.ended {
            self.nothing_follows(path, bytes, file)
        } else {
            Err(self.corruption(path, "a frame with its checksum", bytes))
        }
    }

    fn nothing_follows(&self, path: &str, bytes: &[u8], file: &FileHeader) -> Result<(), Corruption> {
        if may_follow_end(bytes.get(self.end..).unwrap_or_default(), bytes.len(), file) {
            return Ok(());
        }
        Err(self.corruption(path, "nothing behind the end frame", bytes))
    }

    /// The verdict on the last file: `None` where it ends cleanly, the torn tail where a power cut explains what
    /// is there, corruption otherwise.
    pub(super) fn torn_tail(
        &self,
        path: &str,
        bytes: &[u8],
        file: &FileHeader,
    ) -> Result<Option<TornTail>, Corruption> {
        if self.ended {
            return self.nothing_follows(path, bytes, file).map(|()| None);
        }
        let rest = bytes.get(self.end..).unwrap_or_default();
        if let Some(next) = header_behind(rest, file.log_id).map(|at| self.end + at) {
            let expected = format!("a frame with its checksum, since another follows at byte {next}");
            return Err(self.corruption(path, &expected, bytes));
        }
        if bytes.len() as u64 != file.capacity {
            let expected = format!("{} bytes, or an end frame", file.capacity);
            return Err(Corruption {
                file: path.to_owned(),
                offset: bytes.len() as u64,
                expected,
                found: "the end of the file".to_owned(),
            });
        }
        let garbage = used_len(rest);
        if garbage == 0 {
            return Ok(None);
        }
        Ok(Some(TornTail {
            file: path.to_owned(),
            offset: self.end as u64,
            bytes: garbage as u64,
            kept_as: format!("{path}.{}.torn", self.end),
        }))
    }

    fn corruption(&self, path: &str, expected: &str, bytes: &[u8]) -> Corruption {
        let shown = &bytes[self.end.min(bytes.len())..][..bytes.len().saturating_sub(self.end).min(8)];
        let found =
            if shown.is_empty() { "the end of the file".to_owned() } else { format!("bytes {shown:02x?}") };
        Corruption { file: path.to_owned(), offset: self.end as u64, expected: expected.to_owned(), found }
    }
}

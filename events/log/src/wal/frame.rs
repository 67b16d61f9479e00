//! The two headers of a WAL file: the file's own, and that of each frame. Constants prove the layout.

use lastseen_event::UtcInstant;

use crate::codec::Cursor;
use crate::damage::Malformed;
use crate::format::Version;
use crate::place::Place;
use lastseen_store::LogId;

/// File header, 64 bytes, little-endian. FORMAT.md "File header":
/// `magic [8] | version u32 | crc32c u32 | number u64 | first_place u64 | log_id [16] | capacity u64 | zero [8]`.
pub(crate) const FILE_HEADER_LEN: usize = 64;
const FILE_MAGIC: [u8; 8] = *b"LSTNWAL\0";
const FILE_CHECKED_FROM: usize = 16;
const _: () = assert!(FILE_CHECKED_FROM + 8 + 8 + 16 + 8 + 8 == FILE_HEADER_LEN);

/// Frame header, 40 bytes, little-endian. FORMAT.md "Frame header":
/// `magic u32 | crc32c u32 | payload_len u32 | kind u8 stamped u8 zero [2] | first_place u64 | records u32 | log_tag u32 |
/// recorded_at i64`.
pub(crate) const FRAME_HEADER_LEN: usize = 40;
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"LSF1");
const FRAME_CHECKED_FROM: usize = 8;
const _: () = assert!(FRAME_CHECKED_FROM + 4 + 4 + 8 + 4 + 4 + 8 == FRAME_HEADER_LEN);

/// Frames begin at multiples of this, so that a search for valid ones behind damage is cheap.
pub(crate) const FRAME_ALIGN: usize = 8;
const _: () =
    assert!(FILE_HEADER_LEN.is_multiple_of(FRAME_ALIGN) && FRAME_HEADER_LEN.is_multiple_of(FRAME_ALIGN));

/// Longest payload a reader accepts before it allocates. The writer proves that its largest group fits.
pub(crate) const PAYLOAD_LEN_MAX: usize = 24 * 1024 * 1024;

/// The part of a log's id that stands in every frame, so that a frame of another log is not taken for one of this.
fn tag_of(log_id: LogId) -> u32 {
    crc32c::crc32c(&log_id.to_bytes())
}

/// The header of a WAL file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) version: Version,
    /// Its place among the files, from 1.
    pub(crate) number: u64,
    /// The place of the first record that was or will be written to it.
    pub(crate) first_place: Place,
    pub(crate) log_id: LogId,
    /// The length in bytes that the file has until it is ended.
    pub(crate) capacity: u64,
}

/// Why bytes are not a file header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadFileHeader {
    /// Too short, another magic or a wrong checksum.
    Damaged,
    /// A whole header of a version that this program does not know.
    Version(u32),
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let mut checked = Vec::with_capacity(FILE_HEADER_LEN - FILE_CHECKED_FROM);
        checked.extend(self.number.to_le_bytes());
        checked.extend(self.first_place.get().to_le_bytes());
        checked.extend(self.log_id.to_bytes());
        checked.extend(self.capacity.to_le_bytes());
        checked.resize(FILE_HEADER_LEN - FILE_CHECKED_FROM, 0);
        let mut header = [0; FILE_HEADER_LEN];
        header[..8].copy_from_slice(&FILE_MAGIC);
        let version = self.version.in_wal();
        header[8..12].copy_from_slice(&version.to_le_bytes());
        header[12..16].copy_from_slice(&checksum(version, &checked).to_le_bytes());
        header[16..].copy_from_slice(&checked);
        header
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadFileHeader> {
        let bytes = bytes.get(..FILE_HEADER_LEN).ok_or(BadFileHeader::Damaged)?;
        let mut cursor = Cursor::new(bytes);
        let checked = |cursor: &mut Cursor<'_>| {
            let (magic, version, crc) = (cursor.array()?, cursor.u32()?, cursor.u32()?);
            let whole = magic == FILE_MAGIC && checksum(version, cursor.rest()) == crc;
            if whole { Ok(version) } else { Err(Malformed) }
        };
        let number = checked(&mut cursor).map_err(|Malformed| BadFileHeader::Damaged)?;
        let version = Version::of_wal(number).ok_or(BadFileHeader::Version(number))?;
        let fields = |cursor: &mut Cursor<'_>| {
            Ok(Self {
                version,
                number: cursor.u64()?,
                first_place: Place::new(cursor.u64()?),
                log_id: LogId::from_bytes(cursor.array()?),
                capacity: cursor.u64()?,
            })
        };
        fields(&mut cursor).map_err(|Malformed| BadFileHeader::Damaged)
    }
}

/// The checksum covers the version, so that a flipped version reads as damage and not as another format.
fn checksum(version: u32, checked: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&version.to_le_bytes()), checked)
}

/// The content of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// The events of one group, or only new members.
    Events = 1,
    /// Nothing: the file was ended on purpose, no frame follows in it.
    End = 2,
    /// One retraction. Not in version 1, where it stood among the events as one that is about no member.
    Retraction = 3,
}

/// A frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// Bytes of payload, a multiple of [`FRAME_ALIGN`].
    pub(crate) payload_len: usize,
    /// The place of the first record; of an end frame, that of the next record to come.
    pub(crate) first_place: Place,
    /// Events, or the one retraction.
    pub(crate) records: u32,
    /// Of the last record, where each has a stamp; else of all of them.
    pub(crate) recorded_at: UtcInstant,
    /// True if each record has a stamp: the log follows another one.
    pub(crate) stamped: bool,
}

impl FrameHeader {
    /// Bytes of the whole frame.
    pub(crate) fn frame_len(&self) -> usize {
        FRAME_HEADER_LEN + self.payload_len
    }

    /// The place after the last record of the frame.
    pub(crate) fn end(&self) -> Place {
        Place::new(self.first_place.get() + u64::from(self.records))
    }

    /// True if its records have stamps exactly where those of the log have.
    pub(crate) fn is_stamped_as(&self, is_replica: bool) -> bool {
        self.stamped == (is_replica && self.records > 0)
    }

    /// Fills in the header of `frame`, whose payload stands behind room for it.
    ///
    /// # Panics
    /// If the payload is not aligned or longer than a reader accepts.
    pub(crate) fn seal(&self, log_id: LogId, frame: &mut [u8]) {
        let (header, payload) = frame.split_at_mut(FRAME_HEADER_LEN);
        assert!(payload.len() == self.payload_len && payload.len().is_multiple_of(FRAME_ALIGN));
        assert!(payload.len() <= PAYLOAD_LEN_MAX, "a frame is bounded by the group limits");
        let payload_len = u32::try_from(payload.len()).expect("bounded above");
        header[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        header[8..12].copy_from_slice(&payload_len.to_le_bytes());
        header[12..16].copy_from_slice(&[self.kind as u8, self.stamped.into(), 0, 0]);
        header[16..24].copy_from_slice(&self.first_place.get().to_le_bytes());
        header[24..28].copy_from_slice(&self.records.to_le_bytes());
        header[28..32].copy_from_slice(&tag_of(log_id).to_le_bytes());
        header[32..40].copy_from_slice(&self.recorded_at.as_micros().to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[FRAME_CHECKED_FROM..]), payload);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header whose payload was not checked yet, and the checksum of the whole frame. `None`: these bytes do not
    /// begin a frame of this log.
    pub(crate) fn decode(bytes: &[u8], log_id: LogId) -> Option<(Self, u32)> {
        Self::fields(bytes.get(..FRAME_HEADER_LEN)?, log_id).ok()
    }

    fn fields(bytes: &[u8], log_id: LogId) -> Result<(Self, u32), Malformed> {
        let mut cursor = Cursor::new(bytes);
        let (magic, crc) = (cursor.u32()?, cursor.u32()?);
        let payload_len = usize::try_from(cursor.u32()?).map_err(|_| Malformed)?;
        let (kind, stamped) = match cursor.array()? {
            [1, stamped @ (0 | 1), 0, 0] => (FrameKind::Events, stamped == 1),
            [2, 0, 0, 0] => (FrameKind::End, false),
            [3, stamped @ (0 | 1), 0, 0] => (FrameKind::Retraction, stamped == 1),
            _ => return Err(Malformed),
        };
        let (first, records, tag) = (cursor.u64()?, cursor.u32()?, cursor.u32()?);
        let recorded_at = UtcInstant::from_micros(cursor.i64()?);
        let plausible = magic == FRAME_MAGIC
            && tag == tag_of(log_id)
            && payload_len <= PAYLOAD_LEN_MAX
            && payload_len.is_multiple_of(FRAME_ALIGN);
        let first_place = Place::new(first);
        let header = Self { kind, payload_len, first_place, records, recorded_at, stamped };
        if plausible { Ok((header, crc)) } else { Err(Malformed) }
    }

    /// Reads a whole frame from the start of `bytes` and checks it. `None`: no valid frame of this log.
    pub(crate) fn decode_frame(bytes: &[u8], log_id: LogId) -> Option<(Self, &[u8])> {
        let (header, crc) = Self::decode(bytes, log_id)?;
        let checked = bytes.get(FRAME_CHECKED_FROM..header.frame_len())?;
        (crc32c::crc32c(checked) == crc).then(|| (header, &checked[FRAME_HEADER_LEN - FRAME_CHECKED_FROM..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId::from_bytes([7; 16]);

    fn frame() -> Vec<u8> {
        let mut frame = vec![0; FRAME_HEADER_LEN];
        frame.extend(b"16 bytes of this");
        let header = FrameHeader {
            kind: FrameKind::Events,
            payload_len: 16,
            first_place: Place::new(42),
            records: 3,
            recorded_at: UtcInstant::from_micros(9),
            stamped: false,
        };
        header.seal(LOG, &mut frame);
        frame
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_noticed() {
        let good = frame();
        let (header, payload) = FrameHeader::decode_frame(&good, LOG).unwrap();
        assert_eq!(
            (header.first_place, header.records, payload),
            (Place::new(42), 3, &good[FRAME_HEADER_LEN..])
        );
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode_frame(&bad, LOG), None, "bit {bit}");
        }
        for len in 0..good.len() {
            assert_eq!(FrameHeader::decode_frame(&good[..len], LOG), None);
        }
        assert_eq!(FrameHeader::decode_frame(&good, LogId::from_bytes([8; 16])), None);
    }

    #[test]
    fn every_flipped_bit_of_a_file_header_is_noticed() {
        let (number, first_place) = (3, Place::new(9));
        let header =
            FileHeader { version: Version::NEWEST, number, first_place, log_id: LOG, capacity: 4_096 };
        let good = header.encode();
        assert_eq!(FileHeader::decode(&good), Ok(header));
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&bad), Err(BadFileHeader::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let (version, first_place) = (Version::NEWEST, Place::new(1));
        let mut header = FileHeader { version, number: 1, first_place, log_id: LOG, capacity: 0 }.encode();
        header[8..12].copy_from_slice(&9_u32.to_le_bytes());
        let crc = checksum(9, &header[16..]);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(&header), Err(BadFileHeader::Version(9)));
    }
}

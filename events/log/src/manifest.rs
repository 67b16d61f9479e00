//! The list of sealed segments in order, with the checksum of each of their pieces. One small file, replaced
//! whole; a segment counts from the moment it stands here. FORMAT.md "Manifest".

use std::io;
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::{Batches, Corruption};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::batches::BatchEntry;
use crate::disk::{Access, Disk, Folder, StepError, SyncSite, create_anew, is_no_space, read_all};
use crate::segment;
use crate::wal::file::NEW_SUFFIX;
use crate::wal::frame::LogId;
use crate::writer::next;

/// The manifest's path.
pub(crate) const PATH: &str = "segments/manifest.json";

/// Version of the manifest and of everything it names.
pub(crate) const VERSION: u32 = 2;

/// All that is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    /// Of the log these segments belong to.
    log_id: uuid::Uuid,
    /// WAL files with a lower number are sealed: they are not needed any more.
    pub(crate) wal_from: u64,
    /// In order of position, without a gap.
    pub(crate) segments: Vec<Arc<Entry>>,
}

/// One segment. Paths follow from its first position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Of its first and its last event.
    pub(crate) positions: [u64; 2],
    /// Least and greatest `occurred_at`.
    pub(crate) occurred: Span,
    /// Those of its first and its last event.
    pub(crate) recorded: Span,
    /// Days since 1970 in UTC on which one of its events occurred, as ranges `[first, last]`, ascending.
    days: Vec<[i32; 2]>,
    /// The file of new members, as one piece.
    pub(crate) members: Piece,
    /// The segment, cut into what is read as one, from its first byte to its last.
    pub(crate) pieces: Vec<Piece>,
    /// The batches that its events name, in order of first appearance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) batches: Vec<BatchEntry>,
}

/// A run of bytes: `[length, crc32c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece(pub(crate) u64, pub(crate) u32);

impl Piece {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.len() as u64, crc32c::crc32c(bytes))
    }
}

/// Least and greatest instant, both inclusive, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span(i64, i64);

impl Span {
    pub(crate) fn at(at: UtcInstant) -> Self {
        Self(at.as_micros(), at.as_micros())
    }

    pub(crate) fn include(&mut self, at: UtcInstant) {
        *self = Self(self.0.min(at.as_micros()), self.1.max(at.as_micros()));
    }

    pub(crate) fn contains(self, at: UtcInstant) -> bool {
        (self.0..=self.1).contains(&at.as_micros())
    }

    pub(crate) fn bounds(self) -> (UtcInstant, UtcInstant) {
        (UtcInstant::from_micros(self.0), UtcInstant::from_micros(self.1))
    }
}

impl Entry {
    pub(crate) fn new(first: Position, encoded: &segment::write::Encoded, members: Piece) -> Self {
        let mut days: Vec<[i32; 2]> = Vec::new();
        for &day in &encoded.days {
            match days.last_mut() {
                Some(range) if range[1] + 1 == day => range[1] = day,
                _ => days.push([day, day]),
            }
        }
        Self {
            positions: [first.get(), first.get() + encoded.rows - 1],
            occurred: encoded.occurred,
            recorded: encoded.recorded,
            days,
            members,
            pieces: encoded.pieces.clone(),
            batches: encoded.batches.clone(),
        }
    }

    pub(crate) fn first(&self) -> Position {
        Position::new(self.positions[0])
    }

    pub(crate) fn last(&self) -> Position {
        Position::new(self.positions[1])
    }

    pub(crate) fn rows(&self) -> u64 {
        self.positions[1] + 1 - self.positions[0]
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.0).sum()
    }

    /// True if an event that occurred at `at` may be in the segment.
    pub(crate) fn may_hold(&self, at: UtcInstant) -> bool {
        self.occurred.contains(at) && self.may_hold_any(Some(at), Some(at))
    }

    /// True if its days leave room for an event that occurred between these instants, both inclusive.
    pub(crate) fn may_hold_any(&self, since: Option<UtcInstant>, until: Option<UtcInstant>) -> bool {
        let first = since.map_or(i32::MIN, segment::write::day_of);
        let last = until.map_or(i32::MAX, segment::write::day_of);
        let range = self.days.partition_point(|range| range[1] < first);
        self.days.get(range).is_some_and(|range| range[0] <= last)
    }
}

/// The file: the checksum stands before what it is of.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    crc32c: u32,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// Why there is no manifest to go by.
pub(crate) enum BadManifest {
    Corrupt(Corruption),
    Version(u32),
    Io(io::Error),
}

impl Manifest {
    /// Nothing is sealed.
    pub(crate) fn empty(log_id: LogId) -> Self {
        Self { version: VERSION, log_id: uuid::Uuid::from_bytes(log_id.0), wal_from: 0, segments: Vec::new() }
    }

    pub(crate) fn log_id(&self) -> LogId {
        LogId(self.log_id.into_bytes())
    }

    /// The position of the last sealed event.
    pub(crate) fn last(&self) -> Position {
        self.segments.last().map_or(Position::START, |entry| entry.last())
    }

    /// `recorded_at` of the last sealed event.
    pub(crate) fn last_recorded_at(&self) -> UtcInstant {
        self.segments.last().map_or(UtcInstant::EARLIEST, |entry| entry.recorded.bounds().1)
    }

    /// Returns a checksum of the segments up to the one in front of `end`; it tells them from those of any
    /// other history. `None`: there is no such segment.
    pub(crate) fn history(&self, end: Position) -> Option<u32> {
        let last = self.segments.partition_point(|entry| next(entry.last()) < end);
        let segments = serde_json::to_vec(self.segments.get(..=last)?).ok()?;
        Some(crc32c::crc32c(&segments))
    }

    /// The batches that sealed events name. `None`: not what the log writes.
    pub(crate) fn batches(&self) -> Option<Batches> {
        let mut batches = Batches::default();
        self.segments
            .iter()
            .flat_map(|entry| &entry.batches)
            .try_for_each(|entry| entry.add_to(&mut batches))?;
        Some(batches)
    }

    /// The manifest with one more segment.
    pub(crate) fn with(&self, entry: Entry, wal_from: u64) -> Self {
        let mut more = Self { wal_from, ..self.clone() };
        more.segments.push(Arc::new(entry));
        more
    }

    fn encode(&self) -> io::Result<String> {
        let manifest = serde_json::to_string(self)?;
        let crc32c = crc32c::crc32c(manifest.as_bytes());
        let manifest = serde_json::from_str(&manifest)?;
        let mut text = serde_json::to_string(&File { crc32c, manifest })?;
        text.push('\n');
        Ok(text)
    }

    fn decode(bytes: &[u8]) -> Result<Self, BadManifest> {
        let corrupt = |expected: &str| {
            BadManifest::Corrupt(Corruption {
                file: PATH.to_owned(),
                offset: 0,
                expected: expected.to_owned(),
                found: format!("{} bytes that are none", bytes.len()),
            })
        };
        let whole = || corrupt("a manifest with its checksum");
        let file: File<'_> = serde_json::from_slice(bytes).map_err(|_| whole())?;
        let text = file.manifest.get();
        if crc32c::crc32c(text.as_bytes()) != file.crc32c {
            return Err(whole());
        }
        let Version { version } = serde_json::from_str(text).map_err(|_| whole())?;
        if version != VERSION {
            return Err(BadManifest::Version(version));
        }
        let manifest: Self = serde_json::from_str(text).map_err(|_| whole())?;
        // Also what the checksum does not cover is as it was written.
        if manifest.encode().is_ok_and(|text| text.as_bytes() == bytes) { Ok(manifest) } else { Err(whole()) }
            .and_then(|manifest| {
                let mut next = 1;
                for entry in &manifest.segments {
                    if entry.positions[0] != next || entry.positions[1] < next {
                        return Err(corrupt("segments without a gap between their positions"));
                    }
                    next = entry.positions[1] + 1;
                }
                if manifest.batches().is_none() {
                    return Err(corrupt("batches by name and type"));
                }
                Ok(manifest)
            })
    }

    /// Reads the manifest on disk. `None`: nothing was ever sealed there.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Self>, BadManifest> {
        match disk.open(PATH, Access::Read).and_then(|file| read_all(file.as_ref())) {
            Ok(bytes) => Self::decode(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BadManifest::Io(error)),
        }
    }

    /// Writes it aside and durably.
    pub(crate) fn prepare(&self, disk: &dyn Disk) -> io::Result<()> {
        let file = create_anew(disk, &format!("{PATH}{NEW_SUFFIX}"))?;
        file.write_all_at(self.encode()?.as_bytes(), 0)?;
        file.sync_all(SyncSite::Manifest)
    }

    /// Puts what was prepared in the place of the one before. `folder` is that of the segments.
    ///
    /// # Errors
    /// [`StepError`]; refused, the one before is in its place.
    pub(crate) fn publish(disk: &dyn Disk, folder: &dyn Folder) -> Result<(), StepError> {
        disk.rename(&format!("{PATH}{NEW_SUFFIX}"), PATH).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => StepError::Refused(error),
            kind if is_no_space(kind) => StepError::Refused(error),
            // A device that failed may have taken the name all the same, and another attempt writes over what
            // it names.
            _ => StepError::Unsettled(error),
        })?;
        folder.sync(SyncSite::ManifestName).map_err(StepError::Unsettled)
    }

    /// Writes it in the place of the one before.
    ///
    /// # Errors
    /// The disk's answer.
    pub(crate) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let folder = disk.folder(segment::DIR)?;
        self.prepare(disk)?;
        Self::publish(disk, folder.as_ref()).map_err(StepError::into_io)
    }
}

/// The files of a log that another process may be sealing: the manifest, and the numbers of the WAL files it
/// does not cover.
pub(crate) struct Listing {
    pub(crate) manifest: Result<Option<Manifest>, BadManifest>,
    pub(crate) unsealed: Vec<u64>,
}

impl Listing {
    /// # Errors
    /// The disk's error about the folder of the WAL files.
    pub(crate) fn read(disk: &dyn Disk) -> io::Result<Self> {
        let mut manifest = Manifest::read(disk);
        loop {
            let mut unsealed = crate::wal::numbers(disk)?;
            let again = Manifest::read(disk);
            // WAL files go only after the manifest that covers them is there: where it is the same before and behind,
            // none is missing from the list.
            if let (Ok(before), Ok(behind)) = (&manifest, &again)
                && before != behind
            {
                manifest = again;
                continue;
            }
            let wal_from =
                manifest.as_ref().ok().and_then(Option::as_ref).map_or(0, |manifest| manifest.wal_from);
            unsealed.retain(|number| *number >= wal_from);
            return Ok(Self { manifest, unsealed });
        }
    }
}

/// Whatever else it says.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = |positions: [u64; 2], days: Vec<[i32; 2]>| {
            let span = Span(0, 3 * 86_400_000_000);
            let piece = Piece(4, 7);
            Arc::new(Entry {
                positions,
                occurred: span,
                recorded: span,
                days,
                members: piece,
                pieces: vec![piece; 3],
                batches: serde_json::from_str(r#"[["users",[[5,2],[10,1]],null],["old",[],6]]"#).unwrap(),
            })
        };
        Manifest {
            wal_from: 3,
            segments: vec![entry([1, 5], vec![[0, 1], [3, 3]]), entry([6, 6], vec![[0, 0]])],
            ..Manifest::empty(LogId([7; 16]))
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = manifest().encode().unwrap().into_bytes();
        assert!(matches!(Manifest::decode(&good), Ok(found) if found == manifest()));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Manifest::decode(&bad), Err(BadManifest::Corrupt(_))), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(matches!(Manifest::decode(&good[..len]), Err(BadManifest::Corrupt(_))), "{len} bytes");
        }
    }

    #[test]
    fn another_version_is_named_and_a_gap_is_refused() {
        let newer = Manifest { version: 9, ..manifest() }.encode().unwrap();
        assert!(matches!(Manifest::decode(newer.as_bytes()), Err(BadManifest::Version(9))));
        let mut gap = manifest();
        gap.segments.remove(0);
        assert!(matches!(Manifest::decode(gap.encode().unwrap().as_bytes()), Err(BadManifest::Corrupt(_))));
    }

    #[test]
    fn a_segment_may_hold_the_days_it_names() {
        const DAY_US: i64 = 86_400_000_000;
        let entry = &manifest().segments[0];
        for (micros, held) in [
            (-1, false),
            (0, true),
            (2 * DAY_US - 1, true),
            (2 * DAY_US, false),
            (3 * DAY_US, true),
            (3 * DAY_US + 1, false),
        ] {
            assert_eq!(entry.may_hold(UtcInstant::from_micros(micros)), held, "{micros}");
        }
    }
}

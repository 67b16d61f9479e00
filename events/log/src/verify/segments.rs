//! The part of the check that reads the manifest and the segments: every piece against its checksum, every row against
//! what the manifest and the dictionary say.

use std::io;
use std::sync::Arc;

use lastseen_event::{BatchName, EventType, Position, RecordedEvent};
use lastseen_store::{Corruption, ReadError};

use super::{Check, FindingKind, VerifyError, failed, size};
use crate::batches::Tally;
use crate::dictionary::{self, Fault};
use crate::disk::{Access, Disk, read_all};
use crate::manifest::{BadManifest, Entry, Manifest, PATH, Piece, VERSION};
use crate::segment;
use crate::segment::file::{SegmentFile, check_pieces};
use crate::segment::members::define;
use crate::segment::rows::{Checked, Rows};
use crate::segment::schema::Column;
use crate::wal::frame::LogId;
use crate::writer::next;

impl Check {
    /// The segments that were not checked yet. Where the manifest is damaged, they are not checked.
    pub(super) fn manifest(
        &mut self,
        disk: &dyn Disk,
        manifest: Result<Option<Manifest>, BadManifest>,
        no_wal: bool,
    ) -> Result<Vec<Arc<Entry>>, VerifyError> {
        let expected = format!("a manifest of format version {VERSION}");
        let found = match manifest {
            Ok(Some(manifest)) => {
                self.log_id = Some(manifest.log_id());
                return Ok(manifest.segments.get(self.sealed..).unwrap_or_default().to_vec());
            }
            Ok(None) => {
                let names = match disk.list(segment::DIR) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                    names => names.map_err(failed(segment::DIR))?,
                };
                if !no_wal || names.iter().all(|name| !name.ends_with(".parquet")) {
                    return Ok(Vec::new());
                }
                "no file".to_owned()
            }
            Err(BadManifest::Corrupt(Corruption { found, .. })) => found,
            Err(BadManifest::Version(version)) => format!("version {version}"),
            Err(BadManifest::Io(error)) => return Err(failed(PATH)(error)),
        };
        self.found(FindingKind::Manifest, PATH, 0, (expected, found));
        Ok(Vec::new())
    }

    /// True if there are more segments than were checked.
    pub(super) fn manifest_changed(&self, disk: &dyn Disk) -> Result<bool, VerifyError> {
        match Manifest::read(disk) {
            Ok(manifest) => Ok(manifest.is_some_and(|manifest| manifest.segments.len() > self.sealed)),
            Err(BadManifest::Io(error)) => Err(failed(PATH)(error)),
            Err(BadManifest::Corrupt(_) | BadManifest::Version(_)) => Ok(false),
        }
    }

    /// Checks a segment. Positions that were checked in the WAL file it was made of are not counted again.
    pub(super) fn segment(&mut self, disk: &dyn Disk, entry: &Arc<Entry>) -> Result<(), VerifyError> {
        self.sealed += 1;
        self.verified.segments += 1;
        self.verified.bytes += entry.bytes() + entry.members.0;
        let before = self.verified.findings.len();
        self.members_file(disk, entry)?;
        let path = segment::path(entry.first());
        match size(disk, &path).map_err(failed(&path))? {
            Some(len) if len == entry.bytes() => {
                let file = disk.open(&path, Access::Read).map_err(failed(&path))?;
                let mut damage = Vec::new();
                check_pieces(file.as_ref(), (&path, &entry.pieces), |found| damage.push(found))
                    .map_err(failed(&path))?;
                for Corruption { file, offset, expected, found } in damage {
                    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                    self.found(FindingKind::Segment, &file, offset, (expected, found));
                }
            }
            found => {
                let found = found.map_or("no file".to_owned(), |len| format!("{len} bytes"));
                self.found(FindingKind::Segment, &path, 0, (format!("{} bytes", entry.bytes()), found));
            }
        }
        if self.verified.findings.len() == before {
            self.rows(disk, entry)?;
        }
        let last = self.verified.last_position.max(entry.last());
        self.verified.events += last.get() - self.verified.last_position.get();
        self.verified.last_position = last;
        Ok(())
    }

    /// The dictionary against the members that were defined, after all else.
    pub(super) fn dictionary(&mut self, disk: &dyn Disk) -> Result<(), VerifyError> {
        let mut before = None;
        loop {
            let Ok(Some(manifest)) = Manifest::read(disk) else { return Ok(()) };
            let (offset, found) = match dictionary::read(disk, &manifest) {
                Ok(None) => return Ok(()),
                // Where something else is wrong, members may be missing that it has.
                Ok(Some(_)) if self.lost || !self.verified.findings.is_empty() => return Ok(()),
                Ok(Some((kept, _))) if self.members.has_all_of(&kept) => return Ok(()),
                Ok(Some(_)) => (0, "other members".to_owned()),
                // A server may have written it since the manifest was read.
                Err(Fault::Foreign) if before.as_ref() != Some(&manifest) => {
                    before = Some(manifest);
                    continue;
                }
                Err(Fault::Io(error)) => return Err(failed(dictionary::PATH)(error)),
                Err(Fault::Damaged { offset }) => (offset, "bytes that are none".to_owned()),
                Err(fault) => (0, fault.to_string()),
            };
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let expected = "a dictionary of the members that the segments define".to_owned();
            self.found(FindingKind::Dictionary, dictionary::PATH, offset, (expected, found));
            return Ok(());
        }
    }

    fn members_file(&mut self, disk: &dyn Disk, entry: &Entry) -> Result<(), VerifyError> {
        let path = segment::members_path(entry.first());
        let bytes = match disk.open(&path, Access::Read).and_then(|file| read_all(file.as_ref())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes.map_err(failed(&path))?,
        };
        let log_id = self.log_id.unwrap_or(LogId([0; 16]));
        // Those of a WAL file that was checked before it was sealed are known.
        let known = entry.first() <= self.verified.last_position || self.lost;
        let whole = Piece::of(&bytes) == entry.members;
        if !whole || (!known && define(&mut self.members, &bytes, log_id, false).is_none()) {
            let expected = format!("{} bytes with checksum {:08x}", entry.members.0, entry.members.1);
            let found = format!("{} bytes with {:08x}", bytes.len(), crc32c::crc32c(&bytes));
            self.found(FindingKind::Segment, &path, 0, (expected, found));
        }
        Ok(())
    }

    fn rows(&mut self, disk: &dyn Disk, entry: &Arc<Entry>) -> Result<(), VerifyError> {
        match self.read_rows(disk, entry) {
            Ok(()) => Ok(()),
            Err(ReadError::Corrupt(Corruption { file, offset, expected, found })) => {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                self.found(FindingKind::Segment, &file, offset, (expected, found));
                Ok(())
            }
            Err(ReadError::Io { file, source }) => Err(VerifyError { file, source }),
        }
    }

    /// Reads every row.
    fn read_rows(&mut self, disk: &dyn Disk, entry: &Arc<Entry>) -> Result<(), ReadError> {
        const BATCH_ROWS: usize = 8_192;
        let file = SegmentFile::open(disk, entry)?;
        let (mut position, mut batches) = (entry.first(), Tally::default());
        for group in 0..file.row_groups() {
            let mut checked = Checked::default();
            let unexpected =
                || file.damaged(group, "events as the manifest and the log say", "something else");
            for batch in file.read(group, &Column::ALL, (BATCH_ROWS, None))? {
                let batch = batch.map_err(|error| file.undecodable(group, &error))?;
                let rows = Rows::new(&batch, &mut checked).ok_or_else(unexpected)?;
                for row in 0..rows.len() {
                    let event = self.row(&rows, row, (entry, position)).ok_or_else(unexpected)?;
                    if let Ok(batch) = BatchName::new(event.names[4]) {
                        batches.count(batch, event.event_type, position);
                    }
                    if position > self.verified.last_position {
                        let id = rows.id(row).ok_or_else(unexpected)?;
                        self.ids.see((event.names[0], id), position, (file.path(), 0));
                    }
                    position = next(position);
                }
            }
        }
        if batches.entries() != entry.batches {
            return Err(file.damaged(0, "the batches that the manifest counts", "others"));
        }
        if position == next(entry.last()) {
            Ok(())
        } else {
            Err(file.damaged(0, &format!("events up to position {}", entry.last().get()), "fewer"))
        }
    }

    /// A row that is what it should be at its place.
    fn row<'a>(
        &mut self,
        rows: &Rows<'a>,
        row: usize,
        (entry, position): (&Entry, Position),
    ) -> Option<RecordedEvent<'a>> {
        let event = rows.event(row)?;
        let (occurred_at, recorded_at) = (rows.occurred_at(row)?, rows.recorded_at(row)?);
        let (first, last) = entry.recorded.bounds();
        let known = if event.event_type == EventType::BackfillRetracted {
            rows.is_of_nobody(row)
        } else {
            let member = self.members.find(event.names[0], event.names[1]);
            // After a loss the dictionary may lack members.
            self.lost || member.map(|member| member.member) == rows.member(row)
        };
        let ordered = recorded_at >= self.recorded_at || position <= self.verified.last_position;
        self.recorded_at = self.recorded_at.max(recorded_at);
        (known
            && ordered
            && rows.position(row)? == position
            && entry.may_hold(occurred_at)
            && (first..=last).contains(&recorded_at))
        .then_some(event)
    }
}

//! The part of the check that reads the manifest and the segments: every piece against its checksum, every row against
//! what the manifest and the dictionary say.

use std::io;
use std::sync::Arc;

use lastseen_event::{BatchName, Position, RecordedEvent};
use lastseen_store::{Corruption, MemberDictionary, ReadError};

use super::{Check, FindingKind, VerifyError, failed, names, size};
use crate::batches::Tally;
use crate::beyond;
use crate::damage::Malformed;
use crate::dictionary::{self, Fault};
use crate::disk::{Access, Disk, read_all};
use crate::filter::Filter;
use crate::format::Version;
use crate::identity::DigestSum;
use crate::ids::Budget;
use crate::ids::run::Run;
use crate::manifest::{BadManifest, Manifest, PATH};
use crate::members::Members;
use crate::place::{Place, following, preceding};
use crate::segment;
use crate::segment::entry::{Content, Entry, Piece};
use crate::segment::file::{SegmentFile, check_pieces};
use crate::segment::identities::Masks;
use crate::segment::index::{Index, hash_of};
use crate::segment::members::define;
use crate::segment::rows::{Checked, Rows};
use crate::segment::schema::Column;
use crate::wal;
use crate::wal::frame::{FILE_HEADER_LEN, FileHeader};

impl Check {
    /// The segments that were not checked yet. Where the manifest is damaged, they are not checked. `first_wal` is the number of
    /// the first WAL file.
    pub(super) fn manifest(
        &mut self,
        disk: &dyn Disk,
        manifest: Result<Option<Manifest>, BadManifest>,
        first_wal: Option<u64>,
    ) -> Result<Vec<Arc<Entry>>, VerifyError> {
        let expected = format!("a manifest of format version {} at most", Version::NEWEST.in_manifest());
        let found = match manifest {
            Ok(Some(manifest)) => {
                self.lineage = Some(manifest.lineage.clone());
                if self.sealed == 0 && self.members.is_empty() {
                    self.members = Members::new(manifest.id_key);
                }
                self.key = manifest.id_key;
                return Ok(manifest.segments.get(self.sealed..).unwrap_or_default().to_vec());
            }
            Ok(None) => {
                let names = names(disk, segment::DIR)?;
                if !names.iter().any(|name| crate::manifest::is_of_log(name)) && !is_newer(disk, first_wal)? {
                    return Ok(Vec::new());
                }
                "no file".to_owned()
            }
            Err(BadManifest::Corrupt(Corruption { found, .. })) => found,
            Err(BadManifest::Version(version)) => format!("version {version}"),
            Err(BadManifest::Feature(feature)) => format!("one that needs a program that knows {feature:?}"),
            Err(BadManifest::Io(error)) => return Err(failed(PATH)(error)),
        };
        self.found(FindingKind::Manifest, PATH, 0, (expected, found));
        Ok(Vec::new())
    }

    /// The ids against the records of the segments, after all else.
    pub(super) fn ids_on_disk(&mut self, disk: &dyn Disk) -> Result<(), VerifyError> {
        let Ok(Some(manifest)) = Manifest::read(disk) else { return Ok(()) };
        for run in &manifest.runs {
            let inside = |[first, last]: &[u64; 2]| run.positions[0] <= *first && *last <= run.positions[1];
            let (mut sum, mut records) = (DigestSum::default(), 0);
            for ([first, last], digests) in self.digests.iter().filter(|(positions, _)| inside(positions)) {
                sum = sum.and(*digests);
                records += last + 1 - first;
            }
            if records != run.records() {
                // A segment has a finding already, or came after those that were checked.
                continue;
            }
            let is_of_log = |log_id| manifest.lineage.contains(log_id);
            let budget = Budget::new(0);
            let found = Run::open(disk, run.clone(), is_of_log, budget).and_then(|run| run.verify(sum));
            match found {
                Ok(None) => {}
                Ok(Some(damage)) | Err(ReadError::Corrupt(damage)) => {
                    // A server may have merged it since the manifest was read.
                    let is_named =
                        Manifest::read(disk).is_ok_and(|now| now.is_some_and(|now| now.runs.contains(run)));
                    if is_named {
                        let offset = usize::try_from(damage.offset).unwrap_or(usize::MAX);
                        self.found(FindingKind::Ids, &damage.file, offset, (damage.expected, damage.found));
                    }
                }
                Err(ReadError::Io { file, source }) => return Err(VerifyError { file, source }),
            }
        }
        Ok(())
    }

    /// Looks for files that reach beyond the end of what was found, given the names in the folders of segments and of runs before
    /// anything was read: a server may have made more since.
    pub(super) fn lost(
        &mut self,
        disk: &dyn Disk,
        (segments, runs): (&[String], &[String]),
    ) -> Result<(), VerifyError> {
        let manifest = match Manifest::read(disk) {
            Ok(manifest) => manifest,
            Err(BadManifest::Io(error)) => return Err(failed(PATH)(error)),
            Err(BadManifest::Corrupt(_) | BadManifest::Version(_) | BadManifest::Feature(_)) => return Ok(()),
        };
        let Some(manifest) = manifest else { return Ok(()) };
        let last = self.last.max(manifest.last());
        match beyond::find(disk, &manifest, (segments, runs), last) {
            Ok(None) | Err(ReadError::Corrupt(_)) => Ok(()),
            Ok(Some(Corruption { file, offset, expected, found })) => {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                self.found(FindingKind::Lost, &file, offset, (expected, found));
                Ok(())
            }
            Err(ReadError::Io { file, source }) => Err(VerifyError { file, source }),
        }
    }

    /// True if there are more segments than were checked.
    pub(super) fn manifest_changed(&self, disk: &dyn Disk) -> Result<bool, VerifyError> {
        match Manifest::read(disk) {
            Ok(manifest) => Ok(manifest.is_some_and(|manifest| manifest.segments.len() > self.sealed)),
            Err(BadManifest::Io(error)) => Err(failed(PATH)(error)),
            Err(BadManifest::Corrupt(_) | BadManifest::Version(_) | BadManifest::Feature(_)) => Ok(false),
        }
    }

    /// Checks a segment. Positions that were checked in the WAL file it was made of are not counted again.
    pub(super) fn segment(&mut self, disk: &dyn Disk, entry: &Arc<Entry>) -> Result<(), VerifyError> {
        self.sealed += 1;
        self.verified.segments += 1;
        self.verified.bytes += entry.bytes_of_all();
        let before = self.verified.findings.len();
        self.members_file(disk, entry)?;
        let index = self.index(disk, entry)?;
        let path = segment::path(entry.first());
        match (size(disk, &path).map_err(failed(&path))?, &index) {
            (Some(len), Some(index)) if len == entry.bytes() => {
                let file = disk.open(&path, Access::Read).map_err(failed(&path))?;
                let mut damage = Vec::new();
                check_pieces(file.as_ref(), (&path, &index.pieces), |found| damage.push(found))
                    .map_err(failed(&path))?;
                for Corruption { file, offset, expected, found } in damage {
                    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                    self.found(FindingKind::Segment, &file, offset, (expected, found));
                }
            }
            (Some(len), _) if len == entry.bytes() => {}
            (found, _) => {
                let found = found.map_or("no file".to_owned(), |len| format!("{len} bytes"));
                self.found(FindingKind::Segment, &path, 0, (format!("{} bytes", entry.bytes()), found));
            }
        }
        if let Some(index) = index.filter(|_| self.verified.findings.len() == before) {
            self.rows(disk, entry, &index)?;
        }
        let last = self.last.max(entry.last());
        self.verified.events += last.get() - self.last.get();
        self.last = last;
        // Also where its rows were not read.
        self.shown = self.shown.max(entry.shown.map_or(Position::START, |_| entry.last_shown()));
        Ok(())
    }

    /// The dictionary against the members that were defined, after all else.
    pub(super) fn dictionary(&mut self, disk: &dyn Disk) -> Result<(), VerifyError> {
        let mut before = None;
        loop {
            let Ok(Some(manifest)) = Manifest::read(disk) else { return Ok(()) };
            let (offset, found) = match dictionary::read(disk, &manifest) {
                Ok(None) | Err(Fault::Old) => return Ok(()),
                // Where something else is wrong, members may be missing that it has.
                Ok(Some(_)) if self.lost || !self.verified.findings.is_empty() => return Ok(()),
                Ok(Some((kept, ..))) if self.members.has_all_of(&kept) => return Ok(()),
                Err(Fault::Beyond { end }) if before.as_ref() == Some(&manifest) => {
                    let found =
                        format!("those of position {}: what is missing was lost", preceding(end).get());
                    let expected = format!("members up to position {} at most", manifest.last().get());
                    self.found(FindingKind::Lost, dictionary::PATH, 0, (expected, found));
                    return Ok(());
                }
                Ok(Some(_)) => (0, "other members".to_owned()),
                // A server may have written it since the manifest was read.
                Err(Fault::Foreign | Fault::Beyond { .. }) if before.as_ref() != Some(&manifest) => {
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
        let lineage = self.lineage.clone();
        let is_of_log = |log_id| lineage.as_ref().is_some_and(|lineage| lineage.contains(log_id));
        // Those of WAL files that were checked before they were sealed are known, perhaps not all.
        let may_be_known = self.next_number > 0;
        let whole = Piece::of(&bytes) == entry.members;
        if !whole || (!self.lost && define(&mut self.members, &bytes, is_of_log, may_be_known).is_err()) {
            let expected = format!("{} bytes with checksum {:08x}", entry.members.0, entry.members.1);
            let found = format!("{} bytes with {:08x}", bytes.len(), crc32c::crc32c(&bytes));
            self.found(FindingKind::Segment, &path, 0, (expected, found));
        }
        Ok(())
    }

    /// The index file of a segment, checked against its checksum. `None`: it is damaged.
    fn index(&mut self, disk: &dyn Disk, entry: &Entry) -> Result<Option<Index>, VerifyError> {
        if let Some(beside) = entry.beside {
            let path = segment::index_path(entry.first());
            let bytes = match disk.open(&path, Access::Read).and_then(|file| read_all(file.as_ref())) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                bytes => bytes.map_err(failed(&path))?,
            };
            if Piece::of(&bytes) != beside.index {
                let expected = format!("{} bytes with checksum {:08x}", beside.index.0, beside.index.1);
                let found = format!("{} bytes with {:08x}", bytes.len(), crc32c::crc32c(&bytes));
                self.found(FindingKind::Segment, &path, 0, (expected, found));
                return Ok(None);
            }
        }
        let lineage = self.lineage.clone();
        let is_of_log = |log_id| lineage.as_ref().is_some_and(|lineage| lineage.contains(log_id));
        match Index::read(disk, entry, is_of_log) {
            Ok(index) => Ok(Some(index)),
            Err(ReadError::Corrupt(Corruption { file, offset, expected, found })) => {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                self.found(FindingKind::Segment, &file, offset, (expected, found));
                Ok(None)
            }
            Err(ReadError::Io { file, source }) => Err(VerifyError { file, source }),
        }
    }

    fn rows(&mut self, disk: &dyn Disk, entry: &Arc<Entry>, index: &Index) -> Result<(), VerifyError> {
        match self.read_rows(disk, entry, index) {
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
    fn read_rows(&mut self, disk: &dyn Disk, entry: &Arc<Entry>, index: &Index) -> Result<(), ReadError> {
        const BATCH_ROWS: usize = 8_192;
        let file = SegmentFile::with_pieces(disk, entry, index.pieces.clone())?;
        let (mut place, mut batches) = (entry.first(), Tally::default());
        let (mut content, mut digests) = (Content::default(), DigestSum::default());
        let holders = index.holders()?;
        for group in 0..file.row_groups() {
            let mut checked = Checked::default();
            let unexpected =
                |Malformed| file.damaged(group, "events as the manifest and the log say", "something else");
            let mut masks = Masks::default();
            for batch in file.read(group, &Column::ALL, (BATCH_ROWS, None))? {
                let batch = batch.map_err(|error| file.undecodable(group, &error))?;
                let rows = Rows::new(&batch, &mut checked).map_err(unexpected)?;
                for row in 0..rows.len() {
                    let event = self.row(&rows, row, (entry, place), holders.as_ref()).map_err(unexpected)?;
                    if let Some(batch) = BatchName::stored(event.names[4]) {
                        batches.count(batch, event.event_type, rows.position(row).map_err(unexpected)?);
                    }
                    let own = self.key.own(masks.of(&rows, row, &self.key).map_err(unexpected)?, event.id);
                    let fingerprint = event.fingerprint();
                    content.add(place, (event.id, fingerprint));
                    digests.add(self.key.digest(own, fingerprint));
                    if place > self.last {
                        self.ids.see(own, (event.id, place), (file.path(), 0));
                    }
                    place = following(place);
                }
            }
        }
        if batches.entries() != index.batches {
            return Err(file.damaged(0, "the batches that are counted beside the segment", "others"));
        }
        if entry.beside.is_some_and(|beside| beside.content != content) {
            return Err(file.damaged(0, "the content that the manifest says", "another"));
        }
        if place != following(entry.last()) {
            return Err(file.damaged(0, &format!("events up to position {}", entry.last().get()), "fewer"));
        }
        self.digests.push((entry.positions, digests));
        Ok(())
    }

    /// A row that is what it should be at its place.
    fn row<'a>(
        &mut self,
        rows: &Rows<'a>,
        row: usize,
        (entry, place): (&Entry, Place),
        holders: Option<&Filter>,
    ) -> Result<RecordedEvent<'a>, Malformed> {
        let event = rows.event(row)?;
        let (occurred_at, recorded_at) = (rows.occurred_at(row)?, rows.recorded_at(row)?);
        let (first, last) = entry.recorded.bounds();
        let is_known = rows.is_retraction(row)? || {
            let (found, member) = (self.members.find(event.names[0], event.names[1]), rows.member(row)?);
            let is_held = holders.is_none_or(|holders| holders.may_have(hash_of(member)));
            // After a loss the dictionary may lack members.
            is_held && (self.lost || found.map(|found| found.member) == Some(member))
        };
        let is_ordered = recorded_at >= self.recorded_at || place <= self.last;
        self.recorded_at = self.recorded_at.max(recorded_at);
        let is_sound = is_known
            && is_ordered
            && self.shows(rows.position(row)?, (entry, place))
            && entry.may_hold(occurred_at)
            && (first..=last).contains(&recorded_at);
        if is_sound { Ok(event) } else { Err(Malformed) }
    }

    /// True if a row at this place may show a position: its place, or one above those before, within the bounds of the entry.
    fn shows(&mut self, shown: Position, (entry, place): (&Entry, Place)) -> bool {
        let Some([first, last]) = entry.shown else { return shown == place.own_position() };
        let is_edge = (place == entry.first(), place == entry.last());
        let is_next = shown > self.shown || place <= self.last;
        self.shown = self.shown.max(shown);
        is_next && is_edge.0 == (shown.get() == first) && is_edge.1 == (shown.get() == last)
    }
}

/// True if a WAL file is of a version whose logs have a manifest.
fn is_newer(disk: &dyn Disk, first_wal: Option<u64>) -> Result<bool, VerifyError> {
    let Some(number) = first_wal else { return Ok(false) };
    let path = wal::path(number);
    let mut start = [0; FILE_HEADER_LEN];
    match disk.open(&path, Access::Read).and_then(|file| file.read_at(&mut start, 0)) {
        Ok(_) => {
            let header = FileHeader::decode(&start);
            Ok(header.is_ok_and(|header| header.version > Version::V1))
        }
        // It is found missing later.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(&path)(error)),
    }
}

//! The list of everything that is sealed, and what says who the log is. One small file, replaced whole; a segment counts
//! from the moment it stands here. FORMAT.md "Manifest".

pub(crate) mod listing;

use std::io;
use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_store::{Ancestor, Corruption, Lineage, LogId, ReadError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::damage::{Malformed, corruption};
use crate::disk::aside::{Aside, NEW_SUFFIX};
use crate::disk::{Access, Disk, Folder, StepError, SyncSite, is_no_space, read_all};
use crate::format::Version;
use crate::identity::IdKey;
use crate::ids::run::RunEntry;
use crate::place::{Place, following};
use crate::segment;
use crate::segment::entry::{Content, Entry};

/// The manifest's path.
pub(crate) const PATH: &str = "segments/manifest.json";

/// The identity of the log, and all that is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The version of the log as it was found.
    pub(crate) version: Version,
    pub(crate) lineage: Lineage,
    /// True for a copy made by a backup that was not written to yet: with its first write it becomes a log of its own.
    pub(crate) is_copy: bool,
    /// True if the log follows another one, whose id it has: its records have stamps, and an id stands for one record for ever.
    pub(crate) is_replica: bool,
    pub(crate) id_key: IdKey,
    /// WAL files with a lower number are sealed: they are not needed any more.
    pub(crate) wal_from: u64,
    /// In order of place, without a gap.
    pub(crate) segments: Vec<Arc<Entry>>,
    /// The runs of ids, in order of place. Places of segments may be in none.
    pub(crate) runs: Vec<RunEntry>,
}

/// The manifest of version 1.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestV1 {
    version: u32,
    log_id: uuid::Uuid,
    wal_from: u64,
    segments: Vec<Arc<Entry>>,
}

/// The manifest of version 2.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestV2 {
    version: u32,
    log_id: uuid::Uuid,
    /// `[id, last position that both have]`, the oldest first.
    ancestors: Vec<(uuid::Uuid, u64)>,
    is_copy: bool,
    /// Whatever a reader has to know to read the log besides its version: [`STAMPS`], or nothing.
    features: Vec<String>,
    id_key: uuid::Uuid,
    wal_from: u64,
    segments: Vec<Arc<Entry>>,
    runs: Vec<RunEntry>,
}

/// The feature of a log that follows another one.
const STAMPS: &str = "stamps";

/// The file: a checksum, then the manifest it covers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    crc32c: u32,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// The part of a manifest that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
    #[serde(default)]
    features: Vec<String>,
}

/// Why there is no manifest to go by.
#[derive(Debug)]
pub(crate) enum BadManifest {
    Corrupt(Corruption),
    Version(u32),
    /// It needs a reader that knows this.
    Feature(String),
    Io(io::Error),
}

impl BadManifest {
    /// The error of reading on in a log whose manifest was good when it was opened.
    pub(crate) fn into_read_error(self) -> ReadError {
        let changed = |found: String| corruption(PATH, 0, "the version it had", found).into();
        match self {
            Self::Corrupt(corruption) => corruption.into(),
            Self::Version(found) => changed(format!("version {found}")),
            Self::Feature(found) => changed(format!("one that needs {found}")),
            Self::Io(error) => ReadError::Io { file: PATH.to_owned(), source: error.into() },
        }
    }
}

impl Manifest {
    /// Of a log in which nothing is sealed.
    pub(crate) fn empty(lineage: Lineage) -> Self {
        Self {
            version: Version::NEWEST,
            lineage,
            is_copy: false,
            is_replica: false,
            id_key: IdKey::draw(),
            wal_from: 0,
            segments: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Of a log that follows this one, and has nothing of it yet.
    pub(crate) fn following(origin: LogId) -> Self {
        let empty = Self::empty(Lineage::new(origin));
        Self { is_replica: true, id_key: empty.id_key.by_id_alone(), ..empty }
    }

    /// The log that this one follows, if it does.
    pub(crate) fn origin(&self) -> Option<LogId> {
        self.is_replica.then(|| self.lineage.log_id())
    }

    /// The place of the last sealed record.
    pub(crate) fn last(&self) -> Place {
        self.segments.last().map_or(Place::START, |entry| entry.last())
    }

    /// The position that the last sealed record shows.
    pub(crate) fn last_shown(&self) -> Position {
        self.segments.last().map_or(Position::START, |entry| entry.last_shown())
    }

    /// `recorded_at` of the last sealed record.
    pub(crate) fn last_recorded_at(&self) -> UtcInstant {
        self.segments.last().map_or(UtcInstant::EARLIEST, |entry| entry.recorded.bounds().1)
    }

    /// The content of all records up to the end of the segment in front of `end`. `None`: no segment ends there or after,
    /// or one is of version 1 and was not described anew.
    pub(crate) fn content_before(&self, end: Place) -> Option<Content> {
        let last = self.segments.partition_point(|entry| following(entry.last()) < end);
        let segments = self.segments.get(..=last)?;
        segments.iter().try_fold(Content::default(), |sum, entry| Some(sum.and(entry.beside?.content)))
    }

    /// True if a segment is described as in version 2.
    pub(crate) fn is_described(&self) -> bool {
        self.segments.iter().any(|entry| entry.beside.is_some())
    }

    /// The checksum of the segments up to the one in front of `end` by which a dictionary of version 1 tells of what
    /// segments it is.
    pub(crate) fn history_v1(&self, end: Place) -> Option<u32> {
        let last = self.segments.partition_point(|entry| following(entry.last()) < end);
        let segments = serde_json::to_vec(self.segments.get(..=last)?).ok()?;
        Some(crc32c::crc32c(&segments))
    }

    /// The manifest with one more segment, and these runs.
    pub(crate) fn with(&self, entry: Arc<Entry>, runs: Vec<RunEntry>, wal_from: u64) -> Self {
        let mut more = Self { wal_from, runs, ..self.clone() };
        more.segments.push(entry);
        more
    }

    /// The same in the newest version.
    pub(crate) fn upgraded(self) -> Self {
        Self { version: Version::NEWEST, ..self }
    }

    fn encode(&self) -> io::Result<String> {
        let uuid = uuid::Uuid::from_bytes;
        let (version, log_id) = (self.version.in_manifest(), uuid(self.lineage.log_id().to_bytes()));
        let (wal_from, segments) = (self.wal_from, self.segments.clone());
        let manifest = match self.version {
            Version::V1 => serde_json::to_string(&ManifestV1 { version, log_id, wal_from, segments })?,
            Version::V2 => {
                let ancestor = |ancestor: &Ancestor| (uuid(ancestor.log_id.to_bytes()), ancestor.until.get());
                serde_json::to_string(&ManifestV2 {
                    version,
                    log_id,
                    ancestors: self.lineage.ancestors().iter().map(ancestor).collect(),
                    is_copy: self.is_copy,
                    features: self.is_replica.then(|| STAMPS.to_owned()).into_iter().collect(),
                    id_key: uuid(self.id_key.to_bytes()),
                    wal_from,
                    segments,
                    runs: self.runs.clone(),
                })?
            }
        };
        let crc32c = crc32c::crc32c(manifest.as_bytes());
        let manifest = serde_json::from_str(&manifest)?;
        let mut text = serde_json::to_string(&File { crc32c, manifest })?;
        text.push('\n');
        Ok(text)
    }

    /// Reads what stands in the file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadManifest> {
        let found = || format!("{} bytes that are none", bytes.len());
        let corrupt = |expected: &str| BadManifest::Corrupt(corruption(PATH, 0, expected, found()));
        let whole = || corrupt("a manifest with its checksum");
        let file: File<'_> = serde_json::from_slice(bytes).map_err(|_| whole())?;
        let text = file.manifest.get();
        if crc32c::crc32c(text.as_bytes()) != file.crc32c {
            return Err(whole());
        }
        let AnyVersion { version, features } = serde_json::from_str(text).map_err(|_| whole())?;
        let version = Version::of_manifest(version).ok_or(BadManifest::Version(version))?;
        if let Some(feature) = features.into_iter().find(|feature| feature != STAMPS) {
            return Err(BadManifest::Feature(feature));
        }
        let manifest = Self::fields(version, text).map_err(|Malformed| whole())?;
        // Also what the checksum does not cover is as it was written.
        if manifest.encode().ok().is_none_or(|text| text.as_bytes() != bytes) {
            return Err(whole());
        }
        manifest.check().map_err(|Malformed| corrupt("segments and runs without a gap or an overlap"))?;
        Ok(manifest)
    }

    fn fields(version: Version, text: &str) -> Result<Self, Malformed> {
        let log_id = |uuid: uuid::Uuid| LogId::from_bytes(uuid.into_bytes());
        match version {
            Version::V1 => {
                let of_v1: ManifestV1 = serde_json::from_str(text).map_err(|_| Malformed)?;
                let ManifestV1 { log_id: id, wal_from, segments, .. } = of_v1;
                let lineage = Lineage::new(log_id(id));
                Ok(Self { version, wal_from, segments, ..Self::empty(lineage) })
            }
            Version::V2 => {
                let of_v2: ManifestV2 = serde_json::from_str(text).map_err(|_| Malformed)?;
                let ManifestV2 {
                    log_id: id,
                    ancestors,
                    is_copy,
                    features,
                    id_key,
                    wal_from,
                    segments,
                    runs,
                    ..
                } = of_v2;
                let ancestor = |(id, until)| Ancestor { log_id: log_id(id), until: Position::new(until) };
                let lineage = Lineage::with(log_id(id), ancestors.into_iter().map(ancestor).collect());
                let (is_replica, id_key) = (!features.is_empty(), IdKey::from_bytes(id_key.into_bytes()));
                Ok(Self {
                    version,
                    lineage: lineage.ok_or(Malformed)?,
                    is_copy,
                    is_replica,
                    id_key: if is_replica { id_key.by_id_alone() } else { id_key },
                    wal_from,
                    segments,
                    runs,
                })
            }
        }
    }

    /// Checks that segments follow each other, and that runs begin and end where segments do.
    fn check(&self) -> Result<(), Malformed> {
        let (mut next, mut shown) = (1, 0);
        for entry in &self.segments {
            let [first, last] = entry.positions;
            // As many positions as records at least, above those of the segment in front.
            let is_shown = match entry.shown {
                Some([first, last]) => {
                    self.is_replica && first > shown && last - first.min(last) >= entry.rows() - 1
                }
                None => !self.is_replica,
            };
            if first != next || last < first || !is_shown {
                return Err(Malformed);
            }
            shown = entry.last_shown().get();
            next = last.checked_add(1).ok_or(Malformed)?;
        }
        let mut after = 0;
        for RunEntry { positions: [first, last], .. } in &self.runs {
            let begins = self.segments.iter().any(|entry| entry.positions[0] == *first);
            let ends = self.segments.iter().any(|entry| entry.positions[1] == *last);
            if *first <= after || last < first || !begins || !ends {
                return Err(Malformed);
            }
            after = *last;
        }
        Ok(())
    }

    /// Reads the manifest on disk. `None`: there is none.
    ///
    /// # Errors
    /// [`BadManifest`].
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Self>, BadManifest> {
        match disk.open(PATH, Access::Read).and_then(|file| read_all(file.as_ref())) {
            Ok(bytes) => Self::decode(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BadManifest::Io(error)),
        }
    }

    /// Writes it in the place of the one before. `folder` is that of the segments, held before any name in it changed.
    ///
    /// # Errors
    /// [`StepError`]; refused, the one before is in its place.
    pub(crate) fn replace(&self, disk: &dyn Disk, folder: &dyn Folder) -> Result<(), StepError> {
        let text = self.encode().map_err(StepError::Refused)?;
        let aside = Aside::make(disk, PATH, SyncSite::Manifest, |file| file.write_all_at(text.as_bytes(), 0));
        // Its content is not durable, and it has no name: the one before is in its place.
        let aside = aside.map_err(|error| StepError::Refused(error.into_io()))?;
        aside.put().map_err(|error| match error.kind() {
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
        self.replace(disk, folder.as_ref()).map_err(StepError::into_io)
    }
}

/// True for a name in the folder of the segments that only a log has.
pub(crate) fn is_of_log(name: &str) -> bool {
    name.ends_with(segment::SUFFIX) && !name.ends_with(NEW_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::entry::{Beside, Piece, Span};

    fn manifest(version: Version) -> Manifest {
        let piece = Piece(4, 7);
        let entry = |positions: [u64; 2], days: Vec<[i32; 2]>| {
            let span = Span::at(UtcInstant::from_micros(5));
            let of_v1 = Entry {
                positions,
                shown: None,
                occurred: span,
                recorded: span,
                days,
                members: piece,
                pieces: vec![piece; 3],
                batches: serde_json::from_str(r#"[["users",[[5,2],[10,1]],null],["old",[],6]]"#).unwrap(),
                beside: None,
            };
            let beside = Beside { index: piece, bytes: 12, batches: 2, content: Content(u128::MAX / 3) };
            Arc::new(match version {
                Version::V1 => of_v1,
                Version::V2 => {
                    Entry { pieces: Vec::new(), batches: Vec::new(), beside: Some(beside), ..of_v1 }
                }
            })
        };
        let empty = Manifest::empty(Lineage::new(LogId::from_bytes([7; 16])));
        let segments = vec![entry([1, 5], vec![[0, 1], [3, 3]]), entry([6, 6], vec![[0, 0]])];
        let run = RunEntry { positions: [1, 6], occurred: segments[0].occurred, mark: u64::MAX };
        match version {
            Version::V1 => Manifest { version, wal_from: 3, segments, ..empty },
            Version::V2 => Manifest {
                version,
                lineage: empty.lineage.parted(Position::new(5)),
                is_copy: true,
                wal_from: 3,
                segments,
                runs: vec![run],
                ..empty
            },
        }
    }

    /// The manifest of a log that follows another one.
    fn replica() -> Manifest {
        let Manifest { segments, runs, wal_from, .. } = manifest(Version::V2);
        let shown = [[900, 950], [1_000, 1_000]];
        let with = |(entry, shown): (&Arc<Entry>, _)| {
            Arc::new(Entry { shown: Some(shown), ..entry.as_ref().clone() })
        };
        let segments = segments.iter().zip(shown).map(with).collect();
        Manifest { wal_from, segments, runs, ..Manifest::following(LogId::from_bytes([7; 16])) }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        for manifest in [manifest(Version::V1), manifest(Version::V2), replica()] {
            let good = manifest.encode().unwrap().into_bytes();
            let found = Manifest::decode(&good).unwrap();
            // The secret of version 1 is drawn when it is read.
            assert_eq!(Manifest { id_key: manifest.id_key, ..found }, manifest);
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(matches!(Manifest::decode(&bad), Err(BadManifest::Corrupt(_))), "bit {bit}");
            }
            for len in 0..good.len() {
                assert!(
                    matches!(Manifest::decode(&good[..len]), Err(BadManifest::Corrupt(_))),
                    "{len} bytes"
                );
            }
        }
    }

    #[test]
    fn stamps_are_of_a_log_that_follows_another_one_and_increase() {
        let replica = replica();
        let decode = |text: String| Manifest::decode(text.as_bytes());
        assert_eq!(decode(replica.encode().unwrap()).unwrap(), replica);
        for (from, to) in [
            // Fewer than the records, below the segment in front, none, no feature, another one.
            ("[900,950]", "[900,903]"),
            ("[1000,1000]", "[950,1000]"),
            (",\"shown\":[900,950]", ""),
            ("\"stamps\"", ""),
        ] {
            let text = changed(&replica, from, to);
            assert!(matches!(decode(text), Err(BadManifest::Corrupt(_))), "{from} {to}");
        }
        let text = changed(&replica, "[\"stamps\"]", "[\"stamps\",\"more\"]");
        assert!(matches!(decode(text), Err(BadManifest::Feature(feature)) if feature == "more"));
    }

    /// The same manifest with another piece of text in it, and its checksum.
    fn changed(manifest: &Manifest, from: &str, to: &str) -> String {
        let text = manifest.encode().unwrap();
        let file: File<'_> = serde_json::from_str(&text).unwrap();
        let changed = file.manifest.get().replacen(from, to, 1);
        assert_ne!(changed, file.manifest.get(), "{from}");
        let crc32c = crc32c::crc32c(changed.as_bytes());
        let manifest = serde_json::from_str(&changed).unwrap();
        serde_json::to_string(&File { crc32c, manifest }).unwrap() + "\n"
    }

    #[test]
    fn what_a_program_does_not_know_is_named() {
        let manifest = manifest(Version::V2);
        let newer = changed(&manifest, r#""version":3"#, r#""version":9"#);
        assert!(matches!(Manifest::decode(newer.as_bytes()), Err(BadManifest::Version(9))));
        let feature = changed(&manifest, r#""features":[]"#, r#""features":["gaps"]"#);
        let found = Manifest::decode(feature.as_bytes());
        assert!(matches!(&found, Err(BadManifest::Feature(name)) if name == "gaps"), "{found:?}");
        let field = changed(&manifest, r#""is_copy""#, r#""later":1,"is_copy""#);
        assert!(matches!(Manifest::decode(field.as_bytes()), Err(BadManifest::Corrupt(_))));
    }

    #[test]
    fn a_gap_and_an_overlap_are_refused() {
        let refused = |change: fn(&mut Manifest)| {
            let mut manifest = manifest(Version::V2);
            change(&mut manifest);
            let text = manifest.encode().unwrap();
            assert!(matches!(Manifest::decode(text.as_bytes()), Err(BadManifest::Corrupt(_))), "{text}");
        };
        refused(|manifest| drop(manifest.segments.remove(0)));
        refused(|manifest| manifest.runs[0].positions = [1, 4]);
        refused(|manifest| manifest.runs[0].positions = [2, 6]);
        refused(|manifest| manifest.runs.push(manifest.runs[0].clone()));
        refused(|manifest| manifest.runs[0].positions = [6, 5]);
    }
}

//! The subjects that the views follow, in a file beside the snapshot: the next start makes their days again before somebody asks.
//! The file is worth nothing but time: one that cannot be read or written is not there.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use lastseen_event::EventType;
use lastseen_projections::{Definition, Subject, TypeSet};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The file, and what it said at the start.
#[derive(Debug)]
pub(super) struct Remembered {
    path: PathBuf,
    /// Those that were not tried again yet, the one that was asked for last at the end.
    expected: Mutex<Vec<Subject>>,
}

/// A subject as it is written.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    Activity { zone: String, types: Vec<String> },
    Traffic { zone: String },
}

impl Entry {
    fn of(subject: Subject) -> Self {
        match subject {
            Subject::Activity(Definition { zone, counted }) => {
                let types = EventType::ALL.into_iter().filter(|of| counted.contains(*of));
                Self::Activity {
                    zone: zone.name().to_owned(),
                    types: types.map(|of| of.as_str().to_owned()).collect(),
                }
            }
            Subject::Traffic(zone) => Self::Traffic { zone: zone.name().to_owned() },
        }
    }

    /// `None`: this version does not know the zone or a type.
    fn subject(self) -> Option<Subject> {
        match self {
            Self::Activity { zone, types } => {
                let types: Option<Vec<_>> = types.iter().map(|name| EventType::parse(name)).collect();
                let types = types?;
                // Estimates count only where everything does.
                let all = types.contains(&EventType::EstimatedActivity);
                let counted = if all { TypeSet::all() } else { TypeSet::of(types) };
                Some(Subject::Activity(Definition { zone: zone.parse().ok()?, counted }))
            }
            Self::Traffic { zone } => Some(Subject::Traffic(zone.parse().ok()?)),
        }
    }
}

impl Remembered {
    /// Reads the file of a data directory.
    pub(super) fn in_directory(data: &Path) -> Self {
        let path = data.join("snapshots").join("followed");
        let expected = Mutex::new(read(&path));
        Self { path, expected }
    }

    /// The next subject that was followed before the start and was not tried again since.
    pub(super) fn next_expected(&self) -> Option<Subject> {
        self.expected.lock().first().copied()
    }

    /// Expects a subject no longer.
    pub(super) fn was_tried(&self, subject: Subject) {
        self.expected.lock().retain(|expected| *expected != subject);
    }

    /// Writes what is followed, behind what is still expected to be, in the place of what was written before.
    pub(super) fn write(&self, followed: &[Subject]) {
        let mut subjects = self.expected.lock().clone();
        subjects.retain(|subject| !followed.contains(subject));
        subjects.extend(followed);
        if let Err(error) = write(&self.path, &subjects) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the next start will not know what was followed");
        }
    }
}

fn write(path: &Path, subjects: &[Subject]) -> io::Result<()> {
    let entries: Vec<Entry> = subjects.iter().copied().map(Entry::of).collect();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let aside = path.with_extension("part");
    fs::write(&aside, serde_json::to_vec(&entries)?)?;
    fs::rename(&aside, path)
}

fn read(path: &Path) -> Vec<Subject> {
    let entries = fs::read(path).and_then(|text| Ok(serde_json::from_slice::<Vec<Entry>>(&text)?));
    match entries {
        Ok(entries) => entries.into_iter().filter_map(Entry::subject).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "what was followed before the start is not known");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let remembered = Remembered::in_directory(directory.path());
        assert_eq!(read(&remembered.path), []);
        let definition = |zone, counted| Subject::Activity(Definition { zone, counted });
        let subjects = [
            definition(Tz::Europe__Berlin, TypeSet::all()),
            definition(Tz::UTC, TypeSet::of([EventType::Login])),
            definition(Tz::Asia__Tokyo, TypeSet::of(EventType::ALL)),
            Subject::Traffic(Tz::America__New_York),
        ];
        remembered.write(&subjects);
        assert_eq!(read(&remembered.path), subjects);
        remembered.write(&subjects[1..2]);
        assert_eq!(read(&remembered.path), subjects[1..2]);
        let text = fs::read_to_string(&remembered.path).unwrap();
        let of_another_version = [text.replace("UTC", "Nowhere"), text.replace("login", "log_in")];
        for text in of_another_version.into_iter().chain([text.replace(']', ""), String::new()]) {
            fs::write(&remembered.path, text).unwrap();
            assert_eq!(read(&remembered.path), []);
        }
    }
}

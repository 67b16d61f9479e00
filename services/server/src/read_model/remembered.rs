//! The subjects that the views follow, in a file beside the snapshot: the next start makes their days again before somebody asks.
//! The file is worth nothing but time: one that cannot be read or written is not there.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use lastseen_event::EventType;
use lastseen_projections::{Definition, Subject, TypeSet};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The file.
#[derive(Debug)]
pub(super) struct Remembered(PathBuf);

/// The subjects that were followed before the start and were not tried again yet, the one that was asked for last at the end.
#[derive(Debug)]
pub(super) struct Expected(Mutex<Vec<Subject>>);

impl Expected {
    pub(super) fn new(subjects: Vec<Subject>) -> Self {
        Self(Mutex::new(subjects))
    }

    pub(super) fn next(&self) -> Option<Subject> {
        self.0.lock().first().copied()
    }

    pub(super) fn remove(&self, subject: Subject) {
        self.0.lock().retain(|expected| *expected != subject);
    }

    pub(super) fn all(&self) -> Vec<Subject> {
        self.0.lock().clone()
    }
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
    /// The file of a data directory.
    pub(super) fn in_directory(data: &Path) -> Self {
        Self(data.join("snapshots").join("followed"))
    }

    /// Writes the subjects in the place of those before.
    pub(super) fn write(&self, subjects: &[Subject]) {
        let entries: Vec<Entry> = subjects.iter().copied().map(Entry::of).collect();
        let write = || -> io::Result<()> {
            let text = serde_json::to_vec(&entries)?;
            if let Some(folder) = self.0.parent() {
                fs::create_dir_all(folder)?;
            }
            let aside = self.0.with_extension("part");
            fs::write(&aside, text)?;
            fs::rename(&aside, &self.0)
        };
        if let Err(error) = write() {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the next start will not know what was followed");
        }
    }

    /// The subjects that were written last.
    pub(super) fn read(&self) -> Vec<Subject> {
        let entries = fs::read(&self.0).and_then(|text| Ok(serde_json::from_slice::<Vec<Entry>>(&text)?));
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
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let remembered = Remembered::in_directory(directory.path());
        assert_eq!(remembered.read(), []);
        let definition = |zone, counted| Subject::Activity(Definition { zone, counted });
        let subjects = [
            definition(Tz::Europe__Berlin, TypeSet::all()),
            definition(Tz::UTC, TypeSet::of([EventType::Login])),
            definition(Tz::Asia__Tokyo, TypeSet::of(EventType::ALL)),
            Subject::Traffic(Tz::America__New_York),
        ];
        remembered.write(&subjects);
        assert_eq!(remembered.read(), subjects);
        remembered.write(&subjects[1..2]);
        assert_eq!(remembered.read(), subjects[1..2]);
        let text = fs::read_to_string(&remembered.0).unwrap();
        let of_another_version = [text.replace("UTC", "Nowhere"), text.replace("login", "log_in")];
        for text in of_another_version.into_iter().chain([text.replace(']', ""), String::new()]) {
            fs::write(&remembered.0, text).unwrap();
            assert_eq!(remembered.read(), []);
        }
    }
}

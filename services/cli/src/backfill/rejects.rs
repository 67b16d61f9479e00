//! The file of the rows that were refused: where each stands, whose it is, and why. Made with the first of them.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::reader::Key;

/// The rejects file of a run.
pub(super) struct Rejects {
    /// `None`: none is written.
    path: Option<PathBuf>,
    file: Option<csv::Writer<File>>,
}

impl Rejects {
    /// At `path`, or under a name made of the batch's; a dry run writes only what it is asked for.
    pub(super) fn new(path: Option<PathBuf>, batch: &str, is_dry: bool) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let named = || format!("{}.rejects.csv", batch.chars().map(plain).collect::<String>());
        Self { path: path.or_else(|| (!is_dry).then(|| named().into())), file: None }
    }

    /// Where it is, once there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.file.is_some())
    }

    /// Adds a row; `field` is empty where it is about the row as a whole.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn add(&mut self, source: &str, key: &Key, fault: (&str, &str)) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let cannot_write = || format!("cannot write {}", path.display());
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = csv::Writer::from_path(path).with_context(cannot_write)?;
                file.write_record(["source", "line", "tenant_id", "user_id", "field", "reason"])
                    .with_context(cannot_write)?;
                none.insert(file)
            }
        };
        let line = key.line.to_string();
        let row = [source, line.as_str(), &key.tenant_id, &key.user_id, fault.0, fault.1];
        file.write_record(row).with_context(cannot_write)
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        match (&mut self.file, &self.path) {
            (Some(file), Some(path)) => {
                file.flush().with_context(|| format!("cannot write {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

//! The file of the rows that were refused: where each stands, whose it is, and why.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::reader::Key;

const HEADER: &str = "source,line,tenant_id,user_id,field,reason";

/// The rejects file of a run: made with the first row, and that of a run before is gone if there is none.
pub(super) struct Rejects {
    /// `None`: none is written.
    path: Option<PathBuf>,
    file: Option<csv::Writer<File>>,
}

impl Rejects {
    /// At `path`, or under a name made of the batch's; a dry run writes only what it is asked for. A file of a run before is
    /// replaced, any other is not. That it can be written is tried out: a long run should not fail for it at its end.
    ///
    /// # Errors
    /// The operating system's error; or another file is there.
    pub(super) fn at(path: Option<PathBuf>, batch: &str, is_dry: bool) -> anyhow::Result<Self> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let named = || format!("{}.rejects.csv", batch.chars().map(plain).collect::<String>());
        let path = path.or_else(|| (!is_dry).then(|| named().into()));
        if let Some(path) = &path {
            let cannot_write = || format!("cannot write refused rows to {}", path.display());
            if is_regular(path) && !is_ours(path).with_context(cannot_write)? {
                bail!(
                    "{} is there and is no file of refused rows: --rejects names another one",
                    path.display()
                );
            }
            let was_there = path.exists();
            File::options().append(true).create(true).open(path).with_context(cannot_write)?;
            if !was_there {
                remove(path)?;
            }
        }
        Ok(Self { path, file: None })
    }

    /// Returns the path of the file, once there is a file.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.file.is_some())
    }

    /// Adds a row; `field` is empty where it is about the row as a whole.
    ///
    /// # Errors
    /// The operating system's error.
    pub(super) fn add(&mut self, source: &str, key: &Key, fault: (&str, &str)) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let cannot_write = || format!("cannot write {}", path.display());
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = csv::Writer::from_path(path).with_context(cannot_write)?;
                file.write_record(HEADER.split(',')).with_context(cannot_write)?;
                none.insert(file)
            }
        };
        let line = key.line.to_string();
        let row = [source, line.as_str(), &key.tenant_id, &key.user_id, fault.0, fault.1];
        file.write_record(row).with_context(cannot_write)
    }

    /// Writes what is left. `is_whole`: there will be no more.
    ///
    /// # Errors
    /// The operating system's error.
    pub(super) fn finish(&mut self, is_whole: bool) -> anyhow::Result<()> {
        match (&mut self.file, &self.path) {
            (Some(file), Some(path)) => {
                file.flush().with_context(|| format!("cannot write {}", path.display()))
            }
            (None, Some(path)) if is_whole && is_regular(path) => remove(path),
            _ => Ok(()),
        }
    }
}

/// Another run of the same batch may have done so.
fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// True if a file is there that is neither a device nor a pipe.
fn is_regular(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// True if a file begins as those of rejected rows do, or is empty.
fn is_ours(path: &Path) -> io::Result<bool> {
    let mut begins = Vec::new();
    BufReader::new(File::open(path)?).take(HEADER.len() as u64 + 1).read_until(b'\n', &mut begins)?;
    Ok(begins.is_empty() || begins == format!("{HEADER}\n").as_bytes())
}

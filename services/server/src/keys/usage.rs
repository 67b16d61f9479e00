//! When each key was last used: `key-uses.json` in the data directory. Only the server writes it, about once a minute, so after
//! a kill the last minute is missing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lastseen_event::UtcInstant;
use serde::{Deserialize, Serialize};

/// The last use of each key that was used, by its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyUses(pub BTreeMap<String, KeyUse>);

/// The last use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// By the server's clock.
    pub last_used_at: UtcInstant,
}

impl KeyUses {
    /// The place of the file of a data directory.
    pub fn path_in(data: &Path) -> PathBuf {
        data.join("key-uses.json")
    }

    /// Reads the file; nothing was used where there is none.
    ///
    /// # Errors
    /// The operating system's error, or `InvalidData`.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Puts the file in place as a whole.
    ///
    /// # Errors
    /// The operating system's error; the file before stays.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let aside = path.with_extension("json.part");
        let mut file = File::create(&aside)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(aside, path)
    }
}

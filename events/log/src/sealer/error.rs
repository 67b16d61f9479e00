//! Why nothing was sealed.

use std::io;

use lastseen_store::{Corruption, ReadError, StoreFault};
use parquet::errors::ParquetError;

/// Why nothing was sealed. The events stay in the WAL, where every reader finds them.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The operating system refused. Sealing tries again.
    #[error("cannot {action} {file}")]
    Io {
        /// The step that was tried.
        action: &'static str,
        /// On which file or folder, relative to the directory.
        file: String,
        /// The operating system's answer.
        #[source]
        source: StoreFault,
    },
    /// A WAL file is not what was written, or a segment is not read back as it was. See `verify`; nothing is sealed until
    /// the log is opened again.
    #[error("the log is damaged")]
    Corrupt(#[from] Corruption),
    /// The segment could not be encoded; nothing is sealed until the log is opened again.
    #[error("cannot encode a segment")]
    Encode(#[source] ParquetError),
    /// An earlier failure left it open what is on disk, or the log is closed.
    #[error("nothing is sealed until the log is opened again")]
    Stopped,
}

impl From<ReadError> for SealError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt(corruption) => Self::Corrupt(corruption),
            ReadError::Io { file, source } => Self::Io { action: "read", file, source },
        }
    }
}

impl SealError {
    /// True if reading this file failed.
    pub(super) fn is_about(&self, path: &str) -> bool {
        match self {
            Self::Io { action, file, .. } => *action == "read" && file == path,
            Self::Corrupt(corruption) => corruption.file == path,
            _ => false,
        }
    }
}

/// The error of a step, given the operating system's answer.
pub(super) fn failed(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> SealError {
    let file = file.to_owned();
    move |error| SealError::Io { action, file, source: error.into() }
}

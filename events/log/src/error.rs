//! Why a log cannot be opened.

use lastseen_store::{Corruption, LogId, ReadError, StoreFault};

/// Why a log cannot be opened. Nothing was changed on disk, except by [`OpenError::Io`] while a torn tail was cut.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory. Stop it first.
    #[error("another process is using this data directory")]
    Locked,
    /// A file is damaged in a place that a power cut cannot explain. Restore it from a backup.
    #[error("the log is damaged")]
    Corrupt(#[from] Corruption),
    /// The files are of a format that this program does not know. Use a newer program.
    #[error("{file} has format version {found}, this program knows {known}")]
    Version {
        /// The file, relative to the directory.
        file: String,
        /// The version that the file names.
        found: u32,
        /// The version that this program reads and writes.
        known: u32,
    },
    /// The log has something that this program does not know. Use a newer program.
    #[error("{file} needs a program that knows {feature:?}")]
    Feature {
        /// The file, relative to the directory.
        file: String,
        /// The thing it needs.
        feature: String,
    },
    /// The log follows another log than it should, or none, or should follow none. Use another directory.
    #[error("{}", follows(*expected, *found))]
    Follows {
        /// The log that it should follow. `None`: it should be one of its own.
        expected: Option<LogId>,
        /// The log that it follows. `None`: it is one of its own.
        found: Option<LogId>,
    },
    /// The operating system refused.
    #[error("cannot {action} {file}")]
    Io {
        /// The operation that was tried.
        action: &'static str,
        /// On which file or folder, relative to the directory.
        file: String,
        /// The operating system's answer.
        #[source]
        source: StoreFault,
    },
    /// The writer thread could not be started.
    #[error("cannot start the writer thread")]
    Thread(#[source] StoreFault),
}

fn follows(expected: Option<LogId>, found: Option<LogId>) -> String {
    match (expected, found) {
        (Some(expected), Some(found)) => {
            format!("the directory has a copy of log {found}, and should have one of log {expected}")
        }
        (Some(expected), None) => {
            format!("the directory has a log of its own, and should have a copy of log {expected}")
        }
        (None, _) => {
            "the directory has a copy of a cluster's log: it can only be used with that cluster".to_owned()
        }
    }
}

impl OpenError {
    pub(crate) fn io(action: &'static str, file: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let file = file.into();
        move |error| Self::Io { action, file, source: error.into() }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt(corruption) => Self::Corrupt(corruption),
            ReadError::Io { file, source } => Self::Io { action: "read", file, source },
        }
    }
}

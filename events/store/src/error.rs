//! Errors, by the next step of the caller.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::RefusedRows;

/// Why an append did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written. These rows of the batch are refused. Mend them and send again.
    #[error("{} events are refused", .0.len())]
    Refused(RefusedRows),
    /// Nothing was written. More appends are waiting than the store accepts; try again later.
    #[error("too many appends are waiting")]
    Overloaded,
    /// Nothing was written. There is no space left; try again when there is.
    #[error("no space left for the log")]
    NoSpace(#[source] StoreFault),
    /// Nothing was written. The store holds as much as it can of this, for ever; reading goes on.
    #[error("the log is full: it takes no more {0}")]
    Full(Limit),
    /// Nothing was written. The batch is not among those that the store has, and it takes no more of them.
    #[error("the log takes no more than {max} names of batches")]
    TooManyBatches {
        /// The number that it takes.
        max: usize,
    },
    /// Nothing was written. The store cannot be written at present, for want of a file descriptor, a right or
    /// a folder, say; try again later.
    #[error("the log cannot be written at present")]
    Unavailable(#[source] StoreFault),
    /// Nothing was written. The store takes no more appends until it is opened again.
    #[error("the store takes no more appends until it is restarted")]
    Closed,
    /// Nothing was written. Whether the events are stored already cannot be told: history cannot be read.
    #[error("the history that the events may stand in cannot be read")]
    Unreadable(#[source] ReadError),
    /// The events may or may not be durable. Send the same ids again.
    #[error("the outcome of the append is unknown")]
    Indeterminate(#[source] StoreFault),
    /// These rows of the batch, ascending, may or may not be durable; all others are, or are refused. Send the same ids again. Only
    /// a store that writes a batch in several pieces answers so.
    #[error("the outcome of {} events is unknown", unknown.len())]
    PartlyUnknown {
        /// The rows.
        unknown: Vec<usize>,
        /// The cause.
        #[source]
        source: StoreFault,
    },
}

/// A limit of a store that time does not lift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Of positions.
    Events,
    /// Of members, or of the bytes of their names.
    Members,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events => "events",
            Self::Members => "members",
        })
    }
}

/// Why history could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// Bytes on disk are not what was written. Restore them from a backup.
    #[error("the log is damaged")]
    Corrupt(#[source] Corruption),
    /// The operating system refused to read.
    #[error("cannot read {file}")]
    Io {
        /// The file, relative to the store's directory.
        file: String,
        /// Its answer.
        #[source]
        source: StoreFault,
    },
}

impl From<Corruption> for ReadError {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(corruption)
    }
}

/// Damage found on disk, precise enough to look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The file, relative to the store's directory.
    pub file: String,
    /// The offset in the file, in bytes.
    pub offset: u64,
    /// The content that was expected.
    pub expected: String,
    /// The content that was found.
    pub found: String,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, expected, found } = self;
        write!(f, "{file} at byte {offset}: expected {expected}, found {found}")
    }
}

impl std::error::Error for Corruption {}

/// An I/O error that every waiting append can be told.
#[derive(Clone, Debug)]
pub struct StoreFault(Arc<std::io::Error>);

impl StoreFault {
    /// The kind of the error behind it.
    pub fn kind(&self) -> std::io::ErrorKind {
        self.0.kind()
    }
}

impl From<std::io::Error> for StoreFault {
    fn from(error: std::io::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for StoreFault {}

/// An error with its causes, as one line: `cannot read x: permission denied`.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

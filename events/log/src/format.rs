//! Versions of the log, and what each file says of them. One version covers all files of a directory; a program writes
//! the newest and reads all of these:
//!
//! | version of the log | WAL and members files say | the manifest says | the dictionary says | since |
//! | --- | --- | --- | --- | --- |
//! | 1 | 1 | 2 | 1 | the first |
//! | 2 | 2 | 3 | 2 | ids of tenants, lineage, retractions as records |
//!
//! A directory is taken to the newest version when it is opened: its manifest is written anew, files of the version before stay
//! and are read as what they are. FORMAT.md "Versions".

/// A version of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V1,
    V2,
}

impl Version {
    /// The one that is written.
    pub(crate) const NEWEST: Self = Self::V2;

    const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// The number in the header of a WAL file and of a members file.
    pub(crate) const fn in_wal(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The number in the manifest: ahead by one, since that of version 1 had changed once before.
    pub(crate) const fn in_manifest(self) -> u32 {
        self.in_wal() + 1
    }

    /// `None`: no version that this program reads.
    pub(crate) fn of_wal(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.in_wal() == number)
    }

    /// `None`: no version that this program reads.
    pub(crate) fn of_manifest(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.in_manifest() == number)
    }
}

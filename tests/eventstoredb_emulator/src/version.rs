//! The servers that are emulated, and where one differs from the other. Each difference was seen on real servers.

use std::fmt;
use std::str::FromStr;

/// A version of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerVersion {
    /// 23.10.8
    #[default]
    V23_10,
    /// 24.10.14
    V24_10,
}

/// A version that is not emulated.
#[derive(Debug, thiserror::Error)]
#[error("only 23.10 and 24.10 are emulated")]
pub struct UnknownVersion;

impl FromStr for ServerVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        match text {
            "23.10" => Ok(Self::V23_10),
            "24.10" => Ok(Self::V24_10),
            _ => Err(UnknownVersion),
        }
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V23_10 => "23.10",
            Self::V24_10 => "24.10",
        })
    }
}

impl ServerVersion {
    /// The version as the server tells it to clients.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::V23_10 => "23.10.8",
            Self::V24_10 => "24.10.14-prerelease",
        }
    }

    /// A subscription to `$all` from (X, 0) does not deliver the event at X: 23.10 only.
    pub(crate) fn skips_event_of_zero_prepare(self) -> bool {
        self == Self::V23_10
    }

    /// A filtered subscription gets a checkpoint when it has caught up: 24.10 only.
    pub(crate) fn checkpoints_when_caught_up(self) -> bool {
        self == Self::V24_10
    }

    /// `CaughtUp` has a time and a place, and comes for a stream that is not there: 24.10 only.
    pub(crate) fn caught_up_tells_where(self) -> bool {
        self == Self::V24_10
    }

    /// A subscription from a position that begins no record is confirmed before it fails: 24.10 only.
    pub(crate) fn confirms_before_bad_position(self) -> bool {
        self == Self::V24_10
    }

    /// The details of a read of `$all` from a position that begins no record.
    pub(crate) fn bad_position_details(self) -> &'static str {
        match self {
            Self::V23_10 => "Unexpected ReadAllResult: Error",
            Self::V24_10 => "Unexpected ReadAllResult: InvalidPosition",
        }
    }
}

//! Scopes: the permissions of a key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A permission. A key has one or several; each route asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// To append events.
    Publish,
    /// To ask for numbers and users.
    Query,
    /// To read history.
    Replay,
    /// To publish events of a batch, and to see and retract batches. Spans all tenants.
    Backfill,
    /// To see how the server itself is. Spans all tenants.
    Admin,
}

/// A text that is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of publish, query, replay, backfill, admin")]
pub struct InvalidScope;

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 5] = [Self::Publish, Self::Query, Self::Replay, Self::Backfill, Self::Admin];

    /// The name in files, flags and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Query => "query",
            Self::Replay => "replay",
            Self::Backfill => "backfill",
            Self::Admin => "admin",
        }
    }

    /// True if the scope is about all tenants at once: a key that is bound to tenants cannot have it.
    pub const fn spans_tenants(self) -> bool {
        matches!(self, Self::Backfill | Self::Admin)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(InvalidScope)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

//! The faults of a refused event, in words a publisher can act on.

use std::fmt;

use crate::{InvalidEventId, InvalidInstant, NameError};

/// Stable code of a bad event. Part of the API: never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultCode {
    /// A required field is absent or null.
    MissingField,
    /// A field that no event has, or that this type does not have.
    UnknownField,
    /// No such event type.
    UnknownType,
    /// An event type that only Lastseen itself writes.
    TypeNotPublishable,
    /// The id is not a UUID of its own.
    InvalidId,
    /// Not an RFC 3339 instant.
    InvalidInstant,
    /// Further ahead of the store's clock than is tolerated.
    InFuture,
    /// Before 1990.
    TooOld,
    /// Longer than its limit.
    TooLong,
    /// An empty string where a name belongs.
    Empty,
    /// A control or format character in a name.
    NotPrintable,
    /// A name such as `null` or `undefined`.
    Placeholder,
    /// Not JSON, not an object, a repeated key, or a value of the wrong JSON type.
    InvalidJson,
    /// The id is stored already, with other content.
    IdConflict,
    /// The batch was taken back: its name is dead.
    BatchRetracted,
    /// A tenant that the publisher's key is not for.
    TenantNotAllowed,
    /// A batch, which the publisher's key may not name.
    BatchNotAllowed,
}

impl FaultCode {
    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingField => "missing_field",
            Self::UnknownField => "unknown_field",
            Self::UnknownType => "unknown_type",
            Self::TypeNotPublishable => "type_not_publishable",
            Self::InvalidId => "invalid_id",
            Self::InvalidInstant => "invalid_instant",
            Self::InFuture => "in_future",
            Self::TooOld => "too_old",
            Self::TooLong => "too_long",
            Self::Empty => "empty",
            Self::NotPrintable => "not_printable",
            Self::Placeholder => "placeholder",
            Self::InvalidJson => "invalid_json",
            Self::IdConflict => "id_conflict",
            Self::BatchRetracted => "batch_retracted",
            Self::TenantNotAllowed => "tenant_not_allowed",
            Self::BatchNotAllowed => "batch_not_allowed",
        }
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for FaultCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One thing that is wrong with one event: a code, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: FaultCode,
    /// The expected and the found value, in words for people.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its explanation.
    pub fn new(code: FaultCode, detail: impl fmt::Display) -> Self {
        Self { code, detail: detail.to_string() }
    }
}

impl From<InvalidEventId> for Refusal {
    fn from(error: InvalidEventId) -> Self {
        Self::new(FaultCode::InvalidId, error)
    }
}

impl From<InvalidInstant> for Refusal {
    fn from(error: InvalidInstant) -> Self {
        Self::new(FaultCode::InvalidInstant, error)
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        let code = match error {
            NameError::Empty => FaultCode::Empty,
            NameError::TooLong { .. } => FaultCode::TooLong,
            NameError::NotPrintable { .. } | NameError::Format { .. } => FaultCode::NotPrintable,
            NameError::Placeholder => FaultCode::Placeholder,
        };
        Self::new(code, error)
    }
}

/// One fault of one event of a request, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EventFault {
    /// Place of the event in the request, from 0; blank NDJSON lines do not count.
    pub index: usize,
    /// The event's id as it was sent, cut to 128 bytes; null where there was none.
    pub id: Option<String>,
    /// The field at fault; null where the event as a whole is.
    pub field: Option<String>,
    /// The stable code.
    pub code: FaultCode,
    /// The expected and the found value, in words for people.
    pub detail: String,
}

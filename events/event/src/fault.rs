//! The faults of a refused event, in words a publisher can act on.

use std::fmt;

use crate::{InvalidEventId, InvalidInstant, NameError};

macro_rules! fault_codes {
    ($($(#[$doc:meta])* $name:ident: $code:literal;)+) => {
        /// Stable code of a bad event. Part of the API: never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FaultCode {
            $($(#[$doc])* $name,)+
        }

        impl FaultCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }
        }
    };
}

fault_codes! {
    /// A required field is absent or null.
    MissingField: "missing_field";
    /// A field that no event has, or that this type does not have.
    UnknownField: "unknown_field";
    /// No such event type.
    UnknownType: "unknown_type";
    /// An event type that only Lastseen itself writes.
    TypeNotPublishable: "type_not_publishable";
    /// A version of `CloudEvents` other than 1.0.
    UnknownSpecversion: "unknown_specversion";
    /// The id is not a UUID of its own.
    InvalidId: "invalid_id";
    /// Not an RFC 3339 instant.
    InvalidInstant: "invalid_instant";
    /// Further ahead of the store's clock than is tolerated.
    InFuture: "in_future";
    /// Before 1990.
    TooOld: "too_old";
    /// Longer than its limit.
    TooLong: "too_long";
    /// An empty string where a name belongs.
    Empty: "empty";
    /// A control or format character in a name.
    NotPrintable: "not_printable";
    /// A name such as `null` or `undefined`.
    Placeholder: "placeholder";
    /// Not JSON, not an object, a repeated key, or a value of the wrong JSON type.
    InvalidJson: "invalid_json";
    /// The id is stored already, with other content.
    IdConflict: "id_conflict";
    /// The batch was taken back: its name is dead.
    BatchRetracted: "batch_retracted";
    /// A tenant that the publisher's key is not for.
    TenantNotAllowed: "tenant_not_allowed";
    /// A batch, which the publisher's key may not name.
    BatchNotAllowed: "batch_not_allowed";
    /// It may or may not be stored: the store had no answer for it.
    OutcomeUnknown: "outcome_unknown";
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

//! An event as somebody else wrote it: in a row, in a webhook. It is checked by the rules of the server.

use lastseen_client::{Event, Fault};
use serde::Serialize;

/// The fields of an event, as far as they are there.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Written<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) r#type: Option<&'a str>,
    pub(crate) tenant_id: Option<&'a str>,
    pub(crate) user_id: Option<&'a str>,
    /// RFC 3339.
    pub(crate) occurred_at: Option<&'a str>,
    pub(crate) session_id: Option<&'a str>,
    pub(crate) from_tenant_id: Option<&'a str>,
    pub(crate) confirmed: Option<bool>,
    pub(crate) counts: Option<bool>,
    pub(crate) batch: Option<&'a str>,
}

impl Written<'_> {
    /// The event.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) fn event(&self) -> Result<Event, Vec<Fault>> {
        let json = serde_json::to_string(self).unwrap_or_else(|_| unreachable!("texts and booleans"));
        Event::from_json(&json)
    }
}

/// Faults in one line.
pub(crate) fn described(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

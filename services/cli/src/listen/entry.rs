//! An entry of a delivery, and its meaning for Lastseen.

use lastseen_client::{Event, EventId, EventType, Fault, UtcInstant};
use lastseen_event::SessionId;
use serde_json::Value;

use crate::written::Written;

/// One thing that a provider tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The provider's own name of its kind.
    pub(super) kind: String,
    pub(super) meaning: Meaning,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something happened; one entry may be several events.
    Happened(Vec<Happened>),
    /// A kind that is known and is no event: a failure, a step of a login, the act of an administrator.
    Nothing,
    /// A kind that is not known. It is counted, and is no event.
    Unknown,
}

/// An event as the provider tells it. What is missing is found when it is made an event of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) event_type: Option<EventType>,
    /// The provider's id of it: the same in each delivery.
    pub(super) id: Option<String>,
    pub(super) user: Option<String>,
    /// The tenant that the provider names, in its own sense.
    pub(super) tenant: Option<String>,
    /// The organisation within it.
    pub(super) organization: Option<String>,
    /// True if it is about the membership in the organisation alone.
    pub(super) is_of_organization: bool,
    /// RFC 3339.
    pub(super) at: Option<String>,
    pub(super) session: Option<String>,
    pub(super) confirmed: Option<bool>,
}

impl Entry {
    pub(super) fn new(kind: impl Into<String>, meaning: Meaning) -> Self {
        Self { kind: kind.into(), meaning }
    }

    pub(super) fn happened(kind: impl Into<String>, event_type: EventType, happened: Happened) -> Self {
        let happened = Happened { event_type: Some(event_type), ..happened };
        Self::new(kind, Meaning::Happened(vec![happened]))
    }
}

impl Happened {
    /// The event, of a tenant. Its id follows from the provider, the type and the provider's id.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn event(&self, provider: &str, tenant: Option<&str>) -> Result<Event, Vec<Fault>> {
        let Some(id) = &self.id else {
            let detail = "the provider gave no id: it could not be told from another one".to_owned();
            return Err(vec![Fault { field: Some("id".into()), code: "missing_field".into(), detail }]);
        };
        let event_type = self.event_type.map(EventType::as_str);
        let source = format!("{provider}:{}", event_type.unwrap_or_default());
        let is_activity = self.event_type.is_some_and(|event_type| event_type.activity().is_some());
        let written = Written {
            id: Some(&EventId::of_cloud_event(&source, id).to_string()),
            r#type: event_type,
            tenant_id: tenant,
            user_id: self.user.as_deref(),
            occurred_at: self.at.as_deref(),
            // A session whose name is not allowed is no reason to lose the login.
            session_id: self.session.as_deref().filter(|name| is_activity && SessionId::new(name).is_ok()),
            confirmed: self.confirmed,
            ..Written::default()
        };
        written.event()
    }
}

/// The text at a pointer such as `/actor/id`; numbers as their digits. `None`: it is not there, null or empty.
pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The instant at a pointer, in milliseconds since 1970, as RFC 3339.
pub(super) fn millis(value: &Value, pointer: &str) -> Option<String> {
    let micros = value.pointer(pointer)?.as_i64()?.checked_mul(1_000)?;
    Some(UtcInstant::from_micros(micros).to_string())
}

/// The objects of a body: one, those of an array, those of the array under one of `names`, or one in each line.
///
/// # Errors
/// Words for the log.
pub(super) fn objects(body: &[u8], names: &[&str]) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for value in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
        let mut value = value.map_err(|error| format!("expected JSON: {error}"))?;
        let under = names.iter().find(|name| value[**name].is_array());
        if let Some(name) = under {
            value = value[*name].take();
        }
        match value {
            Value::Array(values) => all.extend(values),
            value => all.push(value),
        }
    }
    if all.iter().all(Value::is_object) { Ok(all) } else { Err("expected objects".to_owned()) }
}

/// True if a kind is one of these, where `x*` stands for all that begin with x and `*x` for all that end with it.
pub(super) fn is_one_of(kind: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => kind.ends_with(end),
        (_, Some(start)) => kind.starts_with(start),
        _ => kind == *pattern,
    })
}

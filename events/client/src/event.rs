//! Events as a service writes them: one function for each kind, checked before they are published.

use std::marker::PhantomData;
use std::time::{SystemTime, UNIX_EPOCH};

use lastseen_event::wire::{Accept, FaultsKept, decode_json, encode_published};
use lastseen_event::{
    BatchName, EventId, EventType, InvalidInstant, NameError, SessionId, TenantId, UserId, UtcInstant,
};
use uuid::Uuid;

use crate::publisher::Fault;

/// An event that can be published: valid, and in the form in which it travels.
///
/// It takes its text and some 60 bytes of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    id: EventId,
    line: Box<str>,
}

/// A field that no event may have so. Nothing was published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// A tenant, a user, a session or a batch.
    #[error("{field}: {error}")]
    Name {
        /// The name of the field on the wire.
        field: &'static str,
        /// The rule that it breaks.
        error: NameError,
    },
    /// The time of the event.
    #[error("occurred_at: {0}")]
    Instant(#[from] InvalidInstant),
}

/// An event that is being written: of observed activity ([`Activity`]), about a profile ([`Profile`]), or of another kind
/// ([`Membership`]). [`build`](Self::build) checks it.
#[derive(Clone, Debug)]
#[must_use = "a draft does nothing until it is built and published"]
pub struct Draft<K> {
    event_type: EventType,
    id: Option<EventId>,
    occurred_at: Option<UtcInstant>,
    tenant_id: String,
    user_id: String,
    session_id: Option<String>,
    from_tenant_id: Option<String>,
    confirmed: Option<bool>,
    counts: Option<bool>,
    batch: Option<String>,
    kind: PhantomData<K>,
}

/// Observed activity: it moves last seen, and may have a session.
#[derive(Clone, Copy, Debug)]
pub enum Activity {}

/// The creation of a user, or a change: it may say whether the user counts.
#[derive(Clone, Copy, Debug)]
pub enum Profile {}

/// Another change of a membership.
#[derive(Clone, Copy, Debug)]
pub enum Membership {}

impl Event {
    /// A user signed in. Failed attempts are no events.
    pub fn login(tenant_id: impl Into<String>, user_id: impl Into<String>) -> Draft<Activity> {
        Draft::new(EventType::Login, tenant_id, user_id)
    }

    /// A session was renewed. Only a successful refresh with the current token is an event: retries within a grace period
    /// and replays are none.
    pub fn token_refresh(tenant_id: impl Into<String>, user_id: impl Into<String>) -> Draft<Activity> {
        Draft::new(EventType::TokenRefresh, tenant_id, user_id)
    }

    /// A user entered `tenant_id`, coming from another tenant. Only the membership in the target is seen by it.
    pub fn tenant_switch(
        from_tenant_id: impl Into<String>,
        tenant_id: impl Into<String>,
        user_id: impl Into<String>,
    ) -> Draft<Activity> {
        let draft = Draft::new(EventType::TenantSwitch, tenant_id, user_id);
        Draft { from_tenant_id: Some(from_tenant_id.into()), ..draft }
    }

    /// A user finished signing up.
    pub fn signup_complete(tenant_id: impl Into<String>, user_id: impl Into<String>) -> Draft<Activity> {
        Draft::new(EventType::SignupComplete, tenant_id, user_id)
    }

    /// A user was created; `confirmed` is false for whoever was only invited.
    pub fn user_created(
        tenant_id: impl Into<String>,
        user_id: impl Into<String>,
        confirmed: bool,
    ) -> Draft<Profile> {
        Draft { confirmed: Some(confirmed), ..Draft::new(EventType::UserCreated, tenant_id, user_id) }
    }

    /// A user confirmed its address.
    pub fn user_confirmed(tenant_id: impl Into<String>, user_id: impl Into<String>) -> Draft<Membership> {
        Draft::new(EventType::UserConfirmed, tenant_id, user_id)
    }

    /// A role or a profile changed.
    pub fn user_changed(tenant_id: impl Into<String>, user_id: impl Into<String>) -> Draft<Profile> {
        Draft::new(EventType::UserChanged, tenant_id, user_id)
    }

    /// A user was deleted, softly.
    pub fn user_deleted(tenant_id: impl Into<String>, user_id: impl Into<String>) -> Draft<Membership> {
        Draft::new(EventType::UserDeleted, tenant_id, user_id)
    }

    /// A soft deletion was undone.
    pub fn user_restored(tenant_id: impl Into<String>, user_id: impl Into<String>) -> Draft<Membership> {
        Draft::new(EventType::UserRestored, tenant_id, user_id)
    }

    /// Reads an event that was written elsewhere: one JSON object, or an array of one, as [`as_json`](Self::as_json) and a
    /// [`Refused`](crate::Refused) event have it. It is checked by the rules of the server. How far it may be ahead of the
    /// clock is for the server to say.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn from_json(json: &str) -> Result<Self, Vec<Fault>> {
        let accept = Accept::all(UtcInstant::from_micros(i64::MAX), FaultsKept::All);
        let fault = |code: &str, detail: String| Fault { field: None, code: code.to_owned(), detail };
        let decoded = decode_json(json.as_bytes(), accept, || ())
            .map_err(|error| vec![fault("invalid_json", error.to_string())])?;
        if !decoded.faults.is_empty() {
            let own = decoded.faults.into_iter().map(|fault| Fault {
                field: fault.field,
                code: fault.code.to_string(),
                detail: fault.detail,
            });
            return Err(own.collect());
        }
        match (decoded.batch.len(), decoded.batch.iter().next()) {
            (1, Some(event)) => Ok(Self::encoded(&event)),
            (found, _) => Err(vec![fault("invalid_json", format!("expected one event, found {found}"))]),
        }
    }

    fn encoded(event: &lastseen_event::Event<'_>) -> Self {
        let mut line = Vec::new();
        encode_published(event, &mut line);
        let line = String::from_utf8(line).unwrap_or_else(|_| unreachable!("JSON is text"));
        Self { id: event.id, line: line.trim_end().into() }
    }

    /// The idempotency key.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The event as the server takes it: one line of JSON, without its end.
    pub fn as_json(&self) -> &str {
        &self.line
    }
}

impl<K> Draft<K> {
    fn new(event_type: EventType, tenant_id: impl Into<String>, user_id: impl Into<String>) -> Self {
        Self {
            event_type,
            id: None,
            occurred_at: None,
            tenant_id: tenant_id.into(),
            user_id: user_id.into(),
            session_id: None,
            from_tenant_id: None,
            confirmed: None,
            counts: None,
            batch: None,
            kind: PhantomData,
        }
    }

    /// Sets the id. Without it, the id is a UUID of version 7: then publish one event once, and leave repeating to the
    /// [`Publisher`](crate::Publisher), which repeats with the same id.
    pub fn id(self, id: EventId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Sets the time of the event by the clock of this service. Without it, that is the time of [`build`](Self::build).
    pub fn at(self, occurred_at: UtcInstant) -> Self {
        Self { occurred_at: Some(occurred_at), ..self }
    }

    /// Names the backfill that the event belongs to. The key needs the scope `backfill`.
    pub fn batch(self, batch: impl Into<String>) -> Self {
        Self { batch: Some(batch.into()), ..self }
    }

    /// Checks the event and writes it.
    ///
    /// # Errors
    /// [`InvalidEvent`] for the first name that breaks a rule.
    pub fn build(self) -> Result<Event, InvalidEvent> {
        let name = |field| move |error| InvalidEvent::Name { field, error };
        let tenant_id = TenantId::new(&self.tenant_id).map_err(name("tenant_id"))?;
        let user_id = UserId::new(&self.user_id).map_err(name("user_id"))?;
        let session_id =
            self.session_id.as_deref().map(SessionId::new).transpose().map_err(name("session_id"))?;
        let from = self.from_tenant_id.as_deref().map(TenantId::new).transpose();
        let from_tenant_id = from.map_err(name("from_tenant_id"))?;
        let batch = self.batch.as_deref().map(BatchName::new).transpose().map_err(name("batch"))?;
        let id = self.id.unwrap_or_else(|| {
            EventId::new(Uuid::now_v7()).unwrap_or_else(|_| unreachable!("it has a time and random bits"))
        });
        let occurred_at = self.occurred_at.unwrap_or_else(now);
        let event = lastseen_event::Event {
            session_id,
            from_tenant_id,
            confirmed: self.confirmed,
            counts: self.counts,
            batch,
            ..lastseen_event::Event::new(id, self.event_type, (tenant_id, user_id), occurred_at)
        };
        Ok(Event::encoded(&event))
    }
}

impl Draft<Activity> {
    /// Names the session.
    pub fn session(self, session_id: impl Into<String>) -> Self {
        Self { session_id: Some(session_id.into()), ..self }
    }

    /// Names the session, and makes the id follow from it and from the version of its token: whoever publishes the same
    /// renewal again publishes the same event. Say [`at`](Self::at) which instant the token was issued: an id that comes
    /// again with another content is refused.
    pub fn of_token(self, session_id: impl Into<String>, version: u64) -> Self {
        let session_id = session_id.into();
        let id = EventId::of_token(self.event_type, &session_id, version);
        Self { id: Some(id), session_id: Some(session_id), ..self }
    }
}

impl Draft<Profile> {
    /// Says whether the user counts: not bots, staff and test users. Without it, that stays as it is.
    pub fn counts(self, counts: bool) -> Self {
        Self { counts: Some(counts), ..self }
    }
}

/// The time of this machine.
#[expect(clippy::disallowed_methods, reason = "an event without a time has that at which it was written")]
fn now() -> UtcInstant {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcInstant::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's own rules take everything that was built.
    fn decoded(event: &Event) -> lastseen_event::EventBatch {
        let accept = Accept::all(UtcInstant::from_micros(i64::MAX), FaultsKept::All);
        let decoded = decode_json(event.as_json().as_bytes(), accept, || ()).unwrap();
        assert_eq!((decoded.batch.len(), decoded.faults), (1, Vec::new()), "{}", event.as_json());
        decoded.batch
    }

    #[test]
    fn every_kind_is_valid_and_says_what_it_was_told() {
        let at = UtcInstant::parse("2026-01-06T16:00:00.123Z").unwrap();
        let drafts = [
            Event::login("acme", "zoë").session("s-1").at(at).build(),
            Event::token_refresh("acme", "zoë").of_token("s-1", 3).at(at).build(),
            Event::tenant_switch("old", "acme", "zoë").at(at).build(),
            Event::signup_complete("acme", "zoë").at(at).batch("users 2026").build(),
            Event::user_created("acme", "zoë", false).counts(false).at(at).build(),
            Event::user_confirmed("acme", "zoë").at(at).build(),
            Event::user_changed("acme", "zoë").counts(true).at(at).build(),
            Event::user_deleted("acme", "zoë").at(at).build(),
            Event::user_restored("acme", "zoë").at(at).build(),
        ];
        for (draft, event_type) in drafts.into_iter().zip(EventType::ALL) {
            let event = draft.unwrap();
            let batch = decoded(&event);
            let read = batch.iter().next().unwrap();
            assert_eq!((read.id, read.event_type, read.occurred_at), (event.id(), event_type, at));
            assert_eq!((read.tenant_id.as_str(), read.user_id.as_str()), ("acme", "zoë"));
            assert_eq!(Event::from_json(event.as_json()), Ok(event));
        }
    }

    #[test]
    fn json_that_is_no_event_is_told_with_all_of_its_faults() {
        let event = Event::login("acme", "u").build().unwrap();
        let codes = |json: &str| -> Vec<_> {
            let faults = Event::from_json(json).unwrap_err();
            faults.into_iter().map(|fault| (fault.field.unwrap_or_default(), fault.code)).collect()
        };
        let of = |field: &str, code: &str| (field.to_owned(), code.to_owned());
        let bad = event.as_json().replace("\"acme\"", "\"\"").replace("\"u\"", "\"null\"");
        assert_eq!(codes(&bad), [of("tenant_id", "empty"), of("user_id", "placeholder")]);
        assert_eq!(codes("[]"), [of("", "invalid_json")]);
        assert_eq!(codes(&format!("[{0},{0}]", event.as_json())), [of("", "invalid_json")]);
        assert_eq!(codes("{"), [of("", "invalid_json")]);
    }

    #[test]
    fn the_id_of_a_token_follows_from_its_session_and_version() {
        let of = |draft: Draft<Activity>| draft.build().unwrap().id();
        let refresh = |version| of(Event::token_refresh("acme", "u").of_token("s-1", version));
        assert_eq!(refresh(3), refresh(3));
        assert_ne!(refresh(3), refresh(4));
        assert_ne!(refresh(1), of(Event::login("acme", "u").of_token("s-1", 1)));
        assert_ne!(of(Event::login("acme", "u")), of(Event::login("acme", "u")));
    }

    #[test]
    fn clients_of_all_languages_give_the_same_ids() {
        let vectors = include_str!("../../../clients/vectors.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let vectors = vectors["of_token"].as_array().unwrap();
        for vector in vectors {
            let event_type = EventType::parse(vector["type"].as_str().unwrap()).unwrap();
            let (session, version) =
                (vector["session_id"].as_str().unwrap(), vector["version"].as_u64().unwrap());
            assert_eq!(EventId::of_token(event_type, session, version).to_string(), vector["id"]);
        }
        assert!(vectors.len() > 2);
    }

    #[test]
    fn the_documentation_tells_the_id_of_a_token() {
        let id = Event::token_refresh("acme", "u").of_token("s-1", 2).build().unwrap().id();
        let line = format!("'[\"token_refresh\",\"s-1\",2]') = {id}");
        assert!(include_str!("../../../docs/PUBLISHING.md").contains(&line), "{line}");
    }

    #[test]
    fn bad_names_are_told_with_their_field() {
        for (draft, field) in [
            (Event::login("", "u"), "tenant_id"),
            (Event::login("acme", "null"), "user_id"),
            (Event::login("acme", "u").session("a\u{0}b"), "session_id"),
            (Event::tenant_switch("undefined", "acme", "u"), "from_tenant_id"),
            (Event::login("acme", "u").batch("x".repeat(200)), "batch"),
        ] {
            let found = draft.build().unwrap_err();
            assert!(matches!(found, InvalidEvent::Name { field: found, .. } if found == field), "{found}");
        }
    }
}

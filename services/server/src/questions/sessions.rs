//! The sessions of a user: its events by the session that they name.

use std::collections::HashMap;
use std::sync::Arc;

use lastseen_event::{EventType, Position, UtcInstant};
use lastseen_store::{Detail, EventReader, Filter, Scan, TypeCounts};

use super::Questions;
use super::admission::{Cost, Kind};
use super::error::{Overload, QuestionError};
use super::place::Place;
use crate::read_model::Reading;

/// The events of one session that count.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: Box<str>,
    pub(crate) first_at: UtcInstant,
    pub(crate) last_at: UtcInstant,
    /// Events by type.
    pub(crate) types: TypeCounts,
}

/// A page of the sessions of a user.
#[derive(Debug)]
pub(crate) struct SessionsPage {
    /// The one with the latest event first; ties by bytes of the id.
    pub(crate) sessions: Vec<Session>,
    /// Sessions of the whole list.
    pub(crate) total: u64,
    /// The place of the last row. `None`: nothing follows.
    pub(crate) next: Option<Place>,
    /// The last position that they reflect.
    pub(crate) position: Position,
}

/// Bytes of the sessions of a user while they are put together: reserved at first, and so many more at a time.
const STEP_BYTES: usize = 4 << 20;

/// The sessions of a user while they are put together.
#[derive(Default)]
struct Sessions {
    by_id: HashMap<Box<str>, Session>,
    bytes: usize,
}

impl Questions {
    /// A page of the sessions of a user, after a place.
    ///
    /// # Errors
    /// [`QuestionError::UnknownTenant`], [`QuestionError::UnknownUser`]; others where history is read.
    pub(crate) async fn sessions(
        self: &Arc<Self>,
        reading: &Reading,
        names: (&str, &str),
        (after, limit): (Option<Place>, usize),
    ) -> Result<SessionsPage, QuestionError> {
        self.user_now(reading, names)?;
        let member = self.model.log().members().find(names.0, names.1);
        let member = member.ok_or(QuestionError::UnknownUser)?.member;
        let key = (format!("{member:?}"), reading);
        let cost = Cost { kind: Kind::List, bytes: STEP_BYTES };
        let found = self.shared(&self.flights.sessions, key, cost, move |asking, reading, mut permit| {
            let filter = Filter { member: Some(member), ..Filter::default() };
            let until = Some(reading.position);
            let scan = Scan { after: Position::START, until, detail: Detail::Events, filter };
            let mut reader = asking.model.log().scan(scan);
            let mut sessions = Sessions::default();
            while let Some(batch) = reader.next_batch()? {
                permit.deadline().check()?;
                let events = batch.facts.iter().zip(batch.events.iter());
                for (fact, event) in events.filter(|(fact, _)| !reading.retracted.has(fact)) {
                    let Some(session_id) = event.session_id else { continue };
                    sessions.add(session_id.as_str(), (fact.occurred_at, fact.event_type));
                }
                let bytes = sessions.bytes.next_multiple_of(STEP_BYTES);
                if !permit.memory().grow_to(bytes) {
                    return Err(QuestionError::Overloaded(Overload::Memory));
                }
            }
            let mut sessions: Vec<_> = sessions.by_id.into_values().collect();
            sessions.sort_unstable_by(|a, b| b.last_at.cmp(&a.last_at).then(a.id.cmp(&b.id)));
            Ok((Arc::<[Session]>::from(sessions), reading.position))
        });
        let (all, position) = found.await?;
        let is_after = |session: &&Session| {
            after.as_ref().is_none_or(|after| {
                let last = Some(session.last_at.as_micros());
                last < after.key || (last == after.key && *session.id > *after.name)
            })
        };
        let mut rest = all.iter().filter(is_after);
        let sessions: Vec<_> = rest.by_ref().take(limit).cloned().collect();
        let next = sessions.last().filter(|_| rest.next().is_some()).map(|last| Place {
            key: Some(last.last_at.as_micros()),
            name: last.id.to_string(),
            of: String::new(),
        });
        Ok(SessionsPage { sessions, total: all.len() as u64, next, position })
    }
}

impl Sessions {
    fn add(&mut self, session_id: &str, (at, event_type): (UtcInstant, EventType)) {
        if let Some(session) = self.by_id.get_mut(session_id) {
            session.first_at = session.first_at.min(at);
            session.last_at = session.last_at.max(at);
            session.types.add(event_type, 1);
            return;
        }
        let mut types = TypeCounts::default();
        types.add(event_type, 1);
        let id: Box<str> = session_id.into();
        // The map has the id twice, and is up to twice as large as what is in it.
        self.bytes += 2 * (id.len() + size_of::<(Box<str>, Session)>());
        self.by_id.insert(id.clone(), Session { id, first_at: at, last_at: at, types });
    }
}

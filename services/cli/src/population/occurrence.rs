//! Something that happens, in as few bytes as sorting a day of it wants, and the line that is published about it.

use lastseen_event::wire::encode_published;
use lastseen_event::{BatchName, Event, EventId, EventType, SessionId, TenantId, UserId, UtcInstant};
use uuid::Builder;

use super::random::{Random, Topic, mix};
use super::{Millis, Population, names};

/// The backfill run that brought in those who were there before.
const MIGRATION_BATCH: &str = "migration";

/// Something that happens to a user or that a user does. Ordered by its instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence {
    pub(super) at: Millis,
    pub(super) user: u32,
    /// 0 outside of sessions.
    session: u32,
    event_type: EventType,
    /// The number of the tenant among those of the user, its first one being 0.
    pub(super) place: u8,
    /// The number of the tenant it came from, on a switch.
    from: u8,
    confirmed: bool,
    migrated: bool,
}

/// A further detail of an occurrence.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fact {
    /// It belongs to the user's session of this number, which is not 0.
    Session(u32),
    /// The user was confirmed when it was created.
    Confirmed,
    /// It came with the backfill.
    Migrated,
    /// The user came from this one of its tenants.
    From(u8),
}

impl Occurrence {
    pub(super) fn new(event_type: EventType, (user, place): (u32, u8), at: Millis) -> Self {
        Self { at, user, session: 0, event_type, place, from: 0, confirmed: false, migrated: false }
    }

    pub(super) fn with(mut self, facts: &[Fact]) -> Self {
        for fact in facts {
            match *fact {
                Fact::Session(session) => self.session = session,
                Fact::Confirmed => self.confirmed = true,
                Fact::Migrated => self.migrated = true,
                Fact::From(place) => self.from = place,
            }
        }
        self
    }

    /// A login or a renewal of `user` in its first tenant at `at`, whatever else the user does: for load generators, which
    /// choose by themselves who comes when. Another instant is another session.
    pub fn visit(event_type: EventType, user: u32, at: UtcInstant) -> Self {
        let at = at.as_micros().div_euclid(1_000);
        let session = (mix(at.cast_unsigned()) >> 32) as u32;
        Self::new(event_type, (user, 0), at).with(&[Fact::Session(session.max(1))])
    }

    /// When it happens, in whole milliseconds.
    pub fn at(&self) -> UtcInstant {
        UtcInstant::from_micros(self.at * 1_000)
    }

    /// The number of the user it is about, from 0 in order of arrival.
    pub fn user(&self) -> u32 {
        self.user
    }

    /// The kind of the event. `user_created` comes first for every user in every tenant, and once.
    pub fn event_type(&self) -> EventType {
        self.event_type
    }
}

impl Population {
    /// Adds the line of NDJSON that publishes `occurrence`, with its line end.
    pub fn encode(&self, occurrence: &Occurrence, out: &mut Vec<u8>) {
        let Occurrence { user, place, session, event_type, .. } = *occurrence;
        let seed = self.plan.seed;
        let (tenant, from) = (names::tenant(seed, self.place(user, place)), self.came_from(occurrence));
        let (name, session_id) =
            (names::user(seed, user), (session != 0).then(|| self.session_id(occurrence)));
        let member = (TenantId::new(text(&tenant)), UserId::new(text(&name)));
        let (Ok(tenant), Ok(name)) = member else { unreachable!("digits and letters are names") };
        let mut event = Event::new(self.event_id(occurrence), event_type, (tenant, name), occurrence.at());
        event.session_id = session_id.as_ref().and_then(|id| SessionId::new(text(id)).ok());
        event.from_tenant_id = from.as_ref().and_then(|tenant| TenantId::new(text(tenant)).ok());
        event.confirmed = (event_type == EventType::UserCreated).then_some(occurrence.confirmed);
        event.batch = if occurrence.migrated { BatchName::new(MIGRATION_BATCH).ok() } else { None };
        encode_published(&event, out);
    }

    fn came_from(&self, occurrence: &Occurrence) -> Option<names::Tenant> {
        let switched = occurrence.event_type == EventType::TenantSwitch;
        switched.then(|| names::tenant(self.plan.seed, self.place(occurrence.user, occurrence.from)))
    }

    fn session_id(&self, occurrence: &Occurrence) -> names::Session {
        let about = [u64::from(occurrence.user), u64::from(occurrence.session)];
        names::session(&mut Random::of(self.plan.seed, Topic::SessionId, about))
    }

    /// A UUID of version 7: the millisecond, and 74 bits of a hash of everything that the event says.
    fn event_id(&self, occurrence: &Occurrence) -> EventId {
        let Occurrence { at, user, session, event_type, place, from, confirmed, migrated } = *occurrence;
        let small = [event_type as u8, place, from, u8::from(confirmed), u8::from(migrated)];
        let small = small.iter().fold(0, |packed, byte| packed << 8 | u64::from(*byte));
        let about = [
            u64::from(self.tenants.count()),
            at.cast_unsigned(),
            u64::from(user) << 32 | u64::from(session),
            small,
        ];
        let mut random = Random::of(self.plan.seed, Topic::EventId, about);
        let mut bytes = [0; 10];
        for (to, from) in
            bytes.iter_mut().zip(random.bits().to_le_bytes().into_iter().chain(random.bits().to_le_bytes()))
        {
            *to = from;
        }
        let uuid = Builder::from_unix_timestamp_millis(at.cast_unsigned(), &bytes).into_uuid();
        let Ok(id) = EventId::new(uuid) else {
            unreachable!("its version is neither that of nil nor of max")
        };
        id
    }
}

fn text(ascii: &[u8]) -> &str {
    str::from_utf8(ascii).unwrap_or_default()
}

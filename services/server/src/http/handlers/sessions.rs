//! `GET /v1/tenants/{tenant_id}/users/{user_id}/sessions`: the events of one user by session.

use std::collections::BTreeMap;

use lastseen_event::{Position, UtcInstant};
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::{Answer, DEFINITION, Json, Version};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::cursor::{Cursor, Paged};
use crate::http::params::params;
use crate::http::params::value::PageLimit;
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::questions::sessions::Session;

params! {
    /// A page of sessions.
    SessionsParams {
        /// an integer from 1 to 1000
        limit: PageLimit = "`100`",
        /// a `next_cursor` of this list
        cursor: Cursor = "the first page",
        /// a position
        min_position: Position = "none",
    }
}

/// A page of the sessions of one user.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Sessions")]
pub(in crate::http) struct SessionsAnswer {
    /// The one with the latest event first.
    pub(in crate::http) sessions: Vec<SessionRow>,
    /// Sessions of the whole list.
    pub(in crate::http) total: u64,
    /// The cursor of the next page; null on the last one.
    pub(in crate::http) next_cursor: Option<String>,
    #[serde(flatten)]
    pub(in crate::http) reflected: Reflected,
    /// The version of the definitions of the numbers.
    pub(in crate::http) definition: u32,
}

impl Answer for SessionsAnswer {
    const NAME: &'static str = "Sessions";
    const EXAMPLE: &'static str = include_str!("../description/examples/Sessions.json");
    const HAS_ETAG: bool = true;
}

/// One session.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct SessionRow {
    pub(in crate::http) session_id: String,
    /// The first of its events.
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) first_at: UtcInstant,
    /// The last of them.
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) last_at: UtcInstant,
    /// Their number, those of retracted batches left out.
    pub(in crate::http) events: u64,
    /// Their number by type.
    pub(in crate::http) types: BTreeMap<&'static str, u64>,
}

impl SessionRow {
    fn new(session: &Session) -> Self {
        Self {
            session_id: session.id.to_string(),
            first_at: session.first_at,
            last_at: session.last_at,
            events: session.types.total(),
            types: session.types.iter().map(|(event_type, events)| (event_type.as_str(), events)).collect(),
        }
    }
}

/// `GET /v1/tenants/{tenant_id}/users/{user_id}/sessions`
pub(in crate::http) async fn sessions(
    ask: Ask<Query, SessionsParams>,
) -> Result<Json<SessionsAnswer>, Problem> {
    let (tenant_id, user_id) = ask.user();
    let list = format!("{tenant_id}\u{0}{user_id}");
    let paged = Paged::read(ask.params.clone(), ask.params.cursor.clone(), &ask.query, &list)?;
    let reading = ask.reading(ask.params.min_position).await?;
    let limit = paged.params.limit.unwrap_or_default().0;
    let page = ask.questions()?.sessions(&reading, ask.user(), (paged.after.clone(), limit)).await?;
    let next_cursor = page.next.clone().map(|after| paged.next(&list, (reading.at, None), after));
    let (rows, version) = (page.sessions.len(), Version::of(&reading, page.position));
    let body = SessionsAnswer {
        sessions: page.sessions.iter().map(SessionRow::new).collect(),
        total: page.total,
        next_cursor,
        reflected: ask.reflected(page.position)?,
        definition: DEFINITION,
    };
    Ok(Json::new(body).rows(rows).version(Some(version)))
}
